//! A record or a mark as a document, and back.
//!
//! Each top-level field of the data is a field of the document, so that a person can read and edit
//! it. The header is in the map `_ingle`. Beside it stand the two fields that Firestore itself works
//! on: `_ingle_expires`, for sweeps and a TTL policy, and `_ingle_user`, for lists by user. A mark is
//! a document with a header of its own and no data.
//!
//! It knows documents, and nothing of their names.

use std::{collections::HashMap, sync::Arc, time::Duration};

use googleapis_tonic_google_firestore_v1::google::firestore::v1::{
    Document, DocumentMask, MapValue, Value as Typed, value::ValueType,
};
use prost_types::Timestamp as Moment;

use super::{
    error::NAME,
    fields::{EXPIRES, HEADER, USER},
    value::{self, Unwritable, typed},
};
use crate::{
    clock::Timestamp,
    data::{Data, RESERVED},
    id::Key,
    record::{Epoch, Header, Loaded, Op, Ops, Record, User, Version},
    store::{Applied, Error, ErrorKind, mark::Mark},
};

/// Where what a commit moves is within a document.
const IDLE_DEADLINE: &str = "_ingle.idle_deadline";
const COUNTER: &str = "_ingle.counter";
const OPS: &str = "_ingle.ops";
/// Where the shard is within a document.
pub(super) const SHARD: &str = "_ingle.shard";

/// What is in the header of a mark.
const MARK: &str = "mark";
const MOVED: &str = "moved";
const ENDED: &str = "ended";
const MOVED_TO: &str = "moved_to";
const UNTIL: &str = "until";

/// By what the index for sweeps is divided. Its other part, the deadline, grows with the time, and
/// Firestore takes 500 writes per second of neighbors in an index.
pub(super) const SHARDS: &str = "0123456789abcdef";

/// How long a mark stays after its time: the TTL policy goes by Google's clock, and a process whose
/// clock is slow must find the mark, too.
const MARK_STAYS: Duration = Duration::from_secs(9 * 60);

/// The largest document that Firestore takes, less what its name takes at most.
const BYTES_MAX: usize = 1024 * 1024 - 8 * 1024;

/// A document's fields.
pub(super) type Fields = HashMap<String, Typed>;

/// A document cannot be written, or is not a readable record. Only the place is told, since the
/// content may be anyone's secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the field `{0}` cannot be written: {1}")]
    Unwritable(String, Unwritable),
    #[error("the record is larger than a document of Firestore, which has 1 MiB")]
    TooLarge,
    #[error("the name `{0}` begins with `{RESERVED}`, which is for the fields of ingle")]
    Reserved(String),
    #[error("the document's `{0}` is missing or not as ingle wrote it")]
    Header(&'static str),
    #[error("the document has no time of its last change")]
    NoTime,
}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Self {
        let kind = match unusable {
            Unusable::TooLarge
            | Unusable::Unwritable(_, Unwritable::TooDeep | Unwritable::LongPath) => {
                ErrorKind::TooLarge
            }
            Unusable::Header(_) | Unusable::NoTime => ErrorKind::Corrupt,
            Unusable::Unwritable(..) | Unusable::Reserved(_) => ErrorKind::Unfit,
        };
        Self::new(NAME, kind, Applied::No).with_source(unusable)
    }
}

/// All fields of a record's document.
pub(super) fn whole(record: &Record) -> Result<Fields, Unusable> {
    check_len(&record.data)?;
    let mut fields = header_fields(&record.header)?;
    for (name, value) in &record.data {
        put(&mut fields, name, value)?;
    }
    Ok(fields)
}

/// The fields in which a record differs from the one before, and the mask that names them. A field
/// that is in the mask alone is removed; one that is in neither stays as it is, whatever it holds.
pub(super) fn changed(base: &Record, record: &Record) -> Result<(Fields, DocumentMask), Unusable> {
    check_len(&record.data)?;
    let (before, after) = (&base.header, &record.header);
    let (mut fields, DocumentMask { field_paths: mut paths }) =
        if before.only_moves(after) && !before.is_foreign() {
            (with_header(moving(after)?, after), mask([IDLE_DEADLINE, COUNTER, OPS, EXPIRES]))
        } else {
            (header_fields(after)?, mask([HEADER, EXPIRES, USER]))
        };
    for (name, value) in &record.data {
        if base.data.get(name) != Some(value) {
            put(&mut fields, name, value)?;
            paths.push(path(name));
        }
    }
    let removed = base.data.keys().filter(|name| !record.data.contains_key(*name));
    paths.extend(removed.map(|name| path(name)));
    Ok((fields, DocumentMask { field_paths: paths }))
}

/// The idle deadline alone, as a touch writes it.
pub(super) fn touched(header: &Header) -> (Fields, DocumentMask) {
    let map = [("idle_deadline", instant(header.idle_deadline))];
    (with_header(map, header), mask([IDLE_DEADLINE, EXPIRES]))
}

