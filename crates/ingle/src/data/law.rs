//! The law of every update: what the closure left is what the next read gives.
//!
//! Only the type knows what it reads. So what is to be stored is read back, and what the type then
//! shows is compared with what it showed when the closure was done.
//!
//! The order of a list is part of a value, unless the type has none: a set shows another order each
//! time that the same is read. That is tried out, with growing room, because some sets have an order
//! that depends on their room alone.

use std::cell::Cell;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Data, InvalidValue, Limits, Reason, data_len, encode,
    fields::{Fields, Owner},
    order::{self, Difference},
    path,
    read::{self, Mend, Place, read},
    shown::Shown,
    typed::{WHOLE, WrongType},
    unstorable::{self, NUL},
};

/// What an app decides about its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    /// Whether a top-level field that does not fit is as if it were missing.
    pub(crate) anew: bool,
}

/// How data is read to see whether the law holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Whether a field may be stored under two names.
    pub(super) aliases: bool,
    /// Whether a field must also be read [without](read::read_value) a default for what is missing.
    pub(super) as_it_is: bool,
}

/// How much data is read, at most, to find out what of it can be kept. With no bound a large list that
/// its type reads otherwise than it is stored would take seconds.
const READ_BYTES_MAX: usize = 16 << 20;

/// What a read costs, however little it reads.
const READ_BYTES_MIN: usize = 1 << 10;

/// How often the items of a list are in the data, when it is read to see whether they have an order.
const COPIES: [usize; 30] =
    [1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];

/// The data, and what is to hold for a change of it.
pub(super) struct Law<'a> {
    pub(super) place: Place<'a>,
    pub(super) stored: &'a Data,
    rules: &'a Rules,
    /// Whether the type has shown something that cannot be stored.
    pub(super) unstorable: Cell<bool>,
    bytes_left: Cell<usize>,
}

impl<'a> Law<'a> {
    pub(super) fn new(place: Place<'a>, stored: &'a Data, rules: &'a Rules) -> Self {
        let bytes_left = Cell::new(READ_BYTES_MAX);
        Self { place, stored, rules, unstorable: Cell::new(false), bytes_left }
    }

    /// The fields that a view stands for, compared with those that are stored.
    pub(super) fn look<T: Serialize>(&self, view: &T) -> Result<Fields, InvalidValue> {
        self.compared(view, self.stored)
    }

    fn compared<T: Serialize>(&self, view: &T, stored: &Data) -> Result<Fields, InvalidValue> {
        self.rules.limits.with_room_for(self.stored, |limits| match self.place {
            Place::Whole => encode::fields(view, stored, limits, &self.unstorable),
            Place::Field(name) => {
                let part = encode::part(view, stored.get(name), limits, &self.unstorable);
                Ok(Fields::of(name, part.map_err(|error| error.under(name))?))
            }
        })
    }

    /// What the default of the type shows.
    pub(super) fn default<T: Serialize + Default>(&self) -> Option<Fields> {
        self.compared(&T::default(), &Data::new()).ok()
    }

