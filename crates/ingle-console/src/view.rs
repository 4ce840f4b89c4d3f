//! What pages are made of: times, values, and the rows of a session's data.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ingle::{StoredSession, data::Data, operator::DamagedSession};
use ingle_operator::{
    HIDDEN, Path, Segment, counted, inert, kind, of_text, redacted, shortened, size, typed,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    context::{Context, Top, When},
    form::address,
};

/// A longer value is cut in a list of fields. Its own page has all of it.
const COLUMNS_MAX: usize = 240;

/// Where a value has one line.
const TOLD_COLUMNS_MAX: usize = 100;

/// More fields are shown as JSON only.
const ROWS_MAX: usize = 500;

/// The page as an answer.
pub(crate) fn page(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => {
            (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::INTERNAL_SERVER_ERROR, kind, "The page could not be made.\n")
                .into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage {
    pub(crate) top: Top,
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

#[derive(Template)]
#[template(path = "done.html")]
pub(crate) struct DonePage {
    pub(crate) top: Top,
    pub(crate) title: &'static str,
    pub(crate) text: String,
    pub(crate) back: String,
}

/// A session in a list.
#[derive(Default, Serialize)]
pub(crate) struct Line {
    pub(crate) handle: String,
    pub(crate) href: String,
    pub(crate) user: Option<UserLink>,
    pub(crate) label: String,
    pub(crate) began: When,
    pub(crate) last_seen: When,
    pub(crate) size: String,
    /// The beginning of the data, with what looks secret hidden.
    pub(crate) preview: String,
}

#[derive(Clone, Serialize)]
pub(crate) struct UserLink {
    pub(crate) name: String,
    pub(crate) href: String,
}

pub(crate) fn user_link(context: &Context, name: &str) -> UserLink {
    let href = address(&context.base.to("/user"), &[("name", name)]);
    UserLink { name: shortened(name, 60), href }
}

/// The line of a session. Its preview begins with what is at these places.
pub(crate) fn line(context: &Context, session: &StoredSession, first: &[&Path]) -> Line {
    let info = session.info();
    let user = info.user.as_ref();
    let label = user.and_then(|user| user.label.as_deref()).unwrap_or_default();
    Line {
        handle: info.handle.to_string(),
        href: context.base.to(&format!("/sessions/{}", info.handle)),
        user: user.map(|user| user_link(context, &user.name)),
        label: shortened(label, 40),
        began: context.when(info.began),
        last_seen: context.when(info.last_seen),
        size: size(info.data_bytes),
        preview: preview(session.snapshot(), first),
    }
}

fn preview(data: &Data, first: &[&Path]) -> String {
    let shown = redacted(data).data;
    let asked = first.iter().filter_map(|path| Some((path.to_string(), path.get(&shown)?)));
    let is_other = |name: &str| first.iter().all(|path| **path != Path::of_field(name));
    let others = shown.iter().filter(|(name, _)| is_other(name));
    let others = others.map(|(name, value)| (name.clone(), value));
    let fields = asked.chain(others).take(8).map(|(name, value)| {
        let value = if is_mark(value) { "hidden".to_owned() } else { value.to_string() };
        format!("{}: {}", inert(&name), shortened(&value, 40))
    });
    shortened(&fields.collect::<Vec<_>>().join(", "), 100)
}

pub(crate) fn is_mark(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key(HIDDEN))
}

/// A value in the tree of a session's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) path: String,
    /// The name, or the number in a list.
    pub(crate) name: String,
    /// How deep it is: the fields of the session have 0.
    pub(crate) depth: usize,
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) is_hidden: bool,
    /// Whether it has rows of its own, and takes more.
    pub(crate) is_container: bool,
    /// Whether it is a list whose items can change places.
    pub(crate) has_order: bool,
}

impl Row {
    /// The class of its depth. What is deeper than this stands below one another.
    pub(crate) fn indent(&self) -> usize {
        self.depth.min(8)
    }
}

/// The rows of the data, and how many more there are.
pub(crate) fn rows(data: &Data) -> (Vec<Row>, usize) {
    let mut rows = Vec::new();
    for (name, value) in data {
        add_rows(&Path::of_field(name), inert(name), value, 0, &mut rows);
    }
    let more = rows.len().saturating_sub(ROWS_MAX);
    rows.truncate(ROWS_MAX);
    (rows, more)
}