/// What a renew or a destroy leaves under `key`.
pub(super) fn mark_fields(mark: &Mark, key: &Key) -> Fields {
    let kind = if mark.moved_to.is_some() { MOVED } else { ENDED };
    let mut map = vec![
        (MARK, text(kind.to_owned())),
        (UNTIL, instant(mark.until)),
        ("shard", text(shard(key))),
    ];
    map.extend(mark.moved_to.map(|to| (MOVED_TO, text(to.to_string()))));
    header_and_expiry(map, instant(mark.until.after(MARK_STAYS)))
}

/// Reads a mark, if the header is one's.
fn read_mark(header: &Fields) -> Result<Option<Mark>, Unusable> {
    let field = |name| header.get(name).and_then(|value| value.value_type.clone());
    let Some(kind) = field(MARK) else { return Ok(None) };
    let moved_to = match string(Some(kind)).as_deref() {
        Some(ENDED) => None,
        Some(MOVED) => {
            let to = string(field(MOVED_TO)).and_then(|to| to.parse().ok());
            Some(to.ok_or(Unusable::Header("_ingle.moved_to"))?)
        }
        _ => return Err(Unusable::Header("_ingle.mark")),
    };
    let until = time(field(UNTIL)).ok_or(Unusable::Header("_ingle.until"))?;
    Ok(Some(Mark { moved_to, until }))
}

fn shard(key: &Key) -> String {
    key.to_string().get(..1).unwrap_or_default().to_owned()
}

fn mask<const N: usize>(paths: [&str; N]) -> DocumentMask {
    DocumentMask { field_paths: paths.map(str::to_owned).into() }
}

fn put(fields: &mut Fields, name: &str, value: &serde_json::Value) -> Result<(), Unusable> {
    if name.starts_with(RESERVED) {
        return Err(Unusable::Reserved(name.to_owned()));
    }
    let value =
        value::write(name, value).map_err(|error| Unusable::Unwritable(name.to_owned(), error))?;
    fields.insert(name.to_owned(), value);
    Ok(())
}

fn check_len(data: &Data) -> Result<(), Unusable> {
    if value::fields_len(data) > BYTES_MAX { Err(Unusable::TooLarge) } else { Ok(()) }
}

/// Whether many such documents fit into one call, which takes some 10 MiB.
pub(super) fn is_small(record: &Record) -> bool {
    value::fields_len(&record.data) <= 64 * 1024
}

