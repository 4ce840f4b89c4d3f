//! A record or a mark as a row of the table `sessions`, and back. A record's version is its counter.
//!
//! SQLite keeps no checksum of what is in its pages, so a disk that gives back other bytes than it
//! was given would change a session in silence. Each row has one of its own, its `sum`.

use std::{sync::Arc, time::Duration};

use rusqlite::types::{ToSqlOutput, Value as Sql};
use sha2::{Digest as _, Sha256};

use super::error::NAME;
use crate::{
    clock::Timestamp,
    data::Data,
    id::Key,
    record::{Epoch, FORMAT, Header, Loaded, Op, Ops, Record, User, Version},
    store::{Applied, Error, ErrorKind, mark::Mark},
};

/// A query for rows that [`read`] can read, with the columns in its order.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT key, inner_key, format, created, idle_deadline, absolute_deadline, \
             idle_timeout, user, login, epoch, counter, ops, data, sum, mark, moved_to \
             FROM sessions ",
            $rest
        )
    };
}
pub(super) use select;

/// A record that waits to be written: its texts are made, so that the writer only binds them.
#[derive(Debug)]
pub(super) struct Row {
    record: Arc<Record>,
    login: Option<String>,
    ops: Vec<u8>,
    data: String,
    sum: i64,
}

impl Row {
    pub(super) fn of(record: &Arc<Record>) -> Result<Self, Error> {
        let data = serde_json::to_string(&record.data).map_err(|error| {
            Error::new(NAME, ErrorKind::Refused, Applied::No).with_source(error)
        })?;
        let login = record.header.user.as_ref();
        let login = login.map(|user| serde_json::Value::Object(user.details()).to_string());
        let ops = write_ops(&record.header.ops);
        let sum = sum(&record.header, &Texts { login: login.as_deref(), ops: &ops, data: &data });
        Ok(Self { record: Arc::clone(record), login, ops, data, sum })
    }

    pub(super) fn key(&self) -> &Key {
        &self.record.header.key
    }

    pub(super) fn version(&self) -> Version {
        Version(self.record.header.counter)
    }

    /// The parameters 1 to 13 of an `INSERT` or an `UPDATE`. The first is the key.
    pub(super) fn parameters(&self) -> [ToSqlOutput<'_>; 13] {
        let header = &self.record.header;
        let user = header.user.as_ref();
        [
            header.key.as_bytes().as_slice().into(),
            i64::from(header.format).into(),
            millis(header.created).into(),
            millis(header.idle_deadline).into(),
            millis(header.absolute_deadline).into(),
            optional(idle_timeout(header)),
            ToSqlOutput::Borrowed(user.map(|user| user.name.as_str()).into()),
            ToSqlOutput::Borrowed(self.login.as_deref().into()),
            header.epoch.to_bits().cast_signed().into(),
            header.counter.cast_signed().into(),
            self.ops.as_slice().into(),
            self.data.as_str().into(),
            self.sum.into(),
        ]
    }
}

/// What the column `mark` says of a mark. In a record's row it is NULL.
const MOVED: &str = "moved";
const ENDED: &str = "ended";

/// A mark as columns.
#[derive(Debug)]
pub(super) struct MarkRow<'a> {
    key: &'a Key,
    mark: Mark,
}

impl<'a> MarkRow<'a> {
    pub(super) fn of(key: &'a Key, mark: Mark) -> Self {
        Self { key, mark }
    }

    /// The parameters 1 to 6 of the `UPDATE` that makes a record's row a mark. The first is the key.
    pub(super) fn parameters(&self) -> [ToSqlOutput<'_>; 6] {
        let Self { key, mark } = self;
        [
            key.as_bytes().as_slice().into(),
            i64::from(FORMAT).into(),
            word(mark).into(),
            ToSqlOutput::Borrowed(mark.moved_to.as_ref().map(|to| to.as_bytes().as_slice()).into()),
            millis(mark.until).into(),
            sum_of_mark(key, mark).into(),
        ]
    }
}

fn word(mark: &Mark) -> &'static str {
    if mark.moved_to.is_some() { MOVED } else { ENDED }
}

