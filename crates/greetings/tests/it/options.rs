//! How the program begins, or says in one line why it does not.

use std::{
    ffi::{OsStr, OsString},
    fs,
    net::TcpListener,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Output},
};

use tempfile::NamedTempFile;

use crate::{
    place::Place,
    process::{Process, program, run},
};

/// The one line on stderr of a program that did not begin.
pub(crate) fn line(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(output.stdout.is_empty());
    assert_eq!(text.lines().count(), 1, "{text}");
    text.strip_prefix("greetings: ").expect("its name first").trim_end().to_owned()
}

/// A store that the program does not begin on, says why in one line, and does not tell the password,
/// which is `s3cret`.
#[cfg(any(feature = "memcached", feature = "postgres", feature = "redis"))]
pub(crate) fn refused(store: &str, code: i32, says: &str) {
    let line = line(&run(&["--listen", "127.0.0.1:0", "--store", store], &[]), code);
    assert!(line.contains(says), "{store}: {line}");
    assert!(!line.contains("s3cret"), "{store}: {line}");
}

#[test]
fn a_wrong_option_is_one_line_and_exit_code_2() {
    let overflow = format!("{}d", u64::MAX);
    let cases: &[(&[&str], &str)] = &[
        (&["--listne", "127.0.0.1:0"], "did you mean --listen?"),
        (&["--nonsense"], "see greetings --help"),
        (&["-x"], "see greetings --help"),
        (&["serve"], "\"serve\" is not an option"),
        (&["--listen"], "--listen needs a value"),
        (&["--listen", "here"], "--listen \"here\": it takes an address and a port"),
        (&["--listen", "127.0.0.1"], "--listen \"127.0.0.1\""),
        (&["--listen", "127.0.0.1:65536"], "--listen"),
        (&["--listen", "a\nb"], "a\\nb"),
        (&["--idle", "30"], "with its unit, such as 90s, 30m, 12h or 30d"),
        (&["--idle", "-1s"], "--idle"),
        (&["--idle", "1e9s"], "--idle"),
        (&["--absolute", "30 min"], "--absolute"),
        (&["--absolute", &overflow], "--absolute"),
        (&["--idle", "0s"], "--idle and --absolute: "),
        (&["--idle", "2d", "--absolute", "1d"], "--idle and --absolute: "),
        (&["--namespace", ""], "--namespace"),
        (
            &["--store", "memory:", "--cookie-name", "a b"],
            "--cookie-name \"a b\": the cookie's name must be",
        ),
        (
            &["--store", "memory:", "--cookie-name", "__Host-a"],
            "--cookie-name \"__Host-a\": a cookie named `__Host-…` must",
        ),
        (&["--sweep", "never"], "--sweep \"never\": it takes off, or a duration from 1s to 1d"),
        (&["--sweep", "0s"], "--sweep"),
        (&["--in-flight", "0"], "--in-flight \"0\": it takes a number from 1 to 100000"),
        (&["--in-flight", "many"], "--in-flight"),
        (&["--header-timeout", "0s"], "--header-timeout \"0s\": it takes a duration from 1s to 1h"),
        (&["--lab=yes"], "--lab takes no value"),
        (&["--behind-https", "--insecure-http"], "exclude each other"),
        (&["--store", "nosuch:x"], "--store: could not open the session store: "),
        (&["--store", "greetings-data"], "the URL begins with the scheme of no store"),
        (&["--store", "sqlite:"], "--store: could not open the sqlite store: "),
        (&["--store", "memory:x"], "--store: could not open the memory store: "),
    ];
    for (options, says) in cases {
        let mut arguments = vec!["--listen", "127.0.0.1:0"];
        arguments.extend(*options);
        let line = line(&run(&arguments, &[]), 2);
        assert!(line.contains(says), "{options:?}: {line}");
    }
}

