//! Changes: functions from data to data that can run again on newer data.
//!
//! A change sees a [`Draft`] and leaves a patch. Nothing reaches the data before the whole change
//! has succeeded. So each change succeeds or fails alone, also in a batch.

use std::{any::Any, borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::ticket;
use crate::{
    clock::Timestamp,
    data::{
        Data, FLASH, InvalidValue, Limits, Reason, TICKETS, data_len, field_len, is_own, json_len,
        patch::Patch, typed::WrongType, update::Rules,
    },
    record::{Record, data_of},
};

/// A change. It reads and writes a draft of the data, as often as the commit protocol runs it.
pub(crate) type Change = Box<dyn FnMut(&mut Draft<'_>) -> Result<(), Refused> + Send>;

/// Why one change was refused, whatever became of the others in its commit.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The request had read a field, and another request changed it.
    LostUpdate { field: String },
    /// The data does not have the app's type.
    WrongType(WrongType),
    /// A session cannot hold the result.
    Invalid(InvalidValue),
    /// The app's closure panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
}

impl From<WrongType> for Refused {
    fn from(error: WrongType) -> Self {
        Self::WrongType(error)
    }
}

impl From<InvalidValue> for Refused {
    fn from(error: InvalidValue) -> Self {
        Self::Invalid(error)
    }
}

/// The data as one change sees it: what is stored, and what the change has set so far.
pub(crate) struct Draft<'a> {
    stored: &'a Data,
    patch: Patch,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(stored: &'a Data) -> Self {
        Self { stored, patch: Patch::new() }
    }

    /// The data before this change.
    pub(crate) fn stored(&self) -> &'a Data {
        self.stored
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        match self.patch.get(name) {
            Some(value) => value.as_ref(),
            None => self.stored.get(name),
        }
    }

    /// Sets a field (`Some`) or removes it (`None`).
    pub(crate) fn set(&mut self, name: String, value: Option<Value>) {
        self.patch.set(name, value);
    }

    /// Sets and removes what a patch says.
    pub(crate) fn apply(&mut self, patch: Patch) {
        if self.patch.is_empty() {
            self.patch = patch;
        } else {
            self.patch.extend(patch);
        }
    }

    /// The whole data as it is now.
    pub(crate) fn data(&self) -> Cow<'a, Data> {
        let mut data = Cow::Borrowed(self.stored);
        for (name, value) in self.patch.iter() {
            match value {
                Some(value) => drop(data.to_mut().insert(name.to_owned(), value.clone())),
                None => drop(data.to_mut().remove(name)),
            }
        }
        data
    }

    /// The names of the fields that this change has set or removed so far.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &str> {
        self.patch.iter().map(|(name, _)| name)
    }

    /// What is to be written. A value that equals the old one is no change.
    fn into_patch(mut self) -> Patch {
        self.patch.retain(|name, value| value.as_ref() != self.stored.get(name));
        self.patch
    }
}

/// The copy that the changes of one commit work on, one after the other.
pub(crate) struct Copy<'a> {
    data: Cow<'a, Data>,
    bytes: Option<usize>,
}

impl<'a> Copy<'a> {
    pub(crate) fn of(data: &'a Data) -> Self {
        Self { data: Cow::Borrowed(data), bytes: None }
    }

    /// Runs one change. If it is refused, the copy is as it was before.
    pub(crate) fn apply(&mut self, change: &mut Change, limits: &Limits) -> Result<(), Refused> {
        let mut draft = Draft::new(&self.data);
        // A panic leaves nothing behind but the draft, which is dropped.
        let run = std::panic::AssertUnwindSafe(|| change(&mut draft));
        std::panic::catch_unwind(run).unwrap_or_else(|panic| Err(Refused::Panicked(panic)))?;
        let mut patch = draft.into_patch();
        if patch.is_empty() {
            return Ok(());
        }
        self.bytes = Some(self.fit(&mut patch, limits)?);
        let data = self.data.to_mut();
        for (name, value) in patch {
            match value {
                Some(value) => drop(data.insert(name, value)),
                None => drop(data.remove(&name)),
            }
        }
        Ok(())
    }

    /// The data, if any change made a difference.
    pub(crate) fn into_changed(self) -> Option<Data> {
        match self.data {
            Cow::Borrowed(_) => None,
            Cow::Owned(data) => Some(data),
        }
    }