fn idle_timeout(header: &Header) -> Option<i64> {
    header.idle_timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX))
}

fn optional(integer: Option<i64>) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(Sql::from(integer))
}

/// An instant as a column has it; no [`Timestamp`] is too late for that.
pub(super) fn millis(instant: Timestamp) -> i64 {
    instant.as_millis().cast_signed()
}

/// What is in a row as it stands there.
struct Texts<'a> {
    login: Option<&'a str>,
    ops: &'a [u8],
    data: &'a str,
}

/// A row's checksum. It moves by as much as the idle deadline does, so that a touch, which knows
/// nothing else of the row, can move both and hides no damage by it.
fn sum(header: &Header, texts: &Texts<'_>) -> i64 {
    let mut hash = Sha256::new();
    hash.update(header.key.as_bytes());
    let Texts { login, ops, data } = *texts;
    let name = header.user.as_ref().map(|user| user.name.as_str());
    // No text is as long as what stands for none.
    let length = |text: Option<&str>| text.map_or(u64::MAX, |text| text.len() as u64);
    for number in [
        u64::from(header.format),
        header.created.as_millis(),
        header.absolute_deadline.as_millis(),
        // Nor is any timeout.
        idle_timeout(header).map_or(u64::MAX, i64::cast_unsigned),
        header.epoch.to_bits(),
        header.counter,
        length(name),
        length(login),
        ops.len() as u64,
    ] {
        hash.update(number.to_le_bytes());
    }
    let texts = [name, login].map(|text| text.unwrap_or_default().as_bytes());
    for bytes in texts.into_iter().chain([ops, data.as_bytes()]) {
        hash.update(bytes);
    }
    summed(hash, header.idle_deadline)
}

/// The same of a mark. It begins with a word that no key begins with by accident, so that a mark is
/// never taken for a record, nor a record for a mark.
fn sum_of_mark(key: &Key, mark: &Mark) -> i64 {
    let mut hash = Sha256::new().chain_update(word(mark)).chain_update(key.as_bytes());
    if let Some(to) = &mark.moved_to {
        hash.update(to.as_bytes());
    }
    summed(hash, mark.until)
}

fn summed(hash: Sha256, deadline: Timestamp) -> i64 {
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
    let bits = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    // A quarter of the range: with any deadline added it is an integer still.
    (bits >> 2).cast_signed() + millis(deadline)
}

/// What stands in a row is neither a record nor a mark that this version can read.
///
/// Only the place is told: a row's content may be anyone's secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a row of `sessions` has another key than it was written under")]
    OtherKey,
    #[error("a row of `sessions` has format {0}, and this version reads up to {FORMAT}")]
    Format(i64),
    #[error("a row of `sessions` has a negative `{0}`")]
    Negative(&'static str),
    #[error("`ops` of a row of `sessions` is not a list of numbers of 8 bytes each")]
    Ops,
    #[error("`login` of a row of `sessions` is not what it should be")]
    Login,
    #[error("`data` of a row of `sessions` is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("`data` of a row of `sessions` is not a JSON object")]
    NotAnObject,
    #[error("`mark` of a row of `sessions` is neither NULL, `moved` nor `ended`")]
    Mark,
    #[error("a row of `sessions` has a value of a wrong type")]
    Type(#[from] rusqlite::Error),
    #[error(
        "a row of `sessions` is not as it was written: the disk, or a program that is not this \
         library, has changed it"
    )]
    Damaged,
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(NAME, ErrorKind::Corrupt, Applied::No).with_source(unreadable)
    }
}

/// What stands in a row.
#[derive(Debug)]
pub(super) enum Entry {
    Record(Loaded),
    Mark(Mark),
}

/// Reads a row that a [`select!`] found.
pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Entry, Unreadable> {
    let key = Key::from_bytes(row.get(1)?);
    if *key.as_bytes() != row.get::<_, [u8; 32]>(0)? {
        return Err(Unreadable::OtherKey);
    }
    let format: i64 = row.get(2)?;
    let format = u16::try_from(format)
        .ok()
        .filter(|format| (1..=FORMAT).contains(format))
        .ok_or(Unreadable::Format(format))?;
    match row.get_ref(14)?.as_str_or_null().map_err(|error| Unreadable::Type(error.into()))? {
        None => read_record(row, key, format).map(Entry::Record),
        Some(word) => read_mark(row, &key, word).map(Entry::Mark),
    }
}

