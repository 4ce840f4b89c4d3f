//! Edits of a session's data. Each form carries the value that it showed, and is saved only where that is
//! still there: what the app changes elsewhere in the session does not matter, and is not lost.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use ingle::{Error, StoredSession, clock::Timestamp, data::Data};
use ingle_operator::{
    Conflict, Edit, NoEdit, Path, Segment, apply, differences, for_edits, has_too_large_integer,
    holds_hidden, inert, of_text, redacted, sentence,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    carried::{self, Carried},
    context::{Context, Editing, Top},
    form::{Form, Query},
    pages::session::{Shown, Undo, answer},
    problem::Problem,
    view::{KINDS, is_mark, page, pretty, type_and_text},
};

/// What is said of edits that were made, and of a form that nobody can have filled in so.
pub(crate) const SAVED: &str = "Saved.";
pub(crate) const DAMAGED: &str = "The form is damaged. Nothing was changed. Open it again.";

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    top: Top,
    href: String,
    handle: String,
    title: &'static str,
    path: String,
    /// Where the new field goes, if it is one that has no name yet.
    is_named_here: bool,
    name: String,
    /// The value that is there, as JSON, if any is.
    before: Option<String>,
    kind: String,
    kinds: &'static [(&'static str, &'static str)],
    text: String,
    can_remove: bool,
    wrong: String,
}

#[derive(Template)]
#[template(path = "json.html")]
struct JsonPage {
    top: Top,
    href: String,
    handle: String,
    before: String,
    text: String,
    has_hidden: bool,
    wrong: String,
}

#[derive(Template)]
#[template(path = "hidden.html")]
struct HiddenPage {
    top: Top,
    href: String,
    handle: String,
    path: String,
    /// What is opened once it was revealed.
    then: &'static str,
}

#[derive(Template)]
#[template(path = "conflict.html")]
struct ConflictPage {
    top: Top,
    href: String,
    handle: String,
    conflicts: Vec<Shown3>,
    /// The edits on the condition of what is there now, if all of that can be shown.
    again: Option<Carried>,
}

/// A value three times.
struct Shown3 {
    path: String,
    before: String,
    theirs: String,
    yours: String,
}

/// An edit as a form carries it.
#[derive(Clone, Debug, Serialize, Deserialize)]
// Without a misspelt `yours`, it would be read as a removal.
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some")]
    before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some")]
    yours: Option<Value>,
}

/// A value that is null is there.
mod some {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use serde_json::Value;

    #[expect(clippy::ref_option, reason = "serde's `with` passes references")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().unwrap_or(&Value::Null).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Value>, D::Error> {
        Value::deserialize(deserializer).map(Some)
    }
}

/// The form of one value.
pub(crate) async fn form(
    Editing(context, session): Editing,
    Query(query): Query,
) -> Result<Response, Problem> {
    if query.field("path").is_none() {
        return Ok(Redirect::to(&context.href(&session)).into_response());
    }
    let path = path_of(query.text("path"))?;
    let shown = redacted(session.snapshot()).data;
    value_form(&context, &session, &path, &shown)
}

/// The form of a value, with what may be shown of the data.
pub(crate) fn value_form(
    context: &Context,
    session: &StoredSession,
    path: &Path,
    shown: &Data,
) -> Result<Response, Problem> {
    if is_hidden(shown, session, path) {
        return Ok(hidden_page(context, session, path, "edit"));
    }
    if path.get(session.snapshot()).is_none() {
        let text = "There is no such field in this session any more.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "The field is not there", text));
    }
    let before = place_of(path).get(shown).filter(|value| !may_hide(value, session, path));
    let (Some(before), Some(value)) = (before, path.get(shown)) else {
        return Ok(hidden_page(context, session, path, "edit"));
    };
    let (kind, text) = type_and_text(value);
    let form = EditPage {
        top: context.top("sessions"),
        href: context.href(session),
        handle: session.info().handle.to_string(),
        title: "Edit",
        path: path.to_string(),
        is_named_here: false,
        name: String::new(),
        before: Some(before.to_string()),
        kind: kind.to_owned(),
        kinds: &KINDS,
        text,
        can_remove: true,
        wrong: String::new(),
    };
    Ok(page(StatusCode::OK, &form))
}

