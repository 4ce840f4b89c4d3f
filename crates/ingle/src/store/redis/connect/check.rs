//! What an acknowledged commit survives, as the servers are set up, and what they are set up wrong for.

use redis::Value;
use tokio::time::Instant;

use super::{Client, Master};
use crate::{
    clock::Timestamp,
    store::{Warning, floor::text::one_line},
};

/// How the servers are set up.
pub(in crate::store) struct Setup {
    /// What an acknowledged commit survives, as the end of a sentence.
    pub(in crate::store) durability: &'static str,
    /// What loses sessions.
    pub(in crate::store) warnings: Vec<Warning>,
}

/// Asks each server. Where the settings may not be read, as with most services, it says so.
pub(in crate::store) async fn setup(client: &Client) -> Setup {
    let mut setup = Setup { durability: UNKNOWN, warnings: Vec::new() };
    for (n, master) in client.masters().iter().enumerate() {
        let durability = of(master, &mut setup.warnings).await;
        if n == 0 {
            setup.durability = durability;
        }
    }
    setup
}

const UNKNOWN: &str = "what the server's append-only file does, which may not be asked for; not a failover to a \
                       replica that lags behind";

async fn of(master: &Master, warnings: &mut Vec<Warning>) -> &'static str {
    let setting = async |name: &str| {
        let command = redis::cmd("CONFIG").arg("GET").arg(name).to_owned();
        let Value::Array(answer) = master.call(&command).await.ok()? else { return None };
        match answer.into_iter().nth(1) {
            Some(Value::BulkString(value)) => String::from_utf8(value).ok(),
            _ => None,
        }
    };
    let (name, line) = (master.name(), master.command_line());
    if let Some(policy) = setting("maxmemory-policy").await
        && policy != "noeviction"
    {
        warnings.push(Warning::new(
            "eviction",
            format!(
                "Redis at {name} ends sessions when its memory is full (`maxmemory-policy {}`)",
                one_line(&policy)
            ),
            format!(
                "run `{line} config set maxmemory-policy noeviction`, which makes it refuse new ones \
                 instead, and write the same into its configuration"
            ),
        ));
    }
    match (setting("appendonly").await.as_deref(), setting("appendfsync").await.as_deref()) {
        (Some("yes"), Some("always")) => {
            "a crash and a power loss of the server, each commit being synced; not a failover to a replica that \
             lags behind"
        }
        (Some("yes"), Some("everysec")) => {
            "a crash of the server, and a power loss but for the last two seconds; not a failover \
             to a replica that lags behind"
        }
        (Some("yes"), Some(_)) => {
            "a crash of the server, and a power loss but for what its system had not written yet; \
             not a failover to a replica that lags behind"
        }
        (Some(_), _) => {
            warnings.push(Warning::new(
                "durability",
                format!("Redis at {name} keeps no append-only file, so a crash loses sessions"),
                format!(
                    "run `{line} config set appendonly yes`, and write the same into its configuration"
                ),
            ));
            "nothing since the server's last snapshot: `appendonly` is not set"
        }
        (None, _) => UNKNOWN,
    }
}

/// Compares the clock of each server that may be asked for it with ours, which says `now`.
pub(in crate::store) async fn clocks(client: &Client, now: Timestamp) -> Vec<Warning> {
    let began = Instant::now();
    let mut warnings = Vec::new();
    for master in client.masters() {
        let asked = now.after(began.elapsed());
        let answer = master.call(&redis::cmd("TIME")).await;
        let answered = now.after(began.elapsed());
        if let Ok(Value::Array(parts)) = answer
            && let Some(Value::BulkString(seconds)) = parts.first()
            && let Some(seconds) = str::from_utf8(seconds).ok().and_then(|text| text.parse().ok())
        {
            let whose = format!("Redis at {}", master.name());
            warnings.extend(Warning::of_clocks(&whose, asked, answered, of_seconds(seconds)));
        }
    }
    warnings
}

fn of_seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}