    /// How many bytes the data would have. Where there is no room, one-time messages give way, and
    /// then tickets, the oldest first: those that nobody takes must not keep the app from storing
    /// anything else.
    fn fit(&self, patch: &mut Patch, limits: &Limits) -> Result<usize, InvalidValue> {
        // Of tickets that this change itself issues, one stays at least: its text is on its way.
        let issued = usize::from(patch.get(TICKETS).is_some());
        loop {
            match self.check(patch, limits) {
                Err(InvalidValue { reason: Reason::TooLarge { .. }, .. })
                    if self.drop_first(FLASH, 0, patch)
                        || self.drop_first(TICKETS, issued, patch) => {}
                done => return done,
            }
        }
    }

    /// Drops the first item of one of the library's own lists. False if no more than `kept` are left.
    fn drop_first(&self, list: &str, kept: usize, patch: &mut Patch) -> bool {
        let items = patch.entry(list, || self.data.get(list).cloned());
        let Some(items) = items else { return false };
        let Some(Value::Array(left)) = items else { return false };
        if left.len() <= kept {
            return false;
        }
        left.remove(0);
        if left.is_empty() {
            *items = None;
        }
        true
    }

    /// How many bytes the data would have. Data that outgrew a limit elsewhere may still shrink.
    fn check(&self, patch: &Patch, limits: &Limits) -> Result<usize, InvalidValue> {
        // The first field needs no comma, so an empty object counts one byte less.
        let empty = usize::from(self.data.is_empty());
        let before = self.bytes.unwrap_or_else(|| data_len(&self.data) - empty);
        // The library's own fields do not count as the app's.
        let ours = [FLASH, TICKETS].into_iter().filter(|name| self.data.contains_key(*name));
        let fields_before = self.data.len() - ours.count();
        let (mut bytes, mut fields) = (before, fields_before);
        for (name, value) in patch.iter() {
            let counts = usize::from(!is_own(name));
            if let Some(old) = self.data.get(name) {
                bytes = bytes.saturating_sub(field_len(name, old));
                fields -= counts;
            }
            if let Some(new) = value {
                bytes += field_len(name, new);
                fields += counts;
            }
        }
        if bytes > limits.bytes_max && bytes > before {
            return Err(InvalidValue::new(Reason::TooLarge { max: limits.bytes_max }));
        }
        if fields > limits.fields_max && fields > fields_before {
            return Err(InvalidValue::new(Reason::TooManyFields { max: limits.fields_max }));
        }
        Ok(bytes)
    }
}

/// A change that can be written down.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Insert {
        field: String,
        value: Value,
        read: Option<Seen>,
    },
    Remove {
        field: String,
        read: Option<Seen>,
    },
    Increment {
        field: String,
        by: i64,
    },
    Push {
        field: String,
        value: Value,
    },
    /// Adds a ticket, in place of those that have ended by then.
    Issue {
        ticket: Value,
        now: Timestamp,
    },
}

/// What a request saw in a field when it read it; `None` if the field was not there.
pub(crate) type Seen = Option<Value>;

impl Edit {
    /// Whether this edit sets the field to a value that does not depend on what was stored.
    pub(crate) fn overwrites(&self, name: &str) -> bool {
        match self {
            Self::Insert { field, .. } | Self::Remove { field, .. } => field == name,
            Self::Increment { .. } | Self::Push { .. } | Self::Issue { .. } => false,
        }
    }

    pub(crate) fn apply(&self, draft: &mut Draft<'_>, rules: &Rules) -> Result<(), Refused> {
        match self {
            Self::Insert { field, value, read } => {
                validate(draft, field, read.as_ref())?;
                draft.set(field.clone(), Some(value.clone()));
            }
            Self::Remove { field, read } => {
                validate(draft, field, read.as_ref())?;
                draft.set(field.clone(), None);
            }
            Self::Increment { field, by } => {
                let sum = match incremented(draft.get(field), *by) {
                    Err(Sum::Wrong(..)) if rules.anew => Value::from(*by),
                    sum => sum.map_err(|error| error.at(field))?,
                };
                draft.set(field.clone(), Some(sum));
            }
            Self::Push { field, value } => {
                let mut items = match draft.get(field) {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(items)) => items.clone(),
                    Some(_) if rules.anew => Vec::new(),
                    Some(other) => return Err(Sum::Wrong(kind(other), "an array").at(field)),
                };
                items.push(value.clone());
                if field == FLASH {
                    drop_oldest(&mut items, MESSAGES_MAX, &rules.limits);
                }
                draft.set(field.clone(), Some(Value::Array(items)));
            }
            Self::Issue { ticket, now } => {
                let mut tickets = ticket::live(draft.get(TICKETS), *now);
                tickets.push(ticket.clone());
                drop_oldest(&mut tickets, ticket::TICKETS_MAX, &rules.limits);
                draft.set(TICKETS.to_owned(), Some(Value::Array(tickets)));
            }
        }
        Ok(())
    }
}

