//! `ingle users`: who has sessions, and the end of all of a user's.

use std::collections::BTreeMap;

use ingle::{Limits, Sessions, store::Info};
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
    let mut table = Table::begin(out, &COLUMNS)?;
    for (user, n) in &users {
        let cells = || vec![user.clone(), n.to_string()];
        table.row(out, cells, || json!({ "user": user, "sessions": n }))?;
    }
    table.end(out)?;
    pages.end("their users are not counted")
}

pub(crate) async fn end(
    place: &PlaceOptions,
    out: &mut Out,
    options: EndUserOptions,
) -> Result<(), Failed> {
    let EndUserOptions { user, confirmation } = options;
    let sessions = place.sessions_of_any_store(Limits::default()).await?;
    let stop = Stop::listen();
    let info = sessions.store_info();
    let n = match info.capabilities.lists_by_user {
        true => count(&sessions, &user).await?,
        false => 0,
    };
    if info.capabilities.lists_by_user {
        confirm(n, &confirmation, &stop).await?;
    } else if confirmation.confirm.is_some() || !(confirmation.yes || confirmation.dry_run) {
        return Err(Failed::refused(
            "this store cannot count the sessions of a user; use --yes to end them; nothing was changed",
        ));
    }
    let n = if confirmation.dry_run { n } else { end_all(&sessions, &user, n, &stop).await? };
    say(&format!("ingle: {}", told(n, confirmation.dry_run, &info)));
    if out.format != Format::Text {
        let counted = info.capabilities.lists_by_user.then_some(n);
        out.document(&json!({ "user": user, "ended": counted, "dry_run": confirmation.dry_run }))?;
        out.flush()?;
    }
    Ok(())
}

/// How many sessions a user has. What cannot be read is one: the store knows whose it is, and it ends, too.
async fn count(sessions: &Sessions, user: &str) -> Result<usize, Failed> {
    let selection = Selection { user: Some(user.to_owned()), ..Selection::default() };
    let (mut pages, mut n) = (Pages::new(sessions, &selection, false), 0);
    while let Some(page) = pages.next_page().await? {
        n += page.sessions.len() + page.damaged.len();
    }
    Ok(n)
}

/// Ends a user's sessions. There were so many, where the store can count them.
async fn end_all(sessions: &Sessions, user: &str, n: usize, stop: &Stop) -> Result<usize, Failed> {
    let some = "some sessions may have ended, and some may live on";
    select! {
        ended = sessions.end_all_of(user) => ended.map_err(|error| match n {
            0 => Failed::from(error),
            _ => Failed::from(error).partly(some),
        }),
        () = stop.asked() => Err(Failed::interrupted("interrupted; run it again").partly(some)),
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
