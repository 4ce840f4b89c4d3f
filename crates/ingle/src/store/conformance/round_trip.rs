//! Law 1: what was written is what is read, to the last bit.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    owned::OwnedWrite,
    trial::{Trial, all_ops, assert_same, next, object, random_key, random_op, with_idle_deadline},
};
use crate::{
    clock::Timestamp,
    data::{self, Data, Limits},
    id::Key,
    record::{Epoch, User},
    store::{CommitError, ErrorKind, MARK_TIME},
};

/// A create, then each of a chain of replaces, is what both handles find, version included.
pub async fn law_1_load_returns_what_the_last_commit_wrote(trial: Trial) {
    let mut last = trial.create(trial.record()).await;
    trial.finds(&last, "law 1: what a create wrote must be found").await;
    for n in 2..20 {
        last = trial.replace(&last, next(&last, json!({ "n": n }))).await;
        trial.finds(&last, "law 1: what the last replace wrote must be found").await;
    }
}

/// Where nothing was written, or what was written is destroyed, nothing is found.
pub async fn law_1_load_returns_nothing_where_nothing_is(trial: Trial) {
    let key = random_key();
    trial.finds_nothing(&key, trial.now, "law 1: nothing was written under this key").await;
    let record = trial.create(trial.record_under(key)).await;
    trial.finds(&record, "law 1: what a create wrote must be found").await;
    trial.destroy(key).await;
    trial.finds_nothing(&key, trial.now, "law 1: what was destroyed must not be found").await;
    let create = OwnedWrite::create(trial.record_under(key));
    let now = trial.now.after(MARK_TIME);
    trial.commit(&create, now).await.done("law 12: a key is free again when its mark is dead");
    let found = trial.load(&key, now).await;
    assert!(found.is_some(), "law 1: a key that was destroyed can be taken again");
}

/// Keys that differ in one bit, hold zeros, or begin alike, have records of their own.
pub async fn law_1_each_key_has_a_record_of_its_own(trial: Trial) {
    let mut keys = vec![[0; 32], [255; 32], [b'%'; 32], [b'*'; 32]];
    keys.extend([0, 15, 31].map(|place| {
        let mut key = [0; 32];
        key[place] = 1;
        key
    }));
    let mut records = Vec::new();
    for (n, key) in keys.into_iter().enumerate() {
        let mut record = trial.record_under(Key::from_bytes(key));
        record.data = object(json!({ "n": n }));
        records.push(trial.create(record).await);
    }
    while let Some(last) = records.pop() {
        trial.destroy(last.record.header.key).await;
        for record in &records {
            trial.finds(record, "law 1: a write under another key must not be seen here").await;
        }
    }
}

/// Fields, a user and a timeout that the next record lacks are gone: a replace is no merge.
pub async fn law_1_what_a_replace_leaves_out_is_gone(trial: Trial) {
    let mut record = trial.record_of("mary");
    record.header.idle_timeout = Some(Duration::from_secs(60));
    record.data = object(json!({ "stays": 1, "goes": { "a": 1 }, "shrinks": { "a": 1, "b": 2 } }));
    let first = trial.create(record).await;
    let mut record = next(&first, json!({ "stays": 1, "shrinks": { "a": 1 } }));
    record.header.user = None;
    record.header.idle_timeout = None;
    let second = trial.replace(&first, record).await;
    trial.finds(&second, "law 1: what a replace leaves out must be gone").await;
    let third = trial.replace(&second, next(&second, json!({}))).await;
    trial.finds(&third, "law 1: a record may be left without any field").await;
}

