//! Why the app does not begin on Firestore: one line that names what is wrong and what mends it.

use std::{
    ffi::OsStr,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Output,
};

use tempfile::TempDir;

use super::{EMULATOR, in_collection, place};
use crate::{
    options::line,
    process::{Process, run},
};

const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

fn begin(store: &str, environment: &[(&str, &OsStr)]) -> Output {
    run(&["--listen", "127.0.0.1:0", "--store", store], environment)
}

/// The line of a program that could not open its store.
fn why_closed(environment: &[(&str, &OsStr)]) -> String {
    let line = line(&begin("firestore://ingle-test/sessions", environment), 3);
    let why = line.strip_prefix("could not open the firestore store: ");
    why.expect("what it could not do").to_owned()
}

#[test]
fn a_wrong_url_is_one_line_and_exit_code_2() {
    let form = "does not name a collection; write `firestore://PROJECT/COLLECTION` or";
    let option = "has an option other than `ids=plain` and `ids=upgrade`";
    let project = "does not name the project by its id";
    let database = "names a database that is neither `(default)` nor letters";
    let collection = "names a collection that is empty, `.`, `..` or";
    for (rest, says) in [
        ("", form),
        ("project/collection", form),
        ("/project/collection", form),
        ("//", form),
        ("//project", form),
        ("//project/a/b/c", form),
        ("///collection", project),
        ("//my project/collection", project),
        ("//../collection", project),
        ("//proj%65ct/collection", project),
        ("//user:password@host/collection", project),
        ("//project/", form),
        ("//project/..", form),
        ("//project/__all__", collection),
        ("//project/a#b", form),
        ("//project//collection", database),
        ("//project/(other)/collection", database),
        ("//project/collection?ids", option),
        ("//project/collection?ids=hashed", option),
        ("//project/collection?ids=plain&ids=upgrade", "has the option `ids` twice"),
        ("//project/collection?ids=PLAIN", option),
        ("//project/collection?idz=plain", "did you mean `ids`?"),
    ] {
        let url = format!("firestore:{rest}");
        // A URL that is taken for a good one finds nothing to connect to.
        let line = line(&begin(&url, &[(EMULATOR, OsStr::new("127.0.0.1:1"))]), 2);
        assert!(
            line.starts_with("--store: could not open the firestore store: the URL "),
            "{url}: {line}"
        );
        assert!(line.contains(says), "{url}: {line}");
    }
}

#[test]
fn an_emulator_that_does_not_answer_is_one_line_and_exit_code_3() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = taken.local_addr().expect("an address").to_string();
    drop(taken);
    for (host, says) in
        [(nobody.as_str(), "Connection refused"), ("no-such-host.invalid:8080", "no-such-host")]
    {
        let why = why_closed(&[(EMULATOR, OsStr::new(host))]);
        let expected = format!("no Firestore emulator answers at `{host}` (");
        // Variables that come from a file end in a line end.
        let with_blanks = why_closed(&[(EMULATOR, OsStr::new(&format!(" {host}\n")))]);
        assert!(with_blanks.starts_with(&expected), "{with_blanks}");
        assert!(why.starts_with(&expected), "{why}");
        assert!(why.contains(says), "{why}");
        let mends = format!("run `gcloud emulators firestore start --host-port={host}`, or unset");
        assert!(why.contains(&mends), "{why}");
    }
}

/// Accepted by the kernel, and never answered.
#[test]
fn an_emulator_that_is_silent_is_one_line_and_exit_code_3() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("an address").to_string();
    let why = why_closed(&[(EMULATOR, OsStr::new(&host))]);
    assert!(why.starts_with(&format!("no Firestore emulator answers at `{host}`")), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_emulator_is_one_line_and_exit_code_3() {
    let other = Process::start(&crate::place::Place::sqlite(), &[]);
    let host = other.address.to_string();
    let why = why_closed(&[(EMULATOR, OsStr::new(&host))]);
    assert!(why.starts_with(&format!("no Firestore emulator answers at `{host}`")), "{why}");
}

#[test]
fn a_variable_that_names_no_emulator_is_one_line_and_exit_code_2() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:port",
        "127.0.0.1:65536",
        "8080",
        ":8080",
        "a b:8080",
        "http://127.0.0.1:8080",
        "127.0.0.1:8080/v1",
        "name@127.0.0.1:8080",
        "::1",
        "a\nb:8080",
    ] {
        let wrong = [(EMULATOR, OsStr::new(host))];
        let why = line(&begin("firestore://ingle-test/sessions", &wrong), 2);
        assert!(why.contains("the emulator's host is `"), "{host}: {why}");
        let mends = format!("which is no host and port; run `export {EMULATOR}=");
        assert!(why.contains(&mends), "{host}: {why}");
    }
}

const MENDS: &str = "on your own machine run `gcloud auth application-default login`";

