//! What is to change in an object.

use serde_json::Value;

/// Fields to set (`Some`) and to remove (`None`), each once, in the order of their names.
///
/// Most have one or two, for which a list is faster than a tree and takes less memory than a tree's node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Patch(Vec<(String, Option<Value>)>);

impl Patch {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What becomes of the field. None if it stays as it is.
    pub(crate) fn get(&self, name: &str) -> Option<&Option<Value>> {
        let index = self.index(name).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    /// The same, to change it. A field that would stay as it is becomes what `or` returns.
    pub(crate) fn entry(
        &mut self,
        name: &str,
        or: impl FnOnce() -> Option<Value>,
    ) -> Option<&mut Option<Value>> {
        let index = self.index(name).unwrap_or_else(|index| {
            self.0.insert(index, (name.to_owned(), or()));
            index
        });
        self.0.get_mut(index).map(|(_, value)| value)
    }

    pub(crate) fn set(&mut self, name: String, value: Option<Value>) {
        match self.index(&name) {
            Ok(index) => {
                if let Some((_, old)) = self.0.get_mut(index) {
                    *old = value;
                }
            }
            Err(index) => self.0.insert(index, (name, value)),
        }
    }

    /// Keeps the fields for which this holds. It may change what becomes of them.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str, &mut Option<Value>) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Option<&Value>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_ref()))
    }

    /// Where the field is, or where it would be.
    fn index(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

impl IntoIterator for Patch {
    type Item = (String, Option<Value>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Extend<(String, Option<Value>)> for Patch {
    fn extend<I: IntoIterator<Item = (String, Option<Value>)>>(&mut self, fields: I) {
        fields.into_iter().for_each(|(name, value)| self.set(name, value));
    }
}

impl FromIterator<(String, Option<Value>)> for Patch {
    fn from_iter<I: IntoIterator<Item = (String, Option<Value>)>>(fields: I) -> Self {
        let mut patch = Self::new();
        patch.extend(fields);
        patch
    }
}
