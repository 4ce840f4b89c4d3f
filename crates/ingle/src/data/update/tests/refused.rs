//! What no read would give back is refused, and nothing else.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Nested {
    flat: Flat,
    list: Vec<Flat>,
    maybe: Option<Flat>,
    n: u8,
}

#[test]
fn a_name_that_an_object_would_have_twice_is_refused() {
    let add = |flat: &mut Flat| drop(flat.rest.insert("id".into(), json!(5)));
    let not_read_back = |path: &str| (path.to_owned(), Reason::NotReadBack);
    assert_eq!(refused::<Flat>(&json!({"id": 1}), add), not_read_back("id"));
    // Also if it is the same value, which no read would show twice.
    let same = |flat: &mut Flat| drop(flat.rest.insert("id".into(), json!(1)));
    assert_eq!(refused::<Flat>(&json!({"id": 1}), same), not_read_back("id"));
    let path = |change: fn(&mut Nested)| refused::<Nested>(&json!({}), change);
    assert_eq!(path(|view| drop(view.flat.rest.insert("id".into(), json!(5)))).0, "flat.id");
    let in_list = |view: &mut Nested| {
        view.list =
            vec![Flat::default(), Flat { id: 1, rest: BTreeMap::from([("id".into(), json!(5))]) }];
    };
    assert_eq!(path(in_list).0, "list[1].id");
    let in_option = |view: &mut Nested| {
        view.maybe = Some(Flat { id: 1, rest: BTreeMap::from([("id".into(), json!(5))]) });
    };
    assert_eq!(path(in_option).0, "maybe.id");
    let after = left::<Flat>(&json!({"id": 1, "x": 1}), |flat| {
        drop(flat.rest.insert("y".into(), json!(2)))
    });
    assert_eq!(after, json!({"id": 1, "x": 1, "y": 2}));
}

/// A map that sees the struct's fields, too, and writes them twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct MapFirst {
    #[serde(flatten)]
    all: BTreeMap<String, Value>,
    #[serde(flatten)]
    own: Own,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Own {
    n: u8,
}

#[test]
fn a_value_that_is_read_twice_can_be_written_twice() {
    let stored = json!({"n": 1, "x": 1});
    let after = left::<MapFirst>(&stored, |view| drop(view.all.insert("y".into(), json!(1))));
    assert_eq!(after, json!({"n": 1, "x": 1, "y": 1}));
    let both = |view: &mut MapFirst| {
        view.own.n = 2;
        view.all.insert("n".into(), json!(2));
    };
    assert_eq!(left::<MapFirst>(&stored, both), json!({"n": 2, "x": 1}));
    assert_eq!(refused::<MapFirst>(&stored, |view| view.own.n = 2).0, "n");
}

#[test]
fn what_was_never_stored_is_stored_if_the_next_read_would_give_another() {
    thread_local!(static TOKENS: Cell<u32> = const { Cell::new(0) });
    fn token() -> u32 {
        TOKENS.set(TOKENS.get() + 1);
        TOKENS.get()
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Form {
        token: u32,
        n: u8,
    }
    impl Default for Form {
        fn default() -> Self {
            Self { token: token(), n: 0 }
        }
    }
    #[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Lists {
        items: Vec<Item>,
        n: u8,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Item {
        #[serde(default = "token")]
        id: u32,
        sku: String,
    }
    for stored in [json!({}), json!({"n": 1}), json!({"x": 1})] {
        for after in both::<Form>(&stored, |_| ()) {
            let after = after.unwrap();
            assert!(after["token"].is_u64());
            assert_eq!(after.get("x"), stored.get("x"));
        }
    }
    let absent = data(json!({}));
    let look = |_: &mut Form| Ok::<_, ()>(());
    let place = Place::Field("form");
    let (_, patch) = update::<Form, _, _, Unfit>(place, &absent, &rules(), look).unwrap();
    assert!(patch.get("form").is_some_and(Option::is_some));
    let stored = json!({"items": [{"sku": "A", "price": 1}, {"sku": "B", "price": 2}]});
    for change in [(|_| ()) as fn(&mut Lists), |lists| lists.n = 1, |lists| lists.items.reverse()] {
        for after in both::<Lists>(&stored, change) {
            let after = after.unwrap();
            let items = after["items"].as_array().unwrap();
            for item in items {
                assert!(item["id"].is_u64(), "{item}");
                let price = if item["sku"] == "A" { 1 } else { 2 };
                assert!(item.get("price").is_none_or(|stored| *stored == price), "{item}");
            }
        }
    }
}

#[test]
fn to_look_at_what_is_always_the_same_stores_nothing() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Seen {
        n: u8,
        set: std::collections::HashSet<u8>,
        price: f32,
        list: Vec<Own>,
    }
    for stored in [
        json!({}),
        json!({"n": 1}),
        json!({"set": [1, 2, 3, 4, 5], "price": 0.1, "list": [{"n": 1, "x": 1}], "x": 1}),
    ] {
        assert_eq!(changed::<Seen>(stored.clone(), |_| ()), stored);
    }
}

