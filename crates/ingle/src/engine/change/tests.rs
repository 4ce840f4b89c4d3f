use serde_json::json;

use super::*;

fn data(value: Value) -> Data {
    serde_json::from_value(value).unwrap()
}

fn rules() -> Rules {
    Rules { limits: Limits::default(), anew: false }
}

fn edit(edit: Edit) -> Change {
    Box::new(move |draft| edit.apply(draft, &rules()))
}

fn insert(field: &str, value: Value, read: Option<Seen>) -> Change {
    edit(Edit::Insert { field: field.into(), value, read })
}

fn increment(field: &str, by: i64) -> Change {
    edit(Edit::Increment { field: field.into(), by })
}

/// What the changes leave of `stored`, and a word for what became of each.
fn run(stored: Value, changes: Vec<Change>) -> (Value, Vec<&'static str>) {
    let stored = data(stored);
    let mut copy = Copy::of(&stored);
    let limits = Limits { bytes_max: 60, depth_max: 16, fields_max: 3 };
    let verdicts = changes.into_iter().map(|mut change| match copy.apply(&mut change, &limits) {
        Ok(()) => "ok",
        Err(Refused::LostUpdate { .. }) => "lost update",
        Err(Refused::WrongType(_)) => "wrong type",
        Err(Refused::Invalid(_)) => "invalid",
        Err(Refused::Panicked(_)) => "panicked",
    });
    let verdicts = verdicts.collect();
    (Value::Object(copy.into_changed().unwrap_or(stored)), verdicts)
}

#[test]
fn each_change_stands_or_falls_alone() {
    let changes = vec![
        increment("n", 1),
        Box::new(|draft: &mut Draft<'_>| {
            draft.set("n".into(), Some(json!("half done")));
            if draft.changed().count() == 1 {
                panic!("in the middle");
            }
            Ok(())
        }) as Change,
        increment("n", 1),
        insert("big", json!("x".repeat(100)), None),
        increment("text", 1),
        insert("n", json!(0), Some(Some(json!(5)))),
        increment("n", 1),
    ];
    let (after, verdicts) = run(json!({"n": 5, "text": "t"}), changes);
    assert_eq!(after, json!({"n": 8, "text": "t"}));
    assert_eq!(verdicts, ["ok", "panicked", "ok", "invalid", "wrong type", "lost update", "ok"]);
}

#[test]
fn a_value_that_equals_the_old_one_is_no_change() {
    let stored = data(json!({"a": 1}));
    let mut copy = Copy::of(&stored);
    let limits = Limits::default();
    assert!(copy.apply(&mut insert("a", json!(1), None), &limits).is_ok());
    assert!(copy.apply(&mut edit(Edit::Remove { field: "b".into(), read: None }), &limits).is_ok());
    assert!(copy.into_changed().is_none());
}

#[test]
fn a_field_that_was_read_is_compared_before_it_is_overwritten() {
    let stored = json!({"a": 1});
    for (seen, expected) in [
        (None, "ok"),
        (Some(Some(json!(1))), "ok"),
        (Some(Some(json!(2))), "lost update"),
        (Some(None), "lost update"),
    ] {
        let (_, verdicts) = run(stored.clone(), vec![insert("a", json!(9), seen.clone())]);
        assert_eq!(verdicts, [expected], "{seen:?}");
        let remove = edit(Edit::Remove { field: "a".into(), read: seen.clone() });
        assert_eq!(run(stored.clone(), vec![remove]).1, [expected], "{seen:?}");
    }
    // A request's own edits do not contradict what it read before them.
    let own: Change = Box::new(|draft| {
        for value in [2, 3] {
            let read = Some(Some(json!(1)));
            Edit::Insert { field: "a".into(), value: json!(value), read }.apply(draft, &rules())?;
        }
        Ok(())
    });
    assert_eq!(run(stored, vec![own]), (json!({"a": 3}), vec!["ok"]));
}

