//! What a running app does to its store, from the counters that it exports for Prometheus: looked at twice,
//! with a pause in between.

use std::time::{Duration, Instant};

use reqwest::Url;

use super::{CostOptions, model::Load};
use crate::{
    exit::{Failed, causes, say},
    stop::Stop,
    web,
};

const DAY_SECONDS: f64 = 86_400.0;

/// How long the app may take to say what it counted.
const PATIENCE: Duration = Duration::from_secs(20);

/// More is no page of metrics.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// Sums of counters over all stores and processes of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counted {
    loads: f64,
    commits: f64,
    touches: f64,
    destroys: f64,
}

pub(super) async fn load(url: &Url, time: Duration, options: &CostOptions) -> Result<Load, Failed> {
    let stop = Stop::listen();
    let grown = tokio::select! {
        grown = grown(url, time) => grown?,
        () = stop.asked() => return Err(Failed::interrupted("the count was interrupted")),
    };
    let Counted { loads, commits, touches, destroys: ends } = grown;
    let sessions = options.visitors().min(commits);
    // The sessions that begin are commits, too, and counted by themselves.
    let commits = commits - sessions;
    let of_sessions =
        sessions + if options.affinity { loads + commits } else { loads.max(commits) };
    // No counter of the library knows the requests that do not look at their session.
    let requests = options.requests.unwrap_or(of_sessions).max(of_sessions);
    Ok(Load { sessions, requests, loads, commits, touches, ends })
}

/// By how much the counters grow in a day, if the day is like this time.
async fn grown(url: &Url, time: Duration) -> Result<Counted, Failed> {
    let (before, began) = (Counted::ask(url).await?, Instant::now());
    say(&format!("ingle: counting for {time:?}"));
    tokio::time::sleep(time).await;
    let (after, seconds) = (Counted::ask(url).await?, began.elapsed().as_secs_f64());
    let each_day = |before: f64, after: f64| (after - before) / seconds * DAY_SECONDS;
    let grown = Counted {
        loads: each_day(before.loads, after.loads),
        commits: each_day(before.commits, after.commits),
        touches: each_day(before.touches, after.touches),
        destroys: each_day(before.destroys, after.destroys),
    };
    let all = [grown.loads, grown.commits, grown.touches, grown.destroys];
    if all.iter().any(|rate| *rate < 0.0) {
        return Err(Failed::other(format!(
            "--from {url}: the counters are lower than they were, because the app was started anew or another \
             instance answered; name the address of one instance, and run it again"
        )));
    }
    if all == [0.0; 4] {
        return Err(Failed::other(format!(
            "--from {url}: no session was used within {time:?}, so there is nothing to count by; run it while \
             the app is used, or for longer by --for"
        )));
    }
    Ok(grown)
}

impl Counted {
    async fn ask(url: &Url) -> Result<Self, Failed> {
        let failed = |error: reqwest::Error| {
            let cause = causes(&error.without_url());
            Failed::unavailable(format!("--from {url}: the app's metrics were not read ({cause})"))
        };
        let client = web::client(url).timeout(PATIENCE).build().map_err(failed)?;
        let answer = client.get(url.clone()).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > TEXT_BYTES_MAX {
                let line = format!("--from {url}: it answers with more than any metrics are");
                return Err(Failed::refused(line));
            }
        }
        Self::read(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
            Failed::refused(format!(
                "--from {url}: there are no counters of ingle there; in greetings the option `--metrics` \
                 exports them, in your own app the feature `metrics` and a recorder"
            ))
        })
    }

    /// Reads the text format of Prometheus.
    fn read(text: &str) -> Option<Self> {
        let mut counted = Self::default();
        let mut is_known = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let end = line.find(['{', ' ']).unwrap_or(line.len());
            let (name, rest) = line.split_at(end);
            let Some(sum) = (match name {
                "ingle_loads_total" => Some(&mut counted.loads),
                "ingle_commits_total" => Some(&mut counted.commits),
                "ingle_touches_total" => Some(&mut counted.touches),
                "ingle_store_seconds_count" if rest.contains("verb=\"destroy\"") => {
                    Some(&mut counted.destroys)
                }
                _ => None,
            }) else {
                continue;
            };
            let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
            if let Some(value) =
                value.split_whitespace().next().and_then(|value| value.parse::<f64>().ok())
                && value.is_finite()
            {
                *sum += value;
                is_known = true;
            }
        }
        is_known.then_some(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let text = "# HELP ingle_loads_total Loads.\n# TYPE ingle_loads_total counter\n\
                    ingle_loads_total{store=\"redis\"} 40\n\
                    ingle_loads_total{store=\"a } b\"} 2 1700000000000\n\
                    ingle_commits_total{store=\"redis\"} 7\ningle_touches_total 3\n\
                    ingle_store_seconds_count{store=\"redis\",verb=\"destroy\"} 5\n\
                    ingle_store_seconds_count{store=\"redis\",verb=\"load\"} 42\n\
                    ingle_loads_totally_else 9\n";
        let counted = Counted { loads: 42.0, commits: 7.0, touches: 3.0, destroys: 5.0 };
        assert_eq!(Counted::read(text), Some(counted));
        assert_eq!(Counted::read("up 1\n"), None);
    }
}
