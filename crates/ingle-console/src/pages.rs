//! The pages that list: the sessions of a user, and the audit log.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use ingle::{
    Handle, SessionPage,
    operator::{AuditField, AuditLine},
};
use ingle_operator::{grouped, inert, shortened};

use crate::{
    access::Role,
    context::{Context, Top, When},
    find::LINES,
    form::{Query, address},
    problem::Problem,
    view::{Line, UserLink, damaged_note, line, page, user_link},
};

pub(crate) mod api;
pub(crate) mod charts;
pub(crate) mod overview;
pub(crate) mod session;
pub(crate) mod sessions;

#[derive(Template)]
#[template(path = "user.html")]
struct User {
    top: Top,
    name: String,
    shown_name: String,
    lines: Vec<Line>,
    damaged: String,
    next: Option<String>,
    is_first: bool,
    can_end: bool,
}

/// The sessions of one user.
pub(crate) async fn user(context: Context, Query(query): Query) -> Result<Response, Problem> {
    let name = query.text("name").to_owned();
    let after = context.cursors().read(query.text("after"))?;
    let options = ingle::ListOptions::new().of_user(&name).limit(LINES);
    let SessionPage { sessions, damaged, next, .. } =
        context.sessions.list(&options, after.as_ref()).await?;
    let next = next.map(|next| context.cursors().text(next)).transpose()?;
    let href = context.base.to("/user");
    let shown = User {
        top: context.top("sessions"),
        shown_name: shortened(&name, 80),
        lines: sessions.iter().map(|session| line(&context, session, &[])).collect(),
        damaged: damaged_note(&damaged),
        next: next.map(|next| address(&href, &[("name", &name), ("after", &next)])),
        name,
        is_first: after.is_none(),
        can_end: context.is(Role::Operator),
    };
    Ok(page(StatusCode::OK, &shown))
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    top: Top,
    acts: Vec<ActLine>,
    damaged: usize,
    next: Option<String>,
    is_first: bool,
}

/// A line of the audit log.
struct ActLine {
    at: When,
    operator: String,
    from: String,
    act: String,
    session: Option<(String, String)>,
    user: Option<UserLink>,
    fields: Vec<FieldLine>,
    more_fields: usize,
    ended: Option<String>,
    outcome: String,
}

struct FieldLine {
    name: String,
    /// The hashes of its values. A value that can be guessed can be told by its hash, so they are for
    /// those who may see all values.
    hashes: Option<String>,
}

pub(crate) async fn audit(context: Context, Query(query): Query) -> Result<Response, Problem> {
    let after = context.cursors().read(query.text("after"))?;
    let found = context.sessions.audit_log(after.as_ref()).await?;
    let next = found.next.map(|next| context.cursors().text(next)).transpose()?;
    let shown = Audit {
        top: context.top("audit"),
        damaged: found.damaged,
        acts: found.lines.into_iter().map(|act| act_line(&context, act)).collect(),
        next: next.map(|next| address(&context.base.to("/audit"), &[("after", &next)])),
        is_first: after.is_none(),
    };
    Ok(page(StatusCode::OK, &shown))
}

fn act_line(context: &Context, act: AuditLine) -> ActLine {
    let link =
        |handle: Handle| (handle.to_string(), context.base.to(&format!("/sessions/{handle}")));
    let may_see = context.is(Role::Editor);
    let hash = |hash: Option<String>| hash.map_or("nothing".to_owned(), |hash| inert(&hash));
    let hashes = |field: AuditField| match (field.before, field.after) {
        (None, None) => "not changed".to_owned(),
        (before, after) => format!("before {}, after {}", hash(before), hash(after)),
    };
    let fields = act.fields.into_iter().map(|(name, field)| FieldLine {
        name: shortened(&name, 40),
        hashes: may_see.then(|| hashes(field)),
    });
    ActLine {
        at: context.when(act.at),
        operator: shortened(&act.operator, 60),
        from: act.from.map(|from| shortened(&from, 60)).unwrap_or_default(),
        act: act.act.to_string(),
        session: act.session.map(link),
        user: act.user.map(|name| user_link(context, &name)),
        fields: fields.collect(),
        more_fields: act.more_fields,
        ended: act.ended.map(|n| grouped(n as u64)),
        outcome: act.outcome.to_string(),
    }
}
