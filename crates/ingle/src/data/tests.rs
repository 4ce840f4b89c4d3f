use std::{cell::Cell, collections::BTreeMap};

use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::{fields::Part, *};
use crate::{engine, fuzz};

fn limits() -> Limits {
    Limits::default()
}

/// The whole data of a session that has none yet.
fn encoded<T: Serialize>(value: &T) -> Result<Data, InvalidValue> {
    let fields = encode::fields(value, &Data::new(), &limits(), &Cell::new(false))?;
    let data = Value::Object(fields.into_data(None));
    unstorable::find(&data).map_or(Ok(()), Err)?;
    Ok(serde_json::from_value(data).unwrap())
}

fn part<T: Serialize>(value: &T, stored: &Value) -> Part {
    encode::part(value, Some(stored), &limits(), &Cell::new(false)).unwrap()
}

fn refused<T: Serialize>(value: &T) -> (String, Reason) {
    let error = encoded(value).unwrap_err();
    (error.path, error.reason)
}

#[test]
fn what_stores_would_bend_is_refused_with_its_place() {
    let cases = [
        (refused(&json_like(&[("a", f64::NAN)])), "a", Reason::NonFinite),
        (refused(&json_like(&[("a", f64::NEG_INFINITY)])), "a", Reason::NonFinite),
        (refused(&json_like(&[("a", vec![1.0, f64::NAN])])), "a[1]", Reason::NonFinite),
        (refused(&json!({"a": {"b": [0, u64::MAX]}})), "a.b[1]", Reason::IntegerOutOfRange),
        (
            refused(&json_like(&[("a", 9_223_372_036_854_775_808u64)])),
            "a",
            Reason::IntegerOutOfRange,
        ),
        (refused(&json_like(&[("a", i128::MIN)])), "a", Reason::IntegerOutOfRange),
        (refused(&json!({"a": "b\0"})), "a", Reason::Nul),
        (refused(&json!({"a\0": 1})), "a\0", Reason::Name),
        (refused(&json!({"": 1})), "", Reason::Name),
        (refused(&json!({"a": {"__x__": 1}})), "a.__x__", Reason::Name),
        (refused(&json!([1])), "", Reason::NotAnObject),
        (refused(&json!(1)), "", Reason::NotAnObject),
    ];
    for ((path, reason), expected_path, expected) in cases {
        assert_eq!((path.as_str(), reason), (expected_path, expected));
    }
    let long = "x".repeat(1501);
    assert_eq!(refused(&json!({long: 1})).1, Reason::Name);
}

fn json_like<T: Serialize + Clone>(fields: &[(&str, T)]) -> BTreeMap<String, T> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[test]
fn strange_names_are_names() {
    for name in ["a.b", "a`b", "__proto__x", "$gt", "a/b", "*", "é", "e\u{301}", "_", "____x", "\n"]
    {
        let data = encoded(&json!({name: 1})).unwrap();
        assert_eq!(data.get(name), Some(&json!(1)), "{name}");
    }
}

#[test]
fn depth_is_counted_with_the_data_as_the_first_level() {
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
    assert!(encoded(&nested(16)).is_ok());
    assert_eq!(refused(&nested(17)).1, Reason::TooDeep { max: 16 });
}

#[test]
fn an_item_is_one_level_deeper_than_a_field() {
    let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(encode::value(&nested(15), &limits()).is_ok());
    assert!(encode::value(&nested(16), &limits()).is_err());
    assert!(encode::item(&nested(14), &limits()).is_ok());
    assert!(encode::item(&nested(15), &limits()).is_err());
}

/// Nests without end: what follows it to the end never returns.
struct Endless;

impl Serialize for Endless {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([Self])
    }
}

#[test]
fn a_value_that_nests_too_deep_is_not_followed() {
    let error = encode::value(&Endless, &limits()).unwrap_err();
    assert_eq!(error.reason, Reason::TooDeep { max: 16 });
}

#[test]
fn a_huge_text_is_refused_before_it_is_copied() {
    let text = "x".repeat(4 << 20);
    let error = encode::value(&text, &limits()).unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge { max: 64 * 1024 });
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(i32),
    Tuple(i32, i32),
    Struct { a: i32 },
}

#[test]
fn values_are_spelled_as_serde_json_spells_them() {
    #[derive(Serialize)]
    struct All<'a> {
        shapes: [Shape; 4],
        text: &'a str,
        char: char,
        bytes: &'a [u8],
        none: Option<i32>,
        some: Option<i32>,
        unit: (),
        pair: (i8, f32),
        by_number: BTreeMap<u8, bool>,
        double: f64,
        integer: i64,
    }
    let all = All {
        shapes: [Shape::Unit, Shape::Newtype(1), Shape::Tuple(1, 2), Shape::Struct { a: 1 }],
        text: "é\"\\\u{1}",
        char: 'é',
        bytes: &[1, 2],
        none: None,
        some: Some(1),
        unit: (),
        pair: (-1, 0.5),
        by_number: BTreeMap::from([(7, true)]),
        double: 1.0,
        integer: i64::MIN,
    };
    let ours = Value::Object(encoded(&all).unwrap());
    assert_eq!(ours, serde_json::to_value(&all).unwrap());
    assert_eq!(part(&all, &ours), Part::Same);
    for pointer in ["/shapes/0", "/shapes/1/Newtype", "/shapes/2/Tuple/1", "/shapes/3/Struct/a"] {
        let mut stored = ours.clone();
        *stored.pointer_mut(pointer).unwrap() = json!("another");
        let part = part(&all, &stored);
        assert_ne!(part, Part::Same, "{pointer}");
        assert_eq!(part.into_value(Some(&stored)), ours, "{pointer}");
    }
}

