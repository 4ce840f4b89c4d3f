//! SIGTERM and SIGINT: what had begun is answered and kept, and the process ends in time.

use rustix::process::Signal;
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

use crate::{
    crashes::{Load, views, visitors},
    place::Place,
    process::{PAUSE, Process},
};

on_each_store! {
    sigterm_under_load_answers_what_had_begun_and_keeps_it
}

async fn sigterm_under_load_answers_what_had_begun_and_keeps_it(place: Place) {
    let process = Process::start(&place, &[]);
    let load = Load::start(visitors(&process).await);
    let mut slow = JoinSet::new();
    for field in ["one", "two", "three", "four"] {
        let mut browser = process.browser();
        slow.spawn(async move {
            let target = format!("/lab/slow-write/{field}?value=late");
            (browser.post(&target).await.status, browser)
        });
    }
    process.until_waiting(4).await;
    load.until_answered(100).await;

    // They go on when the process has been asked to stop: then nobody else could tell them to.
    process.browser().get("/lab/release?ms=2000").await;
    process.terminate();
    assert_eq!(process.ended().0, Some(0));

    let process = Process::start(&place, &[]);
    for (status, browser) in slow.join_all().await {
        assert_eq!(status, 204);
        let data = browser.window(process.address).data().await;
        assert!(data.as_object().expect("an object").values().all(|value| value == "late"));
        assert_eq!(data.as_object().expect("an object").len(), 1);
    }
    for (browser, answered) in load.ended().await {
        let counted = views(&mut browser.window(process.address)).await - 1;
        assert_eq!(counted, answered, "what was not answered had not begun");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_does_not_keep_the_process() {
    let place = Place::sqlite();
    let process = Process::start(&place, &["--drain-timeout", "1s"]);
    let mut browser = process.browser();
    let mut request = JoinSet::new();
    request.spawn(async move { browser.try_get("/lab/slow-read").await });
    process.until_waiting(1).await;
    process.terminate();
    let (code, log) = process.ended();
    assert_eq!(code, Some(0));
    assert!(log.contains("stopped before all requests were answered"), "{log}");
    assert!(request.join_all().await[0].is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let place = Place::sqlite();
    let process = Process::start(&place, &[]);
    let mut browser = process.browser();
    let mut request = JoinSet::new();
    request.spawn(async move { browser.try_get("/lab/slow-read").await });
    process.until_waiting(1).await;
    process.terminate();
    // Two signals at once may count as one, so the second waits until the first was seen.
    while TcpStream::connect(process.address).await.is_ok() {
        sleep(PAUSE).await;
    }
    process.signal(Signal::INT);
    assert_eq!(process.ended().0, Some(130));
}

#[tokio::test]
async fn an_idle_process_ends_with_either_signal_and_says_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::sqlite();
        let process = Process::start(&place, &[]);
        let mut idle = process.browser();
        idle.get("/").await;
        process.signal(signal);
        assert_eq!(process.ended(), (Some(0), String::new()));
    }
}
