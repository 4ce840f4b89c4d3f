//! The pages, and which address leads to which.

use askama::Template;
use axum::{
    Router,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use ingle::{AuditLine, Handle, SessionPage};
use ingle_operator::{inert, shortened};

use crate::{
    Console,
    access::Role,
    api, assets,
    context::{Context, Top},
    edit, end,
    find::{self, LINES, Wanted},
    form::{Query, address},
    live,
    problem::Problem,
    view::{Line, UserLink, When, line, page, user_link},
};

mod overview;
pub(crate) mod session;

pub(crate) fn routes() -> Router<Console> {
    Router::new()
        .route("/", get(overview::get))
        .route("/sessions", get(sessions))
        .route("/sessions/end", post(end::several))
        .route("/sessions/{handle}", get(session::get))
        .route("/sessions/{handle}/live", get(live::get))
        .route("/sessions/{handle}/edit", get(edit::form).post(edit::save))
        .route("/sessions/{handle}/add", get(edit::add_form))
        .route("/sessions/{handle}/json", get(edit::json_form).post(edit::save_json))
        .route("/sessions/{handle}/apply", post(edit::apply_again))
        .route("/sessions/{handle}/reveal", post(session::reveal))
        .route("/sessions/{handle}/end", post(end::one))
        .route("/user", get(user))
        .route("/user/end", post(end::of_user))
        .route("/audit", get(audit))
        .route("/assets/{name}", get(assets::get))
        .merge(api::routes())
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

pub(crate) fn handle_of(text: &str) -> Result<Handle, Problem> {
    text.parse().map_err(|_| Problem::bad_request("A handle is 16 hexadecimal digits."))
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    top: Top,
    question: String,
    wrong: String,
    lines: Vec<Line>,
    /// How many were looked at, where that is more than were found.
    searched: Option<usize>,
    is_search: bool,
    next: Option<String>,
    is_first: bool,
    can_end: bool,
}

/// The list of sessions, or those that are looked for.
async fn sessions(context: Context, Query(query): Query) -> Result<Response, Problem> {
    let question = query.text("q").trim().to_owned();
    let can_end = context.must_be(Role::Operator).is_ok();
    let is_first = query.text("after").is_empty();
    let top = context.top("sessions");
    let wanted = match find::read(&question) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            let question = question.chars().take(1000).collect();
            let (lines, searched, next, is_search) = (Vec::new(), None, None, true);
            let shown = Sessions {
                top,
                question,
                wrong,
                lines,
                searched,
                is_search,
                next,
                is_first,
                can_end,
            };
            return Ok(page(StatusCode::BAD_REQUEST, &shown));
        }
    };
    let after = context.cursors().read(query.text("after"))?;
    let found = find::search(&context, &wanted, after, LINES).await?;
    let next = found.next.map(|next| context.cursors().text(next)).transpose()?;
    let href = context.base.to("/sessions");
    let shown = Sessions {
        top,
        wrong: String::new(),
        lines: found.sessions.iter().map(|session| line(&context, session)).collect(),
        searched: matches!(wanted, Wanted::Where(_)).then_some(found.searched),
        is_search: wanted != Wanted::All,
        next: next.map(|next| address(&href, &[("q", &question), ("after", &next)])),
        question,
        is_first,
        can_end,
    };
    Ok(page(StatusCode::OK, &shown))
}

#[derive(Template)]
#[template(path = "user.html")]
struct User {
    top: Top,
    name: String,
    shown_name: String,
    lines: Vec<Line>,
    next: Option<String>,
    is_first: bool,
    can_end: bool,
}

/// The sessions of one user.
async fn user(context: Context, Query(query): Query) -> Result<Response, Problem> {
    let name = query.text("name").to_owned();
    let after = context.cursors().read(query.text("after"))?;
    let options = ingle::ListOptions::new().of_user(&name).limit(LINES);
    let SessionPage { sessions, next, .. } =
        context.sessions.list(&options, after.as_ref()).await?;
    let next = next.map(|next| context.cursors().text(next)).transpose()?;
    let href = context.base.to("/user");
    let shown = User {
        top: context.top("sessions"),
        shown_name: shortened(&name, 80),
        lines: sessions.iter().map(|session| line(&context, session)).collect(),
        next: next.map(|next| address(&href, &[("name", &name), ("after", &next)])),
        name,
        is_first: after.is_none(),
        can_end: context.must_be(Role::Operator).is_ok(),
    };
    Ok(page(StatusCode::OK, &shown))
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    top: Top,
    acts: Vec<ActLine>,
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
    ended: Option<usize>,
    outcome: String,
}

struct FieldLine {
    name: String,
    /// The hashes of its values. A value that can be guessed can be told by its hash, so they are for
    /// those who may see all values.
    hashes: Option<String>,
}

async fn audit(context: Context, Query(query): Query) -> Result<Response, Problem> {
    let after = context.cursors().read(query.text("after"))?;
    let found = context.sessions.audit_log(after.as_ref()).await?;
    let next = found.next.map(|next| context.cursors().text(next)).transpose()?;
    let shown = Audit {
        top: context.top("audit"),
        acts: found.lines.into_iter().map(|act| act_line(&context, act)).collect(),
        next: next.map(|next| address(&context.base.to("/audit"), &[("after", &next)])),
        is_first: after.is_none(),
    };
    Ok(page(StatusCode::OK, &shown))
}

fn act_line(context: &Context, act: AuditLine) -> ActLine {
    let link =
        |handle: Handle| (handle.to_string(), context.base.to(&format!("/sessions/{handle}")));
    let may_see = context.must_be(Role::Editor).is_ok();
    let hash = |hash: Option<String>| hash.map_or("nothing".to_owned(), |hash| inert(&hash));
    let fields = act.fields.into_iter().map(|(name, field)| FieldLine {
        name: shortened(&name, 40),
        hashes: may_see
            .then(|| format!("before {}, after {}", hash(field.before), hash(field.after))),
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
        ended: act.ended,
        outcome: act.outcome.to_string(),
    }
}
