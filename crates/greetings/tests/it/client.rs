//! A browser as small as it gets: raw bytes over one kept connection, and a cookie.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Every header of this name, which is written in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn set_cookie(&self) -> Option<&str> {
        let cookies = self.all("set-cookie");
        assert!(cookies.len() <= 1, "more than one cookie: {cookies:?}");
        cookies.first().copied()
    }

    /// The number on the page.
    pub(crate) fn views(&self) -> u64 {
        assert_eq!(self.status, 200, "{self:?}");
        let page = self.body.strip_prefix("<body>").expect("a page");
        page.split_once(" views").expect("a count").0.parse().expect("a number")
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// A connection that takes any bytes.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes).await
    }

    pub(crate) async fn read(&mut self) -> io::Result<Answer> {
        let status_line = self.line().await?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        let body = String::from_utf8(body).expect("text");
        Ok(Answer { status, headers, body })
    }

    /// Whether the server has closed this connection, waiting until it does.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest).await;
        read.is_err() || rest.is_empty()
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Sends one request on a connection of its own; `lines` are whole header lines.
pub(crate) async fn raw(address: SocketAddr, target: &str, lines: &[&[u8]]) -> Answer {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n").into_bytes();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let mut connection = Connection::open(address).await.expect("a connection");
    // The server may answer and close before it has read everything.
    let _ = connection.write(&request).await;
    connection.read().await.expect("an answer")
}

/// A window of a browser: one connection and one cookie jar.
#[derive(Debug)]
pub(crate) struct Browser {
    address: SocketAddr,
    connection: Option<Connection>,
    /// `name=value`, or several of them with `; ` in between.
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, cookie: None }
    }

    /// Another window with the same cookie, at this address.
    pub(crate) fn window(&self, address: SocketAddr) -> Self {
        Self { cookie: self.cookie.clone(), ..Self::new(address) }
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.try_send("GET", target).await.expect("an answer")
    }

    pub(crate) async fn post(&mut self, target: &str) -> Answer {
        self.try_send("POST", target).await.expect("an answer")
    }

    /// What the session holds, as JSON.
    pub(crate) async fn data(&mut self) -> Value {
        self.get("/lab/data").await.json()
    }

    /// As a browser does, on the kept connection, and nothing a second time.
    pub(crate) async fn try_send(&mut self, method: &str, target: &str) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{cookie}{length}\r\n");
        connection.write(request.as_bytes()).await?;
        let answer = connection.read().await?;
        if answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        for cookie in answer.all("set-cookie") {
            self.keep(cookie);
        }
        Ok(answer)
    }

    /// Puts a cookie in the place of the one with its name.
    fn keep(&mut self, set_cookie: &str) {
        let pair = set_cookie.split(';').next().expect("a pair");
        let name = pair.split_once('=').expect("a name").0;
        let known = self.cookie.as_deref().unwrap_or_default().split("; ");
        let others = known.filter(|known| known.split_once('=').is_some_and(|(of, _)| of != name));
        let kept = (!set_cookie.ends_with("Max-Age=0")).then_some(pair);
        let cookies: Vec<&str> = others.chain(kept).collect();
        self.cookie = (!cookies.is_empty()).then(|| cookies.join("; "));
    }
}
