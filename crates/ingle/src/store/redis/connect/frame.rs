//! Finds the answers in what a server has sent, in version 2 of Redis' protocol.

use bytes::{Buf as _, BytesMut};
use redis::Value;

/// The longest line: how long something is, a number, or a refusal.
const LINE_MAX: usize = 64 * 1024;

/// The longest text, which is Redis' own bound.
const TEXT_MAX: usize = 512 * 1024 * 1024;

/// For so many bytes there is room when more is read, and not much more is kept.
const ROOM: usize = 16 * 1024;

/// What was sent is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the answer makes no sense")]
pub(super) struct Malformed;

/// What has come and was not taken yet, and how far it was looked through.
#[derive(Debug)]
pub(super) struct Frames {
    bytes: BytesMut,
    /// Where the part of the first answer begins that is looked at next.
    at: usize,
    /// How many parts of it are still to come. An answer is one part, and an array has more.
    parts: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::new(), at: 0, parts: 1 }
    }

    /// Where to put what comes next.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        self.bytes.reserve(ROOM);
        &mut self.bytes
    }

    /// Takes the first answer, if all of it is there.
    pub(super) fn take(&mut self) -> Result<Option<Value>, Malformed> {
        if !self.is_whole()? {
            return Ok(None);
        }
        let answer = match self.bytes.get(..self.at).unwrap_or_default() {
            b"+OK\r\n" => Value::Okay,
            b":1\r\n" => Value::Int(1),
            other => redis::parse_redis_value(other).map_err(|_| Malformed)?,
        };
        self.bytes.advance(self.at);
        if self.at > ROOM && self.bytes.is_empty() {
            // Room for a large answer is not kept.
            self.bytes = BytesMut::new();
        }
        (self.at, self.parts) = (0, 1);
        Ok(Some(answer))
    }

    /// Looks for the end of the first answer, from where it was looked for before.
    fn is_whole(&mut self) -> Result<bool, Malformed> {
        while self.parts > 0 {
            let Some(line) = self.bytes.get(self.at..).map(line).transpose()?.flatten() else {
                return Ok(false);
            };
            let (text, parts) = match line.split_first() {
                Some((b'+' | b'-' | b':', _)) => (0, 0),
                Some((b'$', length)) => (length_of(length)?.map_or(0, |length| length + 2), 0),
                Some((b'*', count)) => (0, length_of(count)?.unwrap_or(0)),
                _ => return Err(Malformed),
            };
            self.at += line.len() + 2 + text;
            self.parts += parts;
            self.parts -= 1;
        }
        Ok(self.at <= self.bytes.len())
    }
}

/// The line that these bytes begin with, without its end.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    match bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
            line.ok_or(Malformed).map(Some)
        }
        None if bytes.len() < LINE_MAX => Ok(None),
        None => Err(Malformed),
    }
}

/// How much follows; nothing at all, not even an end, where it is -1.
fn length_of(digits: &[u8]) -> Result<Option<usize>, Malformed> {
    if digits == b"-1" {
        return Ok(None);
    }
    let length = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    length.filter(|length| *length <= TEXT_MAX).ok_or(Malformed).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All answers in these bytes, which come in pieces of this length.
    fn answers(bytes: &[u8], piece: usize) -> Result<Vec<Value>, Malformed> {
        let (mut frames, mut answers) = (Frames::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            frames.room().extend_from_slice(piece);
            while let Some(answer) = frames.take()? {
                answers.push(answer);
            }
        }
        assert!(frames.bytes.is_empty(), "{frames:?} is left");
        Ok(answers)
    }

    #[test]
    fn answers_are_read_however_they_are_cut() {
        let sent = b"+OK\r\n:1\r\n:-7\r\n$-1\r\n*-1\r\n$0\r\n\r\n$5\r\na\r\nb\n\r\n*0\r\n*2\r\n*1\r\n$1\r\nx\r\n:2\r\n+PONG\r\n";
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let expected = [
            Value::Okay,
            Value::Int(1),
            Value::Int(-7),
            Value::Nil,
            Value::Nil,
            text(""),
            text("a\r\nb\n"),
            Value::Array(Vec::new()),
            Value::Array(vec![Value::Array(vec![text("x")]), Value::Int(2)]),
            Value::SimpleString("PONG".to_owned()),
        ];
        for piece in 1..=sent.len() {
            assert_eq!(answers(sent, piece).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let answers = answers(b"-NOSCRIPT No matching script.\r\n", 3).unwrap();
        let [Value::ServerError(refusal)] = answers.as_slice() else { unreachable!("{answers:?}") };
        assert_eq!(refusal.code(), "NOSCRIPT");
    }

    #[test]
    fn what_is_no_answer_is_found_before_all_of_it_is_there() {
        for wrong in [
            "HTTP/1.1 400\r\n",
            "\r\n",
            "+OK\n",
            "$x\r\n",
            "$-2\r\n",
            "$536870913\r\n",
            "*+\r\n",
            "%1\r\n",
        ] {
            assert_eq!(answers(wrong.as_bytes(), 1), Err(Malformed), "{wrong:?}");
        }
        let endless = [b'+'; LINE_MAX];
        assert_eq!(answers(&endless, 1000), Err(Malformed));
        // Room is made for what has come, not for what is announced.
        assert_eq!(answers_begun(b"*536870912\r\n$536870912\r\nx"), Ok(None));
    }

    fn answers_begun(bytes: &[u8]) -> Result<Option<Value>, Malformed> {
        let mut frames = Frames::new();
        frames.room().extend_from_slice(bytes);
        let answer = frames.take();
        assert!(frames.bytes.capacity() <= 2 * ROOM);
        answer
    }

    #[test]
    fn each_part_of_an_answer_is_looked_at_once_however_it_comes() {
        let mut frames = Frames::new();
        let (head, part) = (b"*1000\r\n", b"$4\r\npart\r\n");
        frames.room().extend_from_slice(head);
        for seen in 0..1000 {
            assert_eq!(frames.take(), Ok(None));
            assert_eq!((frames.at, frames.parts), (head.len() + seen * part.len(), 1000 - seen));
            frames.room().extend_from_slice(part);
        }
        let Ok(Some(Value::Array(parts))) = frames.take() else { unreachable!() };
        assert_eq!(parts.len(), 1000);
    }

    #[test]
    fn room_for_a_large_answer_is_not_kept() {
        let mut frames = Frames::new();
        let text = "x".repeat(100 * ROOM);
        frames.room().extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
        assert_eq!(frames.take(), Ok(Some(Value::BulkString(text.into_bytes()))));
        assert!(frames.room().capacity() <= 2 * ROOM);
    }
}