/// Each field of the header comes back as it was, at both ends of what it can be.
pub async fn law_1_the_header_comes_back_whole(trial: Trial) {
    let mut record = trial.record();
    record.header.created = Timestamp::from_millis(0);
    record.header.absolute_deadline = Timestamp::MAX;
    record.header.idle_timeout = Some(Duration::from_millis(90_001));
    let name = "Zoë \"`O'Brien`\" \\ %_*\n\u{1f525}".to_owned();
    record.header.user = Some(User::new(name, i64::MAX.unsigned_abs(), Timestamp::from_millis(7)));
    record.header.epoch = Epoch::from_bits(u64::MAX);
    // One more than a double can tell from its neighbors.
    record.header.counter = (1 << 53) + 1;
    record.header.ops = all_ops();
    let first = trial.create(record).await;
    trial.finds(&first, "law 1: the header must come back as it was created").await;
    let second = trial.replace(&first, next(&first, json!({ "n": 2 }))).await;
    trial.finds(&second, "law 1: the header must come back as it was replaced").await;

    let mut record = with_idle_deadline(&second, Timestamp::MAX);
    record.header.counter += 1;
    record.header.user = Some(User::new(String::new(), 0, Timestamp::from_millis(7)));
    record.header.ops = [random_op()].into_iter().collect();
    let third = trial.replace(&second, record).await;
    trial.finds(&third, "law 1: an empty name, and a deadline that never comes, must stay").await;

    let mut record = trial.record();
    record.header.epoch = Epoch::from_bits(0);
    let other = trial.create(record).await;
    trial.finds(&other, "law 1: a header with zeros must come back as it was").await;
}

/// Integers stay integers and doubles stay doubles, each bit of them.
pub async fn law_1_numbers_come_back_as_they_were(trial: Trial) {
    let integers = json!([0, 1, -1, i32::MAX, i64::MIN, i64::MAX, 1_i64 << 53, (1_i64 << 53) + 1]);
    let doubles = json!([
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1e15,
        1e16,
        9_007_199_254_740_993.0,
        1e21,
        1e100,
        1e308,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        f64::EPSILON,
        0.1 + 0.2,
        // Doubles that a hasty parser reads as their neighbors.
        0.001_200_000_000_000_000_1,
        4.310_451_964_967_658e78,
        -7.167_576_281_835_256e161,
    ]);
    let found = round_trip(&trial, json!({ "integers": integers, "doubles": doubles })).await;
    // Compared as text too, because -0.0 equals 0.0 and is another number all the same.
    let text = |value: Option<&Value>| value.map(Value::to_string);
    assert_eq!(text(found.get("integers")), Some(integers.to_string()), "law 1: integers");
    assert_eq!(text(found.get("doubles")), Some(doubles.to_string()), "law 1: doubles");
}

/// Text of every script comes back byte for byte, in no other normalization.
pub async fn law_1_text_comes_back_as_it_was(trial: Trial) {
    // No record has a NUL: `data` refuses it.
    let controls: String = (1..0x20).map(char::from).collect();
    round_trip(
        &trial,
        json!({
            "empty": "",
            "spaces": "  a\t ",
            "lines": "a\nb\r\nc\u{2028}d",
            "controls": controls,
            "quotes": "'\"`\\/",
            "composed": "\u{e9}",
            "decomposed": "e\u{301}",
            "emoji": "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{fe0f}",
            "right to left": "\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{202e}abc",
            "last": "\u{10ffff}\u{ffff}\u{fffd}\u{7f}\u{80}",
            "looks like a number": "1.0",
            "looks like nothing": "null",
            "looks like a query": "'; DROP TABLE sessions; --",
        }),
    )
    .await;
}

/// Every kind of value, empty, nested and in lists, keeps its kind.
pub async fn law_1_every_kind_of_value_keeps_its_kind(trial: Trial) {
    round_trip(
        &trial,
        json!({
            "nothing": null,
            "yes": true,
            "no": false,
            "empty": { "object": {}, "array": [], "text": "" },
            "mixed": [null, true, 1, 1.0, "1", [], {}, [null], { "a": null }],
            "arrays in arrays": [[1, [2, [3, []]]], [], [[]]],
            "objects in arrays": [{ "a": [{ "b": [{ "c": 1 }] }] }],
            // A store that writes what JSON cannot say as such an object must know them apart.
            "tagged": { "$timestamp": "not a time" },
            "tagged twice": { "$bytes": 1, "$reference": 2 },
        }),
    )
    .await;
}

