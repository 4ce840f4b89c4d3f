//! `ingle sessions list`.

use ingle::{SessionInfo, clock::Timestamp};
use ingle_operator::{ago, size};

use crate::{
    exit::Failed,
    json,
    options::{ListOptions, PlaceOptions},
    out::Out,
    select::Pages,
    stop::Stop,
    table::{Column, Table},
};

/// The columns, the most important first.
pub(crate) const COLUMNS: [Column; 7] = [
    Column { title: "HANDLE", width: 16 },
    Column { title: "USER", width: 20 },
    Column { title: "BEGAN", width: 15 },
    Column { title: "ENDS", width: 12 },
    Column { title: "SIZE", width: 9 },
    Column { title: "COMMITS", width: 7 },
    Column { title: "LAST SEEN", width: 15 },
];

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: ListOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    let knows_use = place.knows_use();
    let mut table = Table::begin(out, columns(knows_use))?;
    let mut left = options.limit.unwrap_or(usize::MAX);
    let mut pages = Pages::new(&sessions, &options.selection, options.expired);
    while left > 0
        && let Some(page) = pages.next().await?
    {
        stop.check("the list was interrupted, and is not whole")?;
        let wanted = page.iter().filter(|session| session.info().has_expired == options.expired);
        for session in wanted.take(left) {
            let info = session.info();
            left -= 1;
            table.row(out, || cells(info, sessions.now()), || json::header(info, knows_use))?;
        }
        out.flush()?;
    }
    table.end(out)?;
    Ok(())
}

/// Those that can be told.
pub(crate) fn columns(knows_use: bool) -> &'static [Column] {
    let n = if knows_use { COLUMNS.len() } else { COLUMNS.len() - 1 };
    COLUMNS.get(..n).unwrap_or(&COLUMNS)
}

pub(crate) fn cells(info: &SessionInfo, now: Timestamp) -> Vec<String> {
    vec![
        info.handle.to_string(),
        info.user.as_ref().map_or("-".to_owned(), |user| user.name.clone()),
        ago(info.began, now),
        ago(info.idle_deadline.min(info.ends), now),
        size(info.data_bytes),
        info.commits.to_string(),
        ago(info.last_seen, now),
    ]
}
