use std::{
    future::{pending, poll_fn, ready},
    pin::pin,
    sync::Arc,
    task::{Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn in_seconds(seconds: u32) -> Instant {
    Instant::now() + SECOND * seconds
}

/// A runtime whose clock goes on when there is nothing to do.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn kept() -> usize {
    KEPT.with_borrow(Vec::len)
}

/// Work that is not done at the first poll.
async fn done_later() {
    tokio::task::yield_now().await;
}

async fn poll_once(mut work: Pin<&mut impl Future>) {
    poll_fn(|context| {
        assert!(work.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn is_cut_at(deadline: Instant) {
    timeout_at(deadline, pending::<()>()).await.expect_err("it never ends");
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn work_is_cut_at_its_deadline() {
    is_cut_at(in_seconds(1)).await;
    is_cut_at(in_seconds(3)).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_is_done_is_not_cut_even_if_its_deadline_is_over() {
    let over = Instant::now();
    sleep(SECOND).await;
    assert_eq!(timeout_at(over, ready(7)).await.unwrap(), 7);
    assert!(timeout_at(over, pending::<()>()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn work_that_is_done_or_dropped_leaves_its_timer_to_the_next() {
    timeout_at(in_seconds(2), done_later()).await.unwrap();
    assert_eq!(kept(), 1);
    let mut next = Box::pin(timeout_at(in_seconds(2), pending::<()>()));
    assert_eq!(kept(), 1, "it was not polled yet");
    poll_once(next.as_mut()).await;
    assert_eq!(kept(), 0);
    drop(next);
    assert_eq!(kept(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_used_again_knows_only_its_new_deadline() {
    for (first, then) in [(1, 3), (3, 1), (2, 2)] {
        timeout_at(in_seconds(first), done_later()).await.unwrap();
        is_cut_at(in_seconds(then)).await;
        assert_eq!(kept(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_has_gone_off_is_used_again() {
    timeout_at(in_seconds(1), done_later()).await.unwrap();
    sleep(5 * SECOND).await;
    is_cut_at(in_seconds(1)).await;
    assert_eq!(kept(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_many_each_is_cut_at_its_own_deadline() {
    let mut works = JoinSet::new();
    let many = 2 * KEPT_MAX as u32;
    for n in 0..many {
        // Neither the earliest nor the latest is the first.
        works.spawn(is_cut_at(in_seconds(1 + n * 1021 % many)));
    }
    while let Some(cut) = works.join_next().await {
        cut.unwrap();
    }
    assert_eq!(kept(), KEPT_MAX);
    is_cut_at(in_seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn work_is_cut_that_leaves_no_time_for_anything_else() {
    let busy = async {
        loop {
            tokio::task::consume_budget().await;
        }
    };
    let cut: Result<(), _> = timeout_at(Instant::now(), busy).await;
    cut.unwrap_err();
}

#[test]
fn work_is_cut_that_has_left_a_runtime() {
    let (first, second) = (runtime(), runtime());
    let (mut moved, mut left) = first.block_on(async {
        let at = in_seconds(1);
        let mut works = [(); 2].map(|()| Box::pin(timeout_at(at, pending::<()>())));
        for work in &mut works {
            poll_once(work.as_mut()).await;
        }
        works.into()
    });
    // Once while the first one stands still, and once after its end.
    let is_cut = |work: Pin<&mut TimeoutAt<_>>| {
        second.block_on(async { timeout(2 * SECOND, work).await.expect("in time").is_err() })
    };
    assert!(is_cut(moved.as_mut()));
    drop(first);
    assert!(is_cut(left.as_mut()));
}

#[test]
fn a_thread_that_turns_to_another_runtime_keeps_no_timer_of_the_last() {
    for _ in 0..2 {
        runtime().block_on(async {
            timeout_at(in_seconds(1), done_later()).await.unwrap();
            is_cut_at(in_seconds(1)).await;
        });
        assert_eq!(kept(), 1);
    }
}

#[test]
fn work_that_is_done_at_once_needs_no_runtime() {
    let mut context = Context::from_waker(Waker::noop());
    let work = pin!(timeout_at(Instant::now(), ready(7)));
    assert!(matches!(work.poll(&mut context), Poll::Ready(Ok(7))));
    assert_eq!(kept(), 0);
}

/// Holds work, as a task does, and is held by its wakers.
struct Task {
    _work: Box<dyn Send + Sync>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn with_a_timer_may_go_a_task_that_has_a_deadline_itself() {
    let (first, second) = (runtime(), runtime());
    first.block_on(async {
        let mut work = Box::pin(timeout_at(in_seconds(1), pending::<()>()));
        poll_once(work.as_mut()).await;
        let waker = Waker::from(Arc::new(Task { _work: Box::new(work) }));
        let mut other = pin!(timeout_at(in_seconds(1), pending::<()>()));
        assert!(other.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    });
    assert_eq!(kept(), 1);
    second.block_on(async { is_cut_at(in_seconds(1)).await });
}