/// Whether a value is hidden as a whole, or would be within one that is. Then not even whether it is there
/// may be told.
pub(crate) fn is_hidden(shown: &Data, session: &StoredSession, path: &Path) -> bool {
    std::iter::successors(Some(path.clone()), Path::parent).any(|path| {
        let shown = path.get(shown);
        shown.is_some_and(is_mark) && shown != path.get(session.snapshot())
    })
}

/// Whether a value that is shown has a mark in the place of what the session has there.
pub(crate) fn may_hide(shown: &Value, session: &StoredSession, path: &Path) -> bool {
    holds_hidden(shown) && place_of(path).get(session.snapshot()) != Some(shown)
}

/// Says that a value must be revealed before it can be edited.
pub(crate) fn hidden_page(
    context: &Context,
    session: &StoredSession,
    path: &Path,
    then: &'static str,
) -> Response {
    let page_of = HiddenPage {
        top: context.top("sessions"),
        href: context.href(session),
        handle: session.info().handle.to_string(),
        path: path.to_string(),
        then,
    };
    page(StatusCode::OK, &page_of)
}

/// The form of a value that is to be added to a map, a list or the session.
pub(crate) async fn add_form(
    Editing(context, session): Editing,
    Query(query): Query,
) -> Result<Response, Problem> {
    let container = match query.text("in") {
        "" => None,
        text => Some(path_of(text)?),
    };
    let shown = redacted(session.snapshot()).data;
    let found = container.as_ref().map(|path| path.get(&shown));
    let (path, is_named_here) = match (container, found) {
        (None, _) => (String::new(), true),
        (Some(path), Some(Some(Value::Array(items)))) => {
            (path.then(Segment::Index(items.len())).to_string(), false)
        }
        (Some(path), Some(Some(Value::Object(_)))) => (path.to_string(), true),
        _ => {
            let text = "There is no such map or list in this session any more.";
            return Err(Problem::new(StatusCode::NOT_FOUND, "The field is not there", text));
        }
    };
    // What is in a list is an edit of all of it.
    let list = path.parse::<Path>().ok().and_then(|path| path.list());
    let before = list.as_ref().and_then(|list| list.get(&shown));
    if let Some(list) = &list
        && before.is_some_and(holds_hidden)
    {
        return Ok(hidden_page(&context, &session, list, "edit"));
    }
    let form = EditPage {
        top: context.top("sessions"),
        href: context.href(&session),
        handle: session.info().handle.to_string(),
        title: "Add",
        path,
        is_named_here,
        name: String::new(),
        before: before.map(Value::to_string),
        kind: "text".to_owned(),
        kinds: &KINDS,
        text: String::new(),
        can_remove: false,
        wrong: String::new(),
    };
    Ok(page(StatusCode::OK, &form))
}

/// Saves or removes one value.
pub(crate) async fn save(
    Editing(context, session): Editing,
    form: Form,
) -> Result<Response, Problem> {
    let edit = match edit_in(&form) {
        Ok(edit) => edit,
        Err(wrong) => return Ok(form_again(&context, &session, &form, wrong)),
    };
    commit(&context, &session, vec![edit], SAVED).await
}

