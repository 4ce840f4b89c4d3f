//! The law, with types and values that are drawn: what the closure left is what the next read gives,
//! and what a type does not know stays with its owner.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::fuzz::{self, Result, Unstructured};

/// A type, and what may be stored in its place.
trait Kind: Serialize + DeserializeOwned + Default + Clone + PartialEq {
    /// Whether it reads all that it writes.
    const SYMMETRIC: bool = true;

    /// A stored form of it, with fields that it does not know. `unknown` is that of the object itself.
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value>;

    /// What a closure does to it.
    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.replace(u)
    }

    fn replace(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let stored = Self::stored(u, Unknown::Note)?;
        *self = serde_json::from_value(stored).unwrap_or_default();
        Ok(())
    }
}

/// What a type does not know of an object.
#[derive(Clone, Copy, PartialEq)]
enum Unknown {
    /// It is the place's, which keeps it.
    Note,
    /// It is the value's, which must take it nowhere.
    Mark,
}

const NOTE: &str = "note";
const MARK: &str = "mark";

/// An object of these fields, and of one that the type does not know.
fn known<T: Kind>(u: &mut Unstructured<'_>, unknown: Unknown, mut fields: Value) -> Result<Value> {
    let is_known = u.ratio(1, 3)?;
    if let (Some(object), false) = (fields.as_object_mut(), is_known) {
        match unknown {
            Unknown::Note => drop(object.insert(NOTE.into(), u.arbitrary::<u8>()?.into())),
            Unknown::Mark => {
                if let Ok(view) = T::deserialize(Value::Object(object.clone())) {
                    let kind = std::any::type_name::<T>();
                    object.insert(MARK.into(), json!([kind, view, u.arbitrary::<u8>()?]));
                }
            }
        }
    }
    Ok(fields)
}

fn name(u: &mut Unstructured<'_>) -> Result<String> {
    Ok((*u.choose(&["", "Ada", "Bob", "Cy"])?).to_owned())
}

fn list<T>(
    u: &mut Unstructured<'_>,
    one: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..u.int_in_range(0..=4)?).map(|_| one(u)).collect()
}

/// Fields, some of which are missing.
fn some_of(u: &mut Unstructured<'_>, fields: Value) -> Result<Value> {
    let Value::Object(mut fields) = fields else { return Ok(fields) };
    let names: Vec<String> = fields.keys().cloned().collect();
    for name in names {
        if u.ratio(1, 5)? {
            fields.remove(&name);
        }
    }
    Ok(Value::Object(fields))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
struct Item {
    sku: String,
    n: u8,
}

impl Kind for Item {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let fields = json!({"sku": name(u)?, "n": u.int_in_range(0..=2)?});
        let fields = some_of(u, fields)?;
        known::<Self>(u, unknown, fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.n = u.int_in_range(0..=2)?;
        Ok(())
    }
}

/// A field that has had other names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Person {
    #[serde(alias = "name", alias = "nick")]
    full_name: String,
    age: u8,
}

impl Kind for Person {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let mut fields = json!({"age": u.int_in_range(0..=2)?});
        for _ in 0..=usize::from(u.ratio(1, 4)?) {
            let own = *u.choose(&["full_name", "name", "nick"])?;
            fields[own] = name(u)?.into();
        }
        let fields = some_of(u, fields)?;
        known::<Self>(u, unknown, fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if u.arbitrary()? {
            self.full_name = name(u)?
        } else {
            self.age = u.int_in_range(0..=2)?
        }
        Ok(())
    }
}

/// A type that reads its older versions by way of another type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Versions")]
struct Current {
    full_name: String,
    age: u8,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Versions {
    V2 { full_name: String, age: u8 },
    V1 { name: String },
    V0 {},
}

impl From<Versions> for Current {
    fn from(versions: Versions) -> Self {
        match versions {
            Versions::V2 { full_name, age } => Self { full_name, age },
            Versions::V1 { name } => Self { full_name: name, age: 1 },
            Versions::V0 {} => Self::default(),
        }
    }
}

impl Kind for Current {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let fields = match u.int_in_range(0..=2)? {
            0 => json!({}),
            1 => json!({"name": name(u)?}),
            _ => json!({"full_name": name(u)?, "age": u.int_in_range(0..=2)?}),
        };
        known::<Self>(u, unknown, fields)
    }
}

/// The same with the oldest version first, which finds its own field beside the new ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum OldFirst {
    V1 { name: String },
    V2 { full_name: String },
}