    /// What the type shows of data, if it can read it.
    pub(super) fn shows<T>(&self, data: &Data) -> Option<Value>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        self.fields_of::<T>(data).map(|fields| fields.to_value(&Data::new()))
    }

    fn fields_of<T>(&self, data: &Data) -> Option<Fields>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let mend = Mend { aliases: true, anew: self.rules.anew };
        let view = read::<T>(self.place, Shown::of(data), mend).ok()?.view;
        self.compared(&view, &Data::new()).ok()
    }

    /// What the type says of an object in a view if a field is stored in it under both names: beside all
    /// others, or `alone`. None if the object is not there.
    pub(super) fn says_of_both<T: DeserializeOwned>(
        &self,
        view: &Fields,
        path: &[&str],
        [name, other]: [&str; 2],
        alone: bool,
    ) -> Option<String> {
        let mut data = self.written(view)?;
        let object = path::object_mut(&mut data, path)?;
        let value = object.get(name)?.clone();
        object.retain(|name, _| !alone && name != other);
        object.extend([(name.to_owned(), value.clone()), (NUL.to_owned(), value)]);
        self.afford(&data)?;
        let view = match self.place {
            Place::Whole => Value::Object(data),
            Place::Field(name) => data.remove(name)?,
        };
        // A JSON text can have a name twice.
        let text = view.to_string().replacen(&json!(NUL).to_string(), &json!(other).to_string(), 1);
        let error = serde_json::from_str::<T>(&text).err();
        Some(error.as_ref().map(ToString::to_string).unwrap_or_default())
    }

    /// Whether an object in a view is a map that writes its names as a struct does: it has any name. None
    /// if the object is not there.
    pub(super) fn is_map<T>(&self, view: &Fields, path: &[&str], name: &str) -> Option<bool>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let mut data = self.written(view)?;
        let object = path::object_mut(&mut data, path)?;
        let value = object.get(name)?.clone();
        let mut new = name.to_owned();
        while object.contains_key(&new) {
            new.push('_');
        }
        object.insert(new.clone(), value);
        self.afford(&data)?;
        let shown = self.fields_of::<T>(&data);
        let object = shown.as_ref().and_then(|shown| {
            path.iter().try_fold(shown, |object, name| object.get(name)?.as_place())
        });
        let field = object.and_then(|object| object.field(&new));
        Some(field.is_some_and(|field| field.owner == Owner::Struct))
    }

    /// The data as a view would be written, without what cannot be stored.
    fn written(&self, view: &Fields) -> Option<Data> {
        let mut written = view.to_value(self.stored);
        unstorable::leave_out(&mut written);
        match written {
            Value::Object(data) => Some(data),
            _ => None,
        }
    }

    /// Takes what it costs to read data from what is left for trying. None if there is not enough.
    pub(super) fn afford(&self, data: &Data) -> Option<()> {
        let left = self.bytes_left.get().saturating_sub(data_len(data) + READ_BYTES_MIN);
        self.bytes_left.set(left);
        (left > 0).then_some(())
    }

    /// The place where a `T` would not see what the closure left.
    pub(super) fn broken_at<T>(
        &self,
        shown: Shown<'_>,
        after: &Fields,
        reading: Reading,
    ) -> Option<InvalidValue>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let mend = Mend { aliases: reading.aliases, anew: self.rules.anew };
        let read_whole = |shown: Shown<'_>| read::<T>(self.place, shown, mend);
        let read = match read_whole(shown) {
            Ok(read) => read,
            Err(error) => return Some(not_read_back(&error)),
        };
        let again = |shown: Shown<'_>| Some(read_whole(shown).ok()?.view);
        let differs = self.differs_at(&read.view, after, shown, again);
        match self.place {
            Place::Field(name) if reading.as_it_is && read.is_mended && differs.is_none() => {
                let read_alone = |shown: Shown<'_>| {
                    let value = shown.get(name).unwrap_or(&Value::Null);
                    Ok(read::read_value::<T>(name, value, mend)?.unwrap_or_default())
                };
                shown.get(name)?;
                match read_alone(shown) {
                    Ok(view) => {
                        self.differs_at(&view, after, shown, |shown| read_alone(shown).ok())
                    }
                    Err(error) => Some(not_read_back(&error)),
                }
            }
            _ => differs,
        }
    }

    /// The place where a view that was read differs from what the closure left.
    fn differs_at<T: Serialize>(
        &self,
        view: &T,
        after: &Fields,
        shown: Shown<'_>,
        again: impl Fn(Shown<'_>) -> Option<T>,
    ) -> Option<InvalidValue> {
        let seen = match self.look(view) {
            Ok(seen) if seen == *after => return None,
            Ok(seen) => seen,
            Err(error) => return Some(error),
        };
        if seen.is_null() != after.is_null() {
            return Some(InvalidValue::new(Reason::NotAnObject));
        }
        let (seen, left) = (seen.to_value(self.stored), after.to_value(self.stored));
        let mut lists = match order::difference(&left, &seen) {
            Difference::Orders(lists) => lists,
            Difference::Value(place) => return Some(place),
        };
        for copies in COPIES {
            if lists.is_empty() {
                return None;
            }
            let mut data = Value::Object(shown.to_data());
            for list in &lists {
                if let Some(Value::Array(items)) = data.pointer_mut(list) {
                    *items = items.iter().cycle().take(items.len() * copies).cloned().collect();
                }
            }
            let data = data.as_object()?;
            let again = again(Shown::of(data)).and_then(|view| self.look(&view).ok());
            let Some(again) = again.map(|fields| fields.to_value(self.stored)) else { continue };
            lists.retain(|list| match (seen.pointer(list), again.pointer(list)) {
                (Some(seen @ Value::Array(items)), Some(again @ Value::Array(others))) => {
                    order::in_order(items, others) || !order::alike(seen, again)
                }
                _ => true,
            });
        }
        lists.first().map(|list| InvalidValue {
            path: path::named(&left, list),
            reason: Reason::NotReadBack,
        })
    }
}

/// Whether this is what a type says of a field that is stored twice.
pub(super) fn is_twice(message: &str, name: &str) -> bool {
    message.starts_with(&format!("duplicate field `{name}`"))
}

fn not_read_back(error: &WrongType) -> InvalidValue {
    InvalidValue { path: error.path.replace(WHOLE, ""), reason: Reason::NotReadBack }
}
