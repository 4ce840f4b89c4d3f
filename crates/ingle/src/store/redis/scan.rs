//! Looks at all keys of the servers, and at what is under many of them.
//!
//! It writes nothing.

use redis::Value;

use super::{
    codec::{self, Entry, Unreadable},
    connect::{Client, Master},
    names::Partition,
};
use crate::{
    id::Key,
    record::Loaded,
    store::{Damaged, Error, ErrorKind},
};

/// How many keys a server looks at before it serves others.
const KEYS_PER_SCAN: usize = 1000;

/// How many records are read at a time.
pub(super) const RECORDS_PER_CALL: usize = 100;

/// The keys of records that fit a pattern, in the next step of a scan of one server.
pub(super) async fn scan(
    client: &Client,
    master: &Master,
    pattern: &str,
    cursor: u64,
) -> Result<(u64, Vec<Key>), Error> {
    let names = &client.names;
    let mut command = redis::cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(KEYS_PER_SCAN);
    let answer = master.call(&command).await.map_err(|failure| client.error(failure))?;
    let Value::Array(answer) = answer else { return Err(Unreadable::Answer.into()) };
    let [Value::BulkString(next), Value::Array(found)] = answer.as_slice() else {
        return Err(Unreadable::Answer.into());
    };
    let next = std::str::from_utf8(next).ok().and_then(|next| next.parse().ok());
    let keys = found.iter().filter_map(|name| match name {
        Value::BulkString(name) => names.key(name),
        _ => None,
    });
    Ok((next.ok_or(Unreadable::Answer)?, keys.collect()))
}

/// A record that was found, or what is there in place of one.
pub(super) type Found = Result<Loaded, Damaged>;

/// The records under these keys, dead ones too.
pub(super) async fn load_all(client: &Client, keys: &[Key]) -> Result<Vec<Option<Found>>, Error> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(RECORDS_PER_CALL) {
        let command = |key| (Partition::of(key), codec::load(&client.names, key));
        let answers = client.call_all(keys.iter().map(command).collect()).await;
        let answers = answers.map_err(|failure| client.error(failure))?;
        for (key, answer) in keys.iter().zip(answers) {
            let read = match answer {
                Ok(answer) => read(answer, key).map_err(Error::from),
                Err(failure) => Err(client.error(failure)),
            };
            found.push(match read {
                Ok(read) => read.map(Ok),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    Some(Err(damaged(client, *key, &error)))
                }
                Err(error) => return Err(error),
            });
        }
    }
    Ok(found)
}

fn read(answer: Value, key: &Key) -> Result<Option<Loaded>, Unreadable> {
    let found = codec::read(answer, key)?.and_then(Entry::record);
    match found {
        Some(loaded) if loaded.record.header.key != *key => Err(Unreadable::OtherKey),
        found => Ok(found),
    }
}

fn damaged(client: &Client, key: Key, error: &Error) -> Damaged {
    let pattern = client.names.records_of(&key.handle().into());
    let master = client.master_of(Partition::of(&key));
    let line = master.map_or_else(|| "redis-cli".to_owned(), |master| master.command_line());
    // Where it asks for the password, it needs the terminal.
    let xargs = if line.ends_with(" --askpass") { "xargs -o -n 1" } else { "xargs -n 1" };
    let look = format!("{line} --scan --pattern '{pattern}' | {xargs} {line} GET");
    Damaged { key, cause: error.cause(), look }
}
