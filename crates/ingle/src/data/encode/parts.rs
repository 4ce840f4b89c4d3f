//! What an encoder has made: of a value, of the items of an array, of the fields of an object.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::stored::Stored;
use crate::data::fields::{Field, Fields, Kind, Owner, Part};

/// The result of a serializer. The caller that needs an object as a value builds it.
pub(super) enum Encoded {
    Part(Part),
    Object { fields: Fields, is_place: bool },
}

impl Encoded {
    pub(super) fn into_part(self, stored: Stored<'_>) -> Part {
        let (fields, is_place) = match self {
            Self::Part(part) => return part,
            Self::Object { fields, is_place } => (fields, is_place),
        };
        let before = stored.object();
        let same = before.is_some_and(|before| {
            before.len() == fields.len() && fields.iter().all(|field| field.part == Part::Same)
        });
        match (same, is_place) {
            (true, _) => Part::Same,
            (false, true) => Part::Place(Box::new(fields)),
            (false, false) => Part::Other(Value::Object(fields.into_data(before))),
        }
    }

    pub(super) fn has_twice(&self) -> bool {
        matches!(self, Self::Object { fields, .. } if fields.has_twice())
    }
}

/// Wraps the content of an enum's variant as serde_json does: `{"Variant": content}`.
pub(super) fn in_variant(variant: Option<&'static str>, content: Part) -> Part {
    match (variant, content) {
        (None, content) | (_, content @ Part::Same) => content,
        (Some(name), content) => {
            let content = content.into_value(None);
            Part::Other(Value::Object(Map::from_iter([(name.to_owned(), content)])))
        }
    }
}

/// The items of an array. They are copied from the first one on that differs from the stored one.
pub(super) struct Items<'a> {
    stored: Option<&'a [Value]>,
    n_same: usize,
    /// All of them, if not all are the same.
    others: Option<Vec<Value>>,
}

impl<'a> Items<'a> {
    pub(super) fn new(stored: Option<&'a [Value]>) -> Self {
        Self { stored, n_same: 0, others: None }
    }

    pub(super) fn len(&self) -> usize {
        self.others.as_ref().map_or(self.n_same, Vec::len)
    }

    pub(super) fn push(&mut self, part: Part) {
        if self.others.is_none() && part == Part::Same {
            self.n_same += 1;
            return;
        }
        let stored = self.stored.and_then(|stored| stored.get(self.len()));
        let item = part.into_value(stored);
        let first = || self.stored.unwrap_or_default().iter().take(self.n_same).cloned().collect();
        self.others.get_or_insert_with(first).push(item);
    }

    pub(super) fn into_part(self) -> Part {
        let Self { stored, n_same, others } = self;
        match (others, stored) {
            (Some(items), _) => Part::Other(Value::Array(items)),
            (None, Some(stored)) if stored.len() == n_same => Part::Same,
            (None, stored) => {
                let items = stored.unwrap_or_default().iter().take(n_same).cloned();
                Part::Other(Value::Array(items.collect()))
            }
        }
    }
}

/// The name of an enum's variant among the fields of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// `tag`: the variant's own fields follow.
    Fields,
    /// `tag` and `content`: one field with the variant's content follows, if it has any.
    Content,
}

/// The fields of an object, as serde tells them one after the other.
pub(super) struct Object {
    fields: Vec<Field>,
    kind: Kind,
    is_behind_tag: bool,
    content_follows: bool,
}

impl Object {
    pub(super) fn new(capacity: usize, kind: Kind) -> Self {
        let fields = Vec::with_capacity(capacity);
        Self { fields, kind, is_behind_tag: false, content_follows: false }
    }

    /// Adds a field. It can be a tag where serde would write one: as the first field of a struct, and
    /// anywhere in a struct with `flatten`.
    pub(super) fn push(
        &mut self,
        name: Cow<'static, str>,
        value: Encoded,
        stored: Stored<'_>,
        is_own: bool,
        tag: Option<Tag>,
    ) {
        let tag = tag.filter(|_| self.fields.is_empty() || matches!(self.kind, Kind::Map));
        let owner = match tag {
            _ if !is_own => Owner::Map,
            None if self.is_behind_tag => Owner::Variant,
            None if !self.content_follows => Owner::Struct,
            _ => Owner::Tag,
        };
        self.is_behind_tag |= tag == Some(Tag::Fields);
        self.content_follows = tag == Some(Tag::Content);
        self.fields.push(Field { name, part: value.into_part(stored), owner });
    }

    /// Says that the struct has a field that it leaves out.
    pub(super) fn skip(&mut self, name: &'static str) {
        if let Kind::Struct { skipped, .. } = &mut self.kind {
            skipped.push(name);
        }
    }

    /// The JSON text, if this is how serde_json writes a value of its own kinds, such as `RawValue`.
    pub(super) fn as_json(&self) -> Option<&str> {
        match (&self.kind, &self.fields[..]) {
            (Kind::Struct { name, .. }, [Field { part: Part::Other(Value::String(json)), .. }])
                if name.starts_with("$serde_json::private::") =>
            {
                Some(json)
            }
            _ => None,
        }
    }

    pub(super) fn into_encoded(self, is_place: bool) -> Encoded {
        Encoded::Object { fields: Fields::new(self.fields, self.kind), is_place }
    }
}
