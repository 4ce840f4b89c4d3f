//! Requests with exactly these lines, which no browser would send.

use std::net::{IpAddr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every header of this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (of, value) = line.split_once(':')?;
            of.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The value of a field of a form on the page.
    #[track_caller]
    pub(crate) fn hidden(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let found = self.body.split(&mark).nth(1).and_then(|rest| rest.split('"').next());
        unescaped(found.unwrap_or_else(|| panic!("no field {name}: {}", self.body)))
    }
}

fn unescaped(html: &str) -> String {
    let mut text = html.to_owned();
    for (escape, c) in
        [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
    {
        text = text.replace(escape, c);
    }
    text
}

/// Sends these bytes, and reads to the end.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> Answer {
    exchange(TcpStream::connect(address).await.unwrap(), request).await
}

/// The same from an address of this machine.
pub(crate) async fn raw_from(from: IpAddr, address: SocketAddr, request: &str) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    exchange(socket.connect(address).await.unwrap(), request).await
}

async fn exchange(mut stream: TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// An answer that goes on.
pub(crate) struct Stream {
    stream: TcpStream,
    text: String,
}

impl Stream {
    pub(crate) async fn open(address: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads until this has come, and returns all that has come since the last such call.
    pub(crate) async fn until(&mut self, wanted: &str) -> String {
        while !self.text.contains(wanted) {
            let mut bytes = vec![0; 64 * 1024];
            let n = self.stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "it ended before {wanted} came: {}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
        std::mem::take(&mut self.text)
    }
}

/// A form as a browser sends it.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}