fn add_rows(path: &Path, name: String, value: &Value, depth: usize, rows: &mut Vec<Row>) {
    let is_hidden = is_mark(value);
    let kind = match value.get(HIDDEN).and_then(Value::as_str).filter(|_| is_hidden) {
        Some(kind) => inert(kind),
        None => kind(value).to_owned(),
    };
    let is_container = matches!(&*kind, "map" | "list") && !is_hidden;
    let text = match value {
        _ if is_hidden => "hidden".to_owned(),
        Value::Array(items) => counted(items.len(), "item"),
        Value::Object(fields) if kind == "map" => counted(fields.len(), "field"),
        Value::String(text) => shortened(text, COLUMNS_MAX),
        other => shortened(&plain(other), COLUMNS_MAX),
    };
    let has_order = value.as_array().is_some_and(|items| items.len() > 1);
    let path_text = path.to_string();
    rows.push(Row { path: path_text, name, depth, kind, text, is_hidden, is_container, has_order });
    match value {
        Value::Array(items) if is_container => {
            for (index, item) in items.iter().enumerate() {
                let path = path.then(Segment::Index(index));
                add_rows(&path, format!("[{index}]"), item, depth + 1, rows);
            }
        }
        Value::Object(fields) if is_container => {
            for (name, value) in fields {
                let path = path.then(Segment::Name(name.clone()));
                add_rows(&path, inert(name), value, depth + 1, rows);
            }
        }
        _ => {}
    }
}

/// The beginning of a value on one line.
pub(crate) fn told(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => value.to_string(),
        Value::Object(_) if kind(value) == "map" => value.to_string(),
        other => plain(other),
    };
    shortened(&text, TOLD_COLUMNS_MAX)
}

/// The parts of a text, and whether each is code.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = (bool, &str)> {
    text.split('`').enumerate().map(|(at, part)| (!at.is_multiple_of(2), part))
}

/// A value that is no text, without its type, which stands beside it.
fn plain(value: &Value) -> String {
    match as_written(value) {
        Some((_, text)) => text,
        None if value.is_null() => "null".to_owned(),
        None => pretty(value),
    }
}

/// A value that has a type of its own in forms, as [`ingle_operator::of_text`] reads it.
fn as_written(value: &Value) -> Option<(&'static str, String)> {
    let written = typed(value);
    let (name, text) = written.split_once(':')?;
    let (_, known) = KINDS.iter().find(|(_, known)| *known == name)?;
    Some((known, text.to_owned()))
}

/// The types of a value in forms: as people read them, and as [`ingle_operator::of_text`] does.
pub(crate) const KINDS: [(&str, &str); 12] = [
    ("text", "text"),
    ("integer", "int"),
    ("double", "double"),
    ("boolean", "bool"),
    ("null", "null"),
    ("list", "list"),
    ("map", "map"),
    ("timestamp", "timestamp"),
    ("bytes", "bytes"),
    ("geographical point", "geopoint"),
    ("reference", "reference"),
    ("anything as JSON", "json"),
];

/// A value as a form shows it: the type, and a text of several lines at most.
pub(crate) fn type_and_text(value: &Value) -> (&'static str, String) {
    if let Value::String(text) = value {
        // A browser would change other control characters, and the ends of lines.
        let is_safe = |c: char| !c.is_control() || c == '\n' || c == '\t';
        return match text.chars().all(is_safe) {
            true => ("text", text.clone()),
            false => ("json", value.to_string()),
        };
    }
    // What would be another value once it is read stays as it is.
    let is_same = |(known, text): &(&str, String)| {
        of_text(&format!("{known}:{text}")).is_ok_and(|back| back == *value)
    };
    match as_written(value).filter(is_same) {
        Some(found) => found,
        None if value.is_null() => ("null", String::new()),
        None => match kind(value) {
            kind @ ("list" | "map") => (kind, pretty(value)),
            _ => ("json", pretty(value)),
        },
    }
}

pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// How many of the handles of sessions that cannot be read are named.
const DAMAGED_NAMED: usize = 10;

/// What is said of sessions that cannot be read. Nothing, if there are none.
pub(crate) fn damaged_note(damaged: &[DamagedSession]) -> String {
    if damaged.is_empty() {
        return String::new();
    }
    let named = damaged.iter().take(DAMAGED_NAMED).map(|damaged| damaged.handle().to_string());
    let named = named.collect::<Vec<_>>().join(", ");
    let more = if damaged.len() > DAMAGED_NAMED { ", and more" } else { "" };
    format!(
        "{} cannot be read: {named}{more}. The command `ingle sessions show` says how to look at one, and \
         `ingle sessions end` ends it.",
        counted(damaged.len(), "session")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_preview_begins_with_what_was_asked_for() {
        let data = json!({
            "a": "x".repeat(60), "b c": 1, "cart": { "items": [{ "n": 7 }] }, "token": "t", "z": 2,
        });
        let data = data.as_object().unwrap();
        let beginning = |asked: &[&str], n: usize| {
            let paths: Vec<Path> = asked.iter().map(|path| path.parse().unwrap()).collect();
            preview(data, &paths.iter().collect::<Vec<_>>()).chars().take(n).collect::<String>()
        };
        assert_eq!(beginning(&[], 5), "a: \"x");
        assert_eq!(
            beginning(&["z", "cart.items[0].n", "gone"], 30),
            "z: 2, cart.items[0].n: 7, a: \""
        );
        assert_eq!(beginning(&["\"b c\""], 12), "\"b c\": 1, a:");
        assert_eq!(beginning(&["token"], 13), "token: hidden");
        let whole = beginning(&["z", "a", "\"b c\""], 100);
        assert_eq!((whole.matches("z: ").count(), whole.matches("b c").count()), (1, 1), "{whole}");
    }
}
