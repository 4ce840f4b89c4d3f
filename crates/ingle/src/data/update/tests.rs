mod flattened;
mod kept;
mod law;
mod order;
mod owners;
mod refused;

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::data::{Limits, Reason, path::set, read};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Item {
    price: f64,
}

fn data(value: Value) -> Data {
    serde_json::from_value(value).unwrap()
}

const MEND: Mend = Mend { aliases: true, anew: false };

fn rules() -> Rules {
    Rules { limits: Limits::default(), anew: false }
}

#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Type(#[from] WrongType),
    #[error(transparent)]
    Value(#[from] InvalidValue),
}

/// The data after a patch.
fn patched(stored: &Data, patch: Patch) -> Data {
    let mut after = stored.clone();
    for (name, value) in patch {
        set(&mut after, &name, value);
    }
    after
}

/// What `change` makes of `stored`, seen as a `T`.
fn changed<T>(stored: Value, change: impl Fn(&mut T)) -> Value
where
    T: Serialize + DeserializeOwned + Default,
{
    let stored = data(stored);
    let change = |view: &mut T| {
        change(view);
        Ok::<_, ()>(())
    };
    let (_, patch) = update::<T, _, _, Unfit>(Place::Whole, &stored, &rules(), change).unwrap();
    Value::Object(patched(&stored, patch))
}

/// What becomes of `stored` as the whole data, and as a field. Each must then read as it was left.
fn both<T>(stored: &Value, change: impl Fn(&mut T)) -> [Result<Value, InvalidValue>; 2]
where
    T: Serialize + DeserializeOwned + Default + Clone + PartialEq + std::fmt::Debug,
{
    let field = json!({ "field": stored, "other": 1 });
    [(Place::Whole, stored), (Place::Field("field"), &field)].map(|(place, stored)| {
        let stored = data(stored.clone());
        let mut left = None;
        let updated = update::<T, _, _, Unfit>(place, &stored, &rules(), |view| {
            change(view);
            left = Some(view.clone());
            Ok::<_, ()>(())
        });
        let patch = match updated {
            Ok((_, patch)) => patch,
            Err(Unfit::Value(error)) => return Err(error),
            Err(Unfit::Type(error)) => panic!("{error}"),
        };
        let after = patched(&stored, patch);
        let next = read::<T>(place, Shown::of(&after), MEND).unwrap().view;
        assert_eq!(Some(next), left, "{after:?}");
        Ok(match place {
            Place::Whole => Value::Object(after),
            Place::Field(name) => {
                assert_eq!(Some(from_value::<T>(name, &after[name]).unwrap()), left, "{after:?}");
                assert_eq!(after["other"], 1);
                after[name].clone()
            }
        })
    })
}

/// The same where both become the same.
fn left<T>(stored: &Value, change: impl Fn(&mut T)) -> Value
where
    T: Serialize + DeserializeOwned + Default + Clone + PartialEq + std::fmt::Debug,
{
    let [whole, field] = both(stored, change).map(Result::unwrap);
    assert_eq!(whole, field);
    field
}

/// Where both are refused, why and where.
fn refused<T>(stored: &Value, change: impl Fn(&mut T)) -> (String, Reason)
where
    T: Serialize + DeserializeOwned + Default + Clone + PartialEq + std::fmt::Debug,
{
    let [whole, mut field] = both(stored, change).map(Result::unwrap_err);
    let path = field.path.strip_prefix("field").unwrap_or(&field.path);
    field.path = path.strip_prefix('.').unwrap_or(path).to_owned();
    assert_eq!(whole, field);
    (field.path, field.reason)
}

fn from_data<T: Serialize + DeserializeOwned + Default>(data: &Data) -> Result<T, WrongType> {
    read(Place::Whole, Shown::of(data), MEND).map(|read| read.view)
}

fn from_field<T>(name: &str, value: &Value) -> Result<T, WrongType>
where
    T: Serialize + DeserializeOwned + Default,
{
    let data = Data::from_iter([(name.to_owned(), value.clone())]);
    read(Place::Field(name), Shown::of(&data), MEND).map(|read| read.view)
}

fn from_value<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T, WrongType> {
    Ok(read::read_value(name, value, MEND)?.unwrap())
}

#[test]
fn no_data_and_missing_fields_are_the_default() {
    assert_eq!(from_data::<Visit>(&data(json!({}))).unwrap(), Visit::default());
    let visit = from_data::<Visit>(&data(json!({"views": 3, "other": true}))).unwrap();
    assert_eq!(visit, Visit { greeting: String::new(), views: 3 });
}

#[test]
fn a_wrong_type_is_named_with_its_path() {
    let error = from_data::<Visit>(&data(json!({"greeting": "x", "views": "3"}))).unwrap_err();
    assert_eq!(error.path, "views");
    let value = json!({"items": [{"price": 1.0}, {"price": "free"}]});
    let error = from_field::<Cart>("cart", &value).unwrap_err();
    assert_eq!(error.path, "cart.items[1].price");
    let error = from_value::<Vec<u8>>("list", &json!([1, 300])).unwrap_err();
    assert_eq!(error.path, "list[1]");
    assert_eq!(from_value::<u8>("n", &json!("x")).unwrap_err().path, "n");
}

