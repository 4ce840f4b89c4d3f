//! The law of every update: what the closure left is what the next read gives.
//!
//! The merge keeps what the type does not know. Then the type reads the result. If it sees anything
//! but what the closure left, that is because it reads more than it writes, such as a field's old
//! name. Then the result is what the type wrote, with as much of the rest as the law allows. If the
//! type does not read back even what it wrote, the update is refused.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Data, InvalidValue, Limits, Reason, encode,
    fields::{Fields, Part},
    merge,
    read::{self, Mend, Patch, Place, Read, Shown, read, same},
    typed::{WHOLE, WrongType},
};

/// What an app decides about its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    /// Whether a top-level field that does not fit is as if it were missing.
    pub(crate) anew: bool,
}

/// Runs a closure on the data or a field of it, as a `T`. Returns what it returned, and what is to be
/// written.
pub(crate) fn update<T, R, E, X>(
    place: Place<'_>,
    stored: &Data,
    rules: &Rules,
    change: impl FnOnce(&mut T) -> Result<R, E>,
) -> Result<(Result<R, E>, Patch), X>
where
    T: Serialize + DeserializeOwned + Default,
    X: From<WrongType> + From<InvalidValue>,
{
    let law = Law { place, stored, rules };
    let mend = Mend { aliases: true, anew: rules.anew };
    let Read { mut view, misfits, .. } = read::<T>(place, Shown::of(stored), mend)?;
    let before = law.look(&view)?;
    let result = change(&mut view);
    let mut patch = Patch::new();
    if result.is_err() {
        return Ok((result, patch));
    }
    let after = law.look(&view)?;
    if before == after {
        return Ok((result, patch));
    }
    merge::changes(&before, &after, stored, &misfits, |name, value| {
        patch.insert(name.to_owned(), value);
    });
    if law.broken_at::<T>(Shown::with(stored, &patch), &after, true).is_some() {
        patch = law.settle::<T>(&patch, &after)?;
    }
    Ok((result, patch))
}

struct Law<'a> {
    place: Place<'a>,
    stored: &'a Data,
    rules: &'a Rules,
}

