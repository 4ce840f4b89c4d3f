//! The list of sessions, or those that are looked for. A search that is not at its end goes on in the
//! page: its script asks for one part after the other, as the link at its end does.

use askama::Template;
use axum::{Json, http::StatusCode, response::Response};
use ingle_operator::counted;
use serde::Serialize;

use crate::{
    access::Role,
    context::{Context, Top},
    find::{self, Found, LINES, Wanted},
    form::{Query, address},
    problem::Problem,
    view::{Line, damaged_note, line, page},
};

/// What one often looks for. No store has sessions in the order of these, so each is a search.
const READY: [(&str, &str); 5] = [
    ("seen in the last 10 minutes", "@idle < 10m"),
    ("logged in", "@user exists"),
    ("older than a day", "@age > 1d"),
    ("ending within 10 minutes", "@ends < 10m"),
    ("larger than 8 KiB", "@size > 8KiB"),
];

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    top: Top,
    question: String,
    wrong: String,
    ready: Vec<Ready>,
    lines: Vec<Line>,
    damaged: String,
    /// How many were looked at, such as `1 session`, where that may be more than were found.
    searched: Option<String>,
    /// What goes on by itself.
    scan: Option<Scan>,
    is_search: bool,
    next: Option<String>,
    is_first: bool,
    can_end: bool,
}

struct Ready {
    name: &'static str,
    href: String,
    is_here: bool,
}

/// A search that is not at its end.
struct Scan {
    /// Where the next parts are.
    href: String,
    /// The address of this page from there on.
    next: String,
    part: Part,
    /// A line to be filled in.
    blank: Line,
}

/// A part of a search, for the script.
#[derive(Serialize)]
pub(crate) struct Part {
    lines: Vec<Line>,
    damaged: Vec<String>,
    searched: usize,
    /// Where in the store it began and ended, as shares of the whole.
    from: Option<f64>,
    to: Option<f64>,
    /// Where the next one begins.
    after: Option<String>,
}

impl Part {
    fn of(context: &Context, wanted: &Wanted, found: Found) -> Result<Self, Problem> {
        let first = wanted.paths();
        Ok(Self {
            lines: found.sessions.iter().map(|session| line(context, session, &first)).collect(),
            damaged: found.damaged.iter().map(|one| one.handle().to_string()).collect(),
            searched: found.searched,
            from: found.span.map(|(from, _)| from),
            to: found.span.map(|(_, to)| to),
            after: found.next.map(|next| context.cursors().text(next)).transpose()?,
        })
    }
}

/// The page.
pub(crate) async fn get(context: Context, Query(query): Query) -> Result<Response, Problem> {
    let question = query.text("q").trim().to_owned();
    let href = context.base.to("/sessions");
    let ready = READY.map(|(name, text)| Ready {
        name,
        href: address(&href, &[("q", text)]),
        is_here: text == question,
    });
    let mut shown = Sessions {
        top: context.top("sessions"),
        question,
        wrong: String::new(),
        ready: ready.into(),
        lines: Vec::new(),
        damaged: String::new(),
        searched: None,
        scan: None,
        is_search: true,
        next: None,
        is_first: query.text("after").is_empty(),
        can_end: context.is(Role::Operator),
    };
    let wanted = match find::read(&shown.question) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            let question = shown.question.chars().take(find::QUESTION_MAX).collect();
            return Ok(page(StatusCode::BAD_REQUEST, &Sessions { question, wrong, ..shown }));
        }
    };
    let after = context.cursors().read(query.text("after"))?;
    let found = find::search(&context, &wanted, after, LINES).await?;
    let is_condition = matches!(wanted, Wanted::Where(_));
    shown.is_search = wanted != Wanted::All;
    shown.damaged = damaged_note(&found.damaged);
    shown.searched = is_condition.then(|| counted(found.searched, "session"));
    let mut part = Part::of(&context, &wanted, found)?;
    shown.lines = std::mem::take(&mut part.lines);
    let question = ("q", &*shown.question);
    let next = part.after.as_deref().map(|after| address(&href, &[question, ("after", after)]));
    shown.scan = next.clone().filter(|_| is_condition).map(|next| {
        let href = address(&context.base.to("/sessions/part"), &[question]);
        Scan { href, next, part, blank: Line::default() }
    });
    shown.next = next;
    Ok(page(StatusCode::OK, &shown))
}

/// The next part of a search.
pub(crate) async fn part(context: Context, Query(query): Query) -> Result<Json<Part>, Problem> {
    let wanted = find::read(query.text("q")).map_err(Problem::bad_request)?;
    let after = context.cursors().read(query.text("after"))?;
    let found = find::search(&context, &wanted, after, LINES).await?;
    Ok(Json(Part::of(&context, &wanted, found)?))
}
