//! `ingle users`: who has sessions, and the end of all of a user's.

use std::collections::BTreeMap;

use ingle::{Error, Limits, Sessions, store::Info};
use ingle_operator::counted;
use serde_json::json;
use tokio::select;

use crate::{
    end::confirm,
    exit::{Failed, say},
    options::{EndUserOptions, NoOptions, PlaceOptions, Selection},
    out::{Format, Out},
    select::Pages,
    stop::Stop,
    table::{Column, Table},
};

const COLUMNS: [Column; 2] =
    [Column { title: "USER", width: 40 }, Column { title: "SESSIONS", width: 10 }];

/// What is true after Ctrl-C, as long as nothing ends.
const UNCHANGED: &str = "interrupted; nothing was changed";

/// What is true where the end of all was broken off.
const IN_PART: &str = "some sessions and logins under way may have ended, and others may live on";

pub(crate) async fn list(place: &PlaceOptions, out: &mut Out, _: NoOptions) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    let selection = Selection::default();
    let mut pages = Pages::new(&sessions, &selection, false);
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(page) = pages.next().await? {
        stop.check("the list was interrupted")?;
        for user in page.iter().filter_map(|session| session.info().user.as_ref()) {
            *users.entry(user.name.clone()).or_default() += 1;
        }
    }
    pages.end(print(out, &users), "their users are not counted")
}

fn print(out: &mut Out, users: &BTreeMap<String, usize>) -> Result<(), Failed> {
    let mut table = Table::begin(out, &COLUMNS)?;
    for (user, n) in users {
        let cells = || vec![user.clone(), n.to_string()];
        table.row(out, cells, || json!({ "user": user, "sessions": n }))?;
    }
    table.end(out).map(drop)
}

pub(crate) async fn end(
    place: &PlaceOptions,
    out: &mut Out,
    options: EndUserOptions,
) -> Result<(), Failed> {
    if place.namespace.is_none() {
        return Err(Failed::usage(
            "which namespace does the app's layer have? Name it by --namespace, such as --namespace shop, or by \
             INGLE_NAMESPACE, and an app that sets none by --namespace ''; in another one, logins under way would \
             live on, and on memcached all sessions of the user",
        ));
    }
    let EndUserOptions { user, confirmation } = options;
    let sessions = place.sessions_of_any_store(Limits::default()).await?;
    let stop = Stop::listen();
    let info = sessions.store_info();
    let n = match info.capabilities.lists_by_user {
        true => count(&sessions, &user, &stop).await?,
        false => 0,
    };
    if info.capabilities.lists_by_user {
        confirm(n, &confirmation, &stop).await?;
    } else if confirmation.confirm.is_some() || !(confirmation.yes || confirmation.dry_run) {
        return Err(Failed::refused(
            "this store cannot count the sessions of a user; use --yes to end them; nothing was changed",
        ));
    }
    stop.check(UNCHANGED)?;
    let n = if confirmation.dry_run { n } else { end_all(&sessions, &user, &info, &stop).await? };
    say(&format!("ingle: {}", told(n, confirmation.dry_run, &info)));
    if out.format != Format::Text {
        let counted = info.capabilities.lists_by_user.then_some(n);
        out.document(&json!({ "user": user, "ended": counted, "dry_run": confirmation.dry_run }))?;
        out.flush()?;
    }
    Ok(())
}

/// How many sessions a user has. What cannot be read is one: the store knows whose it is, and it ends, too.
async fn count(sessions: &Sessions, user: &str, stop: &Stop) -> Result<usize, Failed> {
    let selection = Selection { user: Some(user.to_owned()), ..Selection::default() };
    let (mut pages, mut n) = (Pages::new(sessions, &selection, false), 0);
    while let Some(page) = pages.next_page().await? {
        stop.check(UNCHANGED)?;
        n += page.sessions.len() + page.damaged.len();
    }
    Ok(n)
}

/// Ends a user's sessions, and returns how many there were.
async fn end_all(
    sessions: &Sessions,
    user: &str,
    info: &Info,
    stop: &Stop,
) -> Result<usize, Failed> {
    select! {
        biased;
        () = stop.asked() => Err(Failed::interrupted("interrupted; run it again").partly(IN_PART)),
        ended = sessions.end_all_of(user) => ended.map_err(|error| broken_off(error, info)),
    }
}

/// What is true after a failure. A store that lists sessions ends them one by one, after the logins under way.
/// Any other keeps one record of the user, which was changed or was not.
fn broken_off(error: Error, info: &Info) -> Failed {
    let lists = info.capabilities.lists_by_user;
    match error {
        Error::OutcomeUnknown => Failed::unknown(format!(
            "the store did not say whether it was done: {IN_PART}; run it again, which ends what is left"
        )),
        // Nothing was begun.
        Error::InvalidValue(_) | Error::Unsupported(_) => error.into(),
        _ if lists => Failed::from(error).partly(&format!("{IN_PART}; run it again")),
        _ => error.into(),
    }
}

fn told(n: usize, dry_run: bool, info: &Info) -> String {
    let ended = counted(n, "session");
    match (info.capabilities.lists_by_user, dry_run) {
        (true, false) => format!("{ended} ended"),
        (true, true) => format!("this was a dry run; {ended} would end"),
        (false, false) => "each session of the user ends when it is next used".to_owned(),
        (false, true) => {
            "this was a dry run; each session would end when it is next used".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use ingle::store::{self, Applied, ErrorKind};

    use super::*;

    #[test]
    fn a_failure_on_the_way_does_not_say_that_nothing_was_done() {
        let info = |lists| {
            let mut info = Info::new("redis", "nothing");
            info.capabilities.lists_by_user = lists;
            info
        };
        let away = || {
            let error = store::Error::new("redis", ErrorKind::Unavailable, Applied::No);
            Error::Unavailable(error.into())
        };
        let failed = broken_off(away(), &info(true));
        assert!(failed.line().contains(IN_PART) && !failed.is_unavailable(), "{failed:?}");
        let failed = broken_off(away(), &info(false));
        assert!(!failed.line().contains(IN_PART) && failed.is_unavailable(), "{failed:?}");
        for lists in [true, false] {
            let failed = broken_off(Error::OutcomeUnknown, &info(lists));
            assert!(failed.line().contains("run it again") && failed.is_unknown(), "{failed:?}");
            assert!(!failed.line().contains("sessions show"), "{failed:?}");
        }
        let failed = broken_off(Error::Unsupported("no"), &info(true));
        assert_eq!(failed.line(), "no");
    }
}
