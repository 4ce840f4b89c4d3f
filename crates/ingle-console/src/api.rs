//! The same for programs: JSON below `/api/v1`, as `openapi.json` describes it.
//!
//! Errors are problem details (RFC 9457), which the gate makes. An edit carries the value that it replaces,
//! and `If-Match` makes all edits of a request depend on the whole of what was read.

use axum::{
    Json, Router,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ingle::{StoredSession, data::Data};
use ingle_operator::{
    Conflict, Edit, apply, for_edits, has_too_large_integer, holds_hidden, instant, redacted,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    Console,
    access::Role,
    context::Context,
    edit::{Written, edit_of, stored},
    end::of_user_broken_off,
    find,
    form::Query,
    problem::Problem,
};

/// Where it is, below the console.
pub(crate) const PREFIX: &str = "/api/";

/// How many sessions a page has, at most and if nothing else is said.
const LIMIT: usize = 100;

/// What describes it.
pub(crate) const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) const PROBLEM: &str = "application/problem+json";

pub(crate) fn routes() -> Router<Console> {
    Router::new()
        .route("/api/v1/openapi.json", get(document))
        .route("/api/v1/store", get(store))
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/sessions/{handle}", get(session).patch(change).delete(end))
        .route("/api/v1/sessions/{handle}/reveal", post(reveal))
        .route("/api/v1/users/end", post(end_user))
        .route("/api/v1/audit", get(audit))
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

async fn store(context: Context) -> Json<Value> {
    let info = context.sessions.store_info();
    let is_well = context.sessions.ping_store().await.is_ok();
    Json(json!({
        "name": info.name,
        "server": info.server,
        "durability": info.durability,
        "has_lists": info.capabilities.lists_by_user,
        "is_well": is_well,
    }))
}

async fn sessions(context: Context, Query(query): Query) -> Result<Json<Value>, Problem> {
    let wanted = find::read(query.text("q")).map_err(Problem::bad_request)?;
    let after = context.cursors().read(query.text("after"))?;
    let found = find::search(&context, &wanted, after, LIMIT).await?;
    let next = found.next.map(|next| context.cursors().text(next)).transpose()?;
    let told: Vec<_> = found.sessions.iter().map(head).collect();
    let damaged: Vec<_> = found.damaged.iter().map(|one| one.handle().to_string()).collect();
    Ok(Json(json!({
        "sessions": told,
        "damaged": damaged,
        "searched": found.searched,
        "passed": found.span.map(|(_, to)| to),
        "next": next,
    })))
}

/// What is told of a session beside its data.
fn head(session: &StoredSession) -> Value {
    let info = session.info();
    let user = info.user.as_ref().map(|user| {
        json!({
            "name": user.name,
            "at": instant(user.at),
            "label": user.label,
            "actor": user.actor,
        })
    });
    json!({
        "handle": info.handle.to_string(),
        "user": user,
        "began": instant(info.began),
        "last_seen": instant(info.last_seen),
        "idle_deadline": instant(info.idle_deadline),
        "ends": instant(info.ends),
        "commits": info.commits,
        "data_bytes": info.data_bytes,
    })
}

/// The version of the data as it is shown. What is hidden does not count: its hash would tell of it.
fn etag(data: &Data) -> String {
    let shown = Value::Object(redacted(data).data).to_string();
    let digits = Sha256::digest(shown);
    let digits: String = digits.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

fn whole(session: &StoredSession, data: Data) -> Response {
    let mut told = head(session);
    if let Some(fields) = told.as_object_mut() {
        fields.insert("data".to_owned(), data.into());
    }
    ([(header::ETAG, etag(session.snapshot()))], Json(told)).into_response()
}

async fn session(context: Context, Path(handle): Path<String>) -> Result<Response, Problem> {
    let session = context.session(&handle).await?;
    Ok(whole(&session, redacted(session.snapshot()).data))
}

async fn reveal(context: Context, Path(handle): Path<String>) -> Result<Response, Problem> {
    context.must_be(Role::Editor)?;
    let session = context.session(&handle).await?;
    let hidden = redacted(session.snapshot()).fields;
    let fields: Vec<&str> = hidden.iter().map(String::as_str).collect();
    session.note_reveal(&fields).await?;
    Ok(whole(&session, session.snapshot().clone()))
}

/// Why no edit was made.
enum Refused {
    /// The data is another one than `If-Match` names.
    Changed,
    Conflicts(Vec<Conflict>),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    edits: Vec<Written>,
}

async fn change(
    context: Context,
    Path(handle): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    context.must_be(Role::Editor)?;
    let Changes { edits } = json_of(&headers, &body)?;
    if edits.is_empty() {
        return Err(Problem::bad_request("There is no edit in `edits`. Nothing was changed."));
    }
    if std::str::from_utf8(&body).is_ok_and(has_too_large_integer) {
        return Err(unfit("An integer in it does not fit into 64 bits.".to_owned()));
    }
    let edits: Vec<Edit> = edits.iter().map(edit_of).collect::<Result<_, _>>().map_err(unfit)?;
    if edits.iter().any(|edit| edit.yours.as_ref().is_some_and(holds_hidden)) {
        return Err(unfit("A value cannot have the mark of what is hidden in it.".to_owned()));
    }
    let expected = match headers.get(header::IF_MATCH).map(|value| value.to_str()) {
        None | Some(Ok("*")) => None,
        Some(Ok(expected)) => Some(expected.to_owned()),
        Some(Err(_)) => return Err(Problem::bad_request("If-Match is no list of versions.")),
    };
    let is_expected = move |data: &Data| {
        expected.as_ref().is_none_or(|expected| {
            let now = etag(data);
            expected.split(',').any(|one| one.trim() == now)
        })
    };
    let session = for_edits(&context.session(&handle).await?, &edits);
    let done = session
        .try_update(move |data: &mut Data| match is_expected(data) {
            true => apply(data, &edits).map_err(Refused::Conflicts),
            false => Err(Refused::Changed),
        })
        .await?;
    match done {
        Ok(()) => {
            let session = stored(&session).await?;
            Ok(whole(&session, redacted(session.snapshot()).data))
        }
        Err(Refused::Changed) => {
            let text = "The session's data has changed since it was read. Nothing was changed.";
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "Changed meanwhile", text))
        }
        Err(Refused::Conflicts(conflicts)) => Ok(conflict(&conflicts)),
    }
}

