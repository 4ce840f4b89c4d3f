//! A record as a row of the table, and back; and a mark. The row's version is its counter.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

use super::{error::NAME, jsonb};
use crate::{
    clock::Timestamp,
    data::Data,
    id::Key,
    record::{Epoch, FORMAT, Header, Loaded, Op, Ops, Record, User, Version},
    store::{Applied, BoxError, Error, ErrorKind, Lookup},
};

/// From 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A parameter of a statement, which outlives its caller.
#[derive(Debug)]
pub(super) enum Param {
    Null,
    Bytes(Vec<u8>),
    Small(i16),
    Integer(Option<i64>),
    Time(Timestamp),
    Text(Option<String>),
    /// The text of a `jsonb`.
    Json(Option<String>),
    /// An array of such.
    List(Vec<Self>),
}

impl Param {
    pub(super) fn key(key: &Key) -> Self {
        Self::Bytes(key.as_bytes().to_vec())
    }

    pub(super) fn count(count: usize) -> Self {
        Self::Integer(Some(i64::try_from(count).unwrap_or(i64::MAX)))
    }

    fn integer(bits: u64) -> Self {
        Self::Integer(Some(bits.cast_signed()))
    }

    /// How much it is to send, but for a few bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Small(_) | Self::Integer(_) | Self::Time(_) => 8,
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) | Self::Json(text) => text.as_ref().map_or(0, String::len),
            Self::List(list) => list.iter().map(Self::bytes).sum(),
        }
    }
}

impl ToSql for Param {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match self {
            Self::Bytes(bytes) => bytes.to_sql(of, out),
            Self::Small(integer) => integer.to_sql(of, out),
            Self::Integer(integer) => integer.to_sql(of, out),
            Self::Text(text) => text.to_sql(of, out),
            Self::List(list) => list.to_sql(of, out),
            Self::Time(time) => {
                // No `Timestamp` is too late for that.
                let micros = time.as_millis().cast_signed() * 1000 - EPOCH_SECONDS * 1_000_000;
                out.extend_from_slice(&micros.to_be_bytes());
                Ok(IsNull::No)
            }
            Self::Null | Self::Json(None) => Ok(IsNull::Yes),
            Self::Json(Some(text)) => {
                // The version of the binary form, which is the text.
                out.extend_from_slice(&[1]);
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// An instant as a column has it. `infinity` is [`Timestamp::MAX`]; nothing is before 1970.
struct Time(Timestamp);

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let millis = micros.div_euclid(1000).saturating_add(EPOCH_SECONDS * 1000);
        Ok(Self(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

struct Json<'a>(&'a str);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        match raw.split_first() {
            Some((1, text)) => Ok(Self(std::str::from_utf8(text)?)),
            _ => Err("a jsonb of another version".into()),
        }
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSONB
    }
}

/// The parameters 1 to 12 of a create and a renew.
pub(super) fn params(record: &Record) -> Result<Vec<Param>, Error> {
    all(record, Param::Time(record.header.idle_deadline))
}

/// The same of a replace.
pub(super) fn params_in_place(base: &Record, record: &Record) -> Result<Vec<Param>, Error> {
    all(record, idle_deadline(base, record))
}

/// What a replace writes of the idle deadline: nothing where it leaves it, since a touch may have moved it.
fn idle_deadline(base: &Record, record: &Record) -> Param {
    match record.keeps_idle_deadline(base) {
        true => Param::Null,
        false => Param::Time(record.header.idle_deadline),
    }
}

fn all(record: &Record, idle_deadline: Param) -> Result<Vec<Param>, Error> {
    let header = &record.header;
    let data = json(&record.data)?;
    let timeout = header.idle_timeout;
    let user = header.user.as_ref();
    let login = user.map_or(Ok(Param::Json(None)), |user| json(&user.details()))?;
    let mut params = Vec::with_capacity(18);
    params.extend([
        Param::key(&header.key),
        Param::Small(header.format.cast_signed()),
        Param::Time(header.created),
        idle_deadline,
        Param::Time(header.absolute_deadline),
        Param::Integer(
            timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)),
        ),
        Param::Text(user.map(|user| user.name.clone())),
        login,
        Param::integer(header.epoch.to_bits()),
        Param::integer(header.counter),
        ops(&header.ops),
        data,
    ]);
    Ok(params)
}

fn json(data: &Data) -> Result<Param, Error> {
    let refused = |error| Error::new(NAME, ErrorKind::Refused, Applied::No).with_source(error);
    jsonb::write(data).map(|text| Param::Json(Some(text))).map_err(refused)
}

/// How many columns a batch of commits has.
pub(super) const MOVED: usize = 9;

/// The columns of a commit that moves what every commit moves, and the data: the key, what is written,
/// what must still be there, and the caller's time.
pub(super) fn moved(
    base: &Loaded,
    record: &Record,
    now: Timestamp,
) -> Result<[Param; MOVED], Error> {
    let header = &record.header;
    let [key, counter, epoch, base_ops] = condition(base);
    Ok([
        key,
        idle_deadline(&base.record, record),
        Param::integer(header.counter),
        ops(&header.ops),
        json(&record.data)?,
        counter,
        epoch,
        base_ops,
        Param::Time(now),
    ])
}

