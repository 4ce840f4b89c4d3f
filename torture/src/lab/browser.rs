//! A browser as small as it gets: one kept connection, and one cookie.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Nothing was stored, says a 503 with it.
    pub(crate) retry_after: bool,
    pub(crate) body: String,
}

impl Answer {
    /// 200, or 204 from a route that has nothing to show.
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self.status, 200 | 204)
    }

    /// Whether the client is told that nothing was stored.
    pub(crate) fn is_refused(&self) -> bool {
        self.status == 409 || self.status == 503 && self.retry_after
    }
}

#[derive(Debug)]
pub(crate) struct Browser {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, cookie: None }
    }

    /// Another window with the same cookie.
    pub(crate) fn window(&self) -> Self {
        Self { cookie: self.cookie.clone(), ..Self::new(self.address) }
    }

    /// The same, of an app that has another address now.
    pub(crate) fn moved_to(&self, address: SocketAddr) -> Self {
        Self { address, ..self.window() }
    }

    /// Sends a request and nothing a second time. Dropped before the answer it hangs up.
    pub(crate) async fn get(&mut self, target: &str) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
        let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{cookie}\r\n");
        connection.get_mut().write_all(request.as_bytes()).await?;
        let (answer, set_cookie, stays_open) = read(&mut connection).await?;
        if stays_open {
            self.connection = Some(connection);
        }
        if let Some(cookie) = set_cookie {
            self.cookie = Some(cookie);
        }
        Ok(answer)
    }
}

/// One answer, the cookie that it sets, and whether the connection stays open behind it.
async fn read(connection: &mut BufReader<TcpStream>) -> io::Result<(Answer, Option<String>, bool)> {
    let status = line(connection).await?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let mut answer = Answer { status, retry_after: false, body: String::new() };
    let (mut length, mut cookie, mut stays_open) = (0, None, true);
    loop {
        let header = line(connection).await?;
        let Some((name, value)) = header.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "retry-after" => answer.retry_after = true,
            "set-cookie" => cookie = value.split(';').next().map(str::to_owned),
            "connection" => stays_open = value != "close",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    answer.body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok((answer, cookie, stays_open))
}

async fn line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}