impl Default for OldFirst {
    fn default() -> Self {
        Self::V2 { full_name: "new".into() }
    }
}

impl Kind for OldFirst {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let own = *u.choose(&["name", "full_name"])?;
        let fields = json!({own: name(u)?});
        known::<Self>(u, unknown, fields)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Account {
    #[default]
    Guest,
    User {
        user: String,
    },
    LoggedIn(Item),
}

impl Kind for Account {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let fields = match u.int_in_range(0..=2)? {
            0 => json!({"kind": "guest"}),
            1 => json!({"kind": "user", "user": name(u)?}),
            _ => json!({"kind": "loggedIn", "sku": name(u)?, "n": 1}),
        };
        known::<Self>(u, unknown, fields)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum State {
    #[default]
    New,
    Paid(Item),
    Sent {
        to: String,
        #[serde(default)]
        items: Vec<Item>,
    },
    Both(u8, Item),
}

impl Kind for State {
    fn stored(u: &mut Unstructured<'_>, _: Unknown) -> Result<Value> {
        Ok(match u.int_in_range(0..=3)? {
            0 => json!("New"),
            1 => json!({"Paid": Item::stored(u, Unknown::Mark)?}),
            2 => {
                json!({"Sent": {"to": name(u)?, "items": list(u, |u| Item::stored(u, Unknown::Mark))?}})
            }
            _ => json!({"Both": [1, Item::stored(u, Unknown::Mark)?]}),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Prefs {
    theme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    font: Option<String>,
    #[serde(default = "five")]
    size: u8,
    #[serde(rename = "langCode")]
    lang: String,
    scale: f64,
}

fn five() -> u8 {
    5
}

impl Default for Prefs {
    fn default() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            theme: Some(text("dark")),
            font: Some(text("serif")),
            size: 12,
            lang: text("en"),
            scale: 1.5,
        }
    }
}

impl Kind for Prefs {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let fields = json!({
            "theme": if u.arbitrary()? { Some(name(u)?) } else { None },
            "font": name(u)?,
            "size": u.int_in_range(0..=2)?,
            "langCode": name(u)?,
            "scale": if u.arbitrary()? { json!(1) } else { json!(0.5) },
        });
        let fields = some_of(u, fields)?;
        known::<Self>(u, unknown, fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=4)? {
            0 => self.theme = None,
            1 => self.font = None,
            2 => self.font = Some(name(u)?),
            3 => self.size = u.int_in_range(0..=2)?,
            _ => self.scale = 0.25,
        }
        Ok(())
    }
}

/// Parts that are written beside each other, and all the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Flat {
    #[serde(default)]
    id: u8,
    #[serde(flatten)]
    person: Person,
    #[serde(default)]
    item: Item,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl Kind for Flat {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let mut fields = Person::stored(u, Unknown::Note)?;
        fields["id"] = u.int_in_range(0..=2)?.into();
        fields["item"] = Item::stored(u, Unknown::Note)?;
        known::<Self>(u, unknown, fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=3)? {
            0 => self.person.change(u)?,
            1 => self.item.change(u)?,
            2 => self.rest.clear(),
            _ => drop(self.rest.insert("new".into(), json!(name(u)?))),
        }
        Ok(())
    }
}

/// The same without the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Flatter {
    #[serde(flatten)]
    item: Item,
    #[serde(flatten)]
    state: Option<Current>,
}

impl Kind for Flatter {
    /// Without a state it writes what it reads as the oldest one.
    const SYMMETRIC: bool = false;

    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let mut fields = Item::stored(u, Unknown::Note)?;
        let more = Current::stored(u, Unknown::Note)?;
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        known::<Self>(u, unknown, fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if u.arbitrary()? { self.item.change(u) } else { self.replace(u) }
    }
}

/// An `Option` that the default fills and an enum, with fields of the object's own around them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Filled {
    #[serde(default)]
    id: u8,
    #[serde(flatten)]
    maybe: Option<Order>,
    #[serde(default)]
    item: Item,
    #[serde(flatten)]
    account: Account,
    #[serde(default)]
    last: Item,
}