#[test]
fn a_wrong_variable_is_one_line_and_exit_code_2() {
    let not_utf8 = OsStr::from_bytes(b"\xff");
    let cases: &[(&str, &OsStr, &str)] = &[
        ("PORT", "http".as_ref(), "PORT \"http\": it takes a port, 0 to 65535"),
        ("PORT", "65536".as_ref(), "PORT \"65536\""),
        ("PORT", "".as_ref(), "PORT \"\""),
        ("PORT", not_utf8, "PORT \"\\xFF\" is not UTF-8 text"),
        ("INGLE_STORE", "nosuch:x".as_ref(), "INGLE_STORE: could not open the session store: "),
        ("INGLE_STORE", not_utf8, "INGLE_STORE"),
        ("RUST_LOG", "a=b=c".as_ref(), "RUST_LOG \"a=b=c\": it takes levels and targets"),
        ("RUST_LOG", not_utf8, "RUST_LOG"),
    ];
    for (name, value, says) in cases {
        // Where the port is not what is wrong, any free one will do.
        let mut environment = vec![("PORT", OsStr::new("0"))];
        environment.push((name, value));
        let line = line(&run::<&str>(&[], &environment), 2);
        assert!(line.contains(says), "{name} {value:?}: {line}");
    }
    let arguments: [OsString; 2] = ["--namespace".into(), not_utf8.into()];
    assert!(line(&run(&arguments, &[]), 2).contains("--namespace \"\\xFF\" is not UTF-8 text"));
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let line = line(&run(&["--listen", &address, "--store", "memory:"], &[]), 1);
    assert!(line.starts_with(&format!("could not listen on {address}: ")), "{line}");
}

#[tokio::test]
async fn port_0_of_any_address_is_a_port_that_the_banner_tells() {
    for address in ["127.0.0.1", "[::1]"] {
        let place = Place::sqlite();
        let process = Process::start(&place, &["--listen", &format!("{address}:0")]);
        let told = format!("listening on http://{address}:{}", process.address.port());
        assert!(
            process.address.port() != 0 && process.banner.contains(&told),
            "{}",
            process.banner
        );
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_one_line_and_exit_code_3() {
    let file = NamedTempFile::new().expect("a file");
    let store = format!("sqlite://{}/below", file.path().display());
    let line = line(&run(&["--listen", "127.0.0.1:0", "--store", &store], &[]), 3);
    assert!(line.starts_with("could not open the sqlite store: "), "{line}");
}

#[tokio::test]
async fn blanks_and_line_ends_around_a_variable_are_meant_by_nobody() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("sessions");
    let store = format!(" sqlite://{}\r\n", folder.display());
    let place = Place::at(store);
    let process = Process::start(&place, &[]);
    let told = format!("sessions     sqlite://{0} (the folder {0})\n", folder.display());
    assert!(process.banner.contains(&told), "{}", process.banner);
    let made: Vec<_> = parent.path().read_dir().expect("a folder").flatten().collect();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(made[0].path(), folder);
    let wrong = line(
        &run::<&str>(&[], &[("INGLE_STORE", "nosuch:x\n".as_ref()), ("PORT", "0\n".as_ref())]),
        2,
    );
    assert!(wrong.contains("INGLE_STORE"), "the port is good: {wrong}");
}

/// A copy of the program that runs as a user who may write only what everybody may: root may write all.
fn unprivileged(folder: &Path) -> Command {
    let mut command = program();
    if fs::metadata(folder).expect("a folder").uid() == 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("its mode is set");
        let copy = folder.join("greetings");
        // Not by this process: a child that another thread starts meanwhile would have the copy open for
        // writing, and then nobody may run it.
        let copied = Command::new("cp").arg(command.get_program()).arg(&copy).status();
        assert!(copied.is_ok_and(|status| status.success()), "the program is copied");
        let mut nobody = Command::new(copy);
        nobody.uid(65534).gid(65534).env_clear().current_dir(folder);
        command = nobody;
    }
    command
}

