//! A record as a row of the table `sessions`, and back. The row's version is its counter.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use rusqlite::types::{ToSqlOutput, Value};

use super::NAME;
use crate::{
    clock::Timestamp,
    data::Data,
    id::Key,
    record::{Epoch, FORMAT, Header, Loaded, Op, Ops, Record, User, Version},
    store::{Error, ErrorKind, Happened},
};

/// A query for rows that [`read`] can read, with the columns in its order.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT key, inner_key, format, created, idle_deadline, absolute_deadline, \
             idle_timeout, user, generation, epoch, counter, ops, data FROM sessions ",
            $rest
        )
    };
}
pub(super) use select;

/// A record that waits to be written: its texts are made, so that the writer only binds them.
#[derive(Debug)]
pub(super) struct Row {
    record: Arc<Record>,
    ops: String,
    data: String,
}

impl Row {
    pub(super) fn of(record: &Arc<Record>) -> Result<Self, Error> {
        let data = serde_json::to_string(&record.data)
            .map_err(|error| Error::new(NAME, ErrorKind::Refused, Happened::No).because(error))?;
        Ok(Self { record: Arc::clone(record), ops: write_ops(&record.header.ops), data })
    }

    pub(super) fn key(&self) -> &Key {
        &self.record.header.key
    }

    pub(super) fn version(&self) -> Version {
        Version(self.record.header.counter)
    }

    /// The parameters 1 to 12 of an `INSERT` or an `UPDATE`. The first is the key.
    pub(super) fn parameters(&self) -> [ToSqlOutput<'_>; 12] {
        let header = &self.record.header;
        let user = header.user.as_ref();
        [
            header.key.as_bytes().into(),
            i64::from(header.format).into(),
            millis(header.created).into(),
            millis(header.idle_deadline).into(),
            millis(header.absolute_deadline).into(),
            optional(
                header
                    .idle_timeout
                    .map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)),
            ),
            ToSqlOutput::Borrowed(user.map(|user| user.name.as_str()).into()),
            optional(user.map(|user| user.generation.cast_signed())),
            header.epoch.to_bits().cast_signed().into(),
            header.counter.cast_signed().into(),
            self.ops.as_str().into(),
            self.data.as_str().into(),
        ]
    }
}

fn optional(integer: Option<i64>) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(Value::from(integer))
}

/// An instant as a column has it; no [`Timestamp`] is too late for that.
pub(super) fn millis(instant: Timestamp) -> i64 {
    instant.as_millis().cast_signed()
}

/// What stands in a row is not a record that this version can read.
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
    #[error("`ops` of a row of `sessions` is not a list of hexadecimal numbers")]
    Ops,
    #[error("`data` of a row of `sessions` is not JSON: line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("`data` of a row of `sessions` is not a JSON object")]
    NotAnObject,
    #[error("a row of `sessions` has a value of a wrong type: {0}")]
    Type(#[from] rusqlite::Error),
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(NAME, ErrorKind::Corrupt, Happened::No).because(unreadable)
    }
}

/// Reads the record of a row that a [`select!`] found.
pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Loaded, Unreadable> {
    let key = Key::from_bytes(row.get(1)?);
    if key.as_bytes() != row.get::<_, [u8; 32]>(0)? {
        return Err(Unreadable::OtherKey);
    }
    let format: i64 = row.get(2)?;
    let format = u16::try_from(format)
        .ok()
        .filter(|format| (1..=FORMAT).contains(format))
        .ok_or(Unreadable::Format(format))?;
    let counter = row.get::<_, i64>(10)?.cast_unsigned();
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
        user: read_user(row)?,
        epoch: Epoch::from_bits(row.get::<_, i64>(9)?.cast_unsigned()),
        counter,
        ops: read_ops(text(row, 11)?)?,
    };
    let record = Record { header, data: read_data(text(row, 12)?)? };
    Ok(Loaded { record: Arc::new(record), version: Version(counter) })
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

/// A user whom an operator wrote down without a generation is of the first.
fn read_user(row: &rusqlite::Row<'_>) -> Result<Option<User>, Unreadable> {
    let Some(name) = row.get::<_, Option<String>>(7)? else { return Ok(None) };
    let generation = row.get::<_, Option<i64>>(8)?.unwrap_or_default().cast_unsigned();
    Ok(Some(User { name, generation }))
}

fn write_ops(ops: &Ops) -> String {
    let mut text = String::new();
    for op in ops.iter() {
        let separator = if text.is_empty() { "" } else { " " };
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{separator}{:016x}", op.to_bits());
    }
    text
}

fn read_ops(text: &str) -> Result<Ops, Unreadable> {
    let op = |digits| u64::from_str_radix(digits, 16).map(Op::from_bits);
    text.split_ascii_whitespace().map(op).collect::<Result<_, _>>().map_err(|_| Unreadable::Ops)
}

fn read_data(text: &str) -> Result<Data, Unreadable> {
    // Read as any value first: the message for a wrong type would quote the value.
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(data)) => Ok(data),
        Ok(_) => Err(Unreadable::NotAnObject),
        Err(error) => Err(Unreadable::NotJson { line: error.line(), column: error.column() }),
    }
}
