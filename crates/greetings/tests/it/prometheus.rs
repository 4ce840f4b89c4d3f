//! Prometheus itself: it takes what the app tells, and finds what rules and dashboard ask for.

use std::{
    fs,
    io::{Seek as _, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::{TempDir, tempfile};
use testbed::{Server, http::Browser, prometheus};
use tokio::time::{sleep, timeout};

use crate::{
    metrics,
    place::Place,
    process::{PATIENCE, PAUSE, Process},
};

fn promtool(arguments: &[&str], folder: &Path, stdin: &str) -> Output {
    let mut file = tempfile().expect("a file");
    file.write_all(stdin.as_bytes()).and_then(|()| file.rewind()).expect("it is written");
    let mut tool = Command::new(prometheus::promtool());
    tool.args(arguments).current_dir(folder).stdin(Stdio::from(file));
    tool.output().expect("promtool runs")
}

fn passes(output: &Output) -> bool {
    output.status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_mend_in_the_text() {
    let process = Process::start(&Place::sqlite(), &["--metrics", "127.0.0.1:0"]);
    process.browser().get("/").await;
    let text = metrics::text(&process).await;
    let checked = promtool(&["check", "metrics"], Path::new("."), &text);
    assert!(passes(&checked) && checked.stderr.is_empty(), "{checked:?}");
    let unhelpful = text.replace("# HELP ingle_loads_total", "# HULP ingle_loads_total");
    assert!(!passes(&promtool(&["check", "metrics"], Path::new("."), &unhelpful)));
}

#[test]
fn the_rules_pass_their_tests_and_a_fault_in_them_does_not() {
    let files = prometheus::files();
    for check in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        let checked = promtool(&check, &files, "");
        assert!(passes(&checked), "{check:?}: {checked:?}");
    }
    let read = |name: &str| fs::read_to_string(files.join(name)).expect("a file");
    let rules = read("alerts.yml");
    for (right, wrong) in [
        ("> 0.01", "> 0.1"),
        ("ingle_regressions_total[1h]", "ingle_regression_total[1h]"),
        ("job=\"greetings\"} > 400", "job=\"greetings\"} > 399"),
    ] {
        let copy = TempDir::new().expect("a folder");
        assert!(rules.contains(right), "{right}");
        fs::write(copy.path().join("alerts.yml"), rules.replace(right, wrong)).expect("written");
        fs::write(copy.path().join("alerts.test.yml"), read("alerts.test.yml")).expect("written");
        assert!(
            !passes(&promtool(&["test", "rules", "alerts.test.yml"], copy.path(), "")),
            "{wrong}"
        );
    }
}

/// What a Prometheus answers to a request of its API.
async fn ask(server: &Server, path: &str) -> Value {
    let answer = Browser::new(server.address()).get(path).await;
    let json = answer.json();
    assert_eq!(json["status"], "success", "{path}: {json}");
    json["data"].clone()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Whether an expression finds a number.
async fn finds(server: &Server, expression: &str) -> bool {
    let data = ask(server, &format!("/api/v1/query?query={}", escaped(expression))).await;
    let found = data["result"].as_array().expect("a list");
    found.iter().any(|sample| sample["value"][1].as_str().is_some_and(|value| value != "NaN"))
}

/// What each alert compares with its threshold, and what each panel shows.
async fn expressions(server: &Server) -> Vec<String> {
    let rules = ask(server, "/api/v1/rules").await;
    let groups = rules["groups"].as_array().expect("a list").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("a list"));
    let rules = rules.map(|rule| {
        let query = rule["query"].as_str().expect("an expression");
        let compared = query.rsplit_once(" > ").or_else(|| query.rsplit_once(" == "));
        compared.expect("a threshold").0.to_owned()
    });
    let dashboard = fs::read_to_string(prometheus::files().join("dashboard.json"));
    let dashboard: Value = serde_json::from_str(&dashboard.expect("a file")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("a list"));
    rules.chain(targets.map(|target| target["expr"].as_str().expect("one").to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_expression_of_rules_and_dashboard_finds_a_number() {
    let _beside = crate::place::ALONE.read().await;
    let process = Process::start(&Place::sqlite(), &["--metrics", "127.0.0.1:0"]);
    let server = prometheus::program(metrics::address(&process)).and_then(Server::start);
    let server = server.expect("Prometheus starts");
    let expressions = expressions(&server).await;
    assert!(expressions.len() > 30, "{expressions:?}");
    let mut visitor = process.browser();
    for expression in &expressions {
        let found = async {
            while !finds(&server, expression).await {
                visitor.get("/").await;
                sleep(PAUSE * 20).await;
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{expression} finds nothing"));
    }
    assert!(!finds(&server, "ingle_regression_total").await, "a name that is mistyped is found");
}
