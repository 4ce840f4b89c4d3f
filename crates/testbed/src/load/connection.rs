//! One connection to an app, kept as long as the app keeps it.

use std::{io, net::SocketAddr, time::Duration};

use httparse::Header;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::http::{answer_views, wire};

const BUFFER_BYTES: usize = 4096;

/// What one request was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names and values of the cookies that it sets.
    pub cookies: Vec<(String, String)>,
    /// The number that the page begins with.
    pub views: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    /// Request line and host, the same for all requests.
    begin: String,
    request: Vec<u8>,
    answer: Vec<u8>,
    stream: Option<TcpStream>,
    patience: Duration,
}

impl Connection {
    pub(super) fn new(address: SocketAddr, path: &str, patience: Duration) -> Self {
        let begin = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: load\r\n");
        let [request, answer] = [(); 2].map(|()| Vec::with_capacity(BUFFER_BYTES));
        Self { address, begin, request, answer, stream: None, patience }
    }

    /// Asks, with the value of a `Cookie` header, or with none if it is empty.
    pub(super) async fn get(&mut self, cookie: &str) -> io::Result<Answer> {
        self.request.clear();
        self.request.extend_from_slice(self.begin.as_bytes());
        if !cookie.is_empty() {
            self.request.extend_from_slice(b"Cookie: ");
            self.request.extend_from_slice(cookie.as_bytes());
            self.request.extend_from_slice(b"\r\n");
        }
        self.request.extend_from_slice(b"\r\n");
        let answer = timeout(self.patience, self.ask()).await;
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn ask(&mut self) -> io::Result<Answer> {
        // The app may have closed what it kept. Then it has not seen the request, and gets it anew.
        if let Some(stream) = self.stream.take() {
            match self.exchange(stream).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                other => return other,
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.exchange(stream).await
    }

    /// `ConnectionAborted` if there was not one byte of an answer.
    async fn exchange(&mut self, mut stream: TcpStream) -> io::Result<Answer> {
        let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
        self.answer.clear();
        stream.write_all(&self.request).await.map_err(|_| aborted())?;
        let received = wire::receive(&mut stream, &mut self.answer, cookies).await;
        let received =
            received.map_err(|error| if self.answer.is_empty() { aborted() } else { error })?;
        let views = answer_views(self.answer.get(received.body.clone()).unwrap_or_default());
        self.stream = Some(stream).filter(|_| received.stays_open);
        Ok(Answer { status: received.status, cookies: received.of_headers, views })
    }
}

/// Names and values of the cookies that headers set.
fn cookies(headers: &[Header<'_>]) -> Vec<(String, String)> {
    let set = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("set-cookie"));
    let pairs = set.filter_map(|header| {
        let pair = std::str::from_utf8(header.value).ok()?.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookies_of_an_answer_are_read() {
        let headers = [
            Header { name: "Set-Cookie", value: b"a=b=; Path=/" },
            Header { name: "Vary", value: b"Cookie" },
            Header { name: "set-cookie", value: b"c=d" },
        ];
        let pairs =
            [("a", "b="), ("c", "d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(cookies(&headers), pairs);
    }
}
