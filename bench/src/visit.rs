//! Asks for the page, as a browser does: one request on a connection of its own.
//!
//! All apps that are compared have the same page: it begins with the number of views.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

/// No request takes so long, unless it is never answered.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The number on the page.
    pub(crate) views: Option<u64>,
    /// `name=value`, where the answer sets a cookie.
    pub(crate) cookie: Option<String>,
}

/// What came of requests that were made at once.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) answers: Vec<io::Result<Answer>>,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

/// One request.
pub(crate) async fn once(app: SocketAddr, cookie: Option<&str>) -> io::Result<Answer> {
    answer(connect(app).await?, app, cookie).await
}

/// So many requests with one cookie, or with none, dealt over the processes of an app. All are
/// connected before the first one is sent.
pub(crate) async fn at_once(app: &[SocketAddr], n: usize, cookie: Option<&str>) -> Burst {
    let mut connections = Vec::new();
    for process in app.iter().cycle().take(n) {
        connections.push((connect(*process).await, *process));
    }
    let begin = Instant::now();
    let mut requests = JoinSet::new();
    for (connection, process) in connections {
        let cookie = cookie.map(str::to_owned);
        requests.spawn(async move { answer(connection?, process, cookie.as_deref()).await });
    }
    let answers = requests.join_all().await;
    Burst { answers, took: begin.elapsed() }
}

async fn connect(app: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(app).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn answer(mut app: TcpStream, host: SocketAddr, cookie: Option<&str>) -> io::Result<Answer> {
    let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{cookie}\r\n");
    let exchange = async {
        app.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        app.read_to_end(&mut answer).await?;
        parsed(&String::from_utf8_lossy(&answer)).ok_or(io::ErrorKind::UnexpectedEof.into())
    };
    timeout(PATIENCE, exchange).await?
}

/// None where the answer breaks off before the page.
fn parsed(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut headers = lines.filter_map(|line| line.split_once(": "));
    let cookie = headers.find(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookie = cookie.and_then(|(_, cookie)| cookie.split(';').next());
    let views = body.split_once("<body>").and_then(|(_, page)| page.split_once(" views"));
    let views = views.and_then(|(views, _)| views.parse().ok());
    Some(Answer { status, views, cookie: cookie.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let text = "HTTP/1.1 200 OK\r\nServer: x\r\nset-cookie: id=abc=; HttpOnly; Path=/\r\n\r\n\
                    <body>12 views for \"Hola Mundo\"</body>";
        let cookie = Some("id=abc=".to_owned());
        assert_eq!(parsed(text), Some(Answer { status: 200, views: Some(12), cookie }));
        let error = Answer { status: 500, views: None, cookie: None };
        assert_eq!(parsed("HTTP/1.1 500 \r\nServer: x\r\n\r\nsorry"), Some(error));
        assert_eq!(parsed("HTTP/1.1 200 OK\r\nServer"), None);
    }
}