impl Default for Filled {
    fn default() -> Self {
        let (item, last) = (Item::default(), Item::default());
        Self { id: 0, maybe: Some(Order::default()), item, account: Account::default(), last }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    by: String,
    thing: Item,
}

impl Kind for Filled {
    fn stored(u: &mut Unstructured<'_>, _: Unknown) -> Result<Value> {
        let mut fields = Account::stored(u, Unknown::Note)?;
        fields["id"] = u.int_in_range(0..=2)?.into();
        fields["item"] = Item::stored(u, Unknown::Note)?;
        fields["last"] = Item::stored(u, Unknown::Note)?;
        if u.arbitrary()? {
            fields["by"] = name(u)?.into();
            fields["thing"] = Item::stored(u, Unknown::Mark)?;
        }
        Ok(fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=5)? {
            0 => self.maybe = None,
            1 => self.maybe = Some(Order { by: name(u)?, thing: Item::default() }),
            2 => self.item.change(u)?,
            3 => self.last.change(u)?,
            4 => self.account.change(u)?,
            _ => self.id = u.int_in_range(0..=2)?,
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Wrapped(Box<Person>);

impl Kind for Wrapped {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        Person::stored(u, unknown)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.0.change(u)
    }
}

/// Lists and a struct that have had other names, with items that read otherwise than they are stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Renamed {
    #[serde(alias = "things", alias = "old")]
    items: Vec<Item>,
    #[serde(alias = "bent_old")]
    bent: Vec<Bent>,
    #[serde(alias = "who")]
    person: Person,
    #[serde(alias = "perhaps")]
    maybe: Option<Item>,
    n: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Bent {
    price: f32,
    tags: HashSet<u8>,
    sorted: BTreeSet<u8>,
    #[serde(alias = "was")]
    is: String,
    letter: char,
}

impl Kind for Bent {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let own = *u.choose(&["is", "was"])?;
        let numbers = |u: &mut Unstructured<'_>| list(u, |u| u.int_in_range::<u8>(0..=4));
        let fields = json!({
            "price": u.int_in_range::<u8>(0..=2)? as f64 / 10.0,
            "tags": numbers(u)?,
            "sorted": numbers(u)?,
            own: name(u)?,
        });
        let fields = some_of(u, fields)?;
        known::<Self>(u, unknown, fields)
    }
}

impl Kind for Renamed {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let mark = |u: &mut Unstructured<'_>| Item::stored(u, Unknown::Mark);
        let mut fields = json!({"n": u.int_in_range::<u8>(0..=2)?});
        fields[*u.choose(&["items", "things", "old"])?] = json!(list(u, mark)?);
        fields[*u.choose(&["bent", "bent_old"])?] =
            json!(list(u, |u| Bent::stored(u, Unknown::Mark))?);
        fields[*u.choose(&["person", "who"])?] = Person::stored(u, Unknown::Note)?;
        fields[*u.choose(&["maybe", "perhaps"])?] = mark(u)?;
        let fields = some_of(u, fields)?;
        known::<Self>(u, unknown, fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=5)? {
            0 => change_list(&mut self.items, u)?,
            1 => change_list(&mut self.bent, u)?,
            2 => self.person.change(u)?,
            3 => self.maybe = self.items.pop(),
            4 => self.maybe.iter_mut().try_for_each(|item| item.change(u))?,
            _ => self.n = u.int_in_range(0..=2)?,
        }
        Ok(())
    }
}

/// It reads another name than it writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct OneWay {
    #[serde(rename(serialize = "writes", deserialize = "reads"))]
    name: String,
    other: u8,
}

impl Kind for OneWay {
    const SYMMETRIC: bool = false;

    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let fields = json!({"reads": name(u)?, "other": u.int_in_range(0..=2)?});
        let fields = some_of(u, fields)?;
        known::<Self>(u, unknown, fields)
    }
}

/// Containers of all kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Many {
    items: Vec<Item>,
    people: Vec<Person>,
    current: Vec<Current>,
    sorted: BTreeSet<Item>,
    names: HashSet<String>,
    by_name: BTreeMap<String, Item>,
    by_number: BTreeMap<u8, Person>,
    maybe: Option<Item>,
    maybe_list: Option<Vec<Item>>,
    pair: (Item, u8),
    nested: Vec<Vec<Item>>,
    account: Account,
    state: State,
    prefs: Prefs,
    person: Person,
    flat: Flat,
}

