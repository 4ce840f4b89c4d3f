//! `ingle cost`: what a month costs, from a few numbers or from what a running app counts.
//!
//! `cost/model.rs` has the arithmetic, `cost/prices.rs` the prices, `cost/metrics.rs` what an app counted.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use ingle_operator::{duration, grouped, inert};
use reqwest::Url;
use serde_json::json;

use crate::{
    exit::Failed,
    options::PlaceOptions,
    out::{Format, Out},
};

mod metrics;
mod model;
mod prices;

use model::{Load, Shape, Way};
use prices::Prices;

/// How long an app lets a session live without use, where nobody says it.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// How wide the bar of the most expensive way is, where there is room.
const BAR: usize = 24;

/// What stands beside a bar, in columns, and the longest line below it.
const BESIDE_BAR: usize = 52;
const PARTS: usize = 92;

/// How many visitors begin a session each day, and how many requests each makes, where nobody says it.
const VISITORS: f64 = 1000.0;
const REQUESTS_EACH: f64 = 10.0;

/// The largest number that is taken. More does nobody on earth.
const COUNT_MAX: f64 = 1e12;

/// What the app's visitors do.
#[derive(Args, Debug)]
pub(crate) struct CostOptions {
    /// Visitors who begin a session, each day. Default one for each 10 requests, or 1000.
    #[arg(long, value_name = "COUNT", value_parser = count, help_heading = "Visitors")]
    pub(crate) visitors: Option<f64>,
    /// Requests, each day. Default 10 for each visitor.
    #[arg(long, value_name = "COUNT", value_parser = count, help_heading = "Visitors")]
    pub(crate) requests: Option<f64>,
    /// How many of the requests read their session and do not change it.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "30%", help_heading = "Visitors")]
    pub(crate) reads: f64,
    /// How many of the requests change their session.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "20%", help_heading = "Visitors")]
    pub(crate) updates: f64,
    /// How many of the visitors end their session by a logout.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "0%", help_heading = "Visitors")]
    pub(crate) logouts: f64,
    /// How long a visit lasts. While it does, reads move the idle deadline.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m", help_heading = "Visitors")]
    pub(crate) visit: Duration,
    /// The data of a session, in bytes.
    #[arg(long, value_name = "BYTES", value_parser = count, default_value = "500", help_heading = "App")]
    pub(crate) session: f64,
    /// How long a request is worked on.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "50ms", help_heading = "App")]
    pub(crate) latency: Duration,
    /// A visitor's requests come to one instance, so that a change needs no load.
    #[arg(long, help_heading = "App")]
    pub(crate) affinity: bool,
    /// Firestore in a multi-region, such as nam5, at its price.
    #[arg(long, help_heading = "App")]
    pub(crate) multi_region: bool,
    /// Count what a running app does to its store: the address of its metrics, such as
    /// http://127.0.0.1:9464/metrics. It takes the place of --reads, --updates, --logouts and --visit.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) from: Option<Url>,
    /// For how long it is counted, 1s at least.
    #[arg(long = "for", value_name = "TIME", value_parser = while_counting, default_value = "1m", requires = "from")]
    pub(crate) time: Duration,
    /// Prices of another day or place, in a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Print the prices as such a file, to change them.
    #[arg(long)]
    pub(crate) print_prices: bool,
}

fn count(text: &str) -> Result<f64, String> {
    // A comma stands before each three digits, and not where some write a decimal point.
    let is_group = |group: &str| group.len() == 3 && group.bytes().all(|c| c.is_ascii_digit());
    let is_grouped = text.split(',').skip(1).all(is_group);
    let number = text.replace([',', '_'], "").parse().ok().filter(|_| is_grouped);
    let number = number.filter(|number| (0.0..=COUNT_MAX).contains(number));
    number.ok_or_else(|| {
        format!("it takes a number from 0 to {}, such as 20000", thousands(COUNT_MAX))
    })
}

fn while_counting(text: &str) -> Result<Duration, String> {
    let time = duration(text).map_err(|error| error.to_string())?;
    let is_enough = time >= Duration::from_secs(1);
    is_enough.then_some(time).ok_or_else(|| "it takes a duration of 1s or more".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|text| text.trim().parse::<f64>().ok());
    let part = number.map(|number| number / 100.0).filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "it takes a part of 100, such as 30%".to_owned())
}

fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| "it takes a URL, such as http://127.0.0.1:9464/metrics".to_owned())
}

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: CostOptions,
) -> Result<(), Failed> {
    if options.print_prices {
        out.text(Prices::own())?;
        return out.flush();
    }
    if options.reads + options.updates > 1.0 {
        return Err(Failed::usage(
            "--reads and --updates are parts of all requests, and together more than 100%",
        ));
    }
    if options.requests() < options.visitors() {
        return Err(Failed::usage(
            "--requests is less than --visitors, and each visitor makes one request at least",
        ));
    }
    let prices = Prices::read(options.prices.as_deref())?;
    let shape = options.shape(place.idle_time.unwrap_or(IDLE));
    let load = match &options.from {
        Some(from) => metrics::load(from, options.time, &options).await?,
        None => options.load(&shape),
    };
    let ways = load.ways(&shape, &prices);
    match out.format {
        Format::Text => print(out, &load, &shape, &ways, &prices)?,
        _ => out.document(&document(&load, &shape, &ways, &prices))?,
    }
    out.flush()
}

impl CostOptions {
    fn shape(&self, idle: Duration) -> Shape {
        let (bytes, latency, multi_region) = (self.session, self.latency, self.multi_region);
        Shape { bytes, idle, latency, multi_region }
    }

