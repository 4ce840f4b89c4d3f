//! Calls of a store that meet, so that they can be made as one.
//!
//! To send and to receive costs a process and a server more than to make what is sent and to do it. So a
//! call lets those that are about to be made in this process come first. That takes no time where there
//! are none: nobody waits for a clock.

use tokio::{sync::mpsc::UnboundedReceiver, task::yield_now};

/// How many calls go together at most: the first one is answered with the last one.
const TOGETHER_MAX: usize = 32;

/// Waits for a call, and returns it with those that meet it; None if none will come any more.
///
/// As many wait as there are callers, who wait for their answers.
pub(super) async fn next<T>(waiting: &mut UnboundedReceiver<T>) -> Option<Vec<T>> {
    let mut calls = vec![waiting.recv().await?];
    // Who is about to call does so now.
    yield_now().await;
    while calls.len() < TOGETHER_MAX
        && let Ok(call) = waiting.try_recv()
    {
        calls.push(call);
    }
    Some(calls)
}