/// JSON that is written as `RawValue` of serde_json is, with its feature `raw_value`.
#[derive(Clone)]
struct Raw(&'static str);

impl Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let name = "$serde_json::private::RawValue";
        let mut raw = serializer.serialize_struct(name, 1)?;
        raw.serialize_field(name, self.0)?;
        raw.end()
    }
}

#[test]
fn raw_json_is_what_it_says() {
    for json in ["1", "-1.5", "\"a\"", "null", "[1, {\"a\": []}]", "{\"a\": {\"b\": 1.0}}"] {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(encode::value(&Raw(json), &limits()).unwrap(), value);
        assert_eq!(part(&Raw(json), &value), Part::Same);
        let (one, other) = (json_like(&[("a", [Raw(json), Raw("1")])]), json!({"a": [value, 1]}));
        assert_eq!(Value::Object(encoded(&one).unwrap()), other);
    }
    let refused = |json| encode::value(&Raw(json), &limits()).unwrap_err().reason;
    assert_eq!(refused("[18446744073709551615]"), Reason::IntegerOutOfRange);
    assert_eq!(refused("\"a\\u0000\""), Reason::Nul);
    assert_eq!(refused("[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]"), Reason::TooDeep { max: 16 });
    assert!(matches!(refused("{"), Reason::Serialize(_)));
}

#[test]
fn sizes_of_the_smallest_things() {
    for value in
        [json!({}), json!([]), json!(""), json!(0), json!(-1), json!(10), json!(-0.0), json!(1.5)]
    {
        assert_eq!(json_len(&value), value.to_string().len(), "{value}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |double| double.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(|text| Value::from(text.replace('\0', "␀"))),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\é]{1,6}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_size_is_the_length_as_json(value in any_value()) {
        prop_assert_eq!(json_len(&value), value.to_string().len());
    }

    #[test]
    fn a_value_goes_through_unchanged(value in any_value()) {
        prop_assert_eq!(encode::value(&value, &limits()).unwrap(), value);
    }

    #[test]
    fn a_value_is_compared_with_what_is_stored(
        same in any_value(),
        one in any_value(),
        other in any_value(),
    ) {
        let pairs = [
            (one.clone(), other.clone()),
            (json!([same, one]), json!([same, other])),
            (json!([one, same]), json!([other, same])),
            (json!([same, one]), json!([same])),
            (json!({"a": same, "b": one}), json!({"a": same, "b": other})),
            (json!({"a": same, "b": one}), json!({"a": same})),
            (json!({"a": same, "b": one}), json!({"a": same, "c": one})),
        ];
        for (value, stored) in pairs.iter().flat_map(|(a, b)| [(a, b), (b, a), (a, a)]) {
            let part = part(value, stored);
            prop_assert_eq!(part == Part::Same, value == stored);
            prop_assert_eq!(&part.into_value(Some(stored)), value);
        }
    }
}

/// A type that reads some of what may be in a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(default)]
struct Seen {
    a: i64,
    b: Vec<Inner>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(default)]
struct Inner {
    a: Option<f64>,
}

#[test]
fn fuzz_data_in_and_out() {
    fuzz::fuzz("data in and out", |u| {
        let limits = Limits { bytes_max: u.int_in_range(0..=300)?, depth_max: 3, fields_max: 3 };
        let stored = fuzz::object(u, 4)?;
        if encode::value(&stored, &limits).is_ok() {
            assert_eq!(encoded(&stored).unwrap(), stored);
        }
        let length = serde_json::to_string(&stored).unwrap().len();
        assert_eq!(data_len(&stored), length);
        // A view that is only looked at writes nothing, whatever the type does not know.
        let rules = update::Rules { limits: Limits::default(), anew: false };
        let run = |change: fn(&mut Seen)| {
            let change = |seen: &mut Seen| {
                change(seen);
                Ok::<_, ()>(seen.clone())
            };
            update::update::<Seen, _, _, engine::change::Refused>(
                read::Place::Whole,
                &stored,
                &rules,
                change,
            )
        };
        let Ok((_, patch)) = run(|_| ()) else { return Ok(()) };
        assert_eq!(patch, patch::Patch::new(), "{stored:?}");
        // And one that is changed writes what it says, and what was not there; it leaves all else.
        let (seen, patch) = run(|seen| seen.a = seen.a.wrapping_add(1)).unwrap();
        let seen = seen.unwrap();
        let mut after = stored.clone();
        after.extend(patch.into_iter().map(|(name, value)| (name, value.unwrap())));
        let shown = shown::Shown::of(&after);
        let mend = read::Mend { aliases: false, anew: false };
        assert_eq!(read::read::<Seen>(read::Place::Whole, shown, mend).unwrap().view, seen);
        let mut expected = stored.clone();
        expected.insert("a".to_owned(), seen.a.into());
        expected.entry("b").or_insert_with(|| json!([]));
        assert_eq!(after, expected);
        Ok(())
    });
}