/// The edit that a form of one value asks for.
fn edit_in(form: &Form) -> Result<Edit, String> {
    let path = match (form.text("path"), form.field("name")) {
        ("", Some(name)) => Path::of_field(name),
        (text, name) => {
            let path: Path = text.parse().map_err(sentence)?;
            name.map_or(path.clone(), |name| path.then(Segment::Name(name.to_owned())))
        }
    };
    if form.field("name") == Some("") {
        return Err("The field needs a name.".to_owned());
    }
    let before = form.field("before").map(serde_json::from_str).transpose();
    let before: Option<Value> = before.map_err(|_| DAMAGED.to_owned())?;
    let shown = shown_of(&place_of(&path), before.as_ref())?;
    if form.text("do") == "remove" {
        return Edit::unset(&shown, &path).map_err(sentence);
    }
    let (kind, text) = (form.text("kind"), form.lines("value"));
    let Some((shown_kind, _)) = KINDS.iter().find(|(_, known)| *known == kind) else {
        return Err("The value has no type that there is.".to_owned());
    };
    let value = match kind {
        "json" | "list" | "map" => of_kind(kind, &text)?,
        "null" => Value::Null,
        kind => of_text(&format!("{kind}:{text}"))
            .map_err(|error| format!("The type {shown_kind} takes {}.", error.takes()))?,
    };
    if holds_hidden(&value) && before.as_ref().is_none_or(|before| !holds_hidden(before)) {
        return Err("A value cannot have the mark of what is hidden in it.".to_owned());
    }
    Edit::set(&shown, &path, value).map_err(sentence)
}

/// A list, a map, or anything else, as JSON. A new list or map begins empty.
fn of_kind(kind: &str, text: &str) -> Result<Value, String> {
    let value = match (kind, text.trim()) {
        ("list", "") => return Ok(json!([])),
        ("map", "") => return Ok(json!({})),
        _ => json_of(text)?,
    };
    match (kind, &value) {
        ("list", Value::Array(_)) | ("map", Value::Object(_)) | ("json", _) => Ok(value),
        ("list", _) => Err("This is no list, which is such as [1, \"two\"].".to_owned()),
        _ => Err("This is no map, which is such as {\"a\": 1}.".to_owned()),
    }
}

/// A text as JSON. A number that does not fit would be another one.
fn json_of(text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    match has_too_large_integer(text) {
        true => Err("An integer in it does not fit into 64 bits.".to_owned()),
        false => Ok(value),
    }
}

/// The data as far as a form has shown it.
pub(crate) fn shown_of(place: &Path, before: Option<&Value>) -> Result<Data, String> {
    let mut shown = Data::new();
    let at = match (before, place.parent()) {
        (Some(before), _) => Some((place.clone(), before.clone())),
        (None, Some(parent)) => Some((parent, json!({}))),
        (None, None) => None,
    };
    if let Some((at, value)) = at {
        at.set(&mut shown, value).map_err(sentence)?;
    }
    Ok(shown)
}

/// The place of the value that an edit at a path is an edit of.
pub(crate) fn place_of(path: &Path) -> Path {
    path.list().unwrap_or_else(|| path.clone())
}

pub(crate) fn path_of(text: &str) -> Result<Path, Problem> {
    text.parse().map_err(|error| Problem::bad_request(sentence(error)))
}

fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("Line {}, column {}: {what}.", error.line(), error.column())
}

/// The form as it was sent, with what is wrong.
fn form_again(context: &Context, session: &StoredSession, form: &Form, wrong: String) -> Response {
    let text = |name: &str| form.text(name).to_owned();
    let shown = EditPage {
        top: context.top("sessions"),
        href: context.href(session),
        handle: session.info().handle.to_string(),
        title: if form.field("before").is_some() { "Edit" } else { "Add" },
        path: text("path"),
        is_named_here: form.field("name").is_some(),
        name: text("name"),
        before: form.field("before").map(str::to_owned),
        kind: text("kind"),
        kinds: &KINDS,
        text: form.lines("value"),
        can_remove: false,
        wrong,
    };
    page(StatusCode::UNPROCESSABLE_ENTITY, &shown)
}