/// Names that mean something in a path, a query or a script are only names.
pub async fn law_1_every_name_is_only_a_name(trial: Trial) {
    let names = [
        "a",
        "A",
        "a.b",
        "a`b",
        "a/b",
        "a\\b",
        "a'b",
        "a\"b",
        "a b",
        " ",
        ".",
        "..",
        "*",
        "%",
        "$",
        "$gt",
        "$set",
        "[0]",
        "0",
        "-1",
        "{}",
        ":",
        "#",
        "?",
        "~",
        "a\nb",
        "\t",
        "\u{e9}",
        "e\u{301}",
        "\u{1f525}",
        "__a",
        "a__",
        "_",
        "id",
        "key",
        "data",
        "header",
        "version",
        "__proto",
        "constructor",
        "null",
        "true",
    ];
    let mut fields: Data =
        names.iter().enumerate().map(|(n, name)| ((*name).to_owned(), json!(n))).collect();
    let mut all = fields.clone();
    all.insert("x".repeat(1499), json!("the longest name"));
    let outer = "nested".to_owned();
    fields.insert("x".repeat(1499 - outer.len()), json!("the longest path"));
    all.insert(outer, Value::Object(fields));
    round_trip(&trial, Value::Object(all)).await;
}

/// Data as large, as deep and as wide as the default limits allow.
pub async fn law_1_data_at_the_limits_comes_back(trial: Trial) {
    let limits = Limits::default();
    // The data is level 1, so one level less hangs below its field.
    let deep = (2..=limits.depth_max).fold(json!(1), |inner, level| match level % 3 {
        0 => json!([inner]),
        _ => json!({ "a": inner }),
    });
    round_trip(&trial, json!({ "deep": deep })).await;

    let wide: Data = (0..limits.fields_max).map(|n| (format!("field {n}"), json!(n))).collect();
    round_trip(&trial, Value::Object(wide)).await;

    let around = data::data_len(&object(json!({ "large": "" })));
    let large = json!({ "large": "x".repeat(limits.bytes_max - around) });
    round_trip(&trial, large).await;
}

/// Data as deep as a layer lets an app allow it. A store may refuse it, but never store what it cannot load.
pub async fn law_1_data_as_deep_as_can_be_set_comes_back_or_is_refused(trial: Trial) {
    for kind in 0..3 {
        let deep = (2..=Limits::DEPTH_MAX).fold(json!(1), |inner, level| match kind + level % 2 {
            0 | 1 => json!({ "a": inner }),
            _ => json!([inner]),
        });
        let mut record = trial.record();
        record.data = object(json!({ "deep": deep }));
        let expected = Value::Object(record.data.clone());
        let create = OwnedWrite::create(record.clone());
        match create.apply(trial.store(), trial.now).await {
            Ok(_) => drop(found_same(&trial, &record.header.key, &expected, "created").await),
            Err(CommitError::Failed(error))
                if matches!(error.kind(), ErrorKind::Unfit | ErrorKind::TooLarge) =>
            {
                trial.finds_nothing(&record.header.key, trial.now, "law 1: it was refused").await;
            }
            Err(error) => panic!("law 1: it is written or does not fit, but: {error:?}"),
        }
    }
}

/// Writes the data with a create, a replace and a renew, and returns what was found in the end.
async fn round_trip(trial: &Trial, data: Value) -> Data {
    let expected = Value::Object(object(data));
    let mut record = trial.record();
    record.data = object(expected.clone());
    let created = trial.create(record).await;
    found_same(trial, &created.record.header.key, &expected, "created").await;

    let cleared = trial.replace(&created, next(&created, json!({}))).await;
    let replaced = trial.replace(&cleared, next(&cleared, expected.clone())).await;
    found_same(trial, &replaced.record.header.key, &expected, "replaced").await;

    let mut record = next(&replaced, expected.clone());
    record.header.key = trial.key_to_renew(&replaced);
    let renewed = trial.renew(&replaced, record).await;
    let touch = OwnedWrite::touch(renewed.record.header.key, Timestamp::MAX);
    trial.commit(&touch, trial.now).await.done("law 8: a live record must take a touch");
    found_same(trial, &renewed.record.header.key, &expected, "renewed and touched").await
}

async fn found_same(trial: &Trial, key: &Key, expected: &Value, how: &str) -> Data {
    let found = trial.load(key, trial.now).await;
    let found = found.map_or(Value::Null, |found| Value::Object(found.record.data.clone()));
    assert_same(&found, expected, &format!("law 1: data must come back as it was {how}"));
    object(found)
}
