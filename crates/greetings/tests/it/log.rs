//! The log: what it says of each request and of the life of sessions, and what it never says.

use std::{
    fs,
    io::{Seek as _, Write as _},
    process::Stdio,
};

use serde_json::Value;
use tempfile::{NamedTempFile, tempfile};
use testbed::http::raw::{self, Raw};

use crate::{
    place::Place,
    process::{Process, patient},
};

const TRACEPARENT: &[u8] = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What a program logs while a visitor comes, asks for this and that, and leaves.
struct Logged {
    stdout: String,
    stderr: String,
    /// What logs call the session.
    handle: String,
    /// The value of its cookie.
    id: String,
}

async fn logged(environment: &[(&str, &str)]) -> Logged {
    let place = Place::sqlite();
    let stdout = NamedTempFile::new().expect("a file");
    let mut program = patient();
    program.args(["--lab", "--listen", "127.0.0.1:0", "--store", &place.url]);
    program.args(["--metrics", "127.0.0.1:0"]);
    // Its lines are as long as the names of types.
    program.env("RUST_BACKTRACE", "0");
    program.envs(environment.iter().copied()).stdout(stdout.reopen().expect("a file"));
    let process = Process::spawn(program);
    let mut browser = process.browser();
    assert_eq!(browser.get("/?query=s3cret").await.status, 200);
    let cookie = browser.cookie.clone().expect("a cookie");
    let line = format!("Cookie: {cookie}");
    assert_eq!(
        raw::get(process.address, "/lab/data", &[line.as_bytes(), TRACEPARENT]).await.status,
        200
    );
    assert_eq!(browser.get("/nowhere/%1b%5b2J").await.status, 404);
    let long = "BREW".repeat(1000);
    // Some programs take the first of these, and some refuse it.
    for request in ["GET /a\u{9b}2J\u{202e}", &format!("{long} /"), "CONNECT a:1"] {
        let mut connection = Raw::open(process.address).await.expect("a connection");
        let request = format!("{request} HTTP/1.1\r\nHost: test\r\n\r\n");
        connection.write(request.as_bytes()).await.expect("sent");
        assert_ne!(connection.read().await.expect("an answer").status, 200);
    }
    for probe in ["/health", "/ready"] {
        assert_eq!(browser.get(probe).await.status, 200);
    }
    assert_eq!(browser.get("/lab/panic").await.status, 500);
    assert_eq!(browser.post("/logout").await.status, 200);
    process.terminate();
    let (code, stderr) = process.ended();
    assert_eq!(code, Some(0), "{stderr}");
    let stdout = fs::read_to_string(stdout.path()).expect("text");
    let began = [&stdout, &stderr].into_iter().find_map(|log| handle_in(log));
    let id = cookie.split_once('=').expect("a pair").1.to_owned();
    Logged { handle: began.unwrap_or_default(), stdout, stderr, id }
}

/// The handle of the session that began.
fn handle_in(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("a session began"))?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_hexdigit).collect::<String>();
    ["session=", "\"session\":\""]
        .iter()
        .find_map(|before| Some(digits(line.split_once(before)?.1)))
}