/// The whole data as JSON.
pub(crate) async fn json_form(Editing(context, session): Editing) -> Result<Response, Problem> {
    let shown = redacted(session.snapshot());
    Ok(whole_form(&context, &session, shown.data, !shown.fields.is_empty()))
}

pub(crate) fn whole_form(
    context: &Context,
    session: &StoredSession,
    shown: Data,
    has_hidden: bool,
) -> Response {
    let shown = Value::Object(shown);
    let form = JsonPage {
        top: context.top("sessions"),
        href: context.href(session),
        handle: session.info().handle.to_string(),
        before: shown.to_string(),
        text: pretty(&shown),
        has_hidden,
        wrong: String::new(),
    };
    page(StatusCode::OK, &form)
}

/// Saves what differs from what was shown.
pub(crate) async fn save_json(
    Editing(context, session): Editing,
    form: Form,
) -> Result<Response, Problem> {
    match edits_in(&form) {
        Ok(edits) if edits.is_empty() => Ok(Redirect::to(&context.href(&session)).into_response()),
        Ok(edits) => commit(&context, &session, edits, SAVED).await,
        Err(wrong) => {
            let shown = JsonPage {
                top: context.top("sessions"),
                href: context.href(&session),
                handle: session.info().handle.to_string(),
                before: form.text("before").to_owned(),
                text: form.lines("value"),
                has_hidden: false,
                wrong,
            };
            Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &shown))
        }
    }
}

fn edits_in(form: &Form) -> Result<Vec<Edit>, String> {
    let damaged = |_| DAMAGED.to_owned();
    let shown: Data = serde_json::from_str(form.text("before")).map_err(damaged)?;
    let text = form.lines("value");
    let Value::Object(wanted) = json_of(&text)? else {
        return Err("Line 1, column 1: the data of a session is a map, in braces.".to_owned());
    };
    let edits = differences(&shown, &shown, &wanted).map_err(sentence)?;
    // What was hidden is not known here, so it cannot be compared with what is there.
    let hidden = edits.iter().find(|edit| edit.before.as_ref().is_some_and(holds_hidden));
    match hidden {
        Some(edit) => Err(sentence(NoEdit::Hidden(edit.path.clone()))),
        None => Ok(edits),
    }
}

/// Makes edits that were made before: those of an undo, or those of a conflict once more.
pub(crate) async fn apply_again(
    Editing(context, session): Editing,
    form: Form,
) -> Result<Response, Problem> {
    if let Some(until) = form.field("until") {
        let until = until.parse().map(Timestamp::from_millis);
        if until.is_ok_and(|until| context.sessions.now() >= until) {
            return Err(too_late());
        }
    }
    let damaged = || Problem::bad_request(DAMAGED);
    let text = carried::read(&context, &session, &form).ok_or_else(too_late)?;
    let written: Vec<Written> = serde_json::from_str(&text).map_err(|_| damaged())?;
    if written.is_empty() {
        return Err(damaged());
    }
    let edits: Result<Vec<_>, _> = written.iter().map(edit_of).collect();
    let edits = edits.map_err(Problem::bad_request)?;
    let said = if form.field("until").is_some() { "Undone." } else { SAVED };
    commit(&context, &session, edits, said).await
}

fn too_late() -> Problem {
    let text = "The edits of this page are not kept any more: after 10 minutes, after a restart, or because \
                another instance answered. Nothing was changed. Open the session and edit it again.";
    Problem::new(StatusCode::GONE, "Too late", text)
}

/// The edit that was written.
pub(crate) fn edit_of(written: &Written) -> Result<Edit, String> {
    let path: Path = written.path.parse().map_err(sentence)?;
    let shown = shown_of(&path, written.before.as_ref())?;
    match &written.yours {
        Some(value) => Edit::set(&shown, &path, value.clone()),
        None => Edit::unset(&shown, &path),
    }
    .map_err(sentence)
}