/// How many one-time messages may wait to be taken.
const MESSAGES_MAX: usize = 32;

/// Bounds what waits in one of the library's own lists: its number, and a quarter of the session's
/// bytes. The newest stays.
fn drop_oldest(items: &mut Vec<Value>, n_max: usize, limits: &Limits) {
    let mut bytes = 0;
    let newest = items.iter().rev().take(n_max).take_while(|item| {
        bytes += json_len(item) + 1;
        bytes <= limits.bytes_max / 4
    });
    let n_kept = newest.count().max(1);
    items.drain(..items.len().saturating_sub(n_kept));
}

/// Refuses to overwrite what another request wrote after this one read the field.
///
/// It compares with what is stored, because that is what the request read, whatever edits of its
/// own came before. A request that adds 1 to a number and then reads it has read the value of
/// others.
fn validate(draft: &Draft<'_>, field: &str, read: Option<&Seen>) -> Result<(), Refused> {
    match read {
        Some(seen) if draft.stored().get(field) != seen.as_ref() => {
            Err(Refused::LostUpdate { field: field.to_owned() })
        }
        _ => Ok(()),
    }
}

enum Sum {
    Wrong(&'static str, &'static str),
    OutOfRange,
}

impl Sum {
    fn at(self, field: &str) -> Refused {
        match self {
            Self::Wrong(found, expected) => WrongType {
                path: field.to_owned(),
                message: format!("found {found}, expected {expected}"),
            }
            .into(),
            Self::OutOfRange => InvalidValue::new(Reason::IntegerOutOfRange).under(field).into(),
        }
    }
}

fn incremented(value: Option<&Value>, by: i64) -> Result<Value, Sum> {
    match value {
        None | Some(Value::Null) => Ok(by.into()),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.checked_add(by).map(Value::from).ok_or(Sum::OutOfRange),
            // A number that is not an integer stays so: 2.5 plus 1 is 3.5.
            (None, Some(double)) if number.is_f64() => Ok((double + by as f64).into()),
            _ => Err(Sum::OutOfRange),
        },
        Some(other) => Err(Sum::Wrong(kind(other), "a number")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What a request has read, to notice when another request changes it before this one writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    fields: BTreeMap<String, Seen>,
    whole: Whole,
}

/// Whether the whole data was read, so that every field counts as read.
#[derive(Clone, Debug, Default)]
enum Whole {
    #[default]
    Unread,
    /// Read from this record, or from none.
    Read(Option<Arc<Record>>),
}

impl Reads {
    /// Notes a read. The last read of a field is the one that counts.
    pub(crate) fn note(&mut self, field: &str, seen: Option<&Value>) {
        self.fields.insert(field.to_owned(), seen.cloned());
    }

    /// Notes a read of all fields.
    pub(crate) fn note_whole(&mut self, record: Option<&Arc<Record>>) {
        self.fields.clear();
        self.whole = Whole::Read(record.cloned());
    }

    /// What this request saw in the field, if it read it.
    pub(crate) fn seen(&self, field: &str) -> Option<Seen> {
        let whole = || match &self.whole {
            Whole::Unread => None,
            Whole::Read(record) => Some(data_of(record.as_deref()).get(field).cloned()),
        };
        self.fields.get(field).cloned().or_else(whole)
    }

    /// Applies this request's own change to what it has read, because that is no other request's
    /// change.
    pub(crate) fn follow(&mut self, draft: &Draft<'_>) {
        for field in draft.changed() {
            if let Some(seen) = self.seen(field) {
                let unchanged = draft.stored().get(field) == seen.as_ref();
                let now = if unchanged { draft.get(field).cloned() } else { seen };
                self.fields.insert(field.to_owned(), now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
