use std::future::pending;

use tokio::{sync::oneshot, task::JoinSet};

use super::*;

/// Work that ends when it is told to, and says when it does.
struct Trial {
    work: Detachable<u8>,
    handle: DetachHandle,
    tell: oneshot::Sender<u8>,
    ended: oneshot::Receiver<()>,
}

fn trial() -> Trial {
    let (tell, told) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let mut own = None;
    let work = Detachable::new(|handle| {
        own = Some(handle);
        async move {
            let number = told.await.unwrap_or_default();
            let _ = end.send(());
            number
        }
    });
    Trial { work, handle: own.expect("work is made at once"), tell, ended }
}

/// Polls it once.
async fn begin(work: &mut Detachable<u8>) {
    tokio::select! {
        biased;
        _ = work => panic!("it has nothing to end with yet"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn work_ends_where_it_is_awaited() {
    let Trial { work, tell, .. } = trial();
    tell.send(7).unwrap();
    assert_eq!(work.await, 7);
}

#[tokio::test]
async fn work_that_is_dropped_goes_on() {
    let Trial { mut work, tell, ended, .. } = trial();
    begin(&mut work).await;
    drop(work);
    tell.send(7).unwrap();
    ended.await.expect("it came to its end");
}

#[tokio::test]
async fn work_that_was_never_begun_is_dropped() {
    let Trial { work, handle, ended, tell } = trial();
    handle.detach();
    drop(work);
    assert!(ended.await.is_err(), "nobody asked for it");
    assert!(tell.is_closed());
}

#[tokio::test]
async fn work_that_is_cut_goes_on_with_nobody_to_poll_it_and_tells_its_end() {
    let Trial { mut work, handle, tell, ended } = trial();
    begin(&mut work).await;
    handle.detach();
    handle.detach();
    tell.send(7).unwrap();
    ended.await.expect("it came to its end");
    assert_eq!(work.await, 7);
}

#[tokio::test]
async fn work_that_is_cut_while_it_is_polled_goes_on() {
    let (end, ended) = oneshot::channel();
    let mut work = Detachable::new(|handle| async move {
        handle.detach();
        tokio::task::yield_now().await;
        let _ = end.send(());
        7
    });
    begin(&mut work).await;
    ended.await.expect("it came to its end");
    assert_eq!(work.await, 7);
}

#[tokio::test]
async fn who_awaits_work_is_woken_by_its_end_wherever_it_runs() {
    let Trial { work, handle, tell, .. } = trial();
    let mut awaited = JoinSet::new();
    awaited.spawn(work);
    tokio::task::yield_now().await;
    handle.detach();
    tokio::task::yield_now().await;
    tell.send(7).unwrap();
    assert_eq!(awaited.join_next().await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn a_panic_reaches_the_caller_that_awaits_the_work() {
    let (tell, told) = oneshot::channel::<()>();
    let work = Detachable::new(|handle| async move {
        handle.detach();
        let _ = told.await;
        panic!("as asked")
    });
    let mut awaited = JoinSet::new();
    awaited.spawn(async move {
        let _: () = work.await;
    });
    tokio::task::yield_now().await;
    drop(tell);
    assert!(awaited.join_next().await.unwrap().unwrap_err().is_panic());
}

#[test]
fn work_whose_runtime_ends_goes_on_where_it_is_awaited() {
    let Trial { mut work, handle, tell, .. } = trial();
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let own = tokio::runtime::Builder::new_current_thread().build().unwrap();
    own.block_on(begin(&mut work));
    other.block_on(async { handle.detach() });
    let awaited = own.spawn(work);
    own.block_on(tokio::task::yield_now());
    drop(other);
    tell.send(7).unwrap();
    assert_eq!(own.block_on(awaited).unwrap(), 7);
}

#[test]
fn work_that_nobody_awaits_ends_with_its_runtime() {
    let Trial { mut work, tell, ended, .. } = trial();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        begin(&mut work).await;
        drop(work);
    });
    drop(runtime);
    assert!(tell.is_closed());
    assert!(ended.blocking_recv().is_err());
}

#[test]
fn without_a_runtime_work_is_still_polled_where_it_is_awaited() {
    let Trial { mut work, handle, tell, .. } = trial();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut work).poll(&mut context).is_pending());
    handle.detach();
    tell.send(7).unwrap();
    assert_eq!(Pin::new(&mut work).poll(&mut context), Poll::Ready(7));
    drop(Detachable::new(|_| pending::<()>()));
}