    fn visitors(&self) -> f64 {
        let of_requests = self.requests.map(|requests| requests / REQUESTS_EACH);
        self.visitors.or(of_requests).unwrap_or(VISITORS)
    }

    fn requests(&self) -> f64 {
        self.requests.unwrap_or(REQUESTS_EACH * self.visitors())
    }

    fn load(&self, shape: &Shape) -> Load {
        let (sessions, requests) = (self.visitors(), self.requests());
        let (reads, updates) = (requests * self.reads, requests * self.updates);
        // The first change of a visitor is the create.
        let commits = (updates - sessions).max(0.0);
        // The idle deadline is moved at most once in a minute, or in a tenth of the idle time.
        let pause = (shape.idle / 10).max(Duration::from_secs(60));
        let moves = (self.visit.as_secs_f64() / pause.as_secs_f64()).floor();
        let loads = reads + if self.affinity { 0.0 } else { commits };
        let (touches, ends) = (reads.min(sessions * moves), sessions * self.logouts);
        Load { sessions, requests, loads, commits, touches, ends }
    }
}

fn document(load: &Load, shape: &Shape, ways: &[Way], prices: &Prices) -> serde_json::Value {
    let calls = load.on_firestore(shape);
    json!({
        "each_day": {
            "sessions": load.sessions.round(),
            "requests": load.requests.round(),
            "loads": load.loads.round(),
            "commits": load.commits.round(),
            "touches": load.touches.round(),
            "ends": load.ends.round(),
        },
        "firestore_each_day": {
            "reads": calls.reads.round(),
            "writes": calls.writes.round(),
            "ttl_deletes": calls.ttl_deletes.round(),
            "gib": calls.gib,
        },
        "ways": ways.iter().map(Way::json).collect::<Vec<_>>(),
        "prices": { "date": prices.date, "note": prices.note },
    })
}

fn print(
    out: &mut Out,
    load: &Load,
    shape: &Shape,
    ways: &[Way],
    prices: &Prices,
) -> Result<(), Failed> {
    let whole = |number: f64| thousands(number);
    let calls = load.on_firestore(shape);
    out.line(&format!(
        "each day   {} requests; {} sessions begin, {} loads, {} commits, {} touches{}",
        whole(load.requests),
        whole(load.sessions),
        whole(load.loads),
        whole(load.commits),
        whole(load.touches),
        if load.ends > 0.0 { format!(", {} ends", whole(load.ends)) } else { String::new() },
    ))?;
    out.line(&format!(
        "Firestore  {} reads, {} writes, {} deletes by the TTL policy a day; {:.2} GiB",
        whole(calls.reads),
        whole(calls.writes),
        whole(calls.ttl_deletes),
        calls.gib,
    ))?;
    out.line("")?;
    out.title("US dollars a month")?;
    let width = out.columns.saturating_sub(BESIDE_BAR).min(BAR);
    let indent = if out.columns < PARTS { 6 } else { width + 15 };
    let most = ways.iter().map(Way::dollars).fold(0.0, f64::max);
    for way in ways {
        let dollars = way.dollars();
        out.line(&format!("  {} {:>10}  {}", bar(dollars, most, width), money(dollars), way.name))?;
        let parts = way.parts.iter().map(|(what, dollars)| format!("{what} {}", money(*dollars)));
        let blank = " ".repeat(indent);
        out.line(&inert(&format!("{blank}{}", parts.collect::<Vec<_>>().join(" + "))))?;
    }
    out.line("")?;
    out.line(&inert(&format!("Prices of {}: {}.", prices.date, prices.note)))?;
    out.line("Traffic, logs and backups come on top. `docs/cost.md` says how it is counted.")
}

fn bar(dollars: f64, most: f64, width: usize) -> String {
    let part = if most > 0.0 { dollars / most } else { 0.0 };
    let filled = (part * width as f64).round() as usize;
    let filled = filled.max(usize::from(dollars >= 0.005)).min(width);
    format!("{}{}", "█".repeat(filled), "·".repeat(width - filled))
}

fn money(dollars: f64) -> String {
    let cents = (dollars * 100.0).round();
    format!("{}.{:02.0}", thousands((cents / 100.0).floor()), cents % 100.0)
}

/// A number with a comma before each three digits.
fn thousands(number: f64) -> String {
    grouped(number.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_printed_as_people_write_them() {
        assert_eq!(count("20,000"), Ok(20_000.0));
        assert_eq!(count("1,234,567"), Ok(1_234_567.0));
        for none in ["-1", "many", "inf", "NaN", "1e300", "1,5", "1,0000", "1,000,5"] {
            assert!(count(none).is_err(), "{none}");
        }
        assert_eq!(percent("12.5%"), Ok(0.125));
        assert!(percent("101%").is_err() && percent("0.3").is_err());
        for (dollars, text) in
            [(0.0, "0.00"), (0.004, "0.00"), (1234.567, "1,234.57"), (0.999, "1.00")]
        {
            assert_eq!(money(dollars), text);
        }
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_and_shows_that_there_is_something() {
        assert_eq!(bar(0.0, 0.0, BAR), "·".repeat(BAR));
        assert_eq!(bar(10.0, 10.0, BAR), "█".repeat(BAR));
        assert!(bar(0.01, 100.0, BAR).starts_with("█·"));
        assert!(bar(0.001, 100.0, BAR).starts_with('·'));
        assert_eq!(bar(10.0, 10.0, 0), "");
    }
}