#[test]
fn no_message_repeats_the_value() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    enum Color {
        #[default]
        Red,
    }
    for (value, message) in [
        (json!("secret"), "invalid type: string, expected u8"),
        (json!("x\", expected `secret"), "invalid type: string, expected u8"),
        (json!(4711), "invalid value: integer, expected u8"),
    ] {
        assert_eq!(from_value::<u8>("n", &value).unwrap_err().message, message);
    }
    let error = from_value::<Color>("color", &json!("secret")).unwrap_err();
    assert_eq!(error.message, "unknown variant, expected `Red`");
    let error = from_value::<std::net::IpAddr>("ip", &json!("secret")).unwrap_err();
    assert!(!error.message.contains("secret"), "{error}");
}

#[test]
fn only_what_the_closure_changed_is_written() {
    let after = changed::<Visit>(json!({}), |visit| visit.views += 1);
    assert_eq!(after, json!({"greeting": "", "views": 1}));
    let after = changed::<Visit>(json!({}), |_| {});
    assert_eq!(after, json!({}), "to look at nothing stores nothing");
    let stored = json!({"greeting": "a", "views": 1, "other": {"x": [1, 2.0]}});
    let after = changed::<Visit>(stored, |visit| visit.views += 1);
    assert_eq!(after, json!({"greeting": "a", "views": 2, "other": {"x": [1, 2.0]}}));
}

#[test]
fn fields_that_the_type_does_not_know_stay_at_any_depth() {
    #[derive(Default, Serialize, Deserialize)]
    struct Data {
        cart: Cart,
    }
    let stored = json!({"cart": {"items": [], "coupon": "X", "note": "n"}, "theme": "dark"});
    let after = changed::<Data>(stored.clone(), |data| data.cart.items.push(Item { price: 1.5 }));
    let expected =
        json!({"cart": {"items": [{"price": 1.5}], "coupon": "X", "note": "n"}, "theme": "dark"});
    assert_eq!(after, expected);
    let after = changed::<Data>(stored, |data| data.cart.note = None);
    assert_eq!(after, json!({"cart": {"items": [], "coupon": "X"}, "theme": "dark"}));
}

#[test]
fn items_keep_what_the_type_does_not_know() {
    let stored = json!({"items": [{"price": 1, "id": "a"}, {"price": 2, "id": "b"}]});
    let items = |change: fn(&mut Vec<Item>)| {
        let after = changed::<Cart>(stored.clone(), |cart| change(&mut cart.items));
        after["items"].to_string()
    };
    let (a, b, new) = (r#"{"id":"a","price":1}"#, r#"{"id":"b","price":2}"#, r#"{"price":9.0}"#);
    assert_eq!(items(|items| items.push(Item { price: 9.0 })), format!("[{a},{b},{new}]"));
    assert_eq!(items(|items| items.insert(1, Item { price: 9.0 })), format!("[{a},{new},{b}]"));
    assert_eq!(items(|items| items.insert(0, Item { price: 9.0 })), format!("[{new},{a},{b}]"));
    assert_eq!(items(|items| items.retain(|item| item.price > 1.0)), format!("[{b}]"));
    assert_eq!(items(|items| items.truncate(1)), format!("[{a}]"));
    assert_eq!(items(Vec::clear), "[]");
    // It may be another item: the type cannot tell.
    assert_eq!(items(|items| items[1].price = 3.0), format!(r#"[{a},{{"price":3.0}}]"#));
    assert_eq!(items(|items| *items = vec![Item { price: 9.0 }]), format!("[{new}]"));
}

#[test]
fn a_type_with_an_order_of_its_own_mixes_up_no_items() {
    #[derive(Default, Serialize, Deserialize)]
    struct Names {
        names: std::collections::BTreeSet<String>,
    }
    let stored = json!({"names": ["c", "a", "b"]});
    let after = changed::<Names>(stored.clone(), |data| {
        data.names.remove("a");
    });
    assert_eq!(after, json!({"names": ["b", "c"]}));
    let after = changed::<Names>(stored, |data| {
        data.names.insert("d".into());
    });
    assert_eq!(after, json!({"names": ["a", "b", "c", "d"]}));
}

#[test]
fn numbers_that_the_closure_left_alone_keep_their_kind() {
    #[derive(Default, Serialize, Deserialize)]
    struct Prices {
        a: f64,
        b: f64,
    }
    let after = changed::<Prices>(json!({"a": 1, "b": 2}), |prices| prices.b = 2.5);
    assert_eq!(after.to_string(), r#"{"a":1,"b":2.5}"#);
}

#[test]
fn a_map_can_lose_fields() {
    let stored = json!({"a": 1, "b": 2});
    let after = changed::<std::collections::BTreeMap<String, i64>>(stored, |map| {
        map.remove("a");
        map.insert("c".into(), 3);
    });
    assert_eq!(after, json!({"b": 2, "c": 3}));
}

#[test]
fn an_enum_that_moves_on_leaves_nothing_of_the_old_variant() {
    #[derive(Default, Serialize, Deserialize)]
    struct Order {
        state: State,
    }
    #[derive(Default, Serialize, Deserialize)]
    enum State {
        #[default]
        New,
        Paid {
            by: String,
        },
        Sent {
            to: String,
        },
    }
    let stored = json!({"state": {"Paid": {"by": "card"}}});
    let after = changed::<Order>(stored, |order| order.state = State::Sent { to: "x".into() });
    assert_eq!(after, json!({"state": {"Sent": {"to": "x"}}}));
}
