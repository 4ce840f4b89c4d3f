//! An update: a closure changes what a type shows of the data, and the data is changed likewise.
//!
//! The merge keeps what the type does not know. Then the type reads the result. If it sees anything
//! but what the closure left, the change is [settled](super::settle), or refused.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Data, InvalidValue,
    fields::Fields,
    law::{Law, Reading},
    merge::{self, Unchanged},
    patch::Patch,
    read::{Mend, Place, Read, read},
    rename::{Names, renamed},
    settle::settle,
    shown::Shown,
    typed::WrongType,
};

pub(crate) use super::law::Rules;

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
    let law = Law::new(place, stored, rules);
    let mend = Mend { aliases: true, anew: rules.anew };
    let Read { mut view, misfits, .. } = read::<T>(place, Shown::of(stored), mend)?;
    let before = law.look(&view)?;
    let result = change(&mut view);
    if result.is_err() {
        return Ok((result, Patch::new()));
    }
    let after = law.look(&view)?;
    let patch = if before == after {
        unchanged::<T>(&law, &after, &misfits)?
    } else {
        changed::<T>(&law, &before, &after, &misfits)?
    };
    Ok((result, patch))
}

fn changed<T>(
    law: &Law<'_>,
    before: &Fields,
    after: &Fields,
    misfits: &[String],
) -> Result<Patch, InvalidValue>
where
    T: Serialize + DeserializeOwned + Default,
{
    let renamed = renamed::<T>(law, before, after, Names::Likely);
    let unchanged = Unchanged::Stays;
    let patch = merge::patch::<T>(law, before, after, renamed.as_ref(), misfits, unchanged);
    let reading = Reading { aliases: false, as_it_is: true };
    match law.broken_at::<T>(Shown::with(law.stored, &patch), after, reading) {
        None => Ok(patch),
        Some(_) => settle::<T>(law, before, after, misfits),
    }
}

/// A closure that changed nothing stores nothing, unless the next read would give something else: a
/// default that is another one each time.
fn unchanged<T>(law: &Law<'_>, after: &Fields, misfits: &[String]) -> Result<Patch, InvalidValue>
where
    T: Serialize + DeserializeOwned + Default,
{
    let is_broken = |as_it_is| {
        let reading = Reading { aliases: true, as_it_is };
        law.broken_at::<T>(Shown::of(law.stored), after, reading).is_some()
    };
    if after.is_stored() {
        return Ok(Patch::new());
    }
    if is_broken(false) {
        return settle::<T>(law, after, after, misfits);
    }
    if is_broken(true) {
        return Ok(settle::<T>(law, after, after, misfits).unwrap_or_default());
    }
    Ok(Patch::new())
}

#[cfg(test)]
mod tests;
