//! What happens beyond the limits: a refusal at once, and nothing worse.

use std::time::Duration;

use testbed::http::raw::Raw;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    place::Place,
    process::{PATIENCE, PAUSE, Process},
};

const IN_FLIGHT: usize = 4;

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_health_is_still_answered() {
    let place = Place::sqlite();
    let process = Process::start(&place, &["--in-flight", &IN_FLIGHT.to_string()]);
    let mut slow = JoinSet::new();
    for _ in 1..IN_FLIGHT {
        let mut browser = process.browser();
        slow.spawn(async move { browser.get("/lab/slow-read").await });
    }
    process.until_waiting(IN_FLIGHT - 1).await;
    // One place is left, for which these two compete: nobody else can tell that it is taken.
    let mut last = process.browser();
    slow.spawn(async move {
        loop {
            let answer = last.get("/lab/slow-read").await;
            if answer.status != 503 {
                break answer;
            }
            sleep(PAUSE).await;
        }
    });
    let mut other = process.browser();
    let full = async {
        loop {
            let answer = other.get("/lab/data").await;
            if answer.status != 200 {
                break answer;
            }
            sleep(PAUSE).await;
        }
    };
    let refused = timeout(PATIENCE, full).await.expect("it is full");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.set_cookie(), None);
    assert_eq!(other.get("/healthz").await.status, 200);
    // The last one has its place, and waits a moment later.
    let release = async {
        loop {
            other.get("/lab/release").await;
            sleep(PAUSE).await;
        }
    };
    let answers = tokio::select! {
        answers = slow.join_all() => answers,
        () = release => unreachable!("it goes on for ever"),
    };
    for answer in answers {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(other.get("/").await.views(), 1);
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut_off() {
    let place = Place::sqlite();
    let process = Process::start(&place, &["--header-timeout", "1s"]);
    let mut silent = Raw::open(process.address).await.expect("a connection");
    let mut dribbling = Raw::open(process.address).await.expect("a connection");
    // On a machine that is very busy it may be cut off before its first byte.
    let _ = dribbling.write(b"GET / HTTP/1.1\r\nHost: test\r\nX: ").await;
    let cut_off = dribbling.drip(b'x', Duration::from_millis(100));
    timeout(PATIENCE, cut_off).await.expect("the dribble is cut off");
    // A server may say 408 before.
    let _ = timeout(PATIENCE, silent.is_closed()).await.expect("the silence is cut off");
    // Another visitor is served. It may be slower than the timeout as well, and then comes again.
    let served = async {
        loop {
            match process.browser().try_get("/").await {
                Ok(answer) => break answer,
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    let answer = timeout(PATIENCE, served).await.expect("others are served");
    assert_eq!(answer.views(), 1);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let place = Place::sqlite();
    let process = Process::start(&place, &[]);
    for (length, status) in [(256 * 1024 + 1, 413), (16, 200)] {
        let mut connection = Raw::open(process.address).await.expect("a connection");
        let head =
            format!("POST /logout HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
        connection.write(head.as_bytes()).await.expect("sent");
        if status == 200 {
            connection.write(&vec![b'x'; length]).await.expect("sent");
        }
        assert_eq!(connection.read().await.expect("an answer").status, status);
    }
}
