//! More than can be served: what is refused is refused at once, what is accepted ends in time,
//! memory stays as it is, and all is well again within seconds (I11, I12, I13).
//!
//! `slowloris.rs` has the connections that drip.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testbed::{
    Server,
    load::{self, Begin, Length as Run, One, Plan, Tally, percentile},
    proxy::Proxy,
    redis,
};
use tokio::time::{interval, sleep};

use crate::{
    lab::{Lab, size},
    lateness::Lateness,
    options::{Length, Options},
    report::Section,
};

mod slowloris;

/// How many requests the app works on at once. Few, so that it is the store that is too slow and not
/// this machine, which the load shares with the app.
const IN_FLIGHT: usize = 32;

/// How long they may take to begin.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(600);

/// How many sessions there are.
const VISITORS: usize = 200;

/// How long an answer of the store takes at least while it is slow: at ten times of what it takes
/// on a quick machine, the limit would again be the machine.
const DELAY_MIN: Duration = Duration::from_millis(40);

/// And at most: one call has half a second, and on a machine that is busy otherwise ten times is more.
const DELAY_MAX: Duration = Duration::from_millis(300);

/// How long it is measured what the app can serve.
const MEASURE: Duration = Duration::from_secs(3);

/// The library's time for one operation, and what may be added to it (I13) on a machine that does
/// nothing else.
const DEADLINE: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(250);

/// Refusals that are slower than this, by their median, are not made at once: there, too.
const REFUSED_WITHIN: Duration = Duration::from_millis(50);

/// How much larger the app may get while it is overloaded.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

/// The time to recover (I11), and how many of a hundred requests must be answered then.
const RECOVERY: Duration = Duration::from_secs(10);
const ANSWERED: usize = 99;

/// How many files this process and those that it starts may have open.
const FILES: u64 = 8192;

pub(crate) async fn run(options: &Options) -> Result<Section> {
    let limit = getrlimit(Resource::Nofile);
    let files = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit { current: Some(files), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).context("could not open more files")?;
    }
    let mut section = Section { name: "overload", ..Section::default() };
    overload(Duration::from_secs(options.count(10, 60)), &mut section).await?;
    let header_time = Duration::from_secs(options.count(3, 10));
    let (waves, levels) = (options.count(3, 10) as usize, options.length != Length::Short);
    drip(header_time, waves, levels, &mut section).await?;
    Ok(section)
}

async fn overload(time: Duration, section: &mut Section) -> Result<()> {
    let server = Server::start(redis::program(&[])?)?;
    let distance = Proxy::start(server.address()).await?;
    let mut lab = Lab::on(format!("redis://{}", distance.address));
    lab.options = vec!["--in-flight".to_owned(), IN_FLIGHT.to_string()];
    let app = lab.start()?;
    let address = app.address();
    let cookies = visitors(address, VISITORS).await?;
    let usual = clients(address, &cookies, 1, Duration::ZERO, MEASURE).await;
    let usual = percentile(&usual.latencies, 50);
    let delay = (usual * 10).clamp(DELAY_MIN, DELAY_MAX);
    distance.set_distance(delay);
    // One more than it works on at once would be refused, and ask again at once.
    let most = clients(address, &cookies, IN_FLIGHT - 1, Duration::ZERO, MEASURE).await;
    let capacity = most.latencies.len() as f64 / MEASURE.as_secs_f64();

    // Once as it will be, so that what the app keeps for so many connections is there before.
    let open = |rate, time| load::open(address, "/", &cookies, rate, time);
    open(2.0 * capacity, MEASURE).await;
    let before = size(&app)?.kib;
    let lateness = Lateness::watch();
    let (seconds, peak) = tokio::join!(open(2.0 * capacity, time), peak_within(&app, time));
    let all = Tally::sum(seconds);
    distance.set_distance(Duration::ZERO);
    let calm = open(capacity / 2.0, RECOVERY).await;
    let recovered = calm.iter().position(is_well);
    let late = lateness.worst();

    let _ = writeln!(
        section.text,
        "**Overload.** A request took {usual:?} (median); with {delay:?} more for each answer of \
         Redis and at most {IN_FLIGHT} requests at once the app could serve {capacity:.0} requests \
         per second. Twice as many came for {} s, {} in all ({} more were beyond what the clients \
         could send), and the machine was late by {late:?} at most:\n\n| | number | median | 99 of 100 within | longest |\n|---|---|---|---|---|\n\
         {}{}\nOther answers: {}. Memory: {before} KiB before, {peak} KiB at most. Afterwards {} \
         of a hundred were answered {}.\n",
        time.as_secs(),
        all.sent,
        all.unsent,
        row("answered", &all.latencies),
        row("refused", &all.refusals),
        all.other + all.broken,
        ANSWERED,
        recovered.map_or("never".to_owned(), |second| format!("within {} s", second + 1)),
    );
    let mut broken = |what: String| section.broken.push(format!("overload: {what}"));
    if all.refusals.is_empty() {
        broken("nothing was refused, so nothing was shown".to_owned());
    }
    if percentile(&all.refusals, 50) >= lateness.allows(REFUSED_WITHIN) {
        broken(format!("refusals take {:?}", percentile(&all.refusals, 50)));
    }
    if percentile(&all.latencies, 100) > lateness.allows(DEADLINE + SLACK) {
        broken(format!("I13: an accepted request took {:?}", percentile(&all.latencies, 100)));
    }
    if all.other + all.broken > 0 {
        broken(format!("{} answers were neither 200 nor 503", all.other + all.broken));
    }
    if peak > before + GROWTH_KIB_MAX {
        broken(format!("I12: the app grew from {before} to {peak} KiB"));
    }
    if recovered.is_none() {
        broken("I11: it did not recover within ten seconds".to_owned());
    }
    Ok(())
}

