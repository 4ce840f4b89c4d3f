//! What a month costs, through the built program.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Ended, place::Place, program, run};

fn cost(arguments: &[&str]) -> Ended {
    run(&Place::sqlite(), &[&["cost"], arguments].concat())
}

#[track_caller]
fn dollars(ended: Ended, way: &str) -> f64 {
    let report = ended.ok().json();
    let ways = report["ways"].as_array().unwrap();
    let way = ways.iter().find(|one| one["name"].as_str().unwrap().contains(way));
    way.unwrap_or_else(|| panic!("{report:#}"))["dollars"].as_f64().unwrap()
}

/// By hand: 20,000 visitors and 500,000 requests a day. Of these 150,000 read and 150,000 change; the first
/// change of each visitor is the create, so 130,000 commits, each with a load. A read moves the idle deadline
/// at most once in 3 minutes, so 3 times in a visit of 10: 60,000 touches.
/// Reads: 150,000 + 130,000 + 60,000 = 340,000; 290,000 × 30 × $0.30/million = $2.61.
/// Writes: 20,000 + 130,000 + 60,000 = 210,000; 190,000 × 30 × $0.90/million = $5.13.
/// TTL deletes: 20,000 × 30 × $0.10/million = $0.06. Together $7.80; less than 1 GiB.
/// Cloud Run: 15 million requests of 50 ms are 750,000 s: 570,000 × $0.000024 = $13.68; 375,000 GiB-s:
/// 15,000 × $0.0000025 = $0.04; 13 million × $0.40/million = $5.20. Together $18.92.
#[test]
fn a_month_is_computed_as_by_hand() {
    let load = ["--visitors", "20,000", "--requests", "500000", "--updates", "30%", "--json"];
    let report = cost(&load).ok().json();
    let calls = &report["firestore_each_day"];
    assert_eq!((&calls["reads"], &calls["writes"]), (&340_000.0.into(), &210_000.0.into()));
    assert_eq!(calls["ttl_deletes"], 20_000.0);
    let ways = report["ways"].as_array().unwrap();
    let cloud_run = ways.iter().find(|way| way["name"] == "Cloud Run and Firestore").unwrap();
    let parts: Vec<_> =
        cloud_run["parts"].as_array().unwrap().iter().map(|part| &part["dollars"]).collect();
    assert_eq!(parts, [&Value::from(18.92), &Value::from(7.8)]);
    // App Engine: 730 × $0.0597 + $0.40 = $43.98, and the same Firestore.
    assert_eq!(dollars(cost(&load), "App Engine"), 51.78);
    // In a multi-region twice the price of each call: $15.60.
    let multi = cost(&[&load[..], &["--multi-region"]].concat());
    assert_eq!(dollars(multi, "App Engine"), 59.58);
    // With affinity no commit needs a load: 130,000 reads fewer, $1.17.
    let affinity = cost(&[&load[..], &["--affinity"]].concat());
    assert_eq!(dollars(affinity, "App Engine"), 50.61);
}

#[test]
fn people_get_a_table_with_bars_and_the_date_of_the_prices() {
    let ended = cost(&["--visitors", "20000", "--requests", "500000"]).ok();
    for part in ["Cloud Run and Firestore", "App Engine flex and Firestore", "Redis", "PostgreSQL"]
    {
        assert!(ended.stdout.contains(part), "{ended:?}");
    }
    let prices = cost(&["--json"]).ok().json();
    let date = prices["prices"]["date"].as_str().unwrap();
    assert!(ended.stdout.contains(&format!("Prices of {date}: ")), "{ended:?}");
    assert!(ended.stdout.contains("████"), "{ended:?}");
}

#[test]
fn prices_can_be_replaced_by_a_file() {
    let place = Place::sqlite();
    let file = place.folder().join("prices.json");
    let own = run(&place, &["cost", "--print-prices"]).ok().stdout;
    let dearer = own.replace("\"vcpu_hour\": 0.0526", "\"vcpu_hour\": 1.0526");
    assert_ne!(own, dearer);
    std::fs::write(&file, dearer.replace("\"date\": \"", "\"date\": \"the day after ")).unwrap();
    let path = file.to_str().unwrap();
    let before = dollars(cost(&["--json"]), "App Engine");
    let after = cost(&["--json", "--prices", path]);
    let date = after.json()["prices"]["date"].clone();
    assert!(date.as_str().unwrap().starts_with("the day after"));
    assert_eq!(((dollars(after, "App Engine") - before) * 100.0).round(), 73_000.0);
    std::fs::write(&file, own.replace("\"vcpu_hour\"", "\"vcpu_day\"")).unwrap();
    let wrong = cost(&["--prices", path]).with(2);
    assert!(
        wrong.stderr.contains("vcpu_day") && wrong.stderr.contains("--print-prices"),
        "{wrong:?}"
    );
    let missing = cost(&["--prices", "/missing"]).with(2);
    assert_eq!(missing.stderr.lines().count(), 1, "{missing:?}");
}