#[test]
fn numbers_count_and_arrays_grow_from_nothing() {
    let push = |value: Value| edit(Edit::Push { field: "list".into(), value });
    let changes = vec![increment("n", -2), push(json!(1)), push(json!("b"))];
    let (after, _) = run(json!({}), changes);
    assert_eq!(after, json!({"n": -2, "list": [1, "b"]}));
    let (after, verdicts) = run(json!({"n": 2.5}), vec![increment("n", 1)]);
    assert_eq!((after, verdicts), (json!({"n": 3.5}), vec!["ok"]));
    for (stored, expected) in [
        (json!({"n": i64::MAX}), "invalid"),
        (json!({"n": u64::MAX}), "invalid"),
        (json!({"n": "1"}), "wrong type"),
        (json!({"n": []}), "wrong type"),
    ] {
        assert_eq!(run(stored.clone(), vec![increment("n", 1)]), (stored, vec![expected]));
    }
    assert_eq!(run(json!({"list": 1}), vec![push(json!(1))]).1, ["wrong type"]);
}

#[test]
fn a_wrong_type_is_told_with_what_was_found() {
    for (stored, expected) in [
        (json!(true), "found a boolean, expected an array"),
        (json!(1), "found a number, expected an array"),
        (json!("x"), "found a text, expected an array"),
        (json!({}), "found an object, expected an array"),
    ] {
        let stored = data(json!({ "list": stored }));
        let mut push = edit(Edit::Push { field: "list".into(), value: json!(1) });
        let refused = Copy::of(&stored).apply(&mut push, &Limits::default());
        let Err(Refused::WrongType(error)) = refused else { panic!("{refused:?}") };
        assert_eq!((error.path.as_str(), error.message.as_str()), ("list", expected));
    }
}

#[test]
fn limits_hold_to_the_byte_and_what_is_too_large_already_may_shrink() {
    // `{"a":"…"}` has 8 bytes beside the text.
    let (_, verdicts) = run(json!({}), vec![insert("a", json!("x".repeat(52)), None)]);
    assert_eq!(verdicts, ["ok"]);
    let (_, verdicts) = run(json!({}), vec![insert("a", json!("x".repeat(53)), None)]);
    assert_eq!(verdicts, ["invalid"]);

    let huge = json!({"a": "x".repeat(500), "b": "y".repeat(500)});
    let shrink = vec![edit(Edit::Remove { field: "a".into(), read: None })];
    assert_eq!(run(huge.clone(), shrink).1, ["ok"]);
    let same_size = vec![insert("a", json!("z".repeat(500)), None)];
    assert_eq!(run(huge.clone(), same_size).1, ["ok"]);
    assert_eq!(run(huge, vec![insert("c", json!(1), None)]).1, ["invalid"]);

    let three = json!({"a": 1, "b": 1, "c": 1});
    assert_eq!(run(three.clone(), vec![insert("d", json!(1), None)]).1, ["invalid"]);
    assert_eq!(run(three, vec![insert("c", json!(2), None)]).1, ["ok"]);
    let four = json!({"a": 1, "b": 1, "c": 1, "d": 1});
    assert_eq!(run(four.clone(), vec![insert("d", json!(2), None)]).1, ["ok"]);
    assert_eq!(run(four, vec![insert("e", json!(1), None)]).1, ["invalid"]);
}

#[test]
fn what_was_read_follows_one_s_own_changes() {
    let stored = data(json!({"own": 1, "foreign": 1}));
    let mut reads = Reads::default();
    reads.note("own", Some(&json!(1)));
    reads.note("foreign", Some(&json!(0)));
    let mut draft = Draft::new(&stored);
    draft.set("own".into(), Some(json!(2)));
    draft.set("foreign".into(), Some(json!(2)));
    draft.set("unread".into(), Some(json!(2)));
    reads.follow(&draft);
    assert_eq!(reads.seen("own"), Some(Some(json!(2))));
    assert_eq!(reads.seen("foreign"), Some(Some(json!(0))), "another request's change stays one");
    assert_eq!(reads.seen("unread"), None);
}
