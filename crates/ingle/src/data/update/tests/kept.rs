//! What a type does not know is kept wherever the law allows it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
};

use serde::Deserializer;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Thing {
    sku: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Profile {
    #[serde(alias = "label")]
    name: String,
    #[serde(alias = "things")]
    items: Vec<Thing>,
    city: Cow<'static, str>,
}

/// A type whose fields all had other names once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Renamed {
    #[serde(alias = "things", alias = "stuff")]
    items: Vec<Thing>,
    #[serde(alias = "who")]
    profile: Profile,
    #[serde(alias = "by")]
    by_name: BTreeMap<String, Thing>,
    #[serde(alias = "perhaps")]
    maybe: Option<Thing>,
    n: u8,
}

#[test]
fn a_list_or_a_struct_with_a_new_name_keeps_what_is_in_it() {
    let item = |sku: &str| json!({"sku": sku, "price": 1});
    let stored = json!({
        "things": [item("A"), item("B")],
        "who": {"label": "Ada", "things": [item("C")], "zip": 1},
        "by": {"D": item("D")},
        "perhaps": item("E"),
        "unknown": {"x": 1},
    });
    let expected = |n: u8| {
        json!({
            "items": [item("A"), item("B")],
            "profile": {"name": "Ada", "items": [item("C")], "zip": 1, "city": ""},
            "by_name": {"D": item("D")},
            "maybe": item("E"),
            "unknown": {"x": 1},
            "n": n,
        })
    };
    let mut after = left::<Renamed>(&stored, |view| view.n += 1);
    // The profile did not change, so what it does not have is not stored.
    assert_eq!(after["profile"].get("city"), None);
    after["profile"]["city"] = json!("");
    assert_eq!(after, expected(1));
    let after = left::<Renamed>(&stored, |view| {
        view.n += 1;
        view.items.reverse();
        view.profile.city = "X".into();
        view.by_name.insert("N".into(), Thing::default());
        view.maybe = None;
    });
    let mut reversed = expected(1);
    reversed["items"] = json!([item("B"), item("A")]);
    reversed["profile"]["city"] = json!("X");
    reversed["by_name"]["N"] = json!({"sku": ""});
    reversed["maybe"] = Value::Null;
    assert_eq!(after, reversed);
    // Each for itself, in turn.
    let mut step = stored;
    for change in [
        (|view| view.items.push(Thing::default())) as fn(&mut Renamed),
        |view| drop(view.items.pop()),
        |view| view.profile.name.push('!'),
        |view| view.profile.name.truncate(3),
        |view| view.profile.items.push(Thing::default()),
        |view| drop(view.profile.items.pop()),
        |view| view.n = 9,
    ] {
        step = left::<Renamed>(&step, change);
    }
    assert_eq!(step, expected(9));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FlatRenamed {
    #[serde(alias = "things")]
    items: Vec<Thing>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Rest {
    #[serde(alias = "who")]
    profile: Profile,
    n: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Versions")]
struct Versioned {
    items: Vec<Thing>,
    n: u8,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Versions {
    Now { items: Vec<Thing>, n: u8 },
    Before { things: Vec<Thing> },
    Never {},
}

impl From<Versions> for Versioned {
    fn from(versions: Versions) -> Self {
        match versions {
            Versions::Now { items, n } => Self { items, n },
            Versions::Before { things } => Self { items: things, n: 0 },
            Versions::Never {} => Self::default(),
        }
    }
}

#[test]
fn so_it_does_however_the_type_knows_the_old_name() {
    let stored = json!({"things": [{"sku": "A", "price": 1}], "x": 1});
    let after = left::<FlatRenamed>(&stored, |view| view.rest.n += 1);
    assert_eq!(after["items"], stored["things"]);
    assert_eq!((after.get("things"), &after["x"]), (None, &json!(1)));
    let after = left::<Versioned>(&stored, |view| view.n += 1);
    assert_eq!(after, json!({"items": stored["things"], "n": 1, "x": 1}));
}

fn empty_if_null<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    Option::<Vec<u8>>::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Bent {
    price: f32,
    tags: HashSet<String>,
    #[serde(deserialize_with = "empty_if_null")]
    list: Vec<u8>,
    state: State,
    sorted: BTreeSet<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum State {
    #[default]
    New,
    #[serde(alias = "Held")]
    Waiting,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct OnlyName {
    #[serde(alias = "name")]
    full_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Lists {
    bent: Vec<Bent>,
    named: Vec<OnlyName>,
    array: [OnlyName; 2],
    pair: (OnlyName, u8, Bent),
    set: BTreeSet<OnlyName>,
}

#[test]
fn an_item_that_reads_otherwise_than_stored_keeps_what_the_type_does_not_know() {
    for bent in [
        json!({"price": 0.1}),
        json!({"tags": ["c", "b", "a", "d", "e"]}),
        json!({"list": null}),
        json!({"state": "Held"}),
        json!({"sorted": [3, 1, 2]}),
        json!({"price": 0.3, "tags": ["b", "a"], "list": null, "state": "Held", "sorted": [2, 1]}),
        json!({}),
    ] {
        let mut item = bent.clone();
        item["x"] = json!(1);
        let plain = json!({"price": 2.0, "y": 2});
        let stored = json!({"bent": [item, plain]});
        let new = json!(Bent { price: 9.0, ..Bent::default() });
        let push = |lists: &mut Lists| lists.bent.push(Bent { price: 9.0, ..Bent::default() });
        for after in both::<Lists>(&stored, push) {
            assert_eq!(after.unwrap()["bent"], json!([item, plain, new]));
        }
        for after in both::<Lists>(&stored, |lists| lists.bent.reverse()) {
            assert_eq!(after.unwrap()["bent"], json!([plain, item]));
        }
        for after in both::<Lists>(&stored, |lists| lists.bent[1].price = 3.0) {
            let after = after.unwrap();
            assert_eq!((&after["bent"][0], after["bent"][1].get("y")), (&item, None));
        }
        for after in both::<Lists>(&stored, |lists| lists.bent[0].price = 3.0) {
            let after = after.unwrap();
            assert_eq!((after["bent"][0].get("x"), &after["bent"][1]), (None, &plain));
        }
    }
    let (cy, ada, bob) = (
        json!({"name": "Cy", "n": 3}),
        json!({"name": "Ada", "n": 1}),
        json!({"full_name": "Bob", "n": 2}),
    );
    let dora = OnlyName { full_name: "Dora".into() };
    let stored = json!({"named": [cy, ada, bob], "array": [cy, ada], "set": [cy, ada, bob]});
    let after = left::<Lists>(&stored, |lists| lists.named.sort());
    assert_eq!(after["named"], json!([ada, bob, cy]));
    let after = left::<Lists>(&stored, |lists| lists.array.reverse());
    assert_eq!(after["array"], json!([ada, cy]));
    let bent = json!({"price": 0.1, "list": null, "x": 1});
    let tuple = json!({"pair": [cy, 1, bent]});
    for after in both::<Lists>(&tuple, |lists| lists.pair.1 = 2) {
        assert_eq!(after.unwrap()["pair"], json!([cy, 2, bent]));
    }
    let after = left::<Lists>(&stored, |lists| lists.array[1] = dora.clone());
    assert_eq!(after["array"], json!([cy, dora]));
    let after = left::<Lists>(&stored, |lists| assert!(lists.set.insert(dora.clone())));
    assert_eq!(after["set"], json!([ada, bob, cy, dora]));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<u8>,
    #[serde(default)]
    inner: Inner,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Inner {
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<u8>,
}

#[test]
fn a_struct_that_leaves_fields_out_is_still_the_same() {
    let stored = json!({"a": 1, "x": 1, "inner": {"a": 1, "x": 1}});
    let after = left::<Options>(&stored, |view| {
        (view.a, view.b) = (None, view.a);
        (view.inner.a, view.inner.b) = (None, view.inner.a);
    });
    assert_eq!(after, json!({"b": 1, "x": 1, "inner": {"b": 1, "x": 1}}));
}

#[test]
fn a_large_list_keeps_what_the_type_does_not_know() {
    let items: Vec<Value> = (0..700).map(|n| json!({"name": n.to_string(), "x": n})).collect();
    let stored = json!({ "named": items });
    let mut after = left::<Lists>(&stored, |lists| lists.named.reverse());
    let reversed = after["named"].as_array_mut().unwrap();
    reversed.reverse();
    assert_eq!(*reversed, items);
}

#[test]
fn a_field_under_two_names_is_read_by_its_present_one_wherever_serde_flattens() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Titled {
        #[serde(flatten)]
        item: Item,
        views: u32,
    }
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Item {
        #[serde(alias = "name")]
        title: String,
        #[serde(alias = "q")]
        quantity: u32,
    }
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Pages {
        #[serde(flatten)]
        pages: Inner,
        views: u32,
    }
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Inner {
        first: Item,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<Item>,
    }
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "content")]
    enum Part {
        #[default]
        None,
        Item(Item),
    }
    let stored = json!({"title": "new", "name": "old", "quantity": 1, "q": 2, "views": 1, "_": 1});
    let after = left::<Titled>(&stored, |page| page.views = 2);
    assert_eq!(after, json!({"title": "new", "quantity": 1, "views": 2, "_": 1}));

    let item = json!({"title": "new", "name": "old", "quantity": 1, "_": 1});
    let after = left::<Pages>(&json!({"first": item, "views": 1}), |pages| pages.views = 2);
    let kept = json!({"title": "new", "quantity": 1, "_": 1});
    assert_eq!(after, json!({"first": kept, "views": 2}));

    let both = json!({"first": item, "second": item, "views": 1});
    let after = left::<Pages>(&both, |pages| pages.views = 2);
    assert_eq!(after["second"]["quantity"], 1);

    let part = json!({"kind": "Item", "content": item});
    let item = Item { title: "new".into(), quantity: 1 };
    assert_eq!(from_value::<Part>("part", &part).unwrap(), Part::Item(item));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Page {
    #[serde(flatten)]
    author: Author,
    views: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Author {
    #[serde(alias = "name", alias = "nick")]
    full_name: String,
}

#[test]
fn a_field_under_any_number_of_names_is_read_wherever_serde_flattens() {
    for (stored, read) in [
        (json!({"full_name": "new", "name": "b", "nick": "c", "views": 1, "x": 1}), "new"),
        (json!({"full_name": "new", "nick": "c", "views": 1, "x": 1}), "new"),
        (json!({"name": "b", "nick": "c", "views": 1, "x": 1}), "c"),
    ] {
        let expected = json!({"full_name": read, "views": 2, "x": 1});
        assert_eq!(left::<Page>(&stored, |page| page.views = 2), expected);
        let pages = json!({"first": stored});
        let pages = left::<BTreeMap<String, Page>>(&pages, |pages| {
            pages.values_mut().for_each(|page| page.views = 2);
        });
        assert_eq!(pages["first"], json!({"full_name": read, "views": 2}));
    }
}

#[test]
fn names_that_a_map_takes_for_one_are_one_when_it_changes() {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum Key {
        A,
        #[serde(other)]
        Other,
    }
    type Map = BTreeMap<Key, Thing>;
    let thing = |sku: &str| json!({"sku": sku, "price": 1});
    let stored = json!({"A": thing("a"), "x": thing("x"), "y": thing("y")});
    let new = || Thing { sku: "new".into() };
    // `Other` is what is stored last, so what stands before it can stay.
    assert_eq!(changed::<Map>(stored.clone(), |_| ()), stored);
    for change in [
        (|map, new| drop(map.insert(Key::A, new))) as fn(&mut Map, Thing),
        |map, new| drop(map.insert(Key::Other, new)),
        |map, _| drop(map.remove(&Key::Other)),
        |map, _| map.clear(),
    ] {
        for after in both::<Map>(&stored, |map| change(map, new())).map(Result::unwrap) {
            let a = &after["A"];
            assert!(*a == thing("a") || a.get("price").is_none(), "{after}");
        }
    }
    let [whole, field] =
        both::<Map>(&stored, |map| drop(map.remove(&Key::Other))).map(Result::unwrap);
    assert_eq!((whole, field), (json!({"A": thing("a")}), json!({"A": thing("a")})));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Desk {
    lamp: Lamp,
    #[serde(default)]
    drawers: Vec<Lamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lamp {
    color: Option<String>,
    #[serde(default)]
    watts: u8,
    #[serde(alias = "hue")]
    tone: Option<u8>,
    size: u8,
}

impl Default for Lamp {
    fn default() -> Self {
        Self { color: Some("white".into()), watts: 60, tone: Some(1), size: 5 }
    }
}

#[test]
fn what_is_missing_in_a_struct_is_that_of_the_default_as_in_the_data_itself() {
    let all = json!({"color": "red", "watts": 1, "tone": 2, "size": 3});
    for n in 0..16 {
        let names = ["color", "watts", "tone", "size"];
        let names = names.into_iter().enumerate().filter(|(bit, _)| n & (1 << bit) != 0);
        let lamp: Data = names.map(|(_, name)| (name.to_owned(), all[name].clone())).collect();
        let mut expected = json!(Lamp::default());
        expected.as_object_mut().unwrap().extend(lamp.clone());
        let stored = json!({"lamp": lamp, "x": 1});
        let desk: Desk = from_data(&data(stored.clone())).unwrap();
        assert_eq!(json!(desk.lamp), expected, "{stored}");
        expected["watts"] = json!(9);
        let after = left::<Desk>(&stored, |desk| desk.lamp.watts = 9);
        assert_eq!(after, json!({"lamp": expected, "drawers": [], "x": 1}));
    }
    let stored = data(json!({"lamp": {"hue": 7, "size": 1}, "drawers": [{"size": 1}]}));
    let desk: Desk = from_data(&stored).unwrap();
    assert_eq!((desk.lamp.tone, desk.lamp.watts), (Some(7), 60));
    // An item of a list is no part of the default.
    assert_eq!((desk.drawers[0].color.as_ref(), desk.drawers[0].watts), (None, 0));
}

#[test]
fn so_it_is_in_a_struct_that_flattens_something_or_has_versions() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Room {
        desk: Wide,
        price: Price,
        n: u8,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Wide {
        color: Option<String>,
        size: u8,
        #[serde(flatten)]
        rest: Thing,
    }
    impl Default for Wide {
        fn default() -> Self {
            Self { color: Some("white".into()), size: 5, rest: Thing::default() }
        }
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(from = "AnyPrice")]
    struct Price {
        cents: u8,
        currency: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum AnyPrice {
        Now { cents: u8, currency: Option<String> },
        Old(u8),
    }
    impl From<AnyPrice> for Price {
        fn from(price: AnyPrice) -> Self {
            match price {
                AnyPrice::Now { cents, currency } => Self { cents, currency },
                AnyPrice::Old(cents) => Self { cents, currency: None },
            }
        }
    }
    impl Default for Price {
        fn default() -> Self {
            Self { cents: 0, currency: Some("EUR".into()) }
        }
    }
    for desk in [json!({"sku": "A"}), json!({"sku": "A", "size": 5})] {
        for mut stored in [json!({}), json!({"n": 0})] {
            stored["desk"] = desk.clone();
            stored["price"] = json!({"cents": 1});
            let room: Room = from_data(&data(stored.clone())).unwrap();
            assert_eq!(room.desk.color.as_deref(), Some("white"), "{stored}");
            assert_eq!(room.price.currency.as_deref(), Some("EUR"), "{stored}");
        }
    }
}
