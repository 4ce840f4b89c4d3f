//! How the tests named `fuzz_…` make their inputs: valid ones, a little spoiled.
//!
//! A target is a function of [`Unstructured`] bytes, as fuzzers that watch the code have it, too, so
//! that one can drive it with no more than `fuzz_target!(|input| …)`. Here it runs for as long as
//! `ARBTEST_BUDGET_MS` says, 100 ms by default, and prints the seed of an input that breaks it;
//! `ARBTEST_SEED` runs that one again. `cargo xtask torture fuzz` gives each more time.

use std::{cell::Cell, time::Duration};

use arbtest::arbtest;
use serde_json::{Map, Value};

pub(crate) use arbtest::arbitrary::{Result, Unstructured};

use crate::{
    clock::Timestamp,
    data::Data,
    id::Key,
    record::{Epoch, FORMAT, Header, Op, Record, User},
};

/// What must not be in the text of an error or a log: it stands in the data, in a user's name, in a
/// password.
pub(crate) const SECRET: &str = "s3cret";

/// Runs a target and says how many inputs it had.
pub(crate) fn fuzz(name: &str, mut target: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let inputs = Cell::new(0_u64);
    arbtest(|u| {
        inputs.set(inputs.get() + 1);
        target(u)
    })
    .size_max(4096)
    .run();
    println!("fuzz target {name}: {}", inputs.get());
}

/// One of these, or a spoiled copy of it.
pub(crate) fn spoiled(
    u: &mut Unstructured<'_>,
    valid: &[&[u8]],
    words: &[&str],
) -> Result<Vec<u8>> {
    let mut bytes = u.choose(valid)?.to_vec();
    for _ in 0..u.int_in_range(0..=4)? {
        let from = u.int_in_range(0..=bytes.len())?;
        let to = u.int_in_range(from..=bytes.len().min(from + 16))?;
        match u.int_in_range(0..=5)? {
            0 => drop(bytes.drain(from..to)),
            1 => drop(bytes.splice(from..to, u.choose(words)?.bytes())),
            2 => bytes.insert(from, u.arbitrary()?),
            3 if from < bytes.len() => bytes[from] ^= 1 << u.int_in_range(0..=7)?,
            4 => drop(bytes.splice(from..from, bytes[from..to].to_vec())),
            _ => bytes.truncate(from),
        }
    }
    Ok(bytes)
}

/// The same of a text, which has [`SECRET`] once at most: a copy of a password may have become the
/// name of something, and names are told.
pub(crate) fn spoiled_text(
    u: &mut Unstructured<'_>,
    valid: &[&str],
    words: &[&str],
) -> Result<String> {
    let valid: Vec<&[u8]> = valid.iter().map(|text| text.as_bytes()).collect();
    let text = String::from_utf8_lossy(&spoiled(u, &valid, words)?).into_owned();
    let copies = text.matches(SECRET).count().saturating_sub(1);
    Ok(text.replacen(SECRET, "", copies))
}

/// A JSON value that a session may hold.
pub(crate) fn value(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let kinds = if depth == 0 { 5 } else { 7 };
    Ok(match u.int_in_range(0..=kinds)? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        2 => u.arbitrary::<i64>()?.into(),
        3 => Some(u.arbitrary::<f64>()?).filter(|double| double.is_finite()).into(),
        4 => u.arbitrary::<i8>()?.into(),
        5 => text(u)?.into(),
        6 => {
            let n = u.int_in_range(0..=4)?;
            Value::Array((0..n).map(|_| value(u, depth - 1)).collect::<Result<_>>()?)
        }
        _ => Value::Object(object(u, depth - 1)?),
    })
}

/// A JSON object that a session may hold.
pub(crate) fn object(u: &mut Unstructured<'_>, depth: usize) -> Result<Map<String, Value>> {
    let names = ["a", "b", "$timestamp", "$bytes", "$$double", "$array", "a.b", "`", "é"];
    let mut fields = Map::new();
    for _ in 0..u.int_in_range(0..=4)? {
        fields.insert((*u.choose(&names)?).to_owned(), value(u, depth)?);
    }
    Ok(fields)
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let valid =
        ["", SECRET, "-0.0", "NaN", "aGk=", "2026-05-04T12:30:00Z", "\"\\\r\n\u{1}", "é世界"];
    Ok(spoiled_text(u, &valid, &["\\", "\"", "\u{202e}"])?.replace('\0', ""))
}

/// A record that the library could have written.
#[allow(dead_code, reason = "only stores beside the one in memory write and read anything")]
pub(crate) fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let time = |u: &mut Unstructured<'_>| u.arbitrary().map(Timestamp::from_millis);
    let mut header = Header {
        format: FORMAT,
        key: Key::from_bytes(u.arbitrary()?),
        created: time(u)?,
        idle_deadline: time(u)?,
        absolute_deadline: time(u)?,
        idle_timeout: u.arbitrary::<Option<u32>>()?.map(|ms| Duration::from_millis(ms.into())),
        user: None,
        epoch: Epoch::from_bits(u.arbitrary()?),
        counter: u64::from(u.arbitrary::<u32>()?) + 1,
        ops: u.arbitrary::<[u64; 3]>()?.map(Op::from_bits).into_iter().collect(),
    };
    if u.arbitrary()? {
        let generation = u.arbitrary::<u32>()?.into();
        header.user = Some(User::new(
            format!("{SECRET}{}", u.arbitrary::<u8>()?),
            generation,
            Timestamp::from_millis(7),
        ));
    }
    let data: Data = object(u, 3)?;
    Ok(Record { header, data })
}

/// What an error says, down to its first cause, which must not be what the record holds.
#[allow(dead_code, reason = "only stores beside the one in memory write and read anything")]
pub(crate) fn tells_no_secret(error: &(dyn std::error::Error + 'static)) {
    let mut error = Some(error);
    while let Some(cause) = error {
        let text = format!("{cause} {cause:?}");
        assert!(!text.contains(SECRET), "{text}");
        error = cause.source();
    }
}
