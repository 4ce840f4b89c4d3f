//! A few requests that begin together, and their whole answers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::http::{Answer, Connection, NoAnswer};

/// What came of requests that were made at once.
#[derive(Debug)]
pub struct Burst {
    pub answers: Vec<Result<Answer, NoAnswer>>,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// So many requests with one cookie, or with none, dealt over the processes of an app. All are
/// connected before the first one is sent, and each connection ends with its answer.
pub async fn at_once(
    app: &[SocketAddr],
    path: &'static str,
    n: usize,
    cookie: Option<&str>,
) -> Burst {
    let mut connections = Vec::new();
    for process in app.iter().cycle().take(n) {
        connections.push(Connection::open(*process).await);
    }
    let begin = Instant::now();
    let mut requests = JoinSet::new();
    for connection in connections {
        let cookie = cookie.map(str::to_owned);
        requests.spawn(async move {
            let mut connection = connection.map_err(NoAnswer::NotSent)?;
            connection.send("GET", path, cookie.as_deref()).await
        });
    }
    let answers = requests.join_all().await;
    Burst { answers, took: begin.elapsed() }
}