impl Law<'_> {
    /// The fields that a view stands for, compared with those that are stored.
    fn look<T: Serialize>(&self, view: &T) -> Result<Fields, InvalidValue> {
        self.rules.limits.with_room_for(self.stored, |limits| match self.place {
            Place::Whole => encode::fields(view, self.stored, limits),
            Place::Field(name) => {
                let part = encode::part(view, self.stored.get(name), limits);
                let part = part.map_err(|error| error.under(name))?;
                Ok(Fields::new(vec![(name.to_owned().into(), part)]))
            }
        })
    }

    /// The place where a `T` would not see what the closure left.
    ///
    /// Data is read with a default for what is missing, a field also [without](read::read_value). If
    /// `as_it_is`, both must see it.
    fn broken_at<T>(&self, shown: Shown<'_>, after: &Fields, as_it_is: bool) -> Option<String>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let mend = Mend { aliases: false, anew: self.rules.anew };
        let read = match read::<T>(self.place, shown, mend) {
            Ok(read) => read,
            Err(error) => return Some(error.path).map(|path| path.replace(WHOLE, "")),
        };
        let differs = self.differs_at(&read.view, after);
        match self.place {
            Place::Field(name) if as_it_is && read.is_mended && differs.is_none() => {
                match read::read_value::<T>(name, shown.get(name)?, mend) {
                    Ok(view) => self.differs_at(&view.unwrap_or_default(), after),
                    Err(error) => Some(error.path),
                }
            }
            _ => differs,
        }
    }

    fn differs_at<T: Serialize>(&self, view: &T, after: &Fields) -> Option<String> {
        let seen = match self.look(view) {
            Ok(seen) if seen == *after => return None,
            Ok(seen) => seen,
            Err(error) => return Some(error.path),
        };
        let differs = |name: &str| match (seen.get(name), after.get(name)) {
            (Some(seen), Some(after)) => {
                let value = |part: &Part| part.to_value(self.stored.get(name));
                !same(&value(seen), &value(after))
            }
            (seen, after) => seen.is_some() || after.is_some(),
        };
        after.names().chain(seen.names()).find(|name| differs(name)).map(str::to_owned)
    }

    /// The patch that keeps as much of the result of the merge as the law allows.
    fn settle<T>(&self, patch: &Patch, after: &Fields) -> Result<Patch, InvalidValue>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let broken_at =
            |data: &Data, as_it_is| self.broken_at::<T>(Shown::of(data), after, as_it_is);
        let mut settled = after.clone().into_data(Some(self.stored));
        if broken_at(&settled, false).is_some() {
            self.write_missing::<T>(&mut settled);
        }
        if let Some(path) = broken_at(&settled, false) {
            return Err(InvalidValue { path, reason: Reason::NotReadBack });
        }
        let as_it_is = broken_at(&settled, true).is_none();
        let holds = |data: &Data| broken_at(data, as_it_is).is_none();
        let mut merged = self.stored.clone();
        for (name, value) in patch {
            set(&mut merged, name, value.clone());
        }
        let (written, mut differences) = (settled.clone(), Vec::new());
        differ(&written, &merged, &mut Vec::new(), &mut differences);
        keep(&mut settled, &differences, &holds);
        let gone = self.stored.keys().filter(|name| !settled.contains_key(*name));
        let mut patch: Patch = gone.map(|name| (name.clone(), None)).collect();
        let new = settled.into_iter().filter(|(name, value)| self.stored.get(name) != Some(value));
        patch.extend(new.map(|(name, value)| (name, Some(value))));
        Ok(patch)
    }

    /// Writes a field that the type leaves out as null, where a missing one would be another value's.
    fn write_missing<T: Serialize + Default>(&self, settled: &mut Data) {
        let object = match self.place {
            Place::Whole => Some(settled),
            Place::Field(name) => settled.get_mut(name).and_then(Value::as_object_mut),
        };
        if let Some(object) = object {
            for (name, _) in read::object(&T::default()) {
                object.entry(name).or_insert(Value::Null);
            }
        }
    }
}

/// One place where the result of the merge differs from what the type wrote: the names on the way to
/// it, and the value there, if there is one.
type Difference<'a> = (Vec<&'a str>, Option<&'a Value>);

fn differ<'a>(
    written: &'a Data,
    merged: &'a Data,
    path: &mut Vec<&'a str>,
    differences: &mut Vec<Difference<'a>>,
) {
    let gone = written.keys().filter(|name| !merged.contains_key(*name));
    for name in gone.chain(merged.keys()) {
        path.push(name);
        match (written.get(name), merged.get(name)) {
            (written, merged) if written == merged => {}
            (Some(Value::Object(written)), Some(Value::Object(merged))) => {
                differ(written, merged, path, differences);
            }
            (_, merged) => differences.push((path.clone(), merged)),
        }
        path.pop();
    }
}

/// Applies as many of the differences as the law allows: all, or those of each half.
fn keep(data: &mut Data, differences: &[Difference<'_>], holds: &impl Fn(&Data) -> bool) {
    if differences.is_empty() {
        return;
    }
    let mut kept = data.clone();
    for (path, value) in differences {
        let Some((name, path)) = path.split_last() else { continue };
        let object = path.iter().try_fold(&mut kept, |object, name| {
            object.get_mut(*name).and_then(Value::as_object_mut)
        });
        if let Some(object) = object {
            set(object, name, value.cloned());
        }
    }
    if holds(&kept) {
        *data = kept;
    } else if differences.len() > 1 {
        let (one, other) = differences.split_at(differences.len() / 2);
        keep(data, one, holds);
        keep(data, other, holds);
    }
}

fn set(data: &mut Data, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(data.insert(name.to_owned(), value)),
        None => drop(data.remove(name)),
    }
}

#[cfg(test)]
mod tests;
