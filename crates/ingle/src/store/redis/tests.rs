//! What can be told without a server: URLs, names, slots, and what a failure means.

use redis::Value;
use serde_json::json;

use super::{
    codec::{self, Entry, fields},
    config::RedisConfig,
    error::{self, Failure},
    names::{Names, Partition},
    scripts::advance,
};
use crate::{
    clock::Timestamp,
    fuzz::{self, SECRET, fuzz, spoiled},
    id::Key,
    record::{Loaded, Op},
    store::{Applied, ErrorKind, OpenError, OpenErrorKind, Store as _, mark::Mark, open_lazily},
};

fn parsed(url: &str) -> Result<RedisConfig, OpenError> {
    RedisConfig::parse(url)
}

#[test]
fn a_url_says_where_and_as_whom() {
    let config = parsed("redis://localhost").unwrap();
    assert_eq!(config, RedisConfig::new("localhost", 6379));
    for same in ["redis://localhost:6379/", " valkey://localhost\n"] {
        assert_eq!(parsed(same).unwrap(), config);
    }
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
    let config = parsed("valkeys://h?cert=/c.pem&key=/k.pem&verify=none").unwrap();
    let expected = RedisConfig {
        tls: true,
        verify: false,
        cert: Some("/c.pem".into()),
        key: Some("/k.pem".into()),
        ..RedisConfig::new("h", 6379)
    };
    assert_eq!(config, expected);
}

#[test]
fn a_url_names_a_socket_as_other_clients_write_it() {
    let socket = || RedisConfig::unix("/run/redis/redis.sock");
    for url in [
        "redis+unix:///run/redis/redis.sock",
        "valkey+unix:///run/redis/redis.sock",
        "unix:///run/redis/redis.sock",
        "unix:/run/redis/redis.sock\n",
    ] {
        assert_eq!(parsed(url).unwrap(), socket(), "{url}");
    }
    let expected = RedisConfig {
        database: 2,
        user: Some("app".to_owned()),
        password: Some("p@ss".to_owned()),
        prefix: "shop".to_owned(),
        ..RedisConfig::unix("/run/a b.sock")
    };
    for url in [
        "redis+unix:///run/a%20b.sock?db=2&user=app&pass=p%40ss&prefix=shop",
        "unix://app:p%40ss@/run/a%20b.sock?db=2&prefix=shop",
    ] {
        assert_eq!(parsed(url).unwrap(), expected, "{url}");
    }
}

#[test]
fn an_apps_client_says_where_and_as_whom() {
    let of = |url: &str| RedisConfig::from_client(&redis::Client::open(url).unwrap()).unwrap();
    assert_eq!(of("redis://localhost"), RedisConfig::new("localhost", 6379));
    let expected = RedisConfig {
        database: 3,
        user: Some("app".to_owned()),
        password: Some("p@ss".to_owned()),
        ..RedisConfig::new("db.example", 7000)
    };
    assert_eq!(of("redis://app:p%40ss@db.example:7000/3"), expected);
    let expected = RedisConfig { database: 3, ..RedisConfig::unix("/run/redis.sock") };
    assert_eq!(of("redis+unix:///run/redis.sock?db=3"), expected);
    // Without a feature of the client that turns its TLS on, only an address can ask for it.
    let with_tls = |insecure| redis::ConnectionAddr::TcpTls {
        host: "h".to_owned(),
        port: 1,
        insecure,
        tls_params: None,
    };
    for insecure in [false, true] {
        let client = redis::Client::open(with_tls(insecure)).unwrap();
        let expected = RedisConfig { tls: true, verify: !insecure, ..RedisConfig::new("h", 1) };
        assert_eq!(RedisConfig::from_client(&client).unwrap(), expected);
    }
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
        "redis://h?prefix=a&prefix=b",
        "redis://h?timeout=1",
        "redis://h?cacert=/etc/ca.pem",
        "redis://h?verify=none",
        "rediss://h?verify=full",
        "rediss://h?verify=none&cacert=/etc/ca.pem",
        "rediss://h?cert=/etc/c.pem",
        "unix://",
        "unix:",
        "unix:redis.sock",
        "unix:///",
        "unix://h/redis.sock",
        "unix://hunter2@/redis.sock",
        "unix:///redis.sock?user=hunter2",
        "unix:///redis.sock?db=one",
        "unix:///redis.sock?cacert=/etc/ca.pem",
        "redis-socket:///redis.sock",
        "hunter2",
    ] {
        let error = parsed(url).expect_err(url);
        assert_eq!((error.store(), error.kind()), ("redis", OpenErrorKind::Config), "{url}");
        let error = error.to_string();
        assert!(error.starts_with("could not open the redis store: the URL "), "{url}: {error}");
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
    let names = Names::new("ingle");
    let key = Key::from_bytes([0x7f; 32]);
    let name = names.record(&key);
    assert_eq!(name, format!("ingle:{{7f}}:{}", "7f".repeat(32)));
    assert_eq!(names.key(name.as_bytes()), Some(key));
    for wrong in ["", "ingle", "ingle:{7e}:", "ingle:user:{3c}:mary", "\u{e9}ngle:{7f}:"] {
        assert_eq!(names.key(format!("{wrong}{key}").as_bytes()), None, "{wrong}");
    }
    assert!(names.user("}x{").starts_with("ingle:user:{"));
}

