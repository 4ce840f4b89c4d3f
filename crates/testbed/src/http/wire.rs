//! How an answer of HTTP/1.1 is read from a socket without hyper.
//!
//! httparse reads the head. Here is where the body ends: after its length, or with the connection.

use std::io;

use httparse::{EMPTY_HEADER, Header, Response, Status};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// As many headers as hyper takes.
const HEADERS_MAX: usize = 100;

/// An answer that was read, but for what its reader made of its headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received<T> {
    pub(crate) status: u16,
    pub(crate) of_headers: T,
    /// Where in the buffer the body begins and ends.
    pub(crate) body: std::ops::Range<usize>,
    /// Whether another answer can follow on this connection.
    pub(crate) stays_open: bool,
}

/// Reads one answer to its end. `buffer` may hold its beginning, and holds all of it afterwards.
///
/// An error with an empty buffer means that there was not one byte of an answer.
pub(crate) async fn receive<T>(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    mut look: impl FnMut(&[Header<'_>]) -> T,
) -> io::Result<Received<T>> {
    let (head, of_headers) = loop {
        if let Some(read) = head(buffer, &mut look)? {
            break read;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let end = head.body_bytes.map(|bytes| head.bytes.saturating_add(bytes));
    while end.is_none_or(|end| buffer.len() < end) {
        if stream.read_buf(buffer).await? > 0 {
            continue;
        }
        if end.is_some() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        break;
    }
    let body = head.bytes..end.unwrap_or(buffer.len());
    let stays_open = !head.closes && end.is_some();
    Ok(Received { status: head.status, of_headers, body, stays_open })
}

/// What a head says of the rest.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    /// None: it ends with the connection.
    body_bytes: Option<usize>,
    closes: bool,
}

/// None if it has not come to its end.
fn head<T>(bytes: &[u8], look: impl FnOnce(&[Header<'_>]) -> T) -> io::Result<Option<(Head, T)>> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let parsed = response.parse(bytes);
    let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let (Status::Complete(length), Some(status)) = (parsed, response.code) else {
        return Ok(None);
    };
    let mut head =
        Head { status, bytes: length, body_bytes: None, closes: response.version == Some(0) };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            head.body_bytes = Some(number(header.value).ok_or(io::ErrorKind::InvalidData)?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    if status == 204 {
        head.body_bytes = Some(0);
    }
    Ok(Some((head, look(response.headers))))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Head> {
        Some(head(text.as_bytes(), |_| ()).unwrap()?.0)
    }

    #[test]
    fn a_head_says_how_the_answer_ends() {
        let text = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 12\r\n\r\n";
        let whole = Head { status: 200, bytes: text.len(), body_bytes: Some(12), closes: false };
        assert_eq!(read(text), Some(whole));
        assert_eq!(read(&text[..text.len() - 1]), None);
        let old = read("HTTP/1.0 500 no\r\n\r\n").unwrap();
        assert_eq!((old.status, old.body_bytes, old.closes), (500, None, true));
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n").unwrap().body_bytes, Some(0));
        assert!(head(b"nonsense\r\n\r\n", |_| ()).is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", |_| ()).is_err());
    }

    #[test]
    fn the_headers_are_shown_once_the_head_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\na: b\r\nc: d\r\n\r\n";
        let count = |headers: &[Header<'_>]| headers.len();
        assert_eq!(head(text, count).unwrap().unwrap().1, 2);
    }
}
