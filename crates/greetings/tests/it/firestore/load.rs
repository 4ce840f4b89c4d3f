//! Two processes under load: each view that is answered is counted, once.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use testbed::http::Browser;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::place;
use crate::{
    process::{Instances, PATIENCE, PAUSE, Process},
    races::views_at_once,
};

on_each_emulator! {
    a_thousand_views_of_one_session_are_each_counted_once
    the_views_of_a_thousand_sessions_are_each_counted_once
    a_process_that_is_killed_and_started_again_under_load_doubles_nothing
}

const VIEWS: usize = 1000;
const IN_FLIGHT: usize = 32;

/// Runs work for each number below `n`, so many at a time, and returns all that it returned.
pub(super) async fn for_each<T, W>(n: usize, at_a_time: usize, work: impl Fn(usize) -> W) -> Vec<T>
where
    T: Send + 'static,
    W: Future<Output = T> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    for number in 0..n {
        if running.len() == at_a_time {
            done.extend(running.join_next().await.map(|result| result.expect("it does not fail")));
        }
        running.spawn(work(number));
    }
    done.extend(running.join_all().await);
    done
}

async fn a_thousand_views_of_one_session_are_each_counted_once(emulator: SocketAddr) {
    let instances = Instances::start(place(emulator), 2);
    let mut browser = instances.first().browser();
    assert_eq!(browser.get("/").await.views(), 1);
    let counts = views_at_once(&instances, &browser, IN_FLIGHT, VIEWS).await;
    assert_eq!(counts, (2..).take(VIEWS).collect::<Vec<_>>());
    assert_eq!(browser.get("/").await.views(), VIEWS as u64 + 2);
}

async fn the_views_of_a_thousand_sessions_are_each_counted_once(emulator: SocketAddr) {
    const SESSIONS: usize = 1000;
    const VIEWS_EACH: u64 = 5;
    let instances = Instances::start(place(emulator), 2);
    let addresses = [instances.first().address, instances.last().address];
    let visits = |_| async move {
        let mut windows = addresses.map(Browser::new);
        for view in 0..VIEWS_EACH {
            let cookie = windows.iter().find_map(|window| window.cookie.clone());
            let window = &mut windows[view as usize % 2];
            window.cookie = cookie;
            assert_eq!(window.get("/").await.views(), view + 1);
        }
    };
    for_each(SESSIONS, IN_FLIGHT, visits).await;
    assert_eq!(instances.stop_and_count().await, Some(SESSIONS));
}

/// The processes that run, to which a load balancer sends requests.
type Running = Arc<Mutex<Vec<SocketAddr>>>;

async fn a_process_that_is_killed_and_started_again_under_load_doubles_nothing(
    emulator: SocketAddr,
) {
    const KILLS: usize = 3;
    let mut instances = Instances::start(place(emulator), 2);
    let mut browser = instances.first().browser();
    assert_eq!(browser.get("/").await.views(), 1);
    let stays = instances.first().address;
    let running = Running::new(Mutex::new(vec![stays, instances.last().address]));
    let sent = Arc::new(AtomicUsize::new(0));
    let (balancer, counter, first) = (running.clone(), sent.clone(), browser.window(stays));
    let view = move |number: usize| {
        let addresses = balancer.lock().expect("nobody fails with it").clone();
        let address = addresses[number % addresses.len()];
        let mut window = first.window(address);
        let sent = counter.clone();
        async move {
            let answer = window.try_get("/").await;
            sent.fetch_add(1, Ordering::SeqCst);
            assert!(answer.is_ok() || address != stays, "the process that stays answers all");
            answer.ok().map(|answer| answer.views())
        }
    };
    let mut load = JoinSet::new();
    load.spawn(for_each(VIEWS, IN_FLIGHT, view));
    for kill in 1..=KILLS {
        let so_far = async {
            while sent.load(Ordering::SeqCst) < kill * VIEWS / (KILLS + 2) {
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, so_far).await.expect("the load goes on");
        running.lock().expect("nobody fails with it").truncate(1);
        instances.processes.pop().expect("two").kill();
        let again = Process::start(&instances.place, &[]);
        running.lock().expect("nobody fails with it").push(again.address);
        instances.processes.push(again);
    }
    let views = load.join_all().await.concat();

    let failed = views.iter().filter(|views| views.is_none()).count() as u64;
    let mut counts: Vec<u64> = views.into_iter().flatten().collect();
    let answered = counts.len() as u64;
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts.len() as u64, answered, "two answers have one number");
    let counted = browser.get("/").await.views() - 2;
    let allowed = answered..=answered + failed;
    assert!(allowed.contains(&counted), "{counted} of {answered} answered and {failed} failed");
    assert!(failed <= (KILLS * IN_FLIGHT) as u64, "{failed} failed");
}
