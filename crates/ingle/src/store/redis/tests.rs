//! What can be told without a server: URLs, names, slots, and what a failure means.

use redis::Value;
use serde_json::json;

use super::{
    advance,
    failure::{Failure, RedisError},
    hash,
    place::{Partition, Place, RedisConfig},
    scripts, servers,
};
use crate::{
    clock::Timestamp,
    fuzz::{self, SECRET, fuzz, spoiled},
    id::Key,
    record::Op,
    store::{Applied, ErrorKind, OpenError},
};

fn parsed(url: &str) -> Result<RedisConfig, OpenError> {
    match url.split_once(':').unwrap() {
        ("redis", rest) => RedisConfig::parse("redis", rest),
        ("rediss", rest) => RedisConfig::parse("rediss", rest),
        _ => unreachable!("{url}"),
    }
}

#[test]
fn a_url_says_where_and_as_whom() {
    let config = parsed("redis://localhost").unwrap();
    assert_eq!(config, RedisConfig::new("localhost", 6379));
    assert_eq!(parsed("redis://localhost:6379/").unwrap(), config);
    let config = parsed(
        "rediss://app:p%40ss%2f%F0%9F%94%A5:1@db.example:7000/3?prefix=shop:s&cacert=/etc/ca.pem",
    );
    let expected = RedisConfig {
        tls: true,
        cacert: Some("/etc/ca.pem".into()),
        user: Some("app".to_owned()),
        password: Some("p@ss/\u{1f525}:1".to_owned()),
        database: 3,
        prefix: "shop:s".to_owned(),
        ..RedisConfig::new("db.example", 7000)
    };
    assert_eq!(config.unwrap(), expected);
    let config = parsed("redis://:secret@[::1]:7000,[fe80::1],b:1").unwrap();
    assert_eq!((config.user.as_deref(), config.password.as_deref()), (None, Some("secret")));
    let servers = [("::1", 7000), ("fe80::1", 6379), ("b", 1)];
    assert_eq!(config.servers, servers.map(|(host, port)| (host.to_owned(), port)));
    assert_eq!(parsed("redis://app:@h").unwrap().password.as_deref(), Some(""));
}

#[test]
fn a_wrong_url_is_told_in_one_line_without_its_password() {
    for url in [
        "redis:localhost",
        "redis:/localhost",
        "redis://",
        "redis:///1",
        "redis://:6379",
        "redis://a,,b",
        "redis://h:x",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:1:2",
        "redis://[::1",
        "redis://[::1]7",
        "redis://hunter2@h",
        "redis://u:hunter2/x@h",
        "redis://u:hunter2%@h",
        "redis://u:hunter2%+1@h",
        "redis://u:hunter2%ff@h",
        "redis://u:hunter2#@h",
        "redis://u:hunter 2@h",
        "redis://h/one",
        "redis://h/-1",
        "redis://h/0/1",
        "redis://h?prefix",
        "redis://h?prefix=",
        "redis://h?prefix={a}",
        "redis://h?prefix=a*",
        "redis://h?timeout=1",
        "redis://h?cacert=/etc/ca.pem",
    ] {
        let error = parsed(url).expect_err(url).to_string();
        assert!(error.starts_with("`redis:` "), "{url}: {error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{url}: {error}");
    }
}