/// Answers each request with the next of these texts, and then with the last.
fn metrics(texts: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (n, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            let text = texts[n.min(texts.len() - 1)];
            let _ = client.read(&mut [0; 4096]).unwrap();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close", text.len());
            // Who does not want to read it has gone.
            let _ = client.write_all(format!("{head}\r\n\r\n{text}").as_bytes());
        }
    });
    url
}

#[test]
fn a_running_app_is_counted_by_what_its_metrics_grow() {
    let url = metrics(&[
        "ingle_loads_total{store=\"firestore\"} 100\ningle_commits_total{store=\"firestore\"} 1000\n",
        "ingle_loads_total{store=\"firestore\"} 400\ningle_commits_total{store=\"firestore\"} 1100\n",
    ]);
    let options = ["--from", &url, "--for", "1s", "--visitors", "0", "--json"];
    let report = cost(&options).ok().json();
    let each_day = &report["each_day"];
    let (loads, commits) =
        (each_day["loads"].as_f64().unwrap(), each_day["commits"].as_f64().unwrap());
    // How long it was counted, nobody knows to the millisecond: at least a second, at least 300 loads.
    assert!(loads > 0.0 && loads <= 300.0 * 86_400.0, "{report}");
    assert!((loads / commits - 3.0).abs() < 0.001, "{report}");
    let nothing = metrics(&["up 1\n"]);
    let ended = cost(&["--from", &nothing, "--for", "1s"]).with(4);
    assert!(ended.stderr.contains("no counters of ingle"), "{ended:?}");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/metrics", gone.local_addr().unwrap());
    drop(gone);
    cost(&["--from", &address, "--for", "1s"]).with(6);
}

#[test]
fn what_no_day_can_be_told_by_is_no_number() {
    let lower = metrics(&["ingle_loads_total 100\n", "ingle_loads_total 5\n"]);
    let idle = metrics(&["ingle_loads_total 100\n"]);
    let endless = metrics(vec![&*" ".repeat((16 << 20) + 1).leak()].leak());
    for (url, code, says) in [
        (lower, 1, "the counters are lower than they were"),
        (idle, 1, "no session was used within 1s"),
        (endless, 4, "more than any metrics are"),
    ] {
        let ended = cost(&["--from", &url, "--for", "1s", "--json"]).with(code);
        assert!(ended.stderr.contains(says) && ended.stdout.is_empty(), "{ended:?}");
    }
}

#[test]
fn ctrl_c_ends_a_count_at_once() {
    let url = metrics(&["ingle_loads_total 100\n"]);
    let mut program = program(&Place::sqlite());
    program.args(["cost", "--from", &url, "--for", "1h"]).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ingle: counting for 3600s");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(said.next().unwrap().unwrap(), "ingle: the count was interrupted");
}

#[test]
fn visitors_are_guessed_by_the_requests() {
    let report = cost(&["--requests", "5000000", "--json"]).ok().json();
    assert_eq!(report["each_day"]["sessions"], 500_000.0);
    let many = cost(&["--visitors", "1e12", "--requests", "1e12"]).ok().stdout;
    assert!(many.contains(" 96,451 instances "), "{many}");
}

#[test]
fn a_number_that_is_none_is_one_line() {
    for arguments in [
        &["--visitors", "many"][..],
        &["--reads", "0.3"],
        &["--reads", "60%", "--updates", "50%"],
        &["--from", "localhost:9090"],
        &["--for", "1m"],
        &["--from", "http://127.0.0.1:1/", "--for", "0s"],
        &["--visitors", "1,5"],
        &["--visitors", "1e300"],
        &["--visitors", "20", "--requests", "10"],
    ] {
        let ended = cost(arguments).with(2);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}