fn read_record(row: &rusqlite::Row<'_>, key: Key, format: u16) -> Result<Loaded, Unreadable> {
    let counter = row.get::<_, i64>(10)?.cast_unsigned();
    let (ops, data) = (blob(row, 11)?, text(row, 12)?);
    let login = row.get::<_, Option<String>>(8)?;
    let header = Header {
        format,
        key,
        created: instant(row.get(3)?, "created")?,
        idle_deadline: instant(row.get(4)?, "idle_deadline")?,
        absolute_deadline: instant(row.get(5)?, "absolute_deadline")?,
        idle_timeout: row
            .get::<_, Option<i64>>(6)?
            .map(|millis| unsigned(millis, "idle_timeout").map(Duration::from_millis))
            .transpose()?,
        user: read_user(row, login.as_deref())?,
        epoch: Epoch::from_bits(row.get::<_, i64>(9)?.cast_unsigned()),
        counter,
        ops: read_ops(ops)?,
    };
    let record = Record { header, data: read_data(data)? };
    // Checked last, since what is found before says more.
    check(row, sum(&record.header, &Texts { login: login.as_deref(), ops, data }))?;
    Ok(Loaded { record: Arc::new(record), version: Version(counter) })
}

fn read_mark(row: &rusqlite::Row<'_>, key: &Key, word: &str) -> Result<Mark, Unreadable> {
    let moved_to = match word {
        MOVED => Some(Key::from_bytes(row.get(15)?)),
        ENDED => None,
        _ => return Err(Unreadable::Mark),
    };
    let mark = Mark { moved_to, until: instant(row.get(4)?, "idle_deadline")? };
    check(row, sum_of_mark(key, &mark))?;
    Ok(mark)
}

/// A row that was written by hand has no sum.
fn check(row: &rusqlite::Row<'_>, sum: i64) -> Result<(), Unreadable> {
    let written = row.get::<_, Option<i64>>(13)?;
    if written.is_none_or(|written| written == sum) { Ok(()) } else { Err(Unreadable::Damaged) }
}

fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<&'a [u8], Unreadable> {
    row.get_ref(column)?.as_blob().map_err(|error| Unreadable::Type(error.into()))
}

fn text<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<&'a str, Unreadable> {
    row.get_ref(column)?.as_str().map_err(|error| Unreadable::Type(error.into()))
}

fn instant(millis: i64, column: &'static str) -> Result<Timestamp, Unreadable> {
    unsigned(millis, column).map(Timestamp::from_millis)
}

fn unsigned(integer: i64, column: &'static str) -> Result<u64, Unreadable> {
    u64::try_from(integer).map_err(|_| Unreadable::Negative(column))
}

fn read_user(row: &rusqlite::Row<'_>, login: Option<&str>) -> Result<Option<User>, Unreadable> {
    let Some(name) = row.get::<_, Option<String>>(7)? else { return Ok(None) };
    let login = login.map(serde_json::from_str).transpose().map_err(|_| Unreadable::Login)?;
    User::from_details(name, login).map(Some).ok_or(Unreadable::Login)
}

fn write_ops(ops: &Ops) -> Vec<u8> {
    ops.iter().flat_map(|op| op.to_bits().to_be_bytes()).collect()
}

fn read_ops(bytes: &[u8]) -> Result<Ops, Unreadable> {
    let (ops, []) = bytes.as_chunks() else { return Err(Unreadable::Ops) };
    Ok(ops.iter().map(|bits| Op::from_bits(u64::from_be_bytes(*bits))).collect())
}

fn read_data(text: &str) -> Result<Data, Unreadable> {
    // Read as any value first: the message for a wrong type would quote the value.
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(data)) => Ok(data),
        Ok(_) => Err(Unreadable::NotAnObject),
        Err(error) => Err(Unreadable::NotJson { line: error.line(), column: error.column() }),
    }
}
