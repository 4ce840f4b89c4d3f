//! One session: what is told of it, and the tree of its data.

use askama::Template;
use axum::{extract::Path, http::StatusCode, response::Response};
use ingle::{SessionInfo, StoredSession};
use ingle_operator::{grouped, redacted, shortened, size};

use crate::{
    access::Role,
    carried::Carried,
    context::{Context, Top, When},
    form::address,
    problem::Problem,
    view::{Row, UserLink, page, rows, user_link},
};

/// What the page shows beside the session.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) said: String,
    pub(crate) undo: Option<Undo>,
    /// Whether hidden values are shown.
    pub(crate) is_revealed: bool,
}

/// The edits that take an edit back.
pub(crate) struct Undo {
    pub(crate) edits: Carried,
    pub(crate) until: String,
}

#[derive(Template)]
#[template(path = "session.html")]
struct Session {
    top: Top,
    handle: String,
    href: String,
    said: String,
    undo: Option<Undo>,
    user: Option<LoggedIn>,
    began: When,
    last_seen: When,
    idle: When,
    ends: When,
    ends_by_idle: bool,
    commits: String,
    size: String,
    rows: Vec<RowLine>,
    more: Option<String>,
    has_hidden: bool,
    is_revealed: bool,
    can_end: bool,
    can_edit: bool,
}

struct RowLine {
    row: Row,
    edit: String,
    add: Option<String>,
    order: Option<String>,
}

struct LoggedIn {
    link: UserLink,
    since: When,
    label: String,
    actor: String,
}

pub(crate) async fn get(context: Context, Path(handle): Path<String>) -> Result<Response, Problem> {
    let session = context.session(&handle).await?;
    Ok(answer(&context, &session, Shown::default()))
}

/// The page of a session.
pub(crate) fn answer(context: &Context, session: &StoredSession, shown: Shown) -> Response {
    let info = session.info();
    let href = context.href(session);
    let redacted = redacted(session.snapshot());
    let data = if shown.is_revealed { session.snapshot() } else { &redacted.data };
    let (rows, more) = rows(data);
    let row = |row: Row| RowLine {
        edit: address(&format!("{href}/edit"), &[("path", &row.path)]),
        add: row.is_container.then(|| address(&format!("{href}/add"), &[("in", &row.path)])),
        order: row.has_order.then(|| address(&format!("{href}/order"), &[("path", &row.path)])),
        row,
    };
    let page_of = Session {
        top: context.top("sessions"),
        handle: info.handle.to_string(),
        said: shown.said,
        undo: shown.undo,
        user: logged_in(context, info),
        began: context.when(info.began),
        last_seen: context.when(info.last_seen),
        idle: context.when(info.idle_deadline),
        ends: context.when(info.ends),
        ends_by_idle: info.idle_deadline < info.ends,
        commits: grouped(info.commits),
        size: size(info.data_bytes),
        rows: rows.into_iter().map(row).collect(),
        more: (more > 0).then(|| grouped(more as u64)),
        has_hidden: !redacted.fields.is_empty(),
        is_revealed: shown.is_revealed,
        can_end: context.is(Role::Operator),
        can_edit: context.is(Role::Editor),
        href,
    };
    page(StatusCode::OK, &page_of)
}

fn logged_in(context: &Context, info: &SessionInfo) -> Option<LoggedIn> {
    let user = info.user.as_ref()?;
    let text = |text: &Option<String>| text.as_deref().map(|text| shortened(text, 60));
    Some(LoggedIn {
        link: user_link(context, &user.name),
        since: context.when(user.at),
        label: text(&user.label).unwrap_or_default(),
        actor: text(&user.actor).unwrap_or_default(),
    })
}
