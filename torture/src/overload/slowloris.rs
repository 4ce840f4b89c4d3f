//! Connections that drip: each sends the header of a request byte by byte and never ends it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use testbed::{
    Server,
    http::raw::Raw,
    load::{Tally, percentile},
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{clients, visitors};
use crate::lab::{Lab, Size, size};

/// How many drip at once, and how many clients are as clients should be.
const DRIPPING: usize = 2000;
const NORMAL: usize = 50;

/// Between two bytes of a header, and between two requests of a normal client.
const DRIP: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);

/// What the app may keep when all are gone, which is what they take while they are there: the allocator
/// gives back little of it.
const KEPT_KIB_MAX: u64 = DRIPPING as u64 * 48;

/// How much later than its time for a header the app may close a connection, on a busy machine.
const SLACK: Duration = Duration::from_secs(60);

/// How long the app may take to give back what connections took.
const PATIENCE: Duration = Duration::from_secs(120);

/// For so long the normal clients are alone at first. So long they may wait later (99 of 100), or three
/// times as long as alone, if that is more.
const ALONE: Duration = Duration::from_secs(3);
const SLOW_MAX: Duration = Duration::from_secs(1);

/// How much earlier the normal clients are there.
const HEAD_START: Duration = Duration::from_secs(1);

/// How many connections are being made at once: as many as the system lets wait.
const CONNECTING: usize = 64;

#[derive(Debug)]
pub(super) struct Dripped {
    pub(super) waves: usize,
    pub(super) connections: usize,
    /// How long the last one was open.
    pub(super) longest: Duration,
    pub(super) normal: Tally,
    pub(super) before: Size,
    pub(super) after: Size,
    pub(super) broken: Vec<String>,
}

/// So many waves: the first ones make the app as large as it gets, the last must add nothing to that.
/// Where `levels` is false there are too few of them to see that, and too much else goes on to see how
/// long the normal clients wait: then only the bounds are judged.
pub(super) async fn run(header_time: Duration, waves: usize, levels: bool) -> Result<Dripped> {
    let folder = TempDir::new().context("could not create a folder for sessions")?;
    let mut lab = Lab::on(format!("sqlite:{}", folder.path().display()));
    lab.options = vec!["--header-timeout".to_owned(), format!("{}s", header_time.as_secs())];
    // This is not about the store, which may be slow on a busy machine.
    lab.options.extend(["--store-timeout", "1m"].map(str::to_owned));
    let app = lab.start()?;
    let cookies = visitors(app.address(), NORMAL).await?;
    let calm = settled(&app, None).await?;
    // What they wait without anybody who drips, on a machine as busy as this one.
    let alone = clients(app.address(), &cookies, NORMAL, PAUSE, ALONE).await;
    let slow_max = SLOW_MAX.max(percentile(&alone.latencies, 99) * 3);
    let mut broken = Vec::new();
    let (mut longest, mut normal) = (Duration::ZERO, Vec::new());
    let mut sizes = Vec::new();
    for wave in 1..=waves {
        let time = HEAD_START + header_time + Duration::from_secs(2);
        let (dripped, outcome) = tokio::join!(
            wave_of(app.address(), header_time),
            clients(app.address(), &cookies, NORMAL, PAUSE, time),
        );
        let dripped = dripped?;
        let open = DRIPPING - dripped.len();
        if open > 0 {
            broken.push(format!("slowloris, wave {wave}: {open} connections were not closed"));
        }
        longest = longest.max(dripped.into_iter().max().unwrap_or_default());
        normal.push(outcome);
        sizes.push(settled(&app, Some(calm.files)).await?);
        println!("wave {wave} of {waves}: {:?}", sizes.last());
    }
    let normal = Tally::sum(normal);
    if normal.failed() > 0 {
        let failed = normal.failed();
        broken.push(format!("slowloris: {failed} requests of normal clients failed"));
    }
    let slow = percentile(&normal.latencies, 99);
    if levels && slow > slow_max {
        broken.push(format!(
            "slowloris: normal clients wait {slow:?} (99 of 100 less), and {slow_max:?} at most"
        ));
    }
    let (before, after) = match sizes.as_slice() {
        [.., before, after] => (*before, *after),
        _ => bail!("there are too few waves"),
    };
    if after.files > calm.files {
        broken.push(format!("I12: {} files are open, {} were before", after.files, calm.files));
    }
    if after.kib > calm.kib + KEPT_KIB_MAX {
        let (before, after) = (calm.kib, after.kib);
        broken.push(format!("I12: the app keeps {after} KiB, and had {before} before all waves"));
    }
    if levels && after.kib * 10 > before.kib * 11 {
        let (before, after) = (before.kib, after.kib);
        broken.push(format!("I12: {after} KiB after the last wave, {before} before it"));
    }
    Ok(Dripped { waves, connections: DRIPPING, longest, normal, before, after, broken })
}

/// Its size once so many files are open, or as they are now.
async fn settled(app: &Server, files: Option<usize>) -> Result<Size> {
    let begin = Instant::now();
    loop {
        let size = size(app)?;
        if files.is_none_or(|files| size.files <= files) || begin.elapsed() > PATIENCE {
            return Ok(size);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// How long each of the connections was open that the app closed.
async fn wave_of(app: SocketAddr, header_time: Duration) -> Result<Vec<Duration>> {
    sleep(HEAD_START).await;
    let turns = Arc::new(Semaphore::new(CONNECTING));
    let mut dripping = JoinSet::new();
    for _ in 0..DRIPPING {
        let turns = Arc::clone(&turns);
        dripping.spawn(async move {
            let turn = turns.acquire().await;
            let mut connection = Raw::open(app).await?;
            drop(turn);
            let begin = Instant::now();
            let drip = async {
                let begun = connection.write(b"GET / HTTP/1.1\r\nHost: test\r\nX-Drip: ").await;
                // One that is closed already cannot be written to.
                if begun.is_ok() {
                    connection.drip(b'x', DRIP).await;
                }
            };
            let closed = timeout(header_time + SLACK, drip).await;
            io::Result::Ok(closed.is_ok().then(|| begin.elapsed()))
        });
    }
    let results = dripping.join_all().await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    ensure!(failed == 0, "{failed} of {DRIPPING} connections could not be made");
    Ok(results.into_iter().flatten().flatten().collect())
}