impl Kind for Many {
    fn stored(u: &mut Unstructured<'_>, unknown: Unknown) -> Result<Value> {
        let mark = |u: &mut Unstructured<'_>| Item::stored(u, Unknown::Mark);
        let mark_person = |u: &mut Unstructured<'_>| Person::stored(u, Unknown::Mark);
        let mut by_name = BTreeMap::new();
        for item in list(u, mark)? {
            by_name.insert(name(u)?, item);
        }
        by_name.remove("");
        let mut by_number = BTreeMap::new();
        for person in list(u, mark_person)? {
            by_number.insert(u.int_in_range::<u8>(0..=2)?, person);
        }
        let fields = json!({
            "items": list(u, mark)?,
            "people": list(u, mark_person)?,
            "current": list(u, |u| Current::stored(u, Unknown::Mark))?,
            "sorted": list(u, mark)?,
            "names": list(u, name)?,
            "by_name": by_name,
            "by_number": by_number,
            "maybe": if u.arbitrary()? { mark(u)? } else { Value::Null },
            "maybe_list": if u.arbitrary()? { json!(list(u, mark)?) } else { Value::Null },
            "pair": [mark(u)?, 1],
            "nested": list(u, |u| list(u, mark))?,
            "account": Account::stored(u, Unknown::Note)?,
            "state": State::stored(u, Unknown::Mark)?,
            "prefs": Prefs::stored(u, Unknown::Note)?,
            "person": Person::stored(u, Unknown::Note)?,
            "flat": Flat::stored(u, Unknown::Note)?,
        });
        let fields = some_of(u, fields)?;
        known::<Self>(u, unknown, fields)
    }

    fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..u.int_in_range(1..=3)? {
            match u.int_in_range(0..=17)? {
                0 => change_list(&mut self.items, u)?,
                1 => change_list(&mut self.people, u)?,
                2 => change_list(&mut self.current, u)?,
                3 => drop(self.sorted.pop_first()),
                4 => drop(self.names.insert(name(u)?)),
                5 => self.by_name.values_mut().try_for_each(|item| item.change(u))?,
                6 => drop(self.by_name.insert("new".into(), Item::default())),
                7 => self.by_number.values_mut().try_for_each(|person| person.change(u))?,
                8 => self.maybe = self.items.pop(),
                9 => self.maybe.iter_mut().try_for_each(|item| item.change(u))?,
                10 => self.maybe_list.iter_mut().try_for_each(|items| change_list(items, u))?,
                11 => self.pair.0.change(u)?,
                12 => self.nested.reverse(),
                13 => self.account.change(u)?,
                14 => self.state.change(u)?,
                15 => self.prefs.change(u)?,
                16 => self.person.change(u)?,
                _ => self.flat.change(u)?,
            }
        }
        Ok(())
    }
}

fn change_list<T: Kind>(items: &mut Vec<T>, u: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..u.int_in_range(1..=3)? {
        let n = items.len();
        match u.int_in_range(0..=7)? {
            0 => items.push(T::default()),
            1 => items.insert(0, T::default()),
            2 => items.reverse(),
            3 => drop(items.pop()),
            4 if n > 1 => items.swap(0, n - 1),
            5 if n > 1 => items.rotate_left(1),
            6 if n > 0 => drop(items.remove(u.int_in_range(0..=n - 1)?)),
            _ if n > 0 => items[u.int_in_range(0..=n - 1)?].change(u)?,
            _ => {}
        }
    }
    Ok(())
}

/// How many of the places' fields are below this value, in objects that stay what they are.
fn notes(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| usize::from(name == NOTE) + notes(value)).sum()
        }
        Value::Array(items) => items.iter().map(notes).sum(),
        _ => 0,
    }
}

/// What belongs to a value is still with it: the type sees the same value as before.
fn marks_are_with_their_owners(value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(mark) = fields.get(MARK) {
                let mut object = fields.clone();
                object.remove(MARK);
                let object = Value::Object(object);
                let is = |kind: &str| mark[0] == kind;
                let view = match () {
                    () if is(std::any::type_name::<Item>()) => {
                        json!(Item::deserialize(object).unwrap())
                    }
                    () if is(std::any::type_name::<Person>()) => {
                        json!(Person::deserialize(object).unwrap())
                    }
                    () if is(std::any::type_name::<Bent>()) => {
                        let (seen, was) = (Bent::deserialize(object), Bent::deserialize(&mark[1]));
                        assert_eq!(seen.unwrap(), was.unwrap(), "{value}");
                        mark[1].clone()
                    }
                    () if is(std::any::type_name::<Current>()) => {
                        json!(Current::deserialize(object).unwrap())
                    }
                    () => panic!("{mark}"),
                };
                assert_eq!(view, mark[1], "{value}");
            }
            fields
                .iter()
                .filter(|(name, _)| *name != MARK)
                .for_each(|(_, value)| marks_are_with_their_owners(value));
        }
        Value::Array(items) => items.iter().for_each(marks_are_with_their_owners),
        _ => {}
    }
}