#[test]
fn a_field_that_was_only_looked_at_can_be_read_alone() {
    let stored = json!({"n": 1});
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Grown {
        n: u8,
        new: u8,
    }
    let [whole, field] = both::<Grown>(&stored, |_| ()).map(Result::unwrap);
    assert_eq!((whole, field), (stored, json!({"n": 1, "new": 0})));
}

#[test]
fn json_values_and_maps_can_lose_all_of_their_fields() {
    type Map = BTreeMap<String, Value>;
    let remove = |map: &mut Map| map.clear();
    assert_eq!(left::<Map>(&json!({"a": 1}), remove), json!({}));
    let remove = |map: &mut HashMap<String, u8>| map.clear();
    assert_eq!(left::<HashMap<String, u8>>(&json!({"a": 1}), remove), json!({}));
    let remove = |value: &mut Value| drop(value.as_object_mut().unwrap().remove("a"));
    assert_eq!(left::<Value>(&json!({"a": 1}), remove), json!({}));
    assert_eq!(left::<Value>(&json!({}), |value| value["a"] = json!(1)), json!({"a": 1}));
    let empty = from_data::<Value>(&data(json!({}))).unwrap();
    assert_eq!(empty, json!({}));
    // A value that is no object is no data.
    let [whole, field] = both::<Value>(&json!({"a": 1}), |value| *value = Value::Null);
    assert_eq!(whole.unwrap_err().reason, Reason::NotAnObject);
    assert_eq!(field.unwrap(), Value::Null);
    let [whole, _] = both::<Value>(&json!({"a": 1}), |value| *value = json!([1]));
    assert_eq!(whole.unwrap_err().reason, Reason::NotAnObject);
}