impl Logged {
    fn entries(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    fn tells_no_secret(&self) {
        for log in [&self.stdout, &self.stderr] {
            assert!(log.chars().all(|sign| !sign.is_control() || sign == '\n'), "{log:?}");
            assert!(!log.contains('\u{202e}'), "a visitor turns the line round: {log}");
            assert!(log.lines().all(|line| line.len() < 1000), "a visitor makes lines long: {log}");
            for secret in ["s3cret", "query", &self.id, "?"] {
                assert!(!log.contains(secret), "{secret}: {log}");
            }
        }
    }
}

/// What Cloud Run sets, and a project.
const CLOUD_RUN: [(&str, &str); 4] = [
    ("K_SERVICE", "shop"),
    ("K_REVISION", "shop-00007"),
    ("GOOGLE_CLOUD_PROJECT", "my-project"),
    ("NO_COLOR", ""),
];

#[tokio::test]
async fn each_request_is_a_line_for_people_on_stderr() {
    let logged = logged(&[]).await;
    let (log, handle) = (&logged.stderr, &logged.handle);
    assert_eq!(handle.len(), 16, "{log}");
    assert!(
        log.contains(&format!(" INFO ingle::events: a session began session={handle}\n")),
        "{log}"
    );
    for (request, session) in [
        (" GET / 200 ", handle.as_str()),
        (" GET /lab/data 200 ", handle),
        // Axum and actix-web differ in what is told of these.
        (" GET /nowhere/%1b%5b2J 404 ", "…"),
        (" GET /lab/panic 500 ", "…"),
        ("POST /logout 200 ", ""),
        ("CONNECT - 404 ", ""),
        ("BREW… / 405 ", ""),
    ] {
        let line = log.lines().find(|line| line.contains(request));
        let line = line.unwrap_or_else(|| panic!("{request}: {log}"));
        let ends = match session {
            "" => line.ends_with(" ms"),
            "…" => line.ends_with(" ms") || line.ends_with(handle),
            session => line.ends_with(session),
        };
        assert!(line.contains(" ms") && ends, "{line}");
    }
    assert!(!log.contains('\u{1b}'), "a file is no terminal");
    assert_eq!(log.matches("stopping").count(), 1, "two servers stop, and it is said once: {log}");
    assert!(!log.contains("/health") && !log.contains("/ready"), "all is well: {log}");
    assert_eq!(logged.stdout, "");
    logged.tells_no_secret();
}

#[tokio::test]
async fn on_cloud_run_each_line_is_json_with_its_trace() {
    let logged = logged(&CLOUD_RUN).await;
    let entries = logged.entries();
    let of = |path: &str| {
        let mut found = entries.iter().filter(|entry| entry["httpRequest"]["requestUrl"] == path);
        found.next().unwrap_or_else(|| panic!("{path}: {}", logged.stdout))
    };
    let home = of("/");
    assert_eq!((&home["severity"], &home["message"]), (&"INFO".into(), &"GET / 200".into()));
    assert_eq!(home["httpRequest"]["requestMethod"], "GET");
    assert_eq!(home["httpRequest"]["status"], 200);
    assert!(home["httpRequest"]["latency"].as_str().expect("text").ends_with('s'));
    assert_eq!(home["logging.googleapis.com/labels"]["session"], *logged.handle);
    assert_eq!(home["logging.googleapis.com/trace"], Value::Null);
    let traced = of("/lab/data");
    let trace = "projects/my-project/traces/4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(traced["logging.googleapis.com/trace"], trace);
    assert_eq!(traced["logging.googleapis.com/spanId"], "00f067aa0ba902b7");
    assert_eq!(traced["logging.googleapis.com/trace_sampled"], true);
    assert_eq!(of("/nowhere/%1b%5b2J")["severity"], "WARNING");
    assert_eq!(of("/lab/panic")["severity"], "ERROR");
    let began = entries.iter().find(|entry| entry["message"] == "a session began");
    let began = began.unwrap_or_else(|| panic!("{}", logged.stdout));
    assert_eq!(began["logging.googleapis.com/labels"]["session"], *logged.handle);
    assert!(logged.stderr.is_empty(), "all is JSON: {}", logged.stderr);
    logged.tells_no_secret();
}

#[tokio::test]
async fn a_panic_is_an_error_report_that_says_where_it_was() {
    let logged = logged(&CLOUD_RUN).await;
    let reports: Vec<Value> =
        logged.entries().into_iter().filter(|entry| entry.get("@type").is_some()).collect();
    let [report] = &reports[..] else { panic!("{reports:#?}") };
    assert_eq!(report["severity"], "ERROR");
    assert_eq!(report["message"], "panicked: asked for by /lab/panic");
    assert_eq!(report["serviceContext"]["service"], "shop");
    assert_eq!(report["serviceContext"]["version"], "shop-00007");
    let at = &report["context"]["reportLocation"];
    assert!(at["filePath"].as_str().expect("text").ends_with("lab.rs"), "{at}");
    assert_eq!(
        at["lineNumber"].to_string(),
        report["logging.googleapis.com/sourceLocation"]["line"].as_str().expect("text")
    );
}

#[tokio::test]
async fn the_filter_leaves_out_requests_and_the_format_can_be_asked_for() {
    let quiet = logged(&[("RUST_LOG", "warn")]).await;
    assert!(!quiet.stderr.contains("GET"), "{}", quiet.stderr);
    let asked = logged(&[("RUST_LOG", "warn"), ("GAE_SERVICE", "default")]).await;
    let entries = asked.entries();
    assert!(entries.iter().all(|entry| entry.get("httpRequest").is_none()), "{}", asked.stdout);
    assert_eq!(entries[0]["severity"], "WARNING", "of the store: {}", asked.stdout);
    let is_warning =
        |entry: &&Value| entry["message"].as_str().expect("text").contains("on App Engine");
    assert!(is_warning(&&entries[0]), "{}", asked.stdout);
    assert_eq!(entries.iter().filter(is_warning).count(), 1, "said once: {}", asked.stdout);
    let empty = logged(&[("RUST_LOG", "")]).await;
    assert!(empty.stderr.contains(" GET / 200 "), "empty is not set: {}", empty.stderr);
}

#[tokio::test]
async fn each_line_of_json_is_what_protobuf_says_of_it() {
    let logged = logged(&CLOUD_RUN).await;
    let read = |log: &str| {
        let mut file = tempfile().expect("a file");
        file.write_all(log.as_bytes()).and_then(|()| file.rewind()).expect("it is written");
        let mut reader = testbed::protobuf::reader();
        reader.stdin(Stdio::from(file)).output().expect("Python runs")
    };
    let taken = read(&logged.stdout);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let lines = logged.stdout.lines().count();
    assert_eq!(String::from_utf8_lossy(&taken.stdout).trim(), lines.to_string());
    assert!(lines > 5, "{}", logged.stdout);
    for (right, wrong) in [
        ("\"severity\":\"WARNING\"", "\"severity\":\"WARN\""),
        ("\"requestUrl\":", "\"requestURI\":"),
        ("\"status\":404", "\"status\":\"none\""),
        ("\"latency\":\"0", "\"latency\":\"about 0"),
        ("\"time\":\"20", "\"time\":\"on 20"),
    ] {
        let planted = logged.stdout.replacen(right, wrong, 1);
        assert_ne!(planted, logged.stdout, "{right}");
        assert!(!read(&planted).status.success(), "{wrong} is found");
    }
}
