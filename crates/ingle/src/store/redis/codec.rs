//! A record as one string of readable JSON, and back; and the mark that a renew or a destroy leaves in its
//! place.
//!
//! A record always becomes the same bytes: the header in a fixed order, then the data. So what this process
//! knows of a record says what stands in Redis, and a commit compares the whole string. What a person has
//! written in another form is read all the same; `write.rs` says how it is written over.
//!
//! Instants are milliseconds since 1970, names are hexadecimal, and the ops are one text in Base64, the
//! newest first. Of its key a record has the handle alone: whoever reads knows the key, and
//! that much tells one session from another.

use std::{borrow::Cow, hash::BuildHasher as _, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use foldhash::quality::FixedState;
use redis::{Cmd, Value};
use serde::Deserialize;

use super::{error::NAME, names::Names};
use crate::{
    clock::Timestamp,
    data::Data,
    id::{Digits, Handle, Key},
    record::{Epoch, FORMAT, Header, Loaded, OPS_MAX, Op, Ops, Record, User, Version},
    store::{Applied, Error, ErrorKind, MARK_TIME, mark::Mark},
};

/// What stands under a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Record(Loaded),
    Mark(Mark),
}

impl Entry {
    /// The record, dead or not, if it is one.
    pub(super) fn record(self) -> Option<Loaded> {
        match self {
            Self::Record(loaded) => Some(loaded),
            Self::Mark(_) => None,
        }
    }

    /// Whether its key can be taken.
    pub(super) fn is_dead(&self, now: Timestamp) -> bool {
        match self {
            Self::Record(loaded) => loaded.record.is_dead(now),
            Self::Mark(mark) => mark.is_dead(now),
        }
    }
}

/// The largest data of a record. Redis would take 512 MiB, and serve nobody else meanwhile.
pub(super) const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long Redis keeps a record after its deadline at least, and a user's set after the deadline of the last
/// record in it. Redis counts the time from a write on, so its clock may show what it will; this is for
/// instances of the app whose clocks differ.
pub(super) const SLACK: Duration = Duration::from_secs(15 * 60);

/// A deadline that moves within one span of so long, as with most commits, needs no other time of expiry: each
/// one is long enough for the last deadline of its span.
const SPAN: Duration = Duration::from_secs(5 * 60);

/// How long after its deadline Redis is told to delete a record.
pub(super) const KEPT: Duration = SLACK.saturating_add(SPAN);

/// With each commit of so many Redis is told the time in any case: a person may have taken it away.
const TOLD_EVERY: u64 = 16;

/// How long Redis keeps a mark. Its own end is [`MARK_TIME`] by the clock of the app.
pub(super) const MARK_EXPIRY: Duration = Duration::from_secs(10 * 60);
const _: () = assert!(MARK_EXPIRY.as_secs() > 5 * MARK_TIME.as_secs(), "clocks differ by minutes");

/// In how many milliseconds Redis may delete a record: when it is dead by any clock.
pub(super) fn expiry(header: &Header, now: Timestamp) -> u64 {
    millis(dead(header).since(now).saturating_add(KEPT))
}

/// Whether Redis must be told that for a record in the place of this one, for which it was told.
pub(super) fn moves_expiry(base: &Header, header: &Header) -> bool {
    let span = |header| dead(header).as_millis() / millis(SPAN);
    span(base) != span(header) || header.counter.is_multiple_of(TOLD_EVERY)
}