/// What `CLUSTER KEYSLOT` says.
#[test]
fn a_partition_has_the_slot_that_redis_says() {
    for (partition, slot) in [(0x00, 13254), (0x7f, 4194), (0xff, 11756)] {
        assert_eq!(Partition(partition).slot(), slot, "{partition:02x}");
    }
}

#[test]
fn the_scripts_read_the_same_fields() {
    let quoted = codec::FIELDS.map(|field| format!("'{field}'")).join(", ");
    assert_eq!(quoted, fields!());
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

/// Reads what must be a record.
fn read(answer: Value) -> Loaded {
    codec::read(answer).unwrap().and_then(Entry::record).unwrap()
}

/// What Redis answers for a hash with these fields.
fn answer_of(fields: &[(&str, &str)]) -> Value {
    let value = |name: &&str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.map_or(Value::Nil, |(_, value)| Value::BulkString(value.as_bytes().to_vec()))
    };
    Value::Array(codec::FIELDS.iter().map(value).collect())
}

#[test]
fn a_mark_is_read_and_a_damaged_one_is_told_by_its_field() {
    let (to, until) = (Key::from_bytes([0x7f; 32]), Timestamp::from_millis(60_000));
    let hex = to.to_string();
    let (key, end) = (("key", hex.as_str()), ("absolute_deadline", "60000"));
    for (fields, moved_to) in [
        ([("format", "moved"), key, end], Some(to)),
        ([("format", "ended"), key, end], None),
        ([("format", "ended"), end, end], None),
    ] {
        let found = codec::read(answer_of(&fields)).unwrap();
        assert_eq!(found, Some(Entry::Mark(Mark { moved_to, until })), "{fields:?}");
    }
    for (fields, field) in [
        ([("format", "moved"), end, end], "`key`"),
        ([("format", "moved"), ("key", "hunter2"), end], "`key`"),
        ([("format", "moved"), key, key], "`absolute_deadline`"),
        ([("format", "ended"), key, ("absolute_deadline", "hunter2")], "`absolute_deadline`"),
        ([("format", "hunter2"), key, end], "`format`"),
    ] {
        let error = codec::read(answer_of(&fields)).unwrap_err().to_string();
        assert!(error.contains(field) && !error.contains("hunter2"), "{error}");
    }
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
    let read = read(answer(&whole));
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
        let error = codec::read(answer(&values)).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    for missing in [0, 1, 2, 3, 7, 8, 9] {
        let Value::Array(mut values) = answer(&whole) else { unreachable!() };
        values[missing] = Value::Nil;
        assert!(codec::read(Value::Array(values)).is_err(), "{missing}");
    }
    let mut nothing = vec![Value::Nil; 9];
    nothing.push(Value::BulkString(b"{}".to_vec()));
    assert_eq!(codec::read(Value::Array(nothing)).unwrap(), None, "no header at all: no record");
}

