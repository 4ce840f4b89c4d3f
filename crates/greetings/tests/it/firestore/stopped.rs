//! The app where a platform gives it no CPU between requests: it is stopped as a whole, and what happens to its
//! connections meanwhile it does not see.

use std::{env, time::Duration};

use rustix::process::Signal;
use testbed::proxy::{Fault, Often, Proxy};
use tokio::time::sleep;

use super::place;
use crate::process::Process;

/// How many seconds it is stopped for. They may be more: nothing that is tested takes so long.
const SECONDS: &str = "INGLE_TEST_STOP_SECONDS";

/// Longer than a process that runs is ever without a sign of it.
const LONG_ENOUGH: u64 = 16;

async fn stopped(process: &Process, meanwhile: impl AsyncFnOnce()) {
    let seconds = env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    process.signal(Signal::STOP);
    sleep(Duration::from_secs(seconds.unwrap_or(LONG_ENOUGH))).await;
    meanwhile().await;
    process.signal(Signal::CONT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_answers_as_if_nothing_had_been() {
    let proxy = Proxy::start(testbed::firestore::hidane()).await.expect("a proxy");
    let process = Process::start(&place(proxy.address), &[]);
    let mut browser = process.browser();
    assert_eq!(browser.get("/").await.views(), 1);
    let mut views = 1;
    // Its connections are alive, or the server has closed them, or they were forgotten without a word.
    for what in ["alive", "closed", "forgotten"] {
        stopped(&process, async || match what {
            "closed" => {
                proxy.begin(Fault::Refuse, Often::Each(1));
                sleep(Duration::from_millis(100)).await;
                proxy.end();
                sleep(Duration::from_millis(100)).await;
            }
            "forgotten" => proxy.forget(),
            _ => {}
        })
        .await;
        for _ in 0..3 {
            let answer = browser.get("/").await;
            views += 1;
            assert_eq!((answer.status, answer.views()), (200, views), "{what}: {answer:?}");
        }
    }
    assert!(proxy.lost().is_empty(), "{:?}", proxy.lost());
    process.terminate();
    let (code, log) = process.ended();
    assert_eq!(code, Some(0));
    let warned = log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR"));
    assert_eq!(warned.collect::<Vec<_>>(), [""; 0], "nothing warns falsely");
}
