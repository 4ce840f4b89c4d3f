//! A record as a Redis hash, and back; and the mark that a renew or a destroy leaves in its place.
//!
//! All values are texts that a person can read: the data is JSON, instants are milliseconds since
//! 1970, names are hexadecimal. The record's version is its counter.
//!
//! What every commit moves of the header is one field, `head`: the idle deadline, the counter, and the ops,
//! the newest first. To look at one field and to write one costs Redis less than three of each.
//!
//! A mark is a hash whose `format` is `moved` or `ended`, whose `absolute_deadline` is its end and, where the
//! record was moved, whose `key` is the new one. So each script that looks at a record's deadlines finds the
//! key taken until the mark is dead, and nobody reads a field more than before.

use std::{str::FromStr, sync::Arc, time::Duration};

use redis::{Cmd, Value};

use super::{error::NAME, names::Names};
use crate::{
    clock::Timestamp,
    data::Data,
    id::{Digits, Key},
    record::{Epoch, FORMAT, Header, Loaded, OPS_MAX, Op, Ops, Record, User, Version},
    store::{Applied, Error, ErrorKind, MARK_TIME, mark::Mark},
};

/// The fields of a record's hash that [`read`] reads, in its order, as a script names them.
macro_rules! fields {
    () => {
        "'format', 'key', 'created', 'absolute_deadline', 'idle_timeout', 'user', 'generation', \
         'epoch', 'head', 'data'"
    };
}
pub(super) use fields;

/// The same fields.
pub(super) const FIELDS: [&str; 10] = [
    "format",
    "key",
    "created",
    "absolute_deadline",
    "idle_timeout",
    "user",
    "generation",
    "epoch",
    "head",
    "data",
];

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
}

/// The largest data of a record. Redis would take 512 MiB, and serve nobody else meanwhile.
pub(super) const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long Redis keeps a record after its deadline, but for less than [`EXPIRY_STEP`], and a user's set after
/// the deadline of the last record in it. Redis counts the time from the commit on, so its clock may show what
/// it will; this is for instances of the app whose clocks differ.
pub(super) const SLACK: Duration = Duration::from_secs(15 * 60);

/// A commit moves the expiry only where the deadline comes into another step of so many milliseconds.
const EXPIRY_STEP: u64 = 60_000;

/// How long Redis keeps a mark. Its own end is [`MARK_TIME`] by the clock of the app.
const MARK_EXPIRY: Duration = Duration::from_secs(10 * 60);
const _: () = assert!(MARK_EXPIRY.as_secs() > 5 * MARK_TIME.as_secs(), "clocks differ by minutes");

/// In how many milliseconds Redis may delete a record: when it is dead by any clock.
pub(super) fn expiry(header: &Header, now: Timestamp) -> u64 {
    millis(dead(header).since(now).saturating_add(SLACK))
}

/// Whether a commit that makes `after` of `before` must move the expiry.
pub(super) fn moves_expiry(before: &Header, after: &Header) -> bool {
    let step = |header| dead(header).as_millis() / EXPIRY_STEP;
    step(before) != step(after)
}

/// Adds what the function `mark` of the scripts needs to know of a mark: its end, and when Redis may delete it.
pub(super) fn push_mark(command: &mut Cmd, mark: &Mark) {
    command.arg(mark.until.as_millis()).arg(millis(MARK_EXPIRY));
}

fn dead(header: &Header) -> Timestamp {
    header.idle_deadline.min(header.absolute_deadline)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The name of the newest commit; empty if there is none.
pub(super) fn newest_op(ops: &Ops) -> String {
    ops.newest().map(|op| digits(op.to_bits()).as_str().to_owned()).unwrap_or_default()
}

/// Adds the whole record to a write where there is no hash yet.
pub(super) fn whole(command: &mut Cmd, record: &Record, listed: Option<&str>) -> Result<(), Error> {
    let header = &record.header;
    command.arg(0_u8);
    command.arg("format").arg(header.format);
    command.arg("key").arg(header.key.to_string());
    command.arg("created").arg(header.created.as_millis());
    command.arg("absolute_deadline").arg(header.absolute_deadline.as_millis());
    command.arg("epoch").arg(epoch(header));
    if let Some(timeout) = header.idle_timeout {
        command.arg("idle_timeout").arg(millis(timeout));
    }
    user(command, header, listed);
    command.arg("head").arg(head(header));
    command.arg("data").arg(json(&record.data)?);
    Ok(())
}

/// Adds what `record` has other than `base` to a write on top of it.
pub(super) fn changed(
    command: &mut Cmd,
    base: &Record,
    record: &Record,
    listed: Option<&str>,
) -> Result<(), Error> {
    let (before, after) = (&base.header, &record.header);
    let gone = |was: bool, is: bool| was && !is;
    let no_user = gone(before.user.is_some(), after.user.is_some());
    let no_timeout = gone(before.idle_timeout.is_some(), after.idle_timeout.is_some());
    let removed = 3 * usize::from(no_user) + usize::from(no_timeout);
    command.arg(removed);
    if no_user {
        command.arg("user").arg("generation").arg("listed");
    }
    if no_timeout {
        command.arg("idle_timeout");
    }
    // Never so in a record of this library, but then nothing else would tell.
    if (before.created, before.absolute_deadline, before.epoch, before.format)
        != (after.created, after.absolute_deadline, after.epoch, after.format)
    {
        command.arg("format").arg(after.format);
        command.arg("created").arg(after.created.as_millis());
        command.arg("absolute_deadline").arg(after.absolute_deadline.as_millis());
        command.arg("epoch").arg(epoch(after));
    }
    if let Some(timeout) = after.idle_timeout.filter(|_| before.idle_timeout != after.idle_timeout)
    {
        command.arg("idle_timeout").arg(millis(timeout));
    }
    if before.user != after.user {
        user(command, after, listed);
    }
    command.arg("head").arg(head(after));
    if base.data != record.data {
        command.arg("data").arg(json(&record.data)?);
    }
    Ok(())
}

fn head(header: &Header) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
    push_head(&mut head, header);
    head
}

