//! On paper: what many sessions and requests take on three stores, from the measured cost of one request.
//!
//! Every assumption is a constant here and a line in `docs/scale.md`; every other number was measured by
//! `stores` and `scale`, or follows.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    document,
    facts::Facts,
    place::Place,
    spread::{thousands, whole},
};

const DOCUMENT: &str = "docs/scale.md";

const SESSIONS: f64 = 1e8;
const REQUESTS: f64 = 1e5;

/// Of the app in each session, besides what is ours.
const DATA_BYTES: f64 = 500.0;

/// What the sessions that were measured had.
const MEASURED_DATA_BYTES: f64 = 40.0;

/// The part of a core, or of memory, that is planned with.
const USED: f64 = 0.6;
const MEMORY_USED: f64 = 0.75;

/// Machines: cores, GiB and US dollars an hour. The prices are assumed, not quoted.
const APP_CORES: f64 = 4.0;
const APP_HOUR: f64 = 0.2;
const REDIS_SHARDS_EACH: f64 = 3.0;
const REDIS_GIB: f64 = 32.0;
const REDIS_HOUR: f64 = 0.26;
const CORE_HOUR: f64 = APP_HOUR / APP_CORES;
const CORES_MAX: f64 = 128.0;

/// Of a month.
const HOURS: f64 = 720.0;
const SECONDS: f64 = HOURS * 3600.0;

/// US dollars for one document, in one region.
const FIRESTORE_READ: f64 = 0.03 / 1e5;
const FIRESTORE_WRITE: f64 = 0.09 / 1e5;

/// A row of PostgreSQL besides its data: the sizes of its columns and of its header.
const ROW_BYTES: f64 = 28.0 + 33.0 + 4.0 * 8.0 + 2.0 * 8.0 + 132.0 + 2.0;
const FILL_FACTOR: f64 = 0.7;

/// A document of Firestore besides its data, by Google's rules for its size: see the text.
const DOCUMENT_BYTES: f64 = 90.0 + 32.0 + 366.0 + 23.0;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Which parts of the requests do what.
#[derive(Clone, Copy, Debug)]
struct Mix {
    name: &'static str,
    untouched: f64,
    read: f64,
    update: f64,
}

const MIXES: [Mix; 2] = [
    Mix {
        name: "70 % untouched, 20 % reads, 10 % updates",
        untouched: 0.7,
        read: 0.2,
        update: 0.1,
    },
    Mix { name: "all updates", untouched: 0.0, read: 0.0, update: 1.0 },
];

/// What one request costs in CPU time, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    untouched: f64,
    read: f64,
    update: f64,
}

impl Cost {
    fn of(facts: &Facts, place: Place, whose: &str) -> Result<Self> {
        let us = |kind: &str| facts.get(&format!("{}.{kind}.{whose}_us", place.name()));
        Ok(Self { untouched: us("untouched")?, read: us("read")?, update: us("update")? })
    }

    /// Cores that are busy all the time with so many requests a second.
    fn cores(&self, mix: &Mix) -> f64 {
        let us = mix.untouched * self.untouched + mix.read * self.read + mix.update * self.update;
        REQUESTS * us / 1e6
    }
}

/// What one store takes with one mix.
#[derive(Clone, Debug, PartialEq)]
struct Need {
    app_instances: f64,
    reads: f64,
    writes: f64,
    store: String,
    gib: f64,
    dollars: f64,
    limit: String,
}

const PLACES: [Place; 3] = [Place::Firestore, Place::Redis, Place::Postgres];

/// Writes the section, if everything that it needs was measured; else says what was not.
pub(crate) fn write(facts: &Facts) -> Result<()> {
    match text(facts) {
        Ok(text) => document::write_into(DOCUMENT, "paper", &text),
        Err(missing) => {
            println!("{DOCUMENT} is left as it is: {missing}.");
            Ok(())
        }
    }
}

fn text(facts: &Facts) -> Result<String> {
    let mut text = "Measured, in microseconds of CPU time for each request: the app's, and the store's \
                    server's.\n\n| the request | Firestore | Redis | PostgreSQL |\n|---|---|---|---|"
        .to_owned();
    type Of = fn(&Cost) -> f64;
    let kinds: [(&str, Of); 3] = [
        ("does not look at its session", |cost| cost.untouched),
        ("reads it", |cost| cost.read),
        ("changes it", |cost| cost.update),
    ];
    for (name, of) in kinds {
        _ = write!(text, "\n| {name} |");
        for place in PLACES {
            let [app, store] = ["app", "store"].map(|whose| Cost::of(facts, place, whose));
            _ = match place {
                // Its server is an emulator, whose cost says nothing.
                Place::Firestore => write!(text, " {} |", whole(of(&app?))),
                _ => write!(text, " {} + {} |", whole(of(&app?)), whole(of(&store?))),
            };
        }
    }
    let redis = facts.get("Redis.bytes")?;
    _ = write!(
        text,
        "\n\nA session with {MEASURED_DATA_BYTES} bytes of data takes {} bytes of Redis.\n",
        whole(redis)
    );
    for mix in MIXES {
        _ = write!(
            text,
            "\n| {} | instances of the app | reads/s | writes/s | the store | GiB | US dollars a month | first limit |\n\
             |---|---|---|---|---|---|---|---|",
            mix.name
        );
        for (place, need) in [
            ("Firestore", firestore(facts, &mix)?),
            ("Redis Cluster", redis_cluster(facts, &mix)?),
            ("PostgreSQL", postgres(facts, &mix)?),
        ] {
            let Need { app_instances, reads, writes, store, gib, dollars, limit } = need;
            let [reads, writes, gib, dollars] = [reads, writes, gib, dollars].map(rounded);
            _ = write!(
                text,
                "\n| {place} | {} | {reads} | {writes} | {store} | {gib} | {dollars} | {limit} |",
                whole(app_instances)
            );
        }
        text.push('\n');
    }
    Ok(text)
}