fn unfit(text: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "This is no edit", text)
}

fn conflict(conflicts: &[Conflict]) -> Response {
    let told = conflicts.iter().map(|conflict| {
        let Conflict { path, before, theirs, yours } = conflict.redacted();
        json!({ "path": path.to_string(), "before": before, "theirs": theirs, "yours": yours })
    });
    let problem = json!({
        "type": "about:blank",
        "title": "Changed meanwhile",
        "status": 409,
        "detail": "A value is another one than was said. Nothing was changed.",
        "conflicts": told.collect::<Vec<_>>(),
    });
    (StatusCode::CONFLICT, [(header::CONTENT_TYPE, PROBLEM)], problem.to_string()).into_response()
}

async fn end(context: Context, Path(handle): Path<String>) -> Result<StatusCode, Problem> {
    context.must_be(Role::Operator)?;
    context.session(&handle).await?.end().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct UserName {
    name: String,
}

async fn end_user(
    context: Context,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    context.must_be(Role::Operator)?;
    let UserName { name } = json_of(&headers, &body)?;
    let ended = context.sessions.end_all_of(&name).await.map_err(of_user_broken_off)?;
    Ok(Json(json!({ "ended": ended })))
}

async fn audit(context: Context, Query(query): Query) -> Result<Json<Value>, Problem> {
    let after = context.cursors().read(query.text("after"))?;
    let page = context.sessions.audit_log(after.as_ref()).await?;
    let next = page.next.map(|next| context.cursors().text(next)).transpose()?;
    let may_see = context.is(Role::Editor);
    let lines = page.lines.iter().map(|line| {
        let mut told = json!(line);
        if let Some(fields) = told.as_object_mut() {
            fields.insert("at".to_owned(), instant(line.at).into());
            // A value that can be guessed can be told by its hash.
            if !may_see && let Some(Value::Object(named)) = fields.get_mut("fields") {
                named.values_mut().for_each(|hashes| *hashes = json!({}));
            }
        }
        told
    });
    let lines = lines.collect::<Vec<_>>();
    Ok(Json(json!({ "lines": lines, "damaged": page.damaged, "next": next })))
}

/// The body as JSON of this form.
fn json_of<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "This is no JSON", "The body must be application/json."));
    }
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Problem::bad_request(format!("The body is not as it must be, at {place}."))
    })
}