fn written(path: &Path, before: Option<&Value>, yours: Option<&Value>) -> Written {
    Written { path: path.to_string(), before: before.cloned(), yours: yours.cloned() }
}

pub(crate) fn as_text(edits: &[Written]) -> String {
    serde_json::to_string(edits).unwrap_or_default()
}

/// Commits the edits, and shows the session as it is then, or what is in their way.
pub(crate) async fn commit(
    context: &Context,
    session: &StoredSession,
    edits: Vec<Edit>,
    said: &str,
) -> Result<Response, Problem> {
    let session = for_edits(session, &edits);
    let change = edits.clone();
    let done = session.try_update(move |data: &mut Data| apply(data, &change)).await;
    let (done, session) = match done {
        // A renewal moved it, and it is the same session.
        Err(Error::Interrupted) => {
            let Ok(moved) = session.reload().await? else { return Err(Error::Interrupted.into()) };
            let change = edits.clone();
            (moved.try_update(move |data: &mut Data| apply(data, &change)).await?, moved)
        }
        done => (done?, session),
    };
    if let Err(conflicts) = done {
        return conflict_page(context, &session, &edits, &conflicts);
    }
    let session = stored(&session).await?;
    let undo = if said == SAVED { undo(context, &session, &edits) } else { None };
    Ok(answer(context, &session, Shown { said: said.to_owned(), undo, ..Shown::default() }))
}

/// A session whose change was stored, as it is then.
pub(crate) async fn stored(session: &StoredSession) -> Result<StoredSession, Problem> {
    match session.reload().await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(_)) => Err(Problem::stored(
            StatusCode::NOT_FOUND,
            "The change was stored, and the session has ended since.",
        )),
        Err(_) => Err(Problem::stored(
            StatusCode::SERVICE_UNAVAILABLE,
            "The change was stored. The store did not answer when the session was read again. Open the \
             session, and do not repeat the change.",
        )),
    }
}

/// None without random bytes: the edit stands all the same.
fn undo(context: &Context, session: &StoredSession, edits: &[Edit]) -> Option<Undo> {
    let undone: Vec<_> = edits
        .iter()
        .map(|edit| written(&edit.path, edit.yours.as_ref(), edit.before.as_ref()))
        .collect();
    let until = context.sessions.now().after(carried::TIME).as_millis().to_string();
    Some(Undo { edits: Carried::of(context, session, edits, &undone).ok()?, until })
}

fn conflict_page(
    context: &Context,
    session: &StoredSession,
    edits: &[Edit],
    conflicts: &[Conflict],
) -> Result<Response, Problem> {
    let told = |value: &Option<Value>| match value {
        Some(value) => pretty(value),
        None => "not there".to_owned(),
    };
    let redacted: Vec<_> = conflicts.iter().map(Conflict::redacted).collect();
    let can_be_shown =
        redacted.iter().zip(conflicts).all(|(shown, conflict)| shown.theirs == conflict.theirs);
    let theirs_of = |edit: &Edit| match conflicts.iter().find(|found| found.path == edit.path) {
        Some(conflict) => conflict.theirs.clone(),
        None => edit.before.clone(),
    };
    let again: Vec<_> = edits
        .iter()
        .map(|edit| written(&edit.path, theirs_of(edit).as_ref(), edit.yours.as_ref()))
        .collect();
    let shown = redacted.iter().map(|conflict| Shown3 {
        path: inert(&conflict.path.to_string()),
        before: told(&conflict.before),
        theirs: told(&conflict.theirs),
        yours: told(&conflict.yours),
    });
    let conflict_page = ConflictPage {
        top: context.top("sessions"),
        href: context.href(session),
        handle: session.info().handle.to_string(),
        conflicts: shown.collect(),
        again: match can_be_shown {
            true => Some(Carried::of(context, session, edits, &again)?),
            false => None,
        },
    };
    Ok(page(StatusCode::CONFLICT, &conflict_page))
}