#[test]
fn only_what_is_proof_says_that_nothing_happened() {
    let refused = |error: &str| {
        let Value::ServerError(refusal) = redis::parse_redis_value(error.as_bytes()).unwrap()
        else {
            unreachable!()
        };
        Failure::Refused(refusal).into_error("ingle")
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
    let lost = Failure::Lost(String::new()).into_error("ingle");
    assert_eq!((lost.kind(), lost.applied()), (ErrorKind::Unavailable, Applied::Unknown));
    for (cause, kind) in [
        (error::silent("h:1"), ErrorKind::Unavailable),
        (error::replica("h:1"), ErrorKind::Unavailable),
        (error::not_covered("h:1"), ErrorKind::Unavailable),
        (error::wrong_password("h:1"), ErrorKind::Refused),
        (error::too_old("h:1", "redis 6.2.0"), ErrorKind::Refused),
    ] {
        let told = Failure::NotSent(cause.clone()).into_error("ingle");
        assert_eq!((told.kind(), told.applied()), (kind, Applied::No), "{cause}");
    }
}

/// What Redis answers for a record: the fields in the order of the question.
fn answer(record: &crate::record::Record) -> Vec<Value> {
    let mut command = redis::Cmd::new();
    codec::whole(&mut command, record, None).unwrap();
    let mut arguments = command.args_iter().skip(1).map(|argument| match argument {
        redis::Arg::Simple(bytes) => bytes.to_vec(),
        _ => unreachable!("only bytes are written"),
    });
    let mut written = std::collections::HashMap::new();
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        written.insert(name, value);
    }
    let field = |name: &&str| written.remove(name.as_bytes()).map_or(Value::Nil, Value::BulkString);
    codec::FIELDS.iter().map(field).collect()
}

#[test]
fn fuzz_the_hash_of_a_record() {
    let words = [
        "moved",
        "ended",
        "18446744073709551616",
        "-1",
        "0",
        "{}",
        "[]",
        "1e400",
        "\0",
        " ",
        "z",
        "\u{feff}",
    ];
    fuzz("a hash of Redis", |u| {
        let record = fuzz::record(u)?;
        let mut values = answer(&record);
        assert_eq!(*read(Value::Array(values.clone())).record, record);
        for _ in 0..u.int_in_range(1..=3)? {
            let field = u.choose_index(values.len())?;
            values[field] = match &values[field] {
                Value::BulkString(bytes) if u.ratio(3, 4)? => {
                    Value::BulkString(spoiled(u, &[bytes], &words)?)
                }
                _ => u.choose(&[Value::Nil, Value::Int(1), Value::Okay])?.clone(),
            };
        }
        match codec::read(Value::Array(values)) {
            Ok(Some(Entry::Record(found))) => {
                assert_eq!(read(Value::Array(answer(&found.record))), found);
            }
            Ok(Some(Entry::Mark(_)) | None) => {}
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
        &format!("redis+unix://app:{SECRET}@/run/redis.sock?db=1&prefix=a"),
        &format!("unix:/run/redis.sock?pass={SECRET}"),
    ];
    let words = ["@", ":", "/", "?", "#", "%", "%zz", "[", "]", ",", "&", "=", "65536", "\0", "é"];
    fuzz("URLs of Redis", |u| {
        let url = fuzz::spoiled_text(u, &valid.map(String::as_str), &words)?;
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

/// A login may be the first that a process does, and draws its new id before the store is open.
#[tokio::test]
async fn a_store_that_is_not_open_yet_says_which_keys_a_session_can_move_to() {
    let store = open_lazily("redis://localhost:1").await.unwrap();
    let key = |first: u8, last: u8| {
        let mut bytes = [last; 32];
        bytes[0] = first;
        Key::from_bytes(bytes)
    };
    assert!(store.can_renew(&key(7, 1), &key(7, 2)));
    assert!(!store.can_renew(&key(7, 1), &key(8, 1)));
}
