//! What is counted, as Prometheus reads it: there from the start, and on an address of its own.

use std::net::SocketAddr;

use testbed::http::{Browser, raw::Raw};

use crate::{place::Place, process::Process};

/// Where a process says that it answers Prometheus.
pub(crate) fn address(process: &Process) -> SocketAddr {
    let line = process.banner.lines().find_map(|line| line.strip_prefix("metrics      http://"));
    let address = line.and_then(|line| line.strip_suffix("/metrics"));
    address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{}", process.banner))
}

pub(crate) async fn text(process: &Process) -> String {
    let answer = Browser::new(address(process)).get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.body
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
}

#[tokio::test]
async fn each_counter_is_told_with_its_help_before_it_counts() {
    let process = Process::start(&Place::sqlite(), &["--metrics", "127.0.0.1:0"]);
    let text = text(&process).await;
    for method in ["GET", "POST"] {
        for status in [200, 500, 503] {
            let labels = format!("{{method=\"{method}\",status=\"{status}\"}} ");
            let count = format!("http_request_duration_seconds_count{labels}");
            assert_eq!(value(&text, &count), Some(0.0), "{text}");
        }
    }
    let of_store = [
        "loads",
        "commits",
        "coalesced",
        "conflicts",
        "replays",
        "unknown_resolved",
        "unknown_unresolved",
        "regressions",
        "touches",
        "touches_skipped",
        "swept",
        "cross_key",
        "refused",
        "new_sessions_refused",
    ];
    let of_none =
        ["interrupted", "lost_updates", "unknown_ids", "duplicate_cookies", "cross_origin"];
    let of_store = of_store.map(|name| (format!("ingle_{name}_total"), "{store=\"sqlite\"}"));
    let of_none = of_none.map(|name| (format!("ingle_{name}_total"), ""));
    for (name, labels) in of_store.into_iter().chain(of_none) {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}: {text}");
        assert!(text.contains(&format!("# TYPE {name} counter\n")), "{name}: {text}");
        assert_eq!(value(&text, &format!("{name}{labels} ")), Some(0.0), "{name}: {text}");
    }
    for verb in ["load", "commit", "touch", "destroy", "list"] {
        let count = format!("ingle_store_seconds_count{{store=\"sqlite\",verb=\"{verb}\"}} ");
        assert_eq!(value(&text, &count), Some(0.0), "{text}");
    }
    assert!(text.contains("# TYPE ingle_store_seconds histogram\n"), "{text}");
}

#[tokio::test]
async fn requests_and_calls_of_the_store_are_measured_and_no_visitor_sees_it() {
    let process = Process::start(&Place::sqlite(), &["--metrics", "127.0.0.1:0"]);
    let mut browser = process.browser();
    browser.get("/").await;
    browser.get("/").await;
    assert_eq!(browser.get("/metrics").await.status, 404);
    let mut connection = Raw::open(process.address).await.expect("a connection");
    connection.write(b"BREW / HTTP/1.1\r\nHost: test\r\n\r\n").await.expect("sent");
    let brewed = connection.read().await.expect("an answer").status;
    let text = text(&process).await;
    let requests = |method: &str, status: u16| {
        let labels = format!("{{method=\"{method}\",status=\"{status}\"}}");
        value(&text, &format!("http_request_duration_seconds_count{labels} "))
    };
    assert_eq!(requests("GET", 200), Some(2.0), "{text}");
    assert_eq!(requests("GET", 404), Some(1.0), "{text}");
    assert_eq!(requests("other", brewed), Some(1.0), "{text}");
    assert_eq!(value(&text, "ingle_commits_total{store=\"sqlite\"} "), Some(2.0), "{text}");
    let commits = "ingle_store_seconds_count{store=\"sqlite\",verb=\"commit\"} ";
    assert_eq!(value(&text, commits), Some(2.0), "{text}");
    assert_eq!(value(&text, "http_requests_in_flight "), Some(0.0), "{text}");
}

#[test]
fn an_address_in_use_is_one_line_and_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let arguments = ["--listen", "127.0.0.1:0", "--store", "memory:", "--metrics", &address];
    let line = crate::options::line(&crate::process::run(&arguments, &[]), 1);
    let begin = format!("could not listen on {address} for --metrics: ");
    assert!(line.starts_with(&begin), "{line}");
}
