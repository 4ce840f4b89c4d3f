//! Ends of sessions: of one, of those that were selected or match, and of all of a user.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use ingle::{Error, Handle};
use ingle_operator::{counted, grouped};

use crate::{
    access::Role,
    context::{Context, Ending, Top, handle_of},
    find::{self, Wanted},
    form::{Form, address},
    problem::Problem,
    view::{DonePage, page},
};

/// Up to so many end by a click. Beyond it, their number must be typed.
const UNTYPED_MAX: usize = 10;

/// How many the page that asks names.
const NAMED_MAX: usize = 20;

/// How many end by one request.
const ENDED_MAX: usize = 1000;

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    top: Top,
    action: String,
    back: String,
    question: String,
    note: &'static str,
    fields: Vec<(&'static str, String)>,
    /// What it was searched for, and the first that end, with how many more there are.
    search: String,
    handles: Vec<Handle>,
    more: Option<String>,
    /// The number to type, if it is one.
    count: Option<String>,
    wrong: String,
}

/// Ends one session.
pub(crate) async fn one(Ending(context, session): Ending) -> Result<Response, Problem> {
    session.end().await?;
    Ok(done(&context, "/sessions", "The session has ended. Its visitor is logged out.".to_owned()))
}

fn done(context: &Context, back: &str, text: String) -> Response {
    let (top, back) = (context.top("sessions"), context.base.to(back));
    page(StatusCode::OK, &DonePage { top, title: "Done", text, back })
}

/// Whether the form confirms an end of so many.
fn is_confirmed(form: &Form, n: usize) -> bool {
    form.field("confirmed").is_some()
        && (n <= UNTYPED_MAX || form.text("count").trim().replace(',', "").parse() == Ok(n))
}

fn wrong(form: &Form) -> String {
    match form.field("confirmed") {
        Some(_) => "This is not their number. Nothing was changed.".to_owned(),
        None => String::new(),
    }
}

fn status(wrong: &str) -> StatusCode {
    if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
}

/// Ends those that were selected, or all that match.
pub(crate) async fn several(context: Context, form: Form) -> Result<Response, Problem> {
    context.must_be(Role::Operator)?;
    let wanted = find::read(form.text("q")).map_err(Problem::bad_request)?;
    let is_matching = form.field("matching").is_some();
    let (handles, is_all) = if is_matching {
        let counted = find::count(&context, &wanted, ENDED_MAX).await?;
        (counted.handles, counted.is_all)
    } else {
        (selected(&form)?, true)
    };
    let back = address("/sessions", &[("q", form.text("q"))]);
    if handles.is_empty() {
        let text = match (is_matching, is_all) {
            (false, _) => "No session was selected, so none has ended.",
            (true, true) => "No session matches, so none has ended.",
            (true, false) => {
                "No session was found that matches, and not all were looked at. None has ended. \
                 Search for them, and select them there."
            }
        };
        return Ok(done(&context, &back, text.to_owned()));
    }
    if !is_matching && is_confirmed(&form, handles.len()) {
        return end(&context, &handles, &wanted, &back).await;
    }
    let n = handles.len();
    let mut fields = vec![("q", form.text("q").to_owned())];
    fields.extend(handles.iter().map(|handle| ("handle", handle.to_string())));
    let wrong = wrong(&form);
    let confirm = ConfirmPage {
        top: context.top("sessions"),
        action: context.base.to("/sessions/end"),
        back: context.base.to(&back),
        question: format!("End {}?", counted(n, "session")),
        note: match is_all {
            true => "Their visitors are logged out, and what is in the sessions is gone.",
            false => {
                "These are the first that match, and there may be more. Their visitors are logged out, and \
                 what is in the sessions is gone."
            }
        },
        fields,
        search: form.text("q").trim().to_owned(),
        more: n.checked_sub(NAMED_MAX).filter(|n| *n > 0).map(|n| grouped(n as u64)),
        handles: handles.into_iter().take(NAMED_MAX).collect(),
        count: (n > UNTYPED_MAX).then(|| grouped(n as u64)),
        wrong,
    };
    Ok(page(status(&confirm.wrong), &confirm))
}