/// A session for each of so many visitors; their cookies.
async fn visitors(app: SocketAddr, n: usize) -> Result<Vec<String>> {
    let length = Run::Requests { count: u64::MAX, time_max: BEGIN_TIME_MAX };
    let begin = Begin { wanted: n, ..Begin::default() };
    let (turns, _) = load::closed(&Plan::new(&[app], "/", length), vec![begin]).await;
    let begun = turns.iter().flat_map(|begin| &begin.begun);
    let cookies: Vec<String> = begun.map(|visitor| visitor.cookie().to_owned()).collect();
    ensure!(cookies.len() == n, "only {} of {n} sessions began", cookies.len());
    Ok(cookies)
}

/// What came of clients that ask again when they were answered, and after a pause.
async fn clients(
    app: SocketAddr,
    cookies: &[String],
    n: usize,
    pause: Duration,
    time: Duration,
) -> Tally {
    let length = Run::Time { warm_up: Duration::ZERO, time };
    let plan = Plan { pause, ..Plan::new(&[app], "/", length) };
    let client = |cookie: &String| One { cookie: cookie.as_str().into(), shown: Vec::new() };
    let turns = cookies.iter().cycle().take(n).map(client).collect();
    load::closed(&plan, turns).await.1
}

fn is_well(second: &Tally) -> bool {
    second.sent > 0 && second.latencies.len() * 100 >= second.sent as usize * ANSWERED
}

fn row(name: &str, times: &[u32]) -> String {
    let [half, most, all] = [50, 99, 100].map(|percent| percentile(times, percent));
    format!("| {name} | {} | {half:.1?} | {most:.1?} | {all:.1?} |\n", times.len())
}

/// The most memory that the app has meanwhile.
async fn peak_within(app: &Server, time: Duration) -> u64 {
    let (mut peak, mut looks) = (0, interval(Duration::from_millis(250)));
    let look = async {
        loop {
            looks.tick().await;
            peak = peak.max(size(app).map_or(0, |size| size.kib));
        }
    };
    tokio::select! {
        () = look => {}
        () = sleep(time) => {}
    }
    peak
}

async fn drip(
    header_time: Duration,
    waves: usize,
    levels: bool,
    section: &mut Section,
) -> Result<()> {
    let dripped = slowloris::run(header_time, waves, levels).await?;
    let slowloris::Dripped { waves, connections, longest, normal, before, after, broken } = dripped;
    let _ = writeln!(
        section.text,
        "**Slowloris.** {waves} waves of {connections} connections that send a header byte by \
         byte, {} s at most: the last one was closed after {longest:.1?}. Meanwhile normal clients \
         were answered {} times, within {:.1?} (median) and {:.1?} (99 of 100), and {} times not. \
         Open files and memory: {} and {} KiB before the last wave, {} and {} KiB after it.\n",
        header_time.as_secs(),
        normal.latencies.len(),
        percentile(&normal.latencies, 50),
        percentile(&normal.latencies, 99),
        normal.failed(),
        before.files,
        before.kib,
        after.files,
        after.kib,
    );
    section.broken.extend(broken);
    Ok(())
}