/// What the program says without any credentials but those that the environment leads to.
fn why_no_credentials(home: &Path, environment: &[(&str, &OsStr)]) -> String {
    let home = [("HOME", home.as_os_str())];
    let why = why_closed(&[&home, environment].concat());
    assert!(why.starts_with("there are no usable Google credentials ("), "{why}");
    assert!(why.contains(MENDS), "{why}");
    assert!(why.len() < 700, "{why}");
    why
}

/// Where there is no file of credentials, they come from the metadata server of Google's machines.
#[test]
fn no_credentials_are_one_line_and_exit_code_3() {
    let home = TempDir::new().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = taken.local_addr().expect("an address").to_string();
    let environment = [("GCE_METADATA_HOST", OsStr::new(&server))];
    // It accepts, and never answers.
    let why = why_no_credentials(home.path(), &environment);
    assert!(why.contains("(no token came in time)"), "{why}");
    drop(taken);
    let why = why_no_credentials(home.path(), &environment);
    assert!(why.contains("Connection refused"), "{why}");
}

#[test]
fn credentials_that_cannot_be_used_are_one_line_and_exit_code_3() {
    let home = TempDir::new().expect("a folder");
    let file = home.path().join("key.json");
    let why = |path: &Path| why_no_credentials(home.path(), &[(CREDENTIALS, path.as_os_str())]);
    assert!(why(&file).contains(&format!("credentials file {}", file.display())));
    assert!(why(home.path()).contains("credentials file"));
    for content in ["", "{", "[]", "{}", "{\"type\":\"x\"}", "{\"type\":\"service_account\"}"] {
        fs::write(&file, content).expect("it is written");
        let why = why(&file);
        assert!(why.contains("credentials"), "{content}: {why}");
    }
    let key = "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n";
    let account = format!(
        "{{\"type\":\"service_account\",\"project_id\":\"p\",\"private_key_id\":\"1\",\
         \"private_key\":\"{key}\",\"client_email\":\"a@b.c\",\"client_id\":\"1\"}}"
    );
    fs::write(&file, account).expect("it is written");
    assert!(!why(&file).contains("AAAA"), "no message shows a key");
}

#[test]
fn certificates_that_are_missing_are_named_with_what_mends_it() {
    let nowhere = OsStr::new("/nowhere");
    let why = why_closed(&[("SSL_CERT_FILE", nowhere), ("SSL_CERT_DIR", nowhere)]);
    assert!(why.starts_with("no CA certificates are installed"), "{why}");
    assert!(why.contains("; install the package `ca-certificates`, or copy its "), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_ids_have_the_cookie_of_the_tutorial_s_app() {
    let place = in_collection(testbed::firestore::hidane(), &super::collection(), "?ids=plain");
    let arguments = ["--listen", "127.0.0.1:0", "--store", &place.url, "--cookie-name", "x"];
    let emulator = (EMULATOR, OsStr::new(&place.environment[0].1));
    let quiet = ("RUST_LOG", OsStr::new("error"));
    let why = line(&run(&arguments, &[emulator, quiet]), 2);
    assert!(why.contains("ids=plain shares the cookie `session_id`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banner_tells_of_the_emulator_and_of_plain_ids() {
    let emulator: SocketAddr = testbed::firestore::hidane();
    let is_set = format!("emulator     FIRESTORE_EMULATOR_HOST is set to {emulator}: sessions are");
    for (options, cookie) in [
        ("", "cookie       id, for plain HTTP on this machine only\n"),
        ("?ids=plain", "cookie       session_id, for plain HTTP on this machine only; its ids are"),
        ("?ids=upgrade", "cookie       id, for plain HTTP on this machine only; a plain UUID in"),
    ] {
        let place = in_collection(emulator, &super::collection(), options);
        let process = Process::start(&place, &[]);
        let banner = &process.banner;
        assert!(banner.contains(&format!("sessions     {}\n", place.url)), "{banner}");
        assert!(banner.contains(&is_set), "{banner}");
        assert!(banner.contains("an answered view survives nothing"), "{banner}");
        assert!(banner.contains(cookie), "{banner}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_ids_are_secure_behind_https() {
    let emulator = testbed::firestore::hidane();
    let place = in_collection(emulator, &super::collection(), "?ids=plain");
    let process = Process::start(&place, &["--behind-https"]);
    let first = process.browser().get("/").await;
    let cookie = first.set_cookie().expect("a cookie");
    let (pair, attributes) = cookie.split_once("; ").expect("a pair");
    let uuid = pair.strip_prefix("session_id=").expect("the tutorial's name");
    assert_eq!(uuid.len(), 36);
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=31536000");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_process_says_nothing_more() {
    let process = Process::start(&place(testbed::firestore::hidane()), &[]);
    process.browser().get("/").await;
    process.terminate();
    assert_eq!(process.ended(), (Some(0), String::new()));
}