fn selected(form: &Form) -> Result<Vec<Handle>, Problem> {
    let mut handles: Vec<Handle> = form.all("handle").map(handle_of).collect::<Result<_, _>>()?;
    handles.sort_unstable();
    handles.dedup();
    if handles.len() > ENDED_MAX {
        return Err(Problem::bad_request(format!(
            "At most {} end at a time.",
            counted(ENDED_MAX, "session")
        )));
    }
    Ok(handles)
}

async fn end(
    context: &Context,
    handles: &[Handle],
    wanted: &Wanted,
    back: &str,
) -> Result<Response, Problem> {
    let (mut ended, mut gone, mut others) = (0, 0, 0);
    for handle in handles {
        let ending = async {
            let Some(session) = context.sessions.find(handle).await? else {
                return Ok::<_, Error>(&mut gone);
            };
            if !wanted.holds(&session, context.sessions.now()) {
                return Ok(&mut others);
            }
            let was_live = session.end().await?;
            Ok(if was_live { &mut ended } else { &mut gone })
        };
        match ending.await {
            Ok(count) => *count += 1,
            Err(error) => {
                return Err(broken_off(ended, handles.len(), error));
            }
        }
    }
    let mut text = have_ended(ended);
    if gone > 0 {
        text.push_str(&format!(" {} had ended before, or moved.", counted(gone, "session")));
    }
    if others > 0 {
        let text_of =
            format!(" {} did not match any more, and live on.", counted(others, "session"));
        text.push_str(&text_of);
    }
    Ok(done(context, back, text))
}

/// An end of several sessions that was broken off by the failure of one.
fn broken_off(n_ended: usize, n: usize, error: Error) -> Problem {
    if n_ended == 0 {
        return Problem::from(error);
    }
    let then = match &error {
        Error::Unavailable(_) => "Then the store did not answer. The others are as they were.",
        Error::OutcomeUnknown => {
            "Of the next one it is not known: the store did not say. The others are as they were."
        }
        _ => "The next one could not be ended. The others are as they were.",
    };
    let text = format!(
        "{n_ended} of {} ended. {then} Search again, and end the rest.",
        counted(n, "session")
    );
    Problem { text, ..Problem::from(error) }
}

/// The end of all sessions of a user failed, perhaps half way.
pub(crate) fn of_user_broken_off(error: Error) -> Problem {
    match &error {
        Error::Unavailable(_) | Error::OutcomeUnknown => {
            let text = "Some sessions may have ended, and some may live on. End them again.";
            Problem { text: text.to_owned(), ..Problem::from(error) }
        }
        _ => Problem::from(error),
    }
}

fn have_ended(n: usize) -> String {
    format!("{} {} ended.", counted(n, "session"), if n == 1 { "has" } else { "have" })
}

/// Ends all sessions of a user.
pub(crate) async fn of_user(context: Context, form: Form) -> Result<Response, Problem> {
    context.must_be(Role::Operator)?;
    let name = form.text("name");
    let found = find::count(&context, &Wanted::OfUser(name.to_owned()), usize::MAX).await?;
    // What cannot be read ends, too.
    let n = found.handles.len() + found.n_damaged;
    let back = address("/user", &[("name", name)]);
    if is_confirmed(&form, n) {
        let n = context.sessions.end_all_of(name).await.map_err(of_user_broken_off)?;
        let text = format!("{} A login that was under way has failed.", have_ended(n));
        return Ok(done(&context, &back, text));
    }
    let confirm = ConfirmPage {
        top: context.top("sessions"),
        action: context.base.to("/user/end"),
        back: context.base.to(&back),
        question: format!("End {} of this user?", counted(n, "session")),
        note: "The user is logged out everywhere, also where a login is under way.",
        fields: vec![("name", name.to_owned())],
        search: format!("user:{name}"),
        handles: Vec::new(),
        more: None,
        count: (n > UNTYPED_MAX).then(|| grouped(n as u64)),
        wrong: wrong(&form),
    };
    Ok(page(status(&confirm.wrong), &confirm))
}
