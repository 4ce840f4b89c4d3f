//! Traces and metrics at a real collector of OpenTelemetry: what it was sent, it prints.

use std::process::Command;

use testbed::{Server, collector, http::raw};
use tokio::time::{sleep, timeout};

use crate::{
    place::Place,
    process::{PATIENCE, PAUSE, Process, patient},
};

fn start() -> Server {
    Server::start(collector::program().expect("it is installed")).expect("it starts")
}

/// The app, which sends to a collector. What it sends and does not fill a batch comes at its end.
fn program(collector: &Server) -> Command {
    let mut program = patient();
    program.args(["--lab", "--listen", "127.0.0.1:0", "--store", &Place::sqlite().url]);
    program.args(["--otlp", &format!("http://{}", collector.address())]);
    program
}

/// What was printed, when it has all of these.
async fn told(collector: &Server, all: &[&str]) -> String {
    let until = async {
        loop {
            let log = collector.log();
            if all.iter().all(|part| log.contains(part)) {
                return log;
            }
            sleep(PAUSE).await;
        }
    };
    let late = |_| panic!("{all:?} is not all in {}", collector.log());
    timeout(PATIENCE, until).await.unwrap_or_else(late)
}

/// The spans that were printed, each with its lines.
fn spans(log: &str) -> impl Iterator<Item = &str> {
    log.split("Span #").skip(1)
}

/// The value of a line of a span, such as `Trace ID       : 4bf9…`.
fn value<'a>(span: &'a str, name: &str) -> &'a str {
    let lines = span.lines().map(str::trim);
    let mut values =
        lines.filter_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    values.next().map(str::trim).unwrap_or_else(|| panic!("no {name} in {span}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_sent_each_request_as_a_span_with_the_calls_of_the_store_within() {
    let collector = start();
    let process = Process::spawn(program(&collector));
    let mut browser = process.browser();
    let begun = browser.get("/").await;
    let cookie = begun.begun().expect("a session began").to_owned();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let cookie_line = format!("Cookie: {cookie}");
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    let lines = [cookie_line.as_bytes(), parent.as_bytes()];
    assert_eq!(raw::get(process.address, "/", &lines).await.views(), 2);
    browser.get("/nowhere/4711").await;
    browser.get("/health").await;
    browser.get("/lab/panic").await;
    process.terminate();
    let (code, _) = process.ended();
    assert_eq!(code, Some(0));

    let log = told(&collector, &["url.path: Str(/lab/panic)"]).await;
    let of_trace: Vec<_> = spans(&log).filter(|span| value(span, "Trace ID") == trace).collect();
    let requests: Vec<_> = of_trace.iter().filter(|span| value(span, "Name") == "GET /").collect();
    let [request] = requests[..] else { panic!("{of_trace:?}") };
    assert_eq!(value(request, "Parent ID"), "00f067aa0ba902b7");
    assert_eq!(value(request, "Kind"), "SPAN_KIND_SERVER");
    for attribute in [
        "http.request.method: Str(GET)",
        "http.response.status_code: Int(200)",
        "http.route: Str(/)",
        "url.path: Str(/)",
        "session: Str(",
    ] {
        assert!(request.contains(attribute), "{attribute} in {request}");
    }
    let within = of_trace.iter().filter(|span| value(span, "Parent ID") == value(request, "ID"));
    let verbs: Vec<_> = within.filter(|span| value(span, "Name") == "ingle_store").collect();
    assert!(verbs.iter().any(|span| span.contains("verb: Str(commit)")), "{verbs:?}");

    // A path is no name: visitors could make names without bound.
    assert!(spans(&log).any(|span| value(span, "Name") == "GET" && span.contains("/nowhere/4711")));
    assert!(!log.contains("/health"), "{log}");
    let failed = spans(&log).find(|span| span.contains("url.path: Str(/lab/panic)"));
    assert_eq!(value(failed.expect("it was sent"), "Status code"), "STATUS_CODE_ERROR");
    let (_, id) = cookie.split_once('=').expect("it has a name");
    assert!(!log.contains(id), "an id is in {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_and_prometheus_are_told_the_same_figures() {
    let collector = start();
    let mut program = program(&collector);
    program.args(["--metrics", "127.0.0.1:0"]).env("OTEL_SERVICE_NAME", "of the test");
    let process = Process::spawn(program);
    process.browser().get("/").await;
    let text = crate::metrics::text(&process).await;
    assert!(text.contains("ingle_commits_total{store=\"sqlite\"} 1\n"), "{text}");
    process.terminate();
    assert_eq!(process.ended().0, Some(0));
    let log = told(&collector, &["Name: ingle_commits_total"]).await;
    assert!(log.contains("service.name: Str(of the test)"), "{log}");
    let metric = log.split("Metric #").find(|metric| metric.contains("Name: ingle_commits_total"));
    let metric = metric.expect("it was sent");
    for part in ["Description: Commits that succeeded.", "store: Str(sqlite)", "Value: 1\n"] {
        assert!(metric.contains(part), "{part:?} in {metric}");
    }
    let metric = log.split("Metric #").find(|metric| metric.contains("Name: ingle_store_seconds"));
    assert!(metric.is_some_and(|metric| metric.contains("ExplicitBounds #0: 0.0005")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_all_is_answered_and_the_log_says_what_is_wrong() {
    let mut collector = start();
    let mut program = program(&collector);
    program.env("OTEL_BSP_SCHEDULE_DELAY", "10");
    collector.kill();
    let process = Process::spawn(program);
    let mut browser = process.browser();
    for views in 1..=3 {
        assert_eq!(browser.get("/").await.views(), views);
    }
    process.terminate();
    let (code, log) = process.ended();
    assert_eq!(code, Some(0));
    assert!(log.contains("ERROR") || log.contains("WARN"), "{log}");
    // The lines of requests are as they are without it.
    assert!(log.lines().any(|line| line.contains("Z  GET / 200 ")), "{log}");
}

#[test]
fn a_collector_that_is_no_address_is_refused() {
    for wrong in ["127.0.0.1:4317", "grpc://127.0.0.1:4317", "nonsense"] {
        let output = crate::process::run(&["--otlp", wrong], &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        let line = format!("greetings: --otlp {wrong:?}: it takes the address of a collector");
        assert!(output.status.code() == Some(2) && said.starts_with(&line), "{said}");
    }
}
