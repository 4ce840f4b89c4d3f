//! What a type sees of the data.

use serde_json::Value;

use super::{Data, FLASH, TICKETS, is_own, patch::Patch};

/// The data as a type sees it: what is stored, with a patch applied to it, and without the library's
/// own field.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    stored: &'a Data,
    patch: Option<&'a Patch>,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(stored: &'a Data) -> Self {
        Self { stored, patch: None }
    }

    pub(crate) fn with(stored: &'a Data, patch: &'a Patch) -> Self {
        Self { stored, patch: Some(patch) }
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        match self.patch.and_then(|patch| patch.get(name)) {
            Some(patched) => patched.as_ref(),
            None => self.stored.get(name),
        }
    }

    pub(super) fn fields(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let is_patched =
            move |name: &str| self.patch.is_some_and(|patch| patch.get(name).is_some());
        let stored = self.stored.iter().map(|(name, value)| (&**name, value));
        let stored = stored.filter(move |(name, _)| !is_patched(name));
        let patched = self.patch.into_iter().flat_map(Patch::iter);
        let patched = patched.filter_map(|(name, value)| Some((name, value?)));
        stored.chain(patched).filter(|(name, _)| !is_own(name))
    }

    /// The stored data, if that is what there is to see.
    pub(super) fn as_stored(self) -> Option<&'a Data> {
        let has_own = |data: &Data| data.contains_key(FLASH) || data.contains_key(TICKETS);
        Some(self.stored).filter(|stored| self.patch.is_none() && !has_own(stored))
    }

    pub(super) fn to_data(self) -> Data {
        self.fields().map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }
}
