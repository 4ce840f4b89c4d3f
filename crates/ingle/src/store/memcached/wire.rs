//! The few words of memcached's protocol that the store needs, on one connection.
//!
//! A question goes out and its answer comes in before the next one; whoever gives up in between
//! must close the connection, which `connect.rs` sees to. Each question carries a number
//! that its answer must repeat, so that a late answer is known for what it is.

use std::{fmt::Write as _, io};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The longest line that an answer may have. Those of memcached have at most 2 KiB.
const LINE_BYTES_MAX: usize = 4096;

/// How many lines statistics may have.
const LINES_MAX: usize = 1000;

/// One command on one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command<'a> {
    /// The value and its cas token.
    Get,
    /// Stores where nothing is.
    Add { value: &'a [u8], exptime: u32 },
    /// Stores in the place of what has this token.
    Cas { value: &'a [u8], exptime: u32, token: u64 },
    /// Deletes what has this token.
    Delete { token: u64 },
}

impl Command<'_> {
    /// The bytes of the question with this number.
    pub(super) fn encode(self, key: &str, number: u64) -> Vec<u8> {
        let mut line = String::new();
        let (begin, value) = match self {
            Self::Get => (write!(line, "mg {key} v c"), None),
            Self::Add { value, exptime } => {
                (write!(line, "ms {key} {} ME c T{exptime}", value.len()), Some(value))
            }
            Self::Cas { value, exptime, token } => {
                (write!(line, "ms {key} {} C{token} c T{exptime}", value.len()), Some(value))
            }
            Self::Delete { token } => (write!(line, "md {key} C{token}"), None),
        };
        // Writing to a `String` cannot fail.
        let _ = begin.and_then(|()| write!(line, " O{number}\r\n"));
        let mut bytes = line.into_bytes();
        if let Some(value) = value {
            bytes.reserve(value.len() + 2);
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// What is there, and its cas token.
    Value { value: Vec<u8>, token: u64 },
    /// It was done; what was stored has this token.
    Done { token: u64 },
    /// Something is there, or not what was to be there.
    Exists,
    /// Nothing is there.
    NotFound,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection was lost.
    Lost,
    /// What came is not memcached's, or not the answer to this question.
    Garbled,
    /// An error line, which says whose fault it is.
    Said(String),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// The first line of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    code: Code,
    /// The length of the value that follows.
    pub(super) size: Option<usize>,
    token: Option<u64>,
    number: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Done,
    Value,
    Exists,
    NotFound,
}

/// Reads the first line of an answer, which has no line end any more.
pub(super) fn parse(line: &[u8]) -> Result<Head, Fault> {
    let line = std::str::from_utf8(line).map_err(|_| Fault::Garbled)?;
    if ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|word| first_word(line) == *word) {
        // Short, and on one line in a log, whatever it is.
        let said = line.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
        return Err(Fault::Said(said.take(80).collect()));
    }
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let code = match words.next() {
        Some("HD") => Code::Done,
        Some("VA") => Code::Value,
        Some("EX" | "NS") => Code::Exists,
        Some("EN" | "NF") => Code::NotFound,
        _ => return Err(Fault::Garbled),
    };
    let mut head = Head { code, size: None, token: None, number: None };
    if code == Code::Value {
        head.size = Some(number(words.next().unwrap_or_default())?);
    }
    for word in words {
        if let Some(token) = word.strip_prefix('c') {
            head.token = Some(number(token)?);
        } else if let Some(of_question) = word.strip_prefix('O') {
            head.number = Some(number(of_question)?);
        }
    }
    Ok(head)
}

fn first_word(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// Digits and nothing else.
fn number<N: std::str::FromStr>(digits: &str) -> Result<N, Fault> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits {
        return Err(Fault::Garbled);
    }
    digits.parse().map_err(|_| Fault::Garbled)
}

/// A connection on which nothing is under way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What was received and not read yet.
    received: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(host: &str, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        // A question is one write, and waits for nothing.
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Whether it is open and silent. What speaks unasked is of no use.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = self.stream.try_read(&mut byte);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Asks a question that [`Command::encode`] made.
    pub(super) async fn ask(
        &mut self,
        question: &[u8],
        number: u64,
        value_bytes_max: usize,
    ) -> Result<Reply, Fault> {
        self.stream.write_all(question).await?;
        let head = parse(&self.line().await?)?;
        if head.number != Some(number) {
            return Err(Fault::Garbled);
        }
        let value = match head.size {
            Some(size) if size > value_bytes_max => return Err(Fault::Garbled),
            Some(size) => self.value(size).await?,
            None => Vec::new(),
        };
        self.is_read_whole()?;
        match (head.code, head.token) {
            (Code::Value, Some(token)) => Ok(Reply::Value { value, token }),
            // A deletion leaves no token behind.
            (Code::Done, token) => Ok(Reply::Done { token: token.unwrap_or(0) }),
            (Code::Exists, _) => Ok(Reply::Exists),
            (Code::NotFound, _) => Ok(Reply::NotFound),
            (Code::Value, None) => Err(Fault::Garbled),
        }
    }

    /// Asks what one line answers.
    pub(super) async fn ask_line(&mut self, question: &str) -> Result<String, Fault> {
        self.stream.write_all(question.as_bytes()).await?;
        let line = self.text_line().await?;
        self.is_read_whole()?;
        Ok(line)
    }

    /// Asks for statistics: names and values.
    pub(super) async fn ask_stats(
        &mut self,
        question: &str,
    ) -> Result<Vec<(String, String)>, Fault> {
        self.stream.write_all(question.as_bytes()).await?;
        let mut stats = Vec::new();
        while stats.len() < LINES_MAX {
            let line = self.text_line().await?;
            if line == "END" {
                self.is_read_whole()?;
                return Ok(stats);
            }
            let stat = line.strip_prefix("STAT ").ok_or(Fault::Garbled)?;
            let (name, value) = stat.split_once(' ').unwrap_or((stat, ""));
            stats.push((name.to_owned(), value.to_owned()));
        }
        Err(Fault::Garbled)
    }

    async fn text_line(&mut self) -> Result<String, Fault> {
        let line = self.line().await?;
        match parse(&line) {
            Err(Fault::Said(said)) => Err(Fault::Said(said)),
            _ => String::from_utf8(line).map_err(|_| Fault::Garbled),
        }
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(at) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=at).collect();
                line.pop();
                return if line.pop() == Some(b'\r') { Ok(line) } else { Err(Fault::Garbled) };
            }
            if self.received.len() > LINE_BYTES_MAX {
                return Err(Fault::Garbled);
            }
            self.receive().await?;
        }
    }

    /// The value that follows, without its line end.
    async fn value(&mut self, size: usize) -> Result<Vec<u8>, Fault> {
        let whole = size.saturating_add(2);
        while self.received.len() < whole {
            self.receive().await?;
        }
        let mut value: Vec<u8> = self.received.drain(..whole).collect();
        let end = value.split_off(size);
        if end == b"\r\n" { Ok(value) } else { Err(Fault::Garbled) }
    }

    async fn receive(&mut self) -> Result<(), Fault> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(Fault::Lost),
            _ => Ok(()),
        }
    }

    /// An answer that goes on behind its end is not one.
    fn is_read_whole(&self) -> Result<(), Fault> {
        if self.received.is_empty() { Ok(()) } else { Err(Fault::Garbled) }
    }
}