/// A top-level field's name as a path: quoted, unless it is a plain word.
fn path(name: &str) -> String {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let plain = name.bytes().all(word) && !name.starts_with(|first: char| first.is_ascii_digit());
    if plain {
        return name.to_owned();
    }
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('`');
    for character in name.chars() {
        if matches!(character, '`' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('`');
    quoted
}

/// What every commit moves of a header.
fn moving(header: &Header) -> Result<[(&'static str, Typed); 3], Unusable> {
    let counter = i64::try_from(header.counter).map_err(|_| Unusable::Header("counter"))?;
    let ops = header.ops.iter().flat_map(|op| op.to_bits().to_be_bytes()).collect();
    Ok([
        ("idle_deadline", instant(header.idle_deadline)),
        ("counter", typed(ValueType::IntegerValue(counter))),
        ("ops", typed(ValueType::BytesValue(ops))),
    ])
}

/// The fields in which a header is, with so much of it.
fn with_header(map: impl IntoIterator<Item = (&'static str, Typed)>, header: &Header) -> Fields {
    header_and_expiry(map, instant(header.idle_deadline.min(header.absolute_deadline)))
}

fn header_and_expiry(
    map: impl IntoIterator<Item = (&'static str, Typed)>,
    expires: Typed,
) -> Fields {
    let map = map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let map = typed(ValueType::MapValue(MapValue { fields: map }));
    Fields::from([(HEADER.to_owned(), map), (EXPIRES.to_owned(), expires)])
}

fn header_fields(header: &Header) -> Result<Fields, Unusable> {
    let mut map = vec![
        ("format", typed(ValueType::IntegerValue(header.format.into()))),
        ("key", text(header.key.to_string())),
        ("shard", text(shard(&header.key))),
        ("created", instant(header.created)),
        ("absolute_deadline", instant(header.absolute_deadline)),
        ("epoch", text(format!("{:016x}", header.epoch.to_bits()))),
    ];
    map.extend(moving(header)?);
    if let Some(timeout) = header.idle_timeout {
        let millis = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        map.push(("idle_timeout_ms", typed(ValueType::IntegerValue(millis))));
    }
    if let Some(user) = &header.user {
        let login = value::write("login", &serde_json::Value::Object(user.details()));
        map.push((
            "login",
            login.map_err(|error| Unusable::Unwritable("login".to_owned(), error))?,
        ));
    }
    let mut fields = with_header(map, header);
    if let Some(user) = &header.user {
        fields.insert(USER.to_owned(), text(user.name.clone()));
    }
    Ok(fields)
}

fn text(text: String) -> Typed {
    typed(ValueType::StringValue(text))
}

pub(super) fn instant(instant: Timestamp) -> Typed {
    let millis = instant.as_millis();
    // No instant is so late that its seconds do not fit.
    let seconds = (millis / 1000).cast_signed();
    let nanos = (millis % 1000) as i32 * 1_000_000;
    typed(ValueType::TimestampValue(Moment { seconds, nanos }))
}

/// What a document holds.
#[derive(Debug)]
pub(super) enum Entry {
    Record(Loaded),
    Mark(Mark, Version),
}

/// Reads the document that was found under `key`.
pub(super) fn read(document: Document, key: &Key) -> Result<Entry, Unusable> {
    let version = version(document.update_time).ok_or(Unusable::NoTime)?;
    let mut fields = document.fields;
    let header = match fields.remove(HEADER).map(|header| header.value_type) {
        None => foreign(key, document.create_time),
        Some(Some(ValueType::MapValue(map))) => match read_mark(&map.fields)? {
            Some(mark) => return Ok(Entry::Mark(mark, version)),
            None => read_header(map.fields, fields.remove(USER))?,
        },
        Some(_) => return Err(Unusable::Header(HEADER)),
    };
    fields.retain(|name, _| !name.starts_with(RESERVED));
    let data = fields.into_iter().map(|(name, value)| (name, value::read(value))).collect();
    Ok(Entry::Record(Loaded { record: Arc::new(Record { header, data }), version }))
}

/// The version of a document: the microsecond of its last change.
pub(super) fn version(time: Option<Moment>) -> Option<Version> {
    let time = time?;
    let micros = i128::from(time.seconds) * 1_000_000 + i128::from(time.nanos) / 1000;
    u64::try_from(micros).ok().map(Version)
}

/// A version as the condition that the document still has it.
pub(super) fn moment(version: Version) -> Moment {
    let seconds = (version.0 / 1_000_000).cast_signed();
    Moment { seconds, nanos: (version.0 % 1_000_000) as i32 * 1000 }
}

/// The header of a document that has none. Its life has the name of the instant when it was made,
/// which no other document of this key shares.
fn foreign(key: &Key, created: Option<Moment>) -> Header {
    let micros = version(created).map_or(0, |version| version.0);
    Header::foreign(*key, Timestamp::from_millis(micros / 1000), Epoch::from_bits(micros))
}

fn read_header(mut map: Fields, user: Option<Typed>) -> Result<Header, Unusable> {
    let wrong = |place| Unusable::Header(place);
    let mut take = |name| map.remove(name).and_then(|value| value.value_type);
    let format = integer(take("format")).and_then(|format| u16::try_from(format).ok());
    let key = string(take("key")).and_then(|key| key.parse().ok());
    let epoch = string(take("epoch")).and_then(|epoch| u64::from_str_radix(&epoch, 16).ok());
    let counter = integer(take("counter")).and_then(|counter| u64::try_from(counter).ok());
    let login = map.remove("login").map(value::read);
    let mut take = |name| map.remove(name).and_then(|value| value.value_type);
    let idle_timeout = match take("idle_timeout_ms") {
        None => None,
        Some(ValueType::IntegerValue(millis)) if millis >= 0 => Some(millis.unsigned_abs()),
        Some(_) => return Err(wrong("_ingle.idle_timeout_ms")),
    };
    let user = match user.map(|user| user.value_type) {
        None => None,
        Some(Some(ValueType::StringValue(name))) => {
            Some(User::from_details(name, login).ok_or(wrong("_ingle.login"))?)
        }
        Some(_) => return Err(wrong(USER)),
    };
    Ok(Header {
        format: format.ok_or(wrong("_ingle.format"))?,
        key: key.ok_or(wrong("_ingle.key"))?,
        created: time(take("created")).ok_or(wrong("_ingle.created"))?,
        idle_deadline: time(take("idle_deadline")).ok_or(wrong("_ingle.idle_deadline"))?,
        absolute_deadline: time(take("absolute_deadline"))
            .ok_or(wrong("_ingle.absolute_deadline"))?,
        idle_timeout: idle_timeout.map(Duration::from_millis),
        user,
        epoch: epoch.map(Epoch::from_bits).ok_or(wrong("_ingle.epoch"))?,
        counter: counter.ok_or(wrong("_ingle.counter"))?,
        ops: read_ops(take("ops")).ok_or(wrong("_ingle.ops"))?,
    })
}

fn integer(value: Option<ValueType>) -> Option<i64> {
    match value? {
        ValueType::IntegerValue(integer) => Some(integer),
        _ => None,
    }
}

fn string(value: Option<ValueType>) -> Option<String> {
    match value? {
        ValueType::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An instant, which a person may have edited to one before 1970.
fn time(value: Option<ValueType>) -> Option<Timestamp> {
    match value? {
        ValueType::TimestampValue(moment) => {
            let millis = i128::from(moment.seconds) * 1000 + i128::from(moment.nanos) / 1_000_000;
            Some(Timestamp::from_millis(u64::try_from(millis).unwrap_or_default()))
        }
        _ => None,
    }
}

fn read_ops(value: Option<ValueType>) -> Option<Ops> {
    let ValueType::BytesValue(bytes) = value? else { return None };
    let (ops, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| ops.iter().map(|op| Op::from_bits(u64::from_be_bytes(*op))).collect())
}
