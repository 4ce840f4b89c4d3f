//! The fields of an object on their way into the data.

use std::borrow::Cow;

use serde_json::Value;

use super::Data;

/// A value, compared with the one that is stored in its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// It equals what is stored.
    Same,
    /// Something else, or nothing, is stored there.
    Other(Value),
    /// The same for an object that is a place: it stays the same object, whatever is in it.
    Place(Fields),
}

impl Part {
    pub(super) fn into_value(self, stored: Option<&Value>) -> Value {
        match self {
            Self::Same => stored.cloned().unwrap_or_default(),
            Self::Other(value) => value,
            Self::Place(fields) => {
                Value::Object(fields.into_data(stored.and_then(Value::as_object)))
            }
        }
    }

    pub(super) fn to_value(&self, stored: Option<&Value>) -> Value {
        self.clone().into_value(stored)
    }
}

/// The fields of an object, each compared with the stored field of its name.
///
/// They are in the order of their names, each name once. For the few fields of most types, a list
/// is faster than a tree and takes less memory than a tree's node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fields(Vec<Field>);

pub(super) type Field = (Cow<'static, str>, Part);

impl Fields {
    /// If a name comes twice, the last field counts, as it would in a map.
    pub(super) fn new(mut fields: Vec<Field>) -> Self {
        if !fields.is_sorted_by(|(before, _), (after, _)| before < after) {
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            fields.dedup_by(|later, earlier| {
                let again = later.0 == earlier.0;
                if again {
                    std::mem::swap(later, earlier);
                }
                again
            });
        }
        Self(fields)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Part> {
        let index = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        self.0.get(index).map(|(_, part)| part)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().map(|(_, part)| part)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Part)> {
        self.0.iter().map(|(name, part)| (&**name, part))
    }

    /// The object itself, given the one that is stored.
    pub(super) fn into_data(self, stored: Option<&Data>) -> Data {
        let fields = self.0.into_iter().map(|(name, part)| {
            let value = part.into_value(stored.and_then(|stored| stored.get(&*name)));
            (name.into_owned(), value)
        });
        fields.collect()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_in_any_order_and_of_one_name_the_last_counts() {
        let field = |name: &'static str, value| (Cow::Borrowed(name), Part::Other(value));
        let fields = Fields::new(vec![
            field("b", json!(1)),
            field("c", json!(2)),
            field("a", json!(3)),
            field("b", json!(4)),
            field("b", json!(5)),
        ]);
        assert_eq!(fields.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(fields.get("b"), Some(&Part::Other(json!(5))));
        assert_eq!(fields.get("c"), Some(&Part::Other(json!(2))));
        assert_eq!(fields.get("d"), None);
    }
}