#[test]
fn debug_shows_no_password() {
    let config = parsed("redis://app:hunter2@h").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn names_carry_their_partition_and_can_be_read_back() {
    let place = Place::new("ingle");
    let key = Key::from_bytes([0x7f; 32]);
    let name = place.record(&key);
    assert_eq!(name, format!("ingle:{{7f}}:{}", "7f".repeat(32)));
    assert_eq!(place.key(name.as_bytes()), Some(key));
    for wrong in ["", "ingle", "ingle:{7e}:", "ingle:user:{3c}:mary", "\u{e9}ngle:{7f}:"] {
        assert_eq!(place.key(format!("{wrong}{key}").as_bytes()), None, "{wrong}");
    }
    assert!(place.user("}x{").starts_with("ingle:user:{"));
}

/// What `CLUSTER KEYSLOT` says.
#[test]
fn a_partition_has_the_slot_that_redis_says() {
    for (partition, slot) in [(0x00, 13254), (0x7f, 4194), (0xff, 11756)] {
        assert_eq!(servers::slot(Partition(partition)), slot, "{partition:02x}");
    }
}

#[test]
fn the_scripts_read_the_same_fields() {
    let quoted = scripts::FIELDS.map(|field| format!("'{field}'")).join(", ");
    assert_eq!(quoted, scripts::FIELDS_IN_SCRIPTS);
}

#[test]
fn an_answer_to_several_is_each_ones_or_nobodys() {
    let record = || Value::Array(vec![Value::Nil]);
    let answer = |parts: &[Value]| advance::answers(Value::Array(parts.to_vec()), 3);
    assert_eq!(advance::answers(Value::Nil, 2), Some(vec![Value::Nil, Value::Nil]));
    let expected = vec![Value::Nil, Value::Nil, record()];
    assert_eq!(answer(&[Value::Int(3), record()]), Some(expected));
    let expected = vec![record(), Value::Okay, Value::Nil];
    assert_eq!(answer(&[Value::Int(2), Value::Okay, Value::Int(1), record()]), Some(expected));
    let refusal = redis::parse_redis_value(b"-OOM command not allowed\r\n").unwrap();
    assert_eq!(advance::answers(refusal.clone(), 2), Some(vec![refusal.clone(), refusal]));
    for nonsense in [
        &[Value::Int(0), record()] as &[_],
        &[Value::Int(4), record()],
        &[Value::Int(-1), record()],
        &[Value::Int(1)],
        &[Value::Int(1), record(), Value::Int(2)],
        &[Value::Nil, record()],
        &[record(), Value::Int(1)],
    ] {
        assert_eq!(answer(nonsense), None, "{nonsense:?}");
    }
    assert_eq!(advance::answers(Value::Okay, 1), None);
}

#[test]
fn a_damaged_hash_is_told_by_its_field_alone() {
    let key = "7f".repeat(32);
    let whole = [
        "1",
        &key,
        "1",
        "3",
        "4",
        "mary",
        "5",
        "00000000000000ff",
        "2 6 0000000000000002,0000000000000001",
        r#"{"n":1}"#,
    ];
    let answer = |values: &[&str]| {
        let bulk = |text: &&str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(values.iter().map(bulk).collect())
    };
    let read = hash::read(answer(&whole)).unwrap().unwrap();
    assert_eq!(read.record.header.created, Timestamp::from_millis(1));
    assert_eq!(read.record.header.idle_deadline, Timestamp::from_millis(2));
    assert_eq!(read.record.header.counter, 6);
    assert_eq!(read.record.header.ops.newest().map(Op::to_bits), Some(2));
    assert_eq!(read.record.header.ops.iter().count(), 2);
    assert_eq!(json!(read.record.data), json!({ "n": 1 }));
    for (field, wrong) in [
        (0, "0"),
        (0, "2"),
        (0, "x"),
        (1, "hunter2"),
        (2, "-1"),
        (3, "1e5"),
        (4, ""),
        (6, "-5"),
        (7, "hunter2"),
        (8, ""),
        (8, "hunter2"),
        (8, "2 6"),
        (8, "-1 6 00ff"),
        (8, "2 1.0 00ff"),
        (8, "2 6 00ff,hunter2"),
        (8, "2 6 00ff 00fe"),
        (9, "hunter2"),
        (9, "[\"hunter2\"]"),
        (9, "{\"a\":hunter2}"),
        (9, ""),
    ] {
        let mut values = whole;
        values[field] = wrong;
        let error = hash::read(answer(&values)).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    for missing in [0, 1, 2, 3, 7, 8, 9] {
        let Value::Array(mut values) = answer(&whole) else { unreachable!() };
        values[missing] = Value::Nil;
        assert!(hash::read(Value::Array(values)).is_err(), "{missing}");
    }
    let mut nothing = vec![Value::Nil; 9];
    nothing.push(Value::BulkString(b"{}".to_vec()));
    assert_eq!(hash::read(Value::Array(nothing)).unwrap(), None, "no header at all: no record");
}

#[test]
fn only_what_is_proof_says_that_nothing_happened() {
    let refused = |error: &str| {
        let Value::ServerError(refusal) = redis::parse_redis_value(error.as_bytes()).unwrap()
        else {
            unreachable!()
        };
        Failure::Refused(refusal).told("ingle")
    };
    for (error, kind, happened) in [
        ("-OOM command not allowed\r\n", ErrorKind::Refused, Applied::No),
        ("-NOPERM no permissions\r\n", ErrorKind::Refused, Applied::No),
        ("-READONLY You can't write\r\n", ErrorKind::Unavailable, Applied::No),
        ("-MISCONF Redis is configured\r\n", ErrorKind::Unavailable, Applied::No),
        ("-NOREPLICAS Not enough\r\n", ErrorKind::Unavailable, Applied::No),
        ("-LOADING Redis is loading\r\n", ErrorKind::Unavailable, Applied::No),
        ("-BUSY Redis is busy\r\n", ErrorKind::Unavailable, Applied::No),
        ("-TRYAGAIN Multiple keys\r\n", ErrorKind::Contended, Applied::No),
        ("-WRONGTYPE Operation against\r\n", ErrorKind::Corrupt, Applied::No),
        ("-ERR whatever\r\n", ErrorKind::Refused, Applied::Unknown),
        ("-SOMETHING new\r\n", ErrorKind::Refused, Applied::Unknown),
    ] {
        let told = refused(error);
        assert_eq!((told.kind(), told.applied()), (kind, happened), "{error}");
    }
    let told = refused("-NOPERM the key ingle:{7f}:7f7f may not be used\r\n").cause();
    assert!(!told.contains("7f7f"), "{told}");
    let lost = Failure::Lost(String::new()).told("ingle");
    assert_eq!((lost.kind(), lost.applied()), (ErrorKind::Unavailable, Applied::Unknown));
    let silent = Failure::NotSent(RedisError::Silent { server: String::new() }).told("ingle");
    assert_eq!((silent.kind(), silent.applied()), (ErrorKind::Unavailable, Applied::No));
}

/// What Redis answers for a record: the fields in the order of the question.
fn answer(record: &crate::record::Record) -> Vec<Value> {
    let mut command = redis::Cmd::new();
    hash::whole(&mut command, record, None).unwrap();
    let mut arguments = command.args_iter().skip(1).map(|argument| match argument {
        redis::Arg::Simple(bytes) => bytes.to_vec(),
        _ => unreachable!("only bytes are written"),
    });
    let mut written = std::collections::HashMap::new();
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        written.insert(name, value);
    }
    let field = |name: &&str| written.remove(name.as_bytes()).map_or(Value::Nil, Value::BulkString);
    scripts::FIELDS.iter().map(field).collect()
}

#[test]
fn fuzz_the_hash_of_a_record() {
    let words =
        ["18446744073709551616", "-1", "0", "{}", "[]", "1e400", "\0", " ", "z", "\u{feff}"];
    fuzz("a hash of Redis", |u| {
        let record = fuzz::record(u)?;
        let mut values = answer(&record);
        let read = hash::read(Value::Array(values.clone())).unwrap().unwrap();
        assert_eq!(*read.record, record);
        for _ in 0..u.int_in_range(1..=3)? {
            let field = u.choose_index(values.len())?;
            values[field] = match &values[field] {
                Value::BulkString(bytes) if u.ratio(3, 4)? => {
                    Value::BulkString(spoiled(u, &[bytes], &words)?)
                }
                _ => u.choose(&[Value::Nil, Value::Int(1), Value::Okay])?.clone(),
            };
        }
        match hash::read(Value::Array(values)) {
            Ok(Some(read)) => {
                let again = hash::read(Value::Array(answer(&read.record))).unwrap().unwrap();
                assert_eq!(again, read);
            }
            Ok(None) => {}
            Err(error) => fuzz::tells_no_secret(&error),
        }
        Ok(())
    });
}

#[test]
fn fuzz_urls_of_redis() {
    let valid = [
        &format!("redis://app:{SECRET}@db.example:7000/3?prefix=shop:s"),
        &format!("rediss://:{SECRET}@[::1],b:1/0?cacert=/etc/ca.pem&prefix=a"),
    ];
    let words = ["@", ":", "/", "?", "#", "%", "%zz", "[", "]", ",", "&", "=", "65536", "\0", "é"];
    fuzz("URLs of Redis", |u| {
        let url = fuzz::spoiled_text(u, &valid.map(String::as_str), &words)?;
        if !matches!(url.split_once(':'), Some(("redis" | "rediss", _))) {
            return Ok(());
        }
        match parsed(&url) {
            // What became a host or a prefix is no password any more.
            Ok(config) if config.password.as_deref() == Some(SECRET) => {
                assert!(!format!("{config:?}").contains(SECRET), "{url}");
            }
            Ok(_) => {}
            Err(error) => fuzz::tells_no_secret(&error),
        }
        Ok(())
    });
}