#[test]
fn data_that_may_not_be_there_can_come_and_go() {
    type Maybe = Option<Own>;
    let stored = json!({"n": 1});
    assert_eq!(changed::<Maybe>(json!({}), |_| ()), json!({}));
    assert_eq!(changed::<Maybe>(json!({}), |own| *own = Some(Own { n: 1 })), stored);
    let [whole, field] = both::<Maybe>(&stored, |own| *own = None).map(Result::unwrap);
    assert_eq!((whole, field), (json!({}), Value::Null));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Themed {
    n: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    font: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<u8>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
}

impl Default for Themed {
    fn default() -> Self {
        let theme = ("theme".to_owned(), "dark".to_owned());
        Self {
            n: 0,
            rest: BTreeMap::from([theme]),
            font: Some("serif".into()),
            list: vec![1],
            text: "new".into(),
        }
    }
}

#[test]
fn what_the_default_has_can_be_removed() {
    for stored in [json!({}), json!({"n": 1}), json!({"n": 1, "theme": "light", "font": "x"})] {
        let both = |change: fn(&mut Themed)| both::<Themed>(&stored, change).map(Result::unwrap);
        for after in both(|view| view.rest.clear()) {
            assert_eq!(after.get("theme"), None);
            assert!(from_data::<Themed>(&data(after)).unwrap().rest.is_empty());
        }
        assert!(both(|view| view.font = None).iter().all(|after| after["font"].is_null()));
        assert!(both(|view| view.list.clear()).iter().all(|after| after["list"] == json!([])));
        assert!(both(|view| view.text.clear()).iter().all(|after| after["text"] == ""));
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct HoldsFlags {
    flags: Flags,
    n: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Flags {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    on: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    font: Option<u8>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    map: BTreeMap<String, u8>,
}

impl Default for Flags {
    fn default() -> Self {
        Self { on: true, font: Some(1), map: BTreeMap::from([("a".into(), 1)]) }
    }
}

#[test]
fn what_a_default_within_has_can_be_removed() {
    let stored = json!({"flags": {"x": 1}});
    let none = Flags { on: false, font: None, map: BTreeMap::new() };
    let after = left::<HoldsFlags>(&stored, |view| view.flags = none.clone());
    assert_eq!(after["flags"], json!({"on": false, "font": null, "map": {}, "x": 1}));
    // A field that cannot be read if it is missing, and that is left out all the same.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Plain {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
        n: u8,
    }
    let n = |n: u8| (json!({ "n": n }), json!({"list": [], "n": n}));
    let stored = json!({"list": [1]});
    let [whole, field] = both::<Plain>(&stored, |view| view.list.clear()).map(Result::unwrap);
    assert_eq!((whole, field), n(0));
    let [whole, field] = both::<Plain>(&json!({}), |view| view.n = 1).map(Result::unwrap);
    assert_eq!((whole, field), n(1));
    let seen: Plain = from_data(&data(json!({"n": 2}))).unwrap();
    assert_eq!(seen, Plain { n: 2, list: Vec::new() });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Extremes {
    letter: char,
    best: f64,
    limit: u64,
    n: u8,
    inner: Letter,
    list: Vec<Letter>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Letter {
    #[serde(default)]
    letter: char,
    n: u8,
}

impl Default for Extremes {
    fn default() -> Self {
        Self {
            letter: '\0',
            best: f64::INFINITY,
            limit: u64::MAX,
            n: 0,
            inner: Letter::default(),
            list: Vec::new(),
        }
    }
}

#[test]
fn a_default_that_no_session_can_hold_is_left_out() {
    let after = left::<Extremes>(&json!({}), |view| view.n = 1);
    assert_eq!(after, json!({"n": 1, "inner": {"n": 0}, "list": []}));
    let after = left::<Extremes>(&after, |view| {
        view.inner.n = 1;
        view.list.push(Letter::default());
    });
    assert_eq!(after, json!({"n": 1, "inner": {"n": 1}, "list": [{"n": 0}]}));
    let stored = left::<Extremes>(&after, |view| {
        (view.letter, view.best, view.limit) = ('x', 1.0, 2);
        (view.inner.letter, view.list[0].letter) = ('y', 'z');
    });
    let (inner, list) = (json!({"letter": "y", "n": 1}), json!([{"letter": "z", "n": 0}]));
    let all = json!({"letter": "x", "best": 1.0, "limit": 2, "n": 1, "inner": inner, "list": list});
    assert_eq!(stored, all);
    let back = left::<Extremes>(&stored, |view| {
        (view.letter, view.best, view.limit) = ('\0', f64::INFINITY, u64::MAX);
        (view.inner.letter, view.list[0].letter) = ('\0', '\0');
    });
    assert_eq!(back, json!({"n": 1, "inner": {"n": 1}, "list": [{"n": 0}]}));
    // What no default gives back is refused, for what it is.
    let change = |change: fn(&mut Extremes)| refused(&stored, change);
    assert_eq!(change(|view| view.best = f64::NAN), ("best".into(), Reason::NonFinite));
    assert_eq!(change(|view| view.best = f64::NEG_INFINITY), ("best".into(), Reason::NonFinite));
    let limit = |view: &mut Extremes| view.limit = u64::MAX - 1;
    assert_eq!(change(limit), ("limit".into(), Reason::IntegerOutOfRange));
}

#[test]
fn a_letter_that_is_not_set_needs_no_default_of_its_own_in_the_data() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Letters {
        letter: char,
        n: u8,
        inner: Option<char>,
    }
    let stored = json!({"n": 1, "x": 1});
    let [whole, field] = both::<Letters>(&stored, |view| view.n = 2);
    assert_eq!(whole.unwrap(), json!({"n": 2, "x": 1, "inner": null}));
    // `get` reads a field without the type's default.
    let error = field.unwrap_err();
    assert_eq!((&*error.path, error.reason), ("field.letter", Reason::Nul));
    let both = both::<Letters>(&stored, |view| view.letter = 'x').map(Result::unwrap);
    assert!(both.iter().all(|after| after["letter"] == "x"));
}

#[test]
fn what_no_session_can_hold_is_refused_in_any_place() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Values {
        text: String,
        letters: Vec<char>,
        maybe: Option<char>,
        map: BTreeMap<String, f64>,
        pair: (u8, i128),
        n: u8,
    }
    let change = |change: fn(&mut Values)| refused(&json!({"n": 1}), change);
    assert_eq!(change(|view| view.text = "a\0b".into()), ("text".into(), Reason::Nul));
    assert_eq!(change(|view| view.letters = vec!['a', '\0']), ("letters[1]".into(), Reason::Nul));
    assert_eq!(change(|view| view.maybe = Some('\0')), ("maybe".into(), Reason::Nul));
    let infinite = |view: &mut Values| view.map = BTreeMap::from([("a".into(), f64::INFINITY)]);
    assert_eq!(change(infinite), ("map.a".into(), Reason::NonFinite));
    assert_eq!(
        change(|view| view.pair.1 = i128::MAX),
        ("pair[1]".into(), Reason::IntegerOutOfRange)
    );
}

#[test]
fn an_integer_of_any_size_can_be_a_name() {
    let stored = json!({"1": 1});
    let after = left::<BTreeMap<u128, u32>>(&stored, |map| {
        map.insert(u128::MAX, 2);
    });
    assert_eq!(after, json!({"1": 1, "340282366920938463463374607431768211455": 2}));
    let after = left::<BTreeMap<i128, u32>>(&stored, |map| {
        map.insert(i128::MIN, 2);
    });
    assert_eq!(after, json!({"1": 1, "-170141183460469231731687303715884105728": 2}));
}
