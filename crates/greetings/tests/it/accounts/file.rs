//! The file of accounts: how one is added, and what the program says of a file that it cannot use.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{Accounts, PASSWORD, log_in};
use crate::{
    options::line,
    place::Place,
    process::{Process, run},
};

fn mode(accounts: &Accounts) -> u32 {
    fs::metadata(&accounts.file).expect("a file").permissions().mode() & 0o777
}

#[test]
fn an_account_is_one_line_with_a_hash_that_its_owner_alone_reads() {
    let accounts = Accounts::of(&[]);
    let added = accounts.add("ada", PASSWORD);
    assert_eq!(added.status.code(), Some(0));
    let said = String::from_utf8(added.stdout).unwrap();
    assert!(said.starts_with("greetings: ada can log in"), "{said}");
    let text = accounts.text();
    assert!(text.starts_with("ada:$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert_eq!((text.lines().count(), mode(&accounts)), (1, 0o600));
    let left = accounts.folder.path().read_dir().unwrap().count();
    assert_eq!(left, 1, "no other file is left");
    let nowhere = Accounts { path: format!("{}x/y", accounts.path()), ..Accounts::of(&[]) };
    let said = line(&nowhere.add("ada", PASSWORD), 1);
    assert!(said.contains("it could not be written, and is as it was: "), "{said}");
}

#[test]
fn what_cannot_be_an_account_is_one_line_and_nothing_is_written() {
    let accounts = Accounts::of(&["ada"]);
    let before = accounts.text();
    let long = "x".repeat(5000);
    let cases: &[(&str, &[u8], i32, &str)] = &[
        ("ada", PASSWORD.as_bytes(), 1, "an account of this name is there"),
        ("bob", b"", 1, "a password has at least 15 characters"),
        ("bob", b"s3cret\n", 1, "a password has at least 15 characters"),
        ("bob", b"\n s3cret s3cret s3cret\n", 1, "a password has at least 15 characters"),
        ("bob", long.as_bytes(), 1, "a password has at most 1024 bytes"),
        ("bob", b"s3cret s3cret \xff\n", 1, "could not read the password"),
        ("a:b", PASSWORD.as_bytes(), 2, "it takes a name of 1 to 64 characters"),
        ("", PASSWORD.as_bytes(), 2, "it takes a name"),
        ("#ada", PASSWORD.as_bytes(), 2, "it takes a name"),
        ("a\nb", PASSWORD.as_bytes(), 2, "a\\nb"),
    ];
    for (name, stdin, code, says) in cases {
        let line = line(&accounts.add(name, stdin), *code);
        assert!(line.contains(says), "{name:?}: {line}");
        assert!(!line.contains("s3cret"), "{line}");
        assert_eq!(accounts.text(), before, "{name:?}");
    }
}

#[test]
fn a_wrong_command_is_one_line_that_shows_the_right_one() {
    let cases: &[&[&str]] = &[
        &["account"],
        &["account", "add"],
        &["account", "add", "ada"],
        &["account", "--accounts", "x"],
        &["account", "remove", "ada", "--accounts", "x"],
        // A password on the command line would be seen by everybody.
        &["account", "add", "ada", "s3cret s3cret s3cret", "--accounts", "x"],
        &["account", "add", "ada", "--password", "s3cret", "--accounts", "x"],
        &["account", "add", "ada", "--a\nb"],
        &["account", "add", "ada", "-\n"],
    ];
    for arguments in cases {
        let line = line(&run(arguments, &[]), 2);
        assert!(line.contains("greetings account add NAME --accounts FILE"), "{line}");
        assert!(!line.contains("s3cret"), "{line}");
    }
    let elsewhere = line(&run(&["--lab", "account", "add"], &[]), 2);
    assert!(elsewhere.contains("\"account\" is not an option"), "{elsewhere}");
    // It is said before anybody types a password for nothing.
    let below = ["account", "add", "ada", "--accounts", "/dev/null/accounts"];
    assert!(line(&run(&below, &[]), 1).contains("/dev/null/accounts: it could not be read"));
}

#[test]
fn a_file_that_cannot_be_used_is_one_line_and_exit_code_2() {
    let accounts = Accounts::of(&["ada"]);
    let start = |path: &str| {
        let arguments = ["--listen", "127.0.0.1:0", "--store", "memory:", "--accounts", path];
        line(&run(&arguments, &[]), 2)
    };
    let missing = start(&format!("{}x", accounts.path()));
    assert!(missing.contains("it is not there; greetings account add"), "{missing}");
    let folder = start(accounts.folder.path().to_str().unwrap());
    assert!(folder.contains("it could not be read: "), "{folder}");
    fs::write(&accounts.file, format!("{}bob:s3cret\n", accounts.text())).unwrap();
    let wrong = start(accounts.path());
    assert!(wrong.contains("line 2 is no account") && !wrong.contains("s3cret"), "{wrong}");
}

#[tokio::test]
async fn the_banner_counts_the_accounts_and_the_log_warns_of_a_public_file() {
    let accounts = Accounts::of(&["ada", "bob"]);
    fs::set_permissions(&accounts.file, fs::Permissions::from_mode(0o644)).unwrap();
    let place = Place::at("memory:".to_owned());
    let process = Process::start(&place, &["--accounts", accounts.path()]);
    let told = format!("accounts     2, in the file {}\n", accounts.path());
    assert!(process.banner.contains(&told), "{}", process.banner);
    assert!(process.banner.contains("everybody on this machine may read"), "{}", process.banner);
    // It is still taken, and one that is empty is no error.
    assert_eq!(log_in(&mut process.browser(), "ada", PASSWORD).await.status, 303);
    fs::write(&accounts.file, "# nobody yet\n").unwrap();
    assert_eq!(log_in(&mut process.browser(), "ada", PASSWORD).await.status, 422);
    let process = Process::start(&place, &["--accounts", accounts.path()]);
    assert!(process.banner.contains("accounts     0"), "{}", process.banner);
}

#[tokio::test]
async fn without_the_option_there_is_no_login() {
    let process = Process::start(&Place::at("memory:".to_owned()), &[]);
    assert!(!process.banner.contains("accounts"));
    let mut browser = process.browser();
    for page in ["/login", "/sessions", "/password", "/confirm", "/style.css", "/icon.svg"] {
        assert_eq!(browser.get(page).await.status, 404, "{page}");
    }
    assert_eq!(browser.get("/").await.views(), 1);
}

#[cfg(feature = "firestore")]
#[test]
fn sessions_that_are_shared_with_the_tutorials_app_have_no_users() {
    let accounts = Accounts::of(&["ada"]);
    let store = "firestore://p/c?ids=plain";
    let arguments = ["--listen", "127.0.0.1:0", "--store", store, "--accounts", accounts.path()];
    let emulator = testbed::firestore::hidane().to_string();
    let emulator = ("FIRESTORE_EMULATOR_HOST", emulator.as_ref());
    let output = run(&arguments, &[emulator, ("RUST_LOG", "error".as_ref())]);
    let line = line(&output, 2);
    assert!(line.contains("--accounts: a store with ids=plain has no users"), "{line}");
}