fn obeys<T: Kind>(u: &mut Unstructured<'_>, keeps_notes: fn(Place<'_>) -> bool) -> Result<()> {
    let mut value = T::stored(u, Unknown::Note)?;
    let anew = u.arbitrary()?;
    if anew
        && u.arbitrary()?
        && let Some((name, value)) =
            value.as_object_mut().and_then(|fields| fields.iter_mut().next())
        && name != NOTE
    {
        *value = json!({"misfit": [1]});
    }
    for place in [Place::Whole, Place::Field("field")] {
        let stored = match (place, value.clone()) {
            (Place::Whole, Value::Object(fields)) => fields,
            (Place::Whole, _) => continue,
            (Place::Field(name), value) => data(json!({ name: value, "other": [1, 1.0] })),
        };
        let rules = Rules { anew, ..rules() };
        let mut left = None;
        let updated = update::<T, _, _, Unfit>(place, &stored, &rules, |view| {
            let seen = json!(view);
            let seed: Vec<u8> = u.bytes(u.len().min(64)).unwrap_or_default().to_vec();
            let mut u = Unstructured::new(&seed);
            view.change(&mut u).ok();
            left = Some((seen, json!(view), view.clone()));
            Ok::<_, ()>(())
        });
        let patch = match updated {
            Ok((_, patch)) => patch,
            Err(Unfit::Value(InvalidValue { reason: Reason::NotReadBack, .. }))
                if !T::SYMMETRIC =>
            {
                continue;
            }
            Err(Unfit::Value(InvalidValue { reason: Reason::NotAnObject, .. })) => continue,
            Err(Unfit::Type(_)) if !anew && left.is_none() => continue,
            Err(error) => panic!("{error}: {stored:?} {:?}", left.map(|(_, left, _)| left)),
        };
        let (seen, left, view) = left.unwrap();
        let after = patched(&stored, patch.clone());
        let mend = Mend { aliases: false, anew };
        if !patch.is_empty() {
            let read = read::<T>(place, Shown::of(&after), mend).unwrap();
            assert!(
                read.view == view,
                "{} of {stored:?} left {left}, but reads as {}",
                Value::Object(after.clone()),
                json!(read.view)
            );
        } else {
            assert_eq!(seen, left, "a change was lost: {stored:?}");
        }
        marks_are_with_their_owners(&Value::Object(after.clone()));
        if keeps_notes(place) && !anew {
            let (before, after) =
                (notes(&Value::Object(stored.clone())), notes(&Value::Object(after.clone())));
            assert_eq!(before, after, "{stored:?} {left}");
        }
        if let (Place::Field(name), true) = (place, T::SYMMETRIC && !patch.is_empty()) {
            let got = read::read_value::<T>(name, &after[name], mend).unwrap().unwrap_or_default();
            assert!(got == view, "{after:?} reads as {}", json!(got));
        }
        if let Place::Field(_) = place {
            assert_eq!(after["other"].to_string(), "[1,1.0]");
        }
    }
    Ok(())
}

#[test]
fn fuzz_what_the_closure_left_is_what_the_next_read_gives() {
    let (always, never) = (|_: Place<'_>| true, |_: Place<'_>| false);
    // A flattened `Option` may be another one, in a field. The data itself is always the same.
    let in_data = |place: Place<'_>| matches!(place, Place::Whole);
    fuzz::fuzz("what a closure left", |u| match u.int_in_range(0..=15)? {
        0 => obeys::<Item>(u, always),
        1 => obeys::<Person>(u, always),
        2 => obeys::<Current>(u, always),
        3 => obeys::<OldFirst>(u, never),
        4 => obeys::<Account>(u, never),
        5 => obeys::<State>(u, never),
        6 => obeys::<Prefs>(u, always),
        7 => obeys::<Flat>(u, never),
        8 => obeys::<Flatter>(u, in_data),
        9 => obeys::<Wrapped>(u, always),
        10 => obeys::<OneWay>(u, never),
        11 => obeys::<Renamed>(u, always),
        12 => obeys::<Bent>(u, always),
        13 => obeys::<Filled>(u, never),
        _ => obeys::<Many>(u, never),
    });
}