#[tokio::test]
async fn a_folder_or_file_that_may_only_be_read_is_one_line_and_exit_code_3() {
    let parent = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode is set");
    };
    let folder = parent.path().join("sessions");
    drop(Process::start(&Place::at(format!("sqlite://{}", folder.display())), &[]));
    let file = folder.join("sessions.sqlite");
    let refused = |of_file, of_folder, below: &str, says: &str| {
        mode(&file, of_file);
        mode(&folder, of_folder);
        let store = format!("sqlite://{}{below}", folder.display());
        let mut program = unprivileged(parent.path());
        let output = program.args(["--listen", "127.0.0.1:0", "--store", &store]).output();
        let line = line(&output.expect("the program runs"), 3);
        assert!(
            line.starts_with("could not open the sqlite store: ") && line.contains(says),
            "{line}"
        );
    };
    refused(0o444, 0o555, "", "may only be read; give this user the right to write");
    refused(0o444, 0o555, "/below", "could not be created: Permission denied");
    fs::remove_file(folder.join("sessions.sqlite-wal")).ok();
    fs::remove_file(folder.join("sessions.sqlite-shm")).ok();
    refused(0o666, 0o555, "", "; give this user the right to write to it and to its folder");
    mode(&folder, 0o755);
}

#[test]
fn a_folder_that_nobody_named_and_that_cannot_be_made_says_what_to_name() {
    let here = tempfile::tempdir().expect("a folder");
    let mut begins = unprivileged(here.path());
    begins.args(["--listen", "127.0.0.1:0"]);
    // The program is there, and nothing can be added.
    fs::set_permissions(here.path(), fs::Permissions::from_mode(0o555)).expect("its mode is set");
    let why = line(&begins.output().expect("the program runs"), 3);
    let begin = "could not open the sqlite store: `greetings-data` could not be created: ";
    assert!(why.starts_with(begin), "{why}");
    assert!(why.ends_with("; --store or INGLE_STORE says where, and neither was given"), "{why}");
    for (variable, platform) in [
        ("K_SERVICE", "Cloud Run"),
        ("GAE_SERVICE", "App Engine"),
        ("KUBERNETES_SERVICE_HOST", "Kubernetes"),
    ] {
        begins.env(variable, "x");
        let why = line(&begins.output().expect("the program runs"), 3);
        let says =
            format!("; on {platform} an instance has no disk that lasts and that others see");
        assert!(why.starts_with(begin) && why.contains(&says), "{why}");
        begins.env_remove(variable);
    }
}

#[test]
fn sessions_that_end_with_their_instance_are_warned_of() {
    let here = tempfile::tempdir().expect("a folder");
    let begin = |arguments: &[&str]| {
        let mut program = crate::process::patient();
        program.env("KUBERNETES_SERVICE_HOST", "10.0.0.1").current_dir(here.path());
        program.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Process::spawn(program).banner.clone()
    };
    let warned = begin(&[]);
    let says = "sessions end with this instance: on Kubernetes an instance has no disk that lasts";
    assert!(warned.contains(says), "{warned}");
    // It may be a volume.
    let named = begin(&["--store", "sqlite:named"]);
    assert!(!named.contains("sessions end"), "{named}");
}

#[tokio::test]
async fn dead_sessions_are_swept_as_often_as_it_was_said() {
    let place = Place::sqlite();
    let process = Process::start(&place, &["--sweep", "1s", "--idle", "1s"]);
    process.browser().get("/").await;
    let swept = async {
        while place.count().await != Some(0) {
            tokio::time::sleep(crate::process::PAUSE).await;
        }
    };
    tokio::time::timeout(crate::process::PATIENCE, swept).await.expect("it is swept");
}

#[test]
fn help_and_version_are_for_stdout() {
    for (option, begins) in [
        ("--help", "Greets each visitor"),
        ("-h", "Greets each visitor"),
        ("--version", "greetings 0."),
        ("-V", "greetings 0."),
    ] {
        let output = run(&[option], &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        assert!(String::from_utf8(output.stdout).expect("text").starts_with(begins));
    }
}

#[test]
fn the_banner_names_the_folder_the_durability_and_the_lab() {
    let place = Place::sqlite();
    let process = Process::start(&place, &[]);
    assert!(process.banner.contains(&format!("the folder {}", place.folder().display())));
    assert!(process.banner.contains("an answered view survives a crash and a power loss"));
    assert!(process.banner.contains("/lab/"));
}

#[tokio::test]
async fn the_lab_is_closed_unless_asked_for() {
    let mut program = crate::process::patient();
    program.args(["--listen", "127.0.0.1:0", "--store", "memory:"]);
    let process = Process::spawn(program);
    assert!(!process.banner.contains("/lab/"));
    assert_eq!(process.browser().get("/lab/data").await.status, 404);
}