/// How many bytes [`push_head`] adds at most: two numbers, and the ops.
pub(super) const HEAD_BYTES_MAX: usize = 2 * 21 + 17 * OPS_MAX;

/// Adds what every commit moves.
pub(super) fn push_head(text: &mut Vec<u8>, header: &Header) {
    push_number(text, header.idle_deadline.as_millis());
    push_condition(text, header);
    for op in header.ops.iter().rev().skip(1) {
        text.push(b',');
        push_op(text, op);
    }
}

/// Adds the part of a head that a write is conditional on: the counter and the newest op.
pub(super) fn push_condition(text: &mut Vec<u8>, header: &Header) {
    text.push(b' ');
    push_number(text, header.counter);
    text.push(b' ');
    if let Some(newest) = header.ops.newest() {
        push_op(text, newest);
    }
}

pub(super) fn condition(header: &Header) -> Vec<u8> {
    let mut condition = Vec::new();
    push_condition(&mut condition, header);
    condition
}

fn push_number(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_op(text: &mut Vec<u8>, op: Op) {
    text.extend_from_slice(digits(op.to_bits()).as_bytes());
}

fn user(command: &mut Cmd, header: &Header, listed: Option<&str>) {
    if let Some(user) = &header.user {
        command.arg("user").arg(&user.name).arg("generation").arg(user.generation);
    }
    if let Some(listed) = listed {
        command.arg("listed").arg(listed);
    }
}

fn json(data: &Data) -> Result<Vec<u8>, Error> {
    let mut json = Vec::new();
    push_json(&mut json, data)?;
    Ok(json)
}

pub(super) fn push_json(text: &mut Vec<u8>, data: &Data) -> Result<(), Error> {
    let refused = |kind| Error::new(NAME, kind, Applied::No);
    let before = text.len();
    serde_json::to_writer(&mut *text, data)
        .map_err(|error| refused(ErrorKind::Refused).with_source(error))?;
    if text.len() - before > DATA_BYTES_MAX {
        return Err(
            refused(ErrorKind::TooLarge).with_source("the data has more than 16 MiB as JSON")
        );
    }
    Ok(())
}

pub(super) fn epoch(header: &Header) -> String {
    digits(header.epoch.to_bits()).as_str().to_owned()
}

fn digits(bits: u64) -> Digits<8> {
    Digits::of(bits.to_be_bytes())
}

/// The command that reads a record.
pub(super) fn load(names: &Names, key: &Key) -> Cmd {
    let mut command = Cmd::with_capacity(2 + FIELDS.len(), 256);
    command.arg("HMGET").arg(names.record(key));
    FIELDS.iter().for_each(|field| _ = command.arg(field));
    command
}

/// What stands in a hash is not a record that this version can read.
///
/// Only where it is wrong is told: a record's content may be anyone's secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("Redis answered with something else than a record")]
    Answer,
    #[error("a session's hash has no `{0}`")]
    Missing(&'static str),
    #[error("`{0}` of a session's hash is not what it should be")]
    Field(&'static str),
    #[error("a session's hash has format {0}, and this version reads up to {FORMAT}")]
    Format(u16),
    #[error("`data` of a session's hash is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("`data` of a session's hash is not a JSON object")]
    NotAnObject,
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(NAME, ErrorKind::Corrupt, Applied::No).with_source(unreadable)
    }
}

/// Reads the answer to [`load`]. A hash without any part of a header is neither record nor mark.
pub(super) fn read(answer: Value) -> Result<Option<Entry>, Unreadable> {
    let Value::Array(values) = answer else { return Err(Unreadable::Answer) };
    if values.iter().take(FIELDS.len() - 1).all(|value| matches!(value, Value::Nil)) {
        return Ok(None);
    }
    let mut fields = Fields { values: values.into_iter(), names: FIELDS.iter() };
    let (name, format) = fields.present()?;
    match format.as_slice() {
        b"moved" => return fields.mark(true).map(Some),
        b"ended" => return fields.mark(false).map(Some),
        _ => {}
    }
    let format: u16 = parse(name, &format)?;
    if !(1..=FORMAT).contains(&format) {
        return Err(Unreadable::Format(format));
    }
    let key = fields.parsed()?;
    let created = fields.instant()?;
    let absolute_deadline = fields.instant()?;
    let idle_timeout = fields.optional()?.map(Duration::from_millis);
    let name: Option<String> = fields.optional()?;
    // A user whom an operator wrote down without a generation is of the first.
    let generation = fields.optional()?.unwrap_or_default();
    let user = name.map(|name| User { name, generation });
    let epoch = fields.epoch()?;
    let Head { idle_deadline, counter, ops } = fields.head()?;
    let header = Header {
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
    };
    let record = Record { header, data: fields.data()? };
    let loaded = Loaded { record: Arc::new(record), version: Version(counter) };
    Ok(Some(Entry::Record(loaded)))
}

/// Reads the key that a mark has.
pub(super) fn read_key(text: &[u8]) -> Result<Key, Unreadable> {
    parse("key", text)
}

/// Reads the answer to [`load`] with `listed` as one field more. Marks are left out.
pub(super) fn read_listed(answer: Value) -> Result<Option<(Loaded, Option<String>)>, Unreadable> {
    let Value::Array(mut values) = answer else { return Err(Unreadable::Answer) };
    let listed = match values.pop() {
        Some(Value::BulkString(listed)) => String::from_utf8(listed).ok(),
        _ => None,
    };
    let loaded = read(Value::Array(values))?.and_then(Entry::record);
    Ok(loaded.map(|loaded| (loaded, listed)))
}

struct Fields {
    values: std::vec::IntoIter<Value>,
    names: std::slice::Iter<'static, &'static str>,
}

impl Fields {
    /// The next field, if the hash has it.
    fn bytes(&mut self) -> Result<(&'static str, Option<Vec<u8>>), Unreadable> {
        let name = self.names.next().ok_or(Unreadable::Answer)?;
        match self.values.next() {
            Some(Value::BulkString(bytes)) => Ok((name, Some(bytes))),
            Some(Value::Nil) => Ok((name, None)),
            _ => Err(Unreadable::Answer),
        }
    }

    fn present(&mut self) -> Result<(&'static str, Vec<u8>), Unreadable> {
        let (name, bytes) = self.bytes()?;
        Ok((name, bytes.ok_or(Unreadable::Missing(name))?))
    }

    fn optional<T: FromStr>(&mut self) -> Result<Option<T>, Unreadable> {
        let (name, bytes) = self.bytes()?;
        bytes.map(|bytes| parse(name, &bytes)).transpose()
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T, Unreadable> {
        let (name, bytes) = self.present()?;
        parse(name, &bytes)
    }

    fn instant(&mut self) -> Result<Timestamp, Unreadable> {
        self.parsed().map(Timestamp::from_millis)
    }

    fn epoch(&mut self) -> Result<Epoch, Unreadable> {
        let (name, bytes) = self.present()?;
        hexadecimal(&bytes).map(Epoch::from_bits).ok_or(Unreadable::Field(name))
    }

    fn head(&mut self) -> Result<Head, Unreadable> {
        let (name, bytes) = self.present()?;
        Head::read(&bytes).ok_or(Unreadable::Field(name))
    }

    /// Reads a mark, behind its format.
    fn mark(&mut self, is_moved: bool) -> Result<Entry, Unreadable> {
        let (name, to) = self.bytes()?;
        let moved_to = match to {
            Some(to) if is_moved => Some(parse(name, &to)?),
            None if is_moved => return Err(Unreadable::Missing(name)),
            _ => None,
        };
        let _created = self.bytes()?;
        Ok(Entry::Mark(Mark { moved_to, until: self.instant()? }))
    }

    fn data(&mut self) -> Result<Data, Unreadable> {
        let (_, bytes) = self.present()?;
        // The error's text would quote what stands there, so it is left behind.
        serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Unreadable::NotAnObject,
            _ => Unreadable::NotJson { line: error.line(), column: error.column() },
        })
    }
}

/// What every commit moves of a header.
struct Head {
    idle_deadline: Timestamp,
    counter: u64,
    ops: Ops,
}

impl Head {
    /// None if that is not the text of one.
    fn read(text: &[u8]) -> Option<Self> {
        let (idle_deadline, rest) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let (counter, ops) = rest.split_once(' ')?;
        let ops = ops.rsplit(',').filter(|op| !op.is_empty());
        Some(Self {
            idle_deadline: Timestamp::from_millis(idle_deadline.parse().ok()?),
            counter: counter.parse().ok()?,
            ops: ops
                .map(|op| hexadecimal(op.as_bytes()).map(Op::from_bits))
                .collect::<Option<_>>()?,
        })
    }
}

fn parse<T: FromStr>(name: &'static str, bytes: &[u8]) -> Result<T, Unreadable> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Unreadable::Field(name))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