/// What must still be there: the parameters 14 to 17 of a replace and a renew. A counter may have gone back to
/// an older backup's and forward again, so the names of the commits count as well.
pub(super) fn condition(base: &Loaded) -> [Param; 4] {
    let header = &base.record.header;
    [
        Param::key(&header.key),
        Param::integer(base.version.0),
        Param::integer(header.epoch.to_bits()),
        ops(&header.ops),
    ]
}

fn ops(ops: &Ops) -> Param {
    Param::Bytes(ops.iter().flat_map(|op| op.to_bits().to_be_bytes()).collect())
}

/// What stands in a row is not a record that this version can read.
///
/// Only where it is wrong is told: a row's content may be anyone's secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a row's `key` or `moved_to` does not have 32 bytes")]
    Key,
    #[error("a row has format {0}, and this version reads up to {FORMAT}")]
    Format(i16),
    #[error("a row has a negative `idle_timeout_ms`")]
    NegativeTimeout,
    #[error("`ops` of a row is not a list of 8 bytes each")]
    Ops,
    #[error("`login` of a row is not what it should be")]
    Login,
    #[error("`data` of a row has a number that this version cannot read")]
    Data,
    #[error("a row has a value of a wrong type: {0}")]
    Type(#[from] tokio_postgres::Error),
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(NAME, ErrorKind::Corrupt, Applied::No).with_source(unreadable)
    }
}

/// What a load has found: the row that is not dead, if there is one.
pub(super) fn lookup(row: Option<&Row>) -> Result<Lookup, Unreadable> {
    let Some(row) = row else { return Ok(Lookup::Missing) };
    if !row.try_get::<_, bool>(12)? {
        return Ok(Lookup::Live(record(row)?));
    }
    Ok(match row.try_get::<_, Option<&[u8]>>(13)? {
        Some(to) => Lookup::Moved { to: key(to)? },
        None => Lookup::Ended,
    })
}

fn key(bytes: &[u8]) -> Result<Key, Unreadable> {
    Ok(Key::from_bytes(bytes.try_into().map_err(|_| Unreadable::Key)?))
}

/// The key of a row.
pub(super) fn key_of(row: &Row) -> Result<Key, Unreadable> {
    key(row.try_get(0)?)
}

/// Reads the record of a row.
pub(super) fn record(row: &Row) -> Result<Loaded, Unreadable> {
    let format: i16 = row.try_get(1)?;
    let format = u16::try_from(format)
        .ok()
        .filter(|format| (1..=FORMAT).contains(format))
        .ok_or(Unreadable::Format(format))?;
    let time = |column| row.try_get::<_, Time>(column).map(|time| time.0);
    let integer = |column| row.try_get::<_, i64>(column).map(i64::cast_unsigned);
    let idle_timeout = row
        .try_get::<_, Option<i64>>(5)?
        .map(|millis| u64::try_from(millis).map(Duration::from_millis))
        .transpose()
        .map_err(|_| Unreadable::NegativeTimeout)?;
    let login = row.try_get::<_, Option<Json<'_>>>(7)?.map(|login| jsonb::read(login.0));
    let login = login.transpose().map_err(|_| Unreadable::Login)?;
    let user = row.try_get::<_, Option<String>>(6)?;
    let user = user.map(|name| User::from_details(name, login).ok_or(Unreadable::Login));
    let user = user.transpose()?;
    let counter = integer(9)?;
    let header = Header {
        format,
        key: key_of(row)?,
        created: time(2)?,
        idle_deadline: time(3)?,
        absolute_deadline: time(4)?,
        idle_timeout,
        user,
        epoch: Epoch::from_bits(integer(8)?),
        counter,
        ops: read_ops(row.try_get(10)?)?,
    };
    let data = read_data(row.try_get::<_, Json<'_>>(11)?.0)?;
    Ok(Loaded { record: Arc::new(Record { header, data }), version: Version(counter) })
}

fn read_ops(bytes: &[u8]) -> Result<Ops, Unreadable> {
    let (ops, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Unreadable::Ops);
    }
    Ok(ops.iter().map(|op| Op::from_bits(u64::from_be_bytes(*op))).collect())
}

/// What PostgreSQL takes for JSON is JSON, but for numbers beyond all doubles.
fn read_data(text: &str) -> Result<Data, Unreadable> {
    match jsonb::read(text) {
        Ok(serde_json::Value::Object(data)) => Ok(data),
        _ => Err(Unreadable::Data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{fuzz, spoiled};

    #[test]
    fn fuzz_the_columns_of_a_row() {
        fuzz("columns of PostgreSQL", |u| {
            let raw =
                spoiled(u, &[b"\x01{\"a\":1}", &[0; 8], &[0x7f; 8], &[0xff; 16]], &["{", "\0"])?;
            if let Ok(Time(time)) = Time::from_sql(&Type::TIMESTAMPTZ, &raw) {
                assert!(time <= Timestamp::MAX);
            }
            if let Ok(Json(text)) = Json::from_sql(&Type::JSONB, &raw) {
                drop(read_data(text));
            }
            if let Ok(read) = read_ops(&raw) {
                let Param::Bytes(written) = ops(&read) else { unreachable!("ops are bytes") };
                // The oldest are forgotten.
                assert!(raw.ends_with(&written));
            }
            Ok(())
        });
    }
}
