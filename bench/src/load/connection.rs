//! One connection to an app, as far as the apps here need HTTP/1.1.
//!
//! It is kept as long as the app keeps it. An answer has a length, or ends with the connection.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

const BUFFER_BYTES: usize = 4096;

/// What one request was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names and values of the cookies that it sets.
    pub(crate) cookies: Vec<(String, String)>,
    /// The number that the page begins with.
    pub(crate) views: Option<u64>,
}

/// The head of an answer, and what it says of the rest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    answer: Answer,
    /// None: it ends with the connection.
    body_bytes: Option<usize>,
    closes: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    /// Request line and host, the same for all requests.
    begin: String,
    request: Vec<u8>,
    answer: Vec<u8>,
    stream: Option<TcpStream>,
}

impl Connection {
    pub(super) fn new(address: SocketAddr, path: &str) -> Self {
        let begin = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: bench\r\n");
        let [request, answer] = [(); 2].map(|()| Vec::with_capacity(BUFFER_BYTES));
        Self { address, begin, request, answer, stream: None }
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
        let answer = timeout(PATIENCE, self.ask()).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if answer.is_err() {
            self.stream = None;
        }
        answer
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
        let bytes = &mut self.answer;
        bytes.clear();
        stream.write_all(&self.request).await.map_err(|_| aborted())?;
        let head_bytes = loop {
            if let Some(at) = end_of_head(bytes) {
                break at;
            }
            match stream.read_buf(bytes).await {
                Ok(0) | Err(_) if bytes.is_empty() => return Err(aborted()),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        };
        let head = head(bytes.get(..head_bytes).unwrap_or_default());
        let Head { mut answer, body_bytes, closes } = head.ok_or(io::ErrorKind::InvalidData)?;
        let wanted = body_bytes.map_or(usize::MAX, |n| head_bytes.saturating_add(n));
        while bytes.len() < wanted {
            if stream.read_buf(bytes).await? == 0 {
                if body_bytes.is_some() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                break;
            }
        }
        answer.views = views(bytes.get(head_bytes..).unwrap_or_default());
        self.stream = (!closes && body_bytes.is_some()).then_some(stream);
        Ok(answer)
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end = b"\r\n\r\n";
    bytes.windows(end.len()).position(|window| window == end).map(|at| at + end.len())
}

fn head(bytes: &[u8]) -> Option<Head> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    let status_line = lines.next()?;
    let status = status_line.split(' ').nth(1)?.parse().ok()?;
    let mut head = Head { closes: status_line.starts_with("HTTP/1.0"), ..Head::default() };
    head.answer.status = status;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.body_bytes = Some(value.parse().ok()?);
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("set-cookie") {
            let pair = value.split(';').next().and_then(|pair| pair.split_once('='));
            head.answer
                .cookies
                .extend(pair.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
    if status == 204 {
        head.body_bytes = Some(0);
    }
    Some(head)
}

/// The number between `<body>` and ` views`.
fn views(body: &[u8]) -> Option<u64> {
    let number = body.trim_ascii_start().strip_prefix(b"<body>")?;
    let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(number.get(..digits)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_the_answer_ends() {
        let text = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b=; Path=/\r\nset-cookie: c=d\r\nContent-Length: 12\r\n\r\n";
        let read = head(text.as_bytes()).unwrap();
        let pairs =
            [("a", "b="), ("c", "d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let answer = Answer { status: 200, cookies: pairs.to_vec(), views: None };
        assert_eq!(read, Head { answer, body_bytes: Some(12), closes: false });
        let old = head(b"HTTP/1.0 500 no\r\n\r\n").unwrap();
        assert_eq!((old.answer.status, old.body_bytes, old.closes), (500, None, true));
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().body_bytes, Some(0));
        assert_eq!(head(b"nonsense"), None);
        assert_eq!(end_of_head(text.as_bytes()), Some(text.len()));
    }

    #[test]
    fn a_page_begins_with_the_views() {
        assert_eq!(views(b"<body>12 views for \"Hola Mundo\"</body>"), Some(12));
        assert_eq!(views(b"ok"), None);
    }
}
