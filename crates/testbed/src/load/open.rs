//! Requests that come whether or not those before them were answered.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{PATIENCE, Pace, Tally, connection::Connection};

/// How many requests may be under way; a client that would be one more is counted, and not sent.
const UNDER_WAY_MAX: usize = 3000;

/// What the requests of a run share.
#[derive(Debug, Default)]
struct Shared {
    /// Connections that nobody uses. The one that was used last is on top.
    idle: Mutex<Vec<Connection>>,
    seconds: Mutex<Vec<Tally>>,
}

/// So many requests per second with one of these cookies each, in turn. A tally for each second in
/// which requests were due.
pub async fn open(
    address: SocketAddr,
    path: &str,
    cookies: &[String],
    per_second: f64,
    time: Duration,
) -> Vec<Tally> {
    let shared = Arc::new(Shared::default());
    let pace = Pace::new(per_second);
    let mut cookies = cookies.iter().cycle();
    let mut running = JoinSet::new();
    loop {
        let due = pace.next().await;
        if due >= time {
            break;
        }
        while running.try_join_next().is_some() {}
        let second = due.as_secs() as usize;
        if running.len() >= UNDER_WAY_MAX {
            shared.in_second(second, |tally| tally.unsent += 1);
            continue;
        }
        let cookie = cookies.next().cloned().unwrap_or_default();
        let connection = shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = connection.unwrap_or_else(|| Connection::new(address, path, PATIENCE));
        running.spawn(ask(connection, cookie, second, Arc::clone(&shared)));
    }
    running.join_all().await;
    let mut seconds = shared.seconds.lock().unwrap_or_else(PoisonError::into_inner);
    seconds.iter_mut().for_each(Tally::sort);
    std::mem::take(&mut *seconds)
}

async fn ask(mut connection: Connection, cookie: String, second: usize, shared: Arc<Shared>) {
    let begun = Instant::now();
    let answer = connection.get(&cookie).await;
    let took = begun.elapsed();
    shared.in_second(second, |tally| {
        tally.sent += 1;
        match answer {
            Ok(answer) => _ = tally.note(answer.status, took, true),
            Err(_) => tally.broken += 1,
        }
    });
    shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
}

impl Shared {
    fn in_second(&self, second: usize, note: impl FnOnce(&mut Tally)) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() <= second {
            seconds.resize_with(second + 1, || Tally { seconds: 1.0, ..Tally::default() });
        }
        if let Some(tally) = seconds.get_mut(second) {
            note(tally);
        }
    }
}