fn rounded(value: f64) -> String {
    thousands(value.round() as usize)
}

/// Reads and commits in a second, where each update is by a process that knows the session.
fn operations(mix: &Mix) -> (f64, f64) {
    (REQUESTS * mix.read, REQUESTS * mix.update)
}

fn app_instances(facts: &Facts, place: Place, mix: &Mix) -> Result<f64> {
    Ok((Cost::of(facts, place, "app")?.cores(mix) / USED / APP_CORES).ceil())
}

fn firestore(facts: &Facts, mix: &Mix) -> Result<Need> {
    let (reads, writes) = operations(mix);
    let app_instances = app_instances(facts, Place::Firestore, mix)?;
    let calls = SECONDS * (reads * FIRESTORE_READ + writes * FIRESTORE_WRITE);
    // From 500 calls a second, half as many again each 5 minutes.
    let ramp = 5.0 * ((reads + writes) / 500.0).log(1.5).ceil();
    Ok(Need {
        app_instances,
        reads,
        writes,
        store: "no machine of yours".to_owned(),
        gib: SESSIONS * (DOCUMENT_BYTES + DATA_BYTES) / GIB,
        dollars: app_instances * APP_HOUR * HOURS + calls,
        limit: format!(
            "money: {} $ of it for calls; and {} minutes until a new collection has ramped up",
            rounded(calls),
            whole(ramp)
        ),
    })
}

fn redis_cluster(facts: &Facts, mix: &Mix) -> Result<Need> {
    let (reads, writes) = operations(mix);
    let app_instances = app_instances(facts, Place::Redis, mix)?;
    let bytes = SESSIONS * (facts.get("Redis.bytes")? - MEASURED_DATA_BYTES + DATA_BYTES);
    // One core does the work of a shard.
    let by_cpu = (Cost::of(facts, Place::Redis, "store")?.cores(mix) / USED).ceil();
    let by_memory = bytes / GIB / MEMORY_USED;
    let machines = (by_cpu / REDIS_SHARDS_EACH).max(by_memory / REDIS_GIB).ceil();
    let limit = if by_memory / REDIS_GIB > by_cpu / REDIS_SHARDS_EACH {
        format!(
            "memory: {} GiB; the CPU time alone needs {} of the shards",
            rounded(by_memory),
            whole(by_cpu)
        )
    } else {
        format!("CPU time: {} shards; memory would fit on fewer machines", whole(by_cpu))
    };
    Ok(Need {
        app_instances,
        reads,
        writes,
        store: format!(
            "{} machines with {} shards, and as many replicas",
            whole(machines),
            whole(machines * REDIS_SHARDS_EACH)
        ),
        gib: bytes / GIB,
        dollars: HOURS * (app_instances * APP_HOUR + 2.0 * machines * REDIS_HOUR),
        limit,
    })
}

fn postgres(facts: &Facts, mix: &Mix) -> Result<Need> {
    let (reads, writes) = operations(mix);
    let app_instances = app_instances(facts, Place::Postgres, mix)?;
    let row = ROW_BYTES + DATA_BYTES;
    let cores = (Cost::of(facts, Place::Postgres, "store")?.cores(mix) / USED).ceil();
    let log = writes * row / 1e6;
    let fits = if cores <= CORES_MAX { "one primary can" } else { "no one primary can" };
    Ok(Need {
        app_instances,
        reads,
        writes,
        store: format!("a primary with {} cores, and a synchronous standby", whole(cores)),
        gib: SESSIONS * row / FILL_FACTOR / GIB,
        dollars: HOURS * (app_instances * APP_HOUR + 2.0 * cores * CORE_HOUR),
        limit: format!(
            "the primary's CPU time ({fits}: {CORES_MAX} cores are the most), then its log: {} MB/s or more",
            whole(log)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let mut facts = Facts::default();
        for place in PLACES {
            for (kind, us) in [("untouched", 10.0), ("read", 20.0), ("update", 30.0)] {
                for whose in ["app", "store"] {
                    facts.set(format!("{}.{kind}.{whose}_us", place.name()), us);
                }
            }
        }
        facts.set("Redis.bytes".to_owned(), 540.0);
        facts
    }

    #[test]
    fn what_is_needed_follows_from_the_cost_of_a_request() {
        let facts = facts();
        let [mixed, updates] = MIXES;
        // 100,000 × 30 µs are 3 cores, 5 with reserve, 2 machines of 4.
        assert_eq!(app_instances(&facts, Place::Redis, &updates).unwrap(), 2.0);
        assert_eq!(operations(&mixed), (20_000.0, 10_000.0));
        let firestore = firestore(&facts, &updates).unwrap();
        let writes = 2.0 * APP_HOUR * HOURS + 100_000.0 * 2_592_000.0 * 0.09 / 1e5;
        assert!((firestore.dollars - writes).abs() < 1.0, "{firestore:?}");
        let redis = redis_cluster(&facts, &updates).unwrap();
        assert!(
            redis.limit.starts_with("memory: 124 GiB; the CPU time alone needs 5 of the shards"),
            "{redis:?}"
        );
        let postgres = postgres(&facts, &updates).unwrap();
        assert!(postgres.store.starts_with("a primary with 5 cores"), "{postgres:?}");
    }

    #[test]
    fn what_was_not_measured_is_named() {
        assert!(text(&facts()).unwrap().contains("| Redis Cluster |"));
        let missing = text(&Facts::default()).unwrap_err().to_string();
        assert_eq!(missing, "`Firestore.untouched.app_us` was not measured");
    }
}