fn dead(header: &Header) -> Timestamp {
    header.idle_deadline.min(header.absolute_deadline)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The version of the record that these bytes are: equal bytes are one version, and what a person edits is
/// another one, whatever counter it has. The condition of a commit is more than that: the bytes.
pub(super) fn version(text: &[u8]) -> Version {
    // No version leaves the process, so the hash need not be one that others know.
    Version(FixedState::default().hash_one(text).max(Version::NONE.0 + 1))
}

/// How many bytes a record has most often at most, beside its data and the user's name.
const HEADER_BYTES: usize = 336 + OPS_BYTES;

/// How many bytes the ops have at most, with six bits in each.
const OPS_BYTES: usize = (8 * 8 * OPS_MAX).div_ceil(6);

/// An empty text with room for most records. It is of a size that allocators serve fast.
pub(super) fn empty_text() -> Vec<u8> {
    Vec::with_capacity(HEADER_BYTES + 256)
}

/// The bytes of a record.
pub(super) fn text(record: &Record) -> Result<Vec<u8>, Error> {
    let mut text = empty_text();
    push(&mut text, record)?;
    Ok(text)
}

/// Adds the bytes of a record. The scripts know the first three fields by their places.
pub(super) fn push(text: &mut Vec<u8>, record: &Record) -> Result<(), Error> {
    let Header {
        format,
        key,
        created,
        idle_deadline,
        absolute_deadline,
        idle_timeout,
        user,
        epoch,
        counter,
        ops,
    } = &record.header;
    push_number(text, br#"{"format":"#, u64::from(*format));
    push_number(text, br#","idle_deadline":"#, idle_deadline.as_millis());
    push_number(text, br#","absolute_deadline":"#, absolute_deadline.as_millis());
    push_number(text, br#","created":"#, created.as_millis());
    if let Some(timeout) = idle_timeout {
        push_number(text, br#","idle_timeout":"#, millis(*timeout));
    }
    if let Some(user) = user {
        text.extend_from_slice(br#","user":"#);
        push_json(text, &user.name)?;
        text.extend_from_slice(br#","login":"#);
        push_json(text, &user.details())?;
    }
    push_number(text, br#","counter":"#, *counter);
    text.extend_from_slice(br#","epoch":""#);
    text.extend_from_slice(Digits::of(epoch.to_bits().to_be_bytes()).as_bytes());
    text.extend_from_slice(br#"","handle":""#);
    text.extend_from_slice(Digits::of(*key.handle().as_bytes()).as_bytes());
    text.extend_from_slice(br#"","ops":""#);
    push_ops(text, ops);
    text.extend_from_slice(br#"","data":"#);
    let before = text.len();
    push_json(text, &record.data)?;
    if text.len() - before > DATA_BYTES_MAX {
        return Err(Error::new(NAME, ErrorKind::TooLarge, Applied::No)
            .with_source("the data has more than 16 MiB as JSON"));
    }
    text.push(b'}');
    Ok(())
}

/// The ops, the newest first. They are a third of most records, and who runs a script takes a hash of each
/// byte, so they are in Base64.
fn push_ops(text: &mut Vec<u8>, ops: &Ops) {
    let mut bytes = [0; 8 * OPS_MAX];
    let (places, _) = bytes.as_chunks_mut();
    for (place, op) in places.iter_mut().zip(ops.iter().rev()) {
        *place = op.to_bits().to_be_bytes();
    }
    let bytes = bytes.get(..8 * ops.iter().len()).unwrap_or_default();
    let mut digits = [0; OPS_BYTES];
    // There is room for as many as there can be.
    let n_digits = BASE64.encode_slice(bytes, &mut digits).unwrap_or_default();
    text.extend_from_slice(digits.get(..n_digits).unwrap_or_default());
}

/// The bytes of a mark. The scripts know one by how it begins.
pub(super) fn mark_text(mark: &Mark) -> Vec<u8> {
    let mut text = Vec::with_capacity(128);
    match &mark.moved_to {
        Some(to) => {
            text.extend_from_slice(br#"{"moved_to":""#);
            text.extend_from_slice(Digits::of(*to.as_bytes()).as_bytes());
            text.push(b'"');
        }
        None => text.extend_from_slice(br#"{"ended":true"#),
    }
    push_number(&mut text, br#","until":"#, mark.until.as_millis());
    text.push(b'}');
    text
}

fn push_number(text: &mut Vec<u8>, before: &[u8], number: u64) {
    text.extend_from_slice(before);
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_json(text: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), Error> {
    serde_json::to_writer(text, value)
        .map_err(|error| Error::new(NAME, ErrorKind::Refused, Applied::No).with_source(error))
}

/// The command that reads what stands under a key.
pub(super) fn load(names: &Names, key: &Key) -> Cmd {
    let mut command = Cmd::with_capacity(2, 128);
    command.arg("GET").arg(names.record(key));
    command
}

/// What stands under a key is not a record that this version can read.
///
/// Only where it is wrong is told: a record's content may be anyone's secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("Redis answered with something else than a record")]
    Answer,
    #[error("a session in Redis has no `{0}`")]
    Missing(&'static str),
    #[error("a session in Redis has format {0}, and this version reads from 1 to {FORMAT}")]
    Format(u64),
    #[error("`login` of a session in Redis is not what it should be")]
    Login,
    #[error("a session in Redis stands under another key than it was written under")]
    OtherKey,
    #[error("a session in Redis is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("a field of a session in Redis is not what it should be: line {line}, column {column}")]
    Field { line: usize, column: usize },
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(NAME, ErrorKind::Corrupt, Applied::No).with_source(unreadable)
    }
}

/// Reads the answer to [`load`].
pub(super) fn read(answer: Value, key: &Key) -> Result<Option<Entry>, Unreadable> {
    found(answer)?.map(|text| entry(&text, key)).transpose()
}

/// The bytes that stand under a key, if there are any.
pub(super) fn found(answer: Value) -> Result<Option<Vec<u8>>, Unreadable> {
    match answer {
        Value::Nil => Ok(None),
        Value::BulkString(text) => Ok(Some(text)),
        _ => Err(Unreadable::Answer),
    }
}

/// A record or a mark as it is read. A person may have written it: fields may be in any order, and what is not
/// known is passed over.
#[derive(Deserialize)]
struct Fields {
    format: Option<u64>,
    idle_deadline: Option<Timestamp>,
    absolute_deadline: Option<Timestamp>,
    created: Option<Timestamp>,
    idle_timeout: Option<u64>,
    user: Option<String>,
    login: Option<serde_json::Value>,
    counter: Option<u64>,
    epoch: Option<Epoch>,
    #[serde(default, deserialize_with = "read_handle")]
    handle: Option<Handle>,
    #[serde(default, deserialize_with = "read_ops")]
    ops: Option<Ops>,
    data: Option<Data>,
    moved_to: Option<Key>,
    #[serde(default)]
    ended: bool,
    until: Option<Timestamp>,
}

/// Reads what stands under a key. A record of another session has another key then, of which no more than the
/// beginning is known.
pub(super) fn entry(text: &[u8], key: &Key) -> Result<Entry, Unreadable> {
    // The error's text would quote what stands there, so it is left behind.
    let fields: Fields = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => Unreadable::Field { line, column },
            _ => Unreadable::NotJson { line, column },
        }
    })?;
    if fields.moved_to.is_some() || fields.ended {
        let until = present("until", fields.until)?;
        return Ok(Entry::Mark(Mark { moved_to: fields.moved_to, until }));
    }
    let written = present("format", fields.format)?;
    let handle = present("handle", fields.handle)?;
    let format = u16::try_from(written).ok().filter(|format| (1..=FORMAT).contains(format));
    let header = Header {
        format: format.ok_or(Unreadable::Format(written))?,
        key: if handle == key.handle() { *key } else { handle.any_key() },
        created: present("created", fields.created)?,
        idle_deadline: present("idle_deadline", fields.idle_deadline)?,
        absolute_deadline: present("absolute_deadline", fields.absolute_deadline)?,
        idle_timeout: fields.idle_timeout.map(Duration::from_millis),
        user: user_of(fields.user, fields.login)?,
        epoch: present("epoch", fields.epoch)?,
        counter: present("counter", fields.counter)?,
        ops: present("ops", fields.ops)?,
    };
    let record = Arc::new(Record { header, data: present("data", fields.data)? });
    Ok(Entry::Record(Loaded { record, version: version(text) }))
}

fn user_of(
    name: Option<String>,
    login: Option<serde_json::Value>,
) -> Result<Option<User>, Unreadable> {
    let user = name.map(|name| User::from_details(name, login).ok_or(Unreadable::Login));
    user.transpose()
}

fn present<T>(name: &'static str, field: Option<T>) -> Result<T, Unreadable> {
    field.ok_or(Unreadable::Missing(name))
}

/// A text, which is copied only where JSON has escapes in it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_handle<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Handle>, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn read_ops<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Ops>, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    let bytes = BASE64.decode(&*text).map_err(serde::de::Error::custom)?;
    let (ops, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(serde::de::Error::custom("an op has 8 bytes"));
    }
    Ok(Some(ops.iter().rev().map(|op| Op::from_bits(u64::from_be_bytes(*op))).collect()))
}
