//! What a user sees and changes of their own: the sessions that they have, and their password.

use std::time::{Duration, Instant};

use axum::{
    Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use ingle::{
    Error, Handle, SessionInfo,
    clock::{Clock as _, SystemClock, Timestamp},
};
use serde::Deserialize;

use super::{
    Accounts,
    login::{Asked, Fresh, Member},
    pages::{
        ConfirmForm, Page, PasswordForm, Problem, Row, Said, Sessions, respond, respond_with,
        too_many,
    },
    password::unfit,
};

#[derive(Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    handle: String,
}

#[derive(Deserialize)]
pub(crate) struct NewPassword {
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

#[derive(Deserialize)]
pub(crate) struct Confirmed {
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// All sessions of the user, this one first.
pub(crate) async fn sessions(Member { session, user }: Member) -> Result<Response, Problem> {
    let said = session.take_flashes().await?;
    let rows = match session.siblings().await {
        Ok(mut siblings) => {
            siblings.sort_by_key(|sibling| !sibling.is_current);
            let now = SystemClock.now();
            Some(siblings.into_iter().map(|sibling| row(sibling, now)).collect::<Vec<_>>())
        }
        // A cache has no lists. The user can end all of them, and see none.
        Err(Error::Unsupported(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let has_others = rows.as_ref().is_none_or(|rows| rows.len() > 1);
    Ok(respond(Sessions { user: Some(user.name), said, rows, has_others }))
}

pub(crate) async fn end_one(
    Member { session, .. }: Member,
    Form(which): Form<Which>,
) -> Result<Redirect, Problem> {
    let own = session.handle();
    let handle: Option<Handle> = which.handle.parse().ok();
    let ended = match &handle {
        Some(handle) => session.end_sibling(handle).await?,
        None => false,
    };
    if ended && handle == own {
        return Ok(Said::LoggedOut.redirect(Page::Home));
    }
    let said = if ended { "The session has ended." } else { "That session had ended before." };
    session.push_flash(said)?;
    Ok(to_sessions())
}

pub(crate) async fn end_others(Member { session, .. }: Member) -> Result<Redirect, Problem> {
    let said = others_ended(session.end_others().await?);
    session.push_flash(said)?;
    Ok(to_sessions())
}

pub(crate) async fn end_all(Member { session, .. }: Member) -> Result<Redirect, Problem> {
    session.end_all().await?;
    Ok(Said::AllEnded.redirect(Page::Home))
}

/// The form for a new password.
pub(crate) async fn password(Fresh(Member { user, .. }): Fresh) -> Response {
    respond(PasswordForm { user: Some(user.name), wrong: String::new() })
}

pub(crate) async fn change_password(
    Fresh(Member { session, user }): Fresh,
    State(accounts): State<Accounts>,
    Form(new): Form<NewPassword>,
) -> Result<Response, Problem> {
    let wrong = match unfit(&new.password) {
        None if new.password != new.again => Some("the two passwords differ"),
        wrong => wrong,
    };
    if let Some(wrong) = wrong {
        let wrong = format!("This cannot be your password: {wrong}.");
        let form = PasswordForm { user: Some(user.name), wrong };
        return Ok(respond_with(StatusCode::UNPROCESSABLE_ENTITY, form));
    }
    // First the password: who logs in with the old one before the others end has a session that ends
    // with them, and after that nobody can.
    accounts.passwords.change(user.name, new.password).await?;
    let ended = session.end_others().await.map_err(Problem::OthersMayLive)?;
    session.push_flash(format!("Your password was changed. {}", others_ended(ended)))?;
    Ok(to_sessions().into_response())
}

/// The form that asks again for the password.
pub(crate) async fn confirm(member: Member, Query(asked): Query<Asked>) -> Response {
    let next = Page::of(&asked.next);
    respond(ConfirmForm { user: Some(member.user.name), next, wrong: String::new() })
}

pub(crate) async fn confirm_password(
    Member { session, user }: Member,
    State(accounts): State<Accounts>,
    Form(confirmed): Form<Confirmed>,
) -> Result<Response, Problem> {
    let next = Page::of(&confirmed.next);
    let name = user.name;
    let form = |wrong| ConfirmForm { user: Some(name.clone()), next, wrong };
    if let Err(wait) = accounts.confirmations.take(&name, Instant::now()) {
        return Ok(too_many(wait, form));
    }
    let checked = accounts.passwords.check(name.clone(), confirmed.password).await;
    if !checked.inspect_err(|_| accounts.confirmations.give_back(&name, Instant::now()))? {
        let form = form("This is not your password.".to_owned());
        return Ok(respond_with(StatusCode::UNPROCESSABLE_ENTITY, form));
    }
    accounts.confirmations.forget(&name);
    session.reauthenticate().await?;
    Ok(next.redirect())
}

fn to_sessions() -> Redirect {
    Redirect::to(Page::Sessions.path())
}

/// A store that cannot list them cannot count them.
fn others_ended(n: usize) -> String {
    match n {
        0 => "You have no other session now.".to_owned(),
        1 => "Your other session has ended.".to_owned(),
        n => format!("Your {n} other sessions have ended."),
    }
}

fn row(session: SessionInfo, now: Timestamp) -> Row {
    let SessionInfo { handle, user, began, last_seen, is_current, .. } = session;
    let label = user.and_then(|user| user.label);
    Row {
        handle: handle.to_string(),
        label: label.unwrap_or_else(|| "Another browser".to_owned()),
        began: ago(now.since(began)),
        last_seen: if is_current { "now".to_owned() } else { last_use(now.since(last_seen)) },
        is_current,
    }
}

fn ago(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (n, unit) = match minutes {
        0 => return "just now".to_owned(),
        1..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" })
}

/// Not each use is written down, so it is not known better than by the hour.
fn last_use(time: Duration) -> String {
    if time < Duration::from_secs(60 * 60) { "in the last hour".to_owned() } else { ago(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (time, told) in [
            (Duration::from_secs(59), "just now"),
            (minutes(1), "1 minute ago"),
            (minutes(59), "59 minutes ago"),
            (minutes(60), "1 hour ago"),
            (minutes(23 * 60 + 59), "23 hours ago"),
            (minutes(24 * 60), "1 day ago"),
            (minutes(400 * 24 * 60), "400 days ago"),
        ] {
            assert_eq!(ago(time), told);
        }
        assert_eq!(last_use(minutes(59)), "in the last hour");
        assert_eq!(last_use(minutes(60)), "1 hour ago");
    }
}
