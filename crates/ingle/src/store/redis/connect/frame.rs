//! Where an answer ends in what a server has sent, and what it says: version 2 of Redis' protocol.

use bytes::{Buf as _, BytesMut};
use redis::Value;

/// The longest line: how long something is, a number, or a refusal.
const LINE_MAX: usize = 64 * 1024;

/// The longest text, which is Redis' own bound.
const TEXT_MAX: usize = 512 * 1024 * 1024;

/// What was sent is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the answer makes no sense")]
pub(super) struct NoSense;

/// Takes the first answer, if all of it is there.
pub(super) fn take(bytes: &mut BytesMut) -> Result<Option<Value>, NoSense> {
    let Some(end) = end(bytes)? else { return Ok(None) };
    let answer = bytes.get(..end).unwrap_or_default();
    let answer = match answer {
        b"+OK\r\n" => Value::Okay,
        b":1\r\n" => Value::Int(1),
        other => redis::parse_redis_value(other).map_err(|_| NoSense)?,
    };
    bytes.advance(end);
    Ok(Some(answer))
}

/// Where the first answer ends.
fn end(bytes: &[u8]) -> Result<Option<usize>, NoSense> {
    let (mut at, mut parts) = (0, 1_usize);
    while parts > 0 {
        let Some(line) = bytes.get(at..).map(line).transpose()?.flatten() else { return Ok(None) };
        at += line.len() + 2;
        parts -= 1;
        match line.split_first() {
            Some((b'+' | b'-' | b':', _)) => {}
            Some((b'$', length)) => at += length_of(length)?.map_or(0, |length| length + 2),
            Some((b'*', count)) => parts += length_of(count)?.unwrap_or(0),
            _ => return Err(NoSense),
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// The line that these bytes begin with, without its end.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, NoSense> {
    match bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') {
        Some(end) => {
            bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(NoSense).map(Some)
        }
        None if bytes.len() < LINE_MAX => Ok(None),
        None => Err(NoSense),
    }
}

/// How much follows; nothing at all, not even an end, where it is -1.
fn length_of(digits: &[u8]) -> Result<Option<usize>, NoSense> {
    if digits == b"-1" {
        return Ok(None);
    }
    let length = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    length.filter(|length| *length <= TEXT_MAX).ok_or(NoSense).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All answers in these bytes, which come in pieces of this length.
    fn answers(bytes: &[u8], piece: usize) -> Result<Vec<Value>, NoSense> {
        let (mut buffer, mut answers) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(answer) = take(&mut buffer)? {
                answers.push(answer);
            }
        }
        assert!(buffer.is_empty(), "{buffer:?} is left");
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
            assert_eq!(answers(wrong.as_bytes(), 1), Err(NoSense), "{wrong:?}");
        }
        let endless = [b'+'; LINE_MAX];
        assert_eq!(answers(&endless, 1000), Err(NoSense));
        // Room is made for what has come, not for what is announced.
        let mut begun = BytesMut::from("*536870912\r\n$536870912\r\nx");
        assert_eq!(take(&mut begun), Ok(None));
    }
}
