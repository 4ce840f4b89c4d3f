//! The fields of an object on their way into the data.

use std::{borrow::Cow, mem::discriminant};

use serde_json::{Value, json};

use super::{Data, unstorable};

/// A value, compared with the one that is stored in its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// It equals what is stored.
    Same,
    /// Something else, or nothing, is stored there.
    Other(Value),
    /// The same for an object that is a place: it stays the same object, whatever is in it.
    Place(Box<Fields>),
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

    pub(super) fn as_place(&self) -> Option<&Fields> {
        match self {
            Self::Place(fields) => Some(fields),
            Self::Same | Self::Other(_) => None,
        }
    }
}

/// The fields of an object, each compared with the stored field of its name.
///
/// They are in the order of their names, each name once. For the few fields of most types, a list
/// is faster than a tree and takes less memory than a tree's node.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    fields: Vec<Field>,
    kind: Kind,
}

/// One field of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(super) name: Cow<'static, str>,
    pub(super) part: Part,
    pub(super) owner: Owner,
}

/// Whose a field seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The struct's.
    Struct,
    /// It is the name of an enum's variant, or the content beside it.
    Tag,
    /// It stands behind the name of a variant, so it may be that of the variant.
    Variant,
    /// A map's, whose entries come and go.
    Map,
}

/// What serde says of an object.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A struct of this name. It has these fields, too, and left them out.
    Struct { name: &'static str, skipped: Vec<&'static str> },
    /// A map, or a struct in which something is flattened.
    Map,
    /// There is no object: the value is null.
    Null,
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields && self.is_null() == other.is_null()
    }
}

impl Fields {
    /// If a name comes twice, the last value is that of the field. The others are compared under
    /// names that are [never stored](unstorable).
    pub(super) fn new(mut fields: Vec<Field>, kind: Kind) -> Self {
        while !fields.is_sorted_by(|before, after| before.name < after.name) {
            fields.sort_by(|one, other| one.name.cmp(&other.name));
            for index in 1..fields.len() {
                if let Some([earlier, later]) = fields.get_mut(index - 1..=index)
                    && earlier.name == later.name
                {
                    earlier.name = unstorable::another(&later.name).into();
                }
            }
        }
        Self { fields, kind }
    }

    /// An object with nothing but this field.
    pub(super) fn of(name: &str, part: Part) -> Self {
        let field = Field { name: name.to_owned().into(), part, owner: Owner::Struct };
        Self { fields: vec![field], kind: Kind::Struct { name: "", skipped: Vec::new() } }
    }

    pub(super) fn null() -> Self {
        Self { fields: Vec::new(), kind: Kind::Null }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// Whether a value is in it that no session can hold, beside that of its name.
    pub(super) fn has_twice(&self) -> bool {
        self.fields.first().is_some_and(|field| unstorable::is_another(&field.name))
    }

    /// Whether all of it is stored as it is.
    pub(super) fn is_stored(&self) -> bool {
        self.fields.iter().all(|field| match &field.part {
            Part::Same => true,
            Part::Place(fields) => fields.is_stored(),
            Part::Other(_) => false,
        })
    }

    /// Whether serde says that both are of the same struct, and of the same variant of an enum.
    pub(super) fn is_of_the_type_of(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (
                Kind::Struct { name, skipped },
                Kind::Struct { name: other_name, skipped: others },
            ) => {
                let has_same = || skipped == others && self.names().eq(other.names());
                name == other_name && (has_same() || self.all_names() == other.all_names())
            }
            (Kind::Map, Kind::Map) => true,
            _ => false,
        }
    }

    /// The name of the struct whose fields these are, if they are those of one.
    pub(super) fn struct_name(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Struct { name, .. } => Some(name),
            Kind::Map | Kind::Null => None,
        }
    }

    /// Whether some of the fields may be those of an enum's variant.
    pub(super) fn has_tag(&self) -> bool {
        self.fields.iter().any(|field| field.owner == Owner::Tag)
    }

    /// All names of a struct, also of the fields that it leaves out.
    pub(super) fn all_names(&self) -> Vec<&str> {
        let skipped = match &self.kind {
            Kind::Struct { skipped, .. } => &skipped[..],
            Kind::Map | Kind::Null => &[],
        };
        let mut names: Vec<&str> = self.names().chain(skipped.iter().copied()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        let index = self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()?;
        self.fields.get(index)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Part> {
        self.field(name).map(|field| &field.part)
    }

    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| &*field.name)
    }

    /// The object itself, given the one that is stored.
    pub(super) fn into_data(self, stored: Option<&Data>) -> Data {
        let fields = self.fields.into_iter().map(|Field { name, part, .. }| {
            let value = part.into_value(stored.and_then(|stored| stored.get(&*name)));
            (name.into_owned(), value)
        });
        fields.collect()
    }

    pub(super) fn to_value(&self, stored: &Data) -> Value {
        Value::Object(self.clone().into_data(Some(stored)))
    }
}

/// What a value is where there is nothing, of the kind of another value if it is known.
pub(super) fn nothing_of_kind(value: Option<&Value>) -> Vec<Value> {
    let all = [json!(null), json!([]), json!({}), json!(""), json!(0), json!(false)];
    let is_of_kind = |nothing: &Value| {
        nothing.is_null() || value.is_none_or(|value| discriminant(value) == discriminant(nothing))
    };
    all.into_iter().filter(is_of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_order_and_of_one_name_the_last_counts() {
        let field = |name: &'static str, value| Field {
            name: Cow::Borrowed(name),
            part: Part::Other(value),
            owner: Owner::Struct,
        };
        let fields = vec![
            field("b", json!(1)),
            field("c", json!(2)),
            field("a", json!(3)),
            field("b", json!(4)),
            field("b", json!(5)),
        ];
        let fields = Fields::new(fields, Kind::Map);
        assert!(fields.has_twice());
        assert_eq!(fields.get("b"), Some(&Part::Other(json!(5))));
        assert_eq!(fields.get("c"), Some(&Part::Other(json!(2))));
        assert_eq!(fields.get("d"), None);
        let mut stored = Value::Object(fields.into_data(None));
        assert!(unstorable::leave_out(&mut stored));
        assert_eq!(stored, json!({"a": 3, "b": 5, "c": 2}));
    }
}
