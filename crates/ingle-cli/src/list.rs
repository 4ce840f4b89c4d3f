//! `ingle sessions list`.

use std::collections::BTreeMap;

use ingle::{Handle, SessionInfo, clock::Timestamp};
use ingle_operator::{ago, size};

use crate::{
    exit::{Failed, say},
    json,
    options::{ListOptions, Order, PlaceOptions},
    out::{Format, Out},
    select::Pages,
    stop::Stop,
    table::{Column, Table},
};

/// The columns, the most important first. Up to the size they fit into 80 columns.
pub(crate) const COLUMNS: [Column; 7] = [
    Column { title: "HANDLE", width: 16 },
    Column { title: "USER", width: 20 },
    Column { title: "BEGAN", width: 14 },
    Column { title: "ENDS", width: 13 },
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
    let is_asked_for_none = left == 0;
    let mut pages = Pages::new(&sessions, &options.selection, options.expired);
    let mut sorted = options.sort.map(|order| Sorted::new(order, options.reverse, left));
    let listed = async {
        while (left > 0 || sorted.is_some())
            && let Some(page) = pages.next().await?
        {
            stop.check("the list was interrupted, and is not whole")?;
            let wanted =
                page.iter().filter(|session| session.info().has_expired == options.expired);
            if let Some(sorted) = &mut sorted {
                wanted.for_each(|session| sorted.add(session.info()));
                continue;
            }
            for session in wanted.take(left) {
                let info = session.info();
                left -= 1;
                table.row(out, || cells(info, sessions.now()), || json::header(info, knows_use))?;
            }
            out.flush()?;
        }
        for info in sorted.map(Sorted::into_vec).unwrap_or_default() {
            table.row(out, || cells(&info, sessions.now()), || json::header(&info, knows_use))?;
        }
        if table.end(out)? == 0 && out.format == Format::Text && !is_asked_for_none {
            say(if options.expired {
                "ingle: no expired session fits"
            } else {
                "ingle: no live session fits"
            });
        }
        Ok::<(), Failed>(())
    };
    let listed = listed.await;
    pages.end(listed, "the list is not whole")
}

/// The first sessions of many, in an order. It keeps no more than these, and nothing of their data.
struct Sorted {
    order: Order,
    is_reverse: bool,
    max: usize,
    /// By what they are sorted by, and by their handles where that is the same.
    first: BTreeMap<(i128, Handle), SessionInfo>,
}

impl Sorted {
    fn new(order: Order, is_reverse: bool, max: usize) -> Self {
        Self { order, is_reverse, max, first: BTreeMap::new() }
    }

    fn add(&mut self, info: &SessionInfo) {
        let rank = match self.order {
            Order::Began => -i128::from(info.began.as_millis()),
            Order::Ends => i128::from(info.idle_deadline.min(info.ends).as_millis()),
            Order::Size => -(info.data_bytes as i128),
        };
        let rank = if self.is_reverse { -rank } else { rank };
        self.first.insert((rank, info.handle), info.clone());
        if self.first.len() > self.max {
            self.first.pop_last();
        }
    }

    fn into_vec(self) -> Vec<SessionInfo> {
        self.first.into_values().collect()
    }
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
