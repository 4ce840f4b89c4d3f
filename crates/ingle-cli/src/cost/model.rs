//! What is needed each day, and what that costs each month. `docs/cost.md` has the same in words.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    prices::{Machine, Prices},
    thousands,
};

const DAYS: f64 = 30.0;
/// Of a month, as clouds count it.
const HOURS: f64 = 730.0;
const DAY_SECONDS: f64 = 86_400.0;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A document of Firestore besides its data, by Google's rules for its size (`docs/scale.md`).
const DOCUMENT_BYTES: f64 = 511.0;
/// An entry of an index: for sweeps, and for the lists of a user.
const INDEX_BYTES: f64 = 250.0;
/// A session in Redis besides its data: measured (`docs/scale.md`).
const REDIS_BYTES: f64 = 400.0;
/// A row of PostgreSQL with its indexes besides its data, as it is filled.
const ROW_BYTES: f64 = 600.0;
/// The TTL policy deletes within a day.
const TTL_DAYS: f64 = 1.0;

/// An instance on Google's platforms.
const INSTANCE_VCPU: f64 = 1.0;
const CLOUD_RUN_GIB: f64 = 0.5;
const FLEX_GIB: f64 = 1.0;
/// How many requests one instance answers at once, unless Cloud Run is told otherwise.
const AT_ONCE: f64 = 80.0;

/// What a request takes of a core, the app's part and the store's: measured (`docs/scale.md`), with a
/// margin for what an app does besides.
const REQUEST_SECONDS: f64 = 0.001;
/// How much busier the busiest hour is than the mean.
const PEAK: f64 = 5.0;
/// The part of a core and of memory that is planned with.
const USED: f64 = 0.6;
/// What the system, the app and the store take besides sessions.
const BASE_GIB: f64 = 1.0;

/// What visitors do in a day.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    /// Sessions that begin.
    pub(crate) sessions: f64,
    pub(crate) requests: f64,
    /// Those that load their session from the store.
    pub(crate) loads: f64,
    /// Those that write it, without those that begin one.
    pub(crate) commits: f64,
    /// Those that move the idle deadline alone.
    pub(crate) touches: f64,
    /// Sessions that are ended, not left to expire.
    pub(crate) ends: f64,
}

/// What else is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    /// Of a session's data.
    pub(crate) bytes: f64,
    pub(crate) idle: Duration,
    /// How long a request is worked on.
    pub(crate) latency: Duration,
    pub(crate) multi_region: bool,
}

/// Documents of Firestore in a day.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Calls {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    /// By the TTL policy.
    pub(crate) ttl_deletes: f64,
    pub(crate) gib: f64,
}

/// A way to run the app, and what it costs in a month.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// What is paid for, and how much in US dollars.
    pub(crate) parts: Vec<(String, f64)>,
}

impl Way {
    pub(crate) fn dollars(&self) -> f64 {
        self.parts.iter().map(|(_, dollars)| dollars).sum()
    }

    pub(crate) fn json(&self) -> Value {
        let parts = self
            .parts
            .iter()
            .map(|(what, dollars)| json!({ "what": what, "dollars": cents(*dollars) }));
        json!({
            "name": self.name,
            "dollars": cents(self.dollars()),
            "parts": parts.collect::<Vec<_>>(),
        })
    }
}

/// A price without what nobody pays.
fn cents(dollars: f64) -> f64 {
    (dollars * 100.0).round() / 100.0
}

impl Load {
    pub(crate) fn on_firestore(&self, shape: &Shape) -> Calls {
        let Self { sessions, loads, commits, touches, ends, requests: _ } = self;
        Calls {
            // A touch looks at the session again, and so does an end.
            reads: loads + touches + ends,
            // An end leaves a mark in the document's place.
            writes: sessions + commits + touches + ends,
            // Each session that began is deleted once, or its mark is.
            ttl_deletes: *sessions,
            gib: self.kept(shape, TTL_DAYS) * (DOCUMENT_BYTES + 2.0 * INDEX_BYTES + shape.bytes)
                / GIB,
        }
    }

    /// How many sessions there are at once, if they stay for some days after their end.
    fn kept(&self, shape: &Shape, days_after: f64) -> f64 {
        self.sessions * (shape.idle.as_secs_f64() / DAY_SECONDS + days_after)
    }

    /// All ways, the cheapest first.
    pub(crate) fn ways(&self, shape: &Shape, prices: &Prices) -> Vec<Way> {
        let firestore = || ("Firestore".to_owned(), self.firestore(shape, prices));
        let cloud_run = ("Cloud Run".to_owned(), self.cloud_run(shape, prices));
        let flex = self.flex(shape, prices);
        let mut ways = vec![
            Way { name: "Cloud Run and Firestore", parts: vec![cloud_run, firestore()] },
            Way { name: "App Engine flex and Firestore", parts: vec![flex, firestore()] },
            self.machine("a machine with the app and Redis", REDIS_BYTES, shape, prices, true),
            self.machine("a machine with the app and PostgreSQL", ROW_BYTES, shape, prices, false),
        ];
        ways.sort_by(|one, other| one.dollars().total_cmp(&other.dollars()));
        ways
    }

    pub(super) fn firestore(&self, shape: &Shape, prices: &Prices) -> f64 {
        let calls = self.on_firestore(shape);
        let of = if shape.multi_region {
            &prices.firestore.multi_region
        } else {
            &prices.firestore.one_region
        };
        let free = &prices.firestore.free_each_day;
        let each_day = paid(calls.reads, free.reads) * of.read
            + paid(calls.writes, free.writes) * of.write
            // Those of the TTL policy are never free.
            + calls.ttl_deletes * of.delete;
        each_day * DAYS + paid(calls.gib, prices.firestore.free_gib) * of.gib_month
    }

    pub(super) fn cloud_run(&self, shape: &Shape, prices: &Prices) -> f64 {
        let prices = &prices.cloud_run;
        let free = &prices.free_each_month;
        // One second of an instance serves all the requests that it has then, so this is the most: no two
        // at once, up to instances that are busy all the time.
        let worked = self.requests * DAYS * shape.latency.as_secs_f64();
        let seconds = worked.min(self.instances(shape) * DAYS * DAY_SECONDS);
        paid(seconds * INSTANCE_VCPU, free.vcpu_seconds) * prices.vcpu_second
            + paid(seconds * CLOUD_RUN_GIB, free.gib_seconds) * prices.gib_second
            + paid(self.requests * DAYS, free.requests) * prices.request
    }

    fn flex(&self, shape: &Shape, prices: &Prices) -> (String, f64) {
        let prices = &prices.app_engine_flex;
        let instances = self.instances(shape);
        let each = HOURS * (INSTANCE_VCPU * prices.vcpu_hour + FLEX_GIB * prices.gib_hour)
            + prices.disk_gib * prices.disk_gib_month;
        let what = if instances == 1.0 { "instance" } else { "instances" };
        (format!("{} {what}", thousands(instances)), instances * each)
    }

    /// How many instances are busy at once in the busiest hour, at least one.
    fn instances(&self, shape: &Shape) -> f64 {
        let by_number = self.peak() * shape.latency.as_secs_f64() / AT_ONCE;
        by_number.max(self.cores() / INSTANCE_VCPU).ceil().max(1.0)
    }

    /// Requests a second in the busiest hour.
    fn peak(&self) -> f64 {
        self.requests / DAY_SECONDS * PEAK
    }

    /// Cores that are busy then, as they are planned.
    fn cores(&self) -> f64 {
        self.peak() * REQUEST_SECONDS / USED
    }

    fn machine(
        &self,
        name: &'static str,
        besides: f64,
        shape: &Shape,
        prices: &Prices,
        in_memory: bool,
    ) -> Way {
        let sessions = self.kept(shape, 0.0) * (besides + shape.bytes) / GIB;
        let memory = BASE_GIB + if in_memory { sessions / USED } else { 0.0 };
        let fits = |machine: &&Machine| machine.cores >= self.cores() && machine.gib >= memory;
        let last = prices.machines.last();
        let Some(machine) = prices.machines.iter().find(fits).or(last) else {
            return Way { name, parts: Vec::new() };
        };
        let n = (self.cores() / machine.cores).max(memory / machine.gib).ceil().max(1.0);
        // The system's, and twice what the sessions are: for a log, and for what is rewritten.
        let disk = 10.0 * n + 2.0 * sessions;
        Way {
            name,
            parts: vec![
                (format!("{} × {}", thousands(n), machine.name), n * HOURS * machine.hour),
                (format!("{} GiB of disk", thousands(disk)), disk * prices.machine_disk_gib_month),
            ],
        }
    }
}

/// What is beyond the free part.
fn paid(amount: f64, free: f64) -> f64 {
    (amount - free).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        Prices::read(None).unwrap()
    }

    fn shape() -> Shape {
        Shape {
            bytes: 500.0,
            idle: Duration::from_secs(1800),
            latency: Duration::from_millis(100),
            multi_region: false,
        }
    }

    fn load() -> Load {
        Load {
            sessions: 10_000.0,
            requests: 200_000.0,
            loads: 120_000.0,
            commits: 40_000.0,
            touches: 10_000.0,
            ends: 0.0,
        }
    }

    #[track_caller]
    fn same(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.005, "{found} is not {expected}");
    }

    /// By hand: reads 130,000 a day, 80,000 of them paid: 80,000 × 30 × $0.30/million = $0.72.
    /// Writes 60,000, 40,000 paid: 40,000 × 30 × $0.90/million = $1.08.
    /// TTL deletes 10,000, all paid: 10,000 × 30 × $0.10/million = $0.03.
    /// Kept: 10,000 × (1/48 + 1) = 10,208 sessions of 1,511 bytes, far below 1 GiB.
    #[test]
    fn firestore_is_paid_by_the_document_beyond_what_is_free_each_day() {
        let calls = load().on_firestore(&shape());
        assert_eq!((calls.reads, calls.writes, calls.ttl_deletes), (130_000.0, 60_000.0, 10_000.0));
        same(load().firestore(&shape(), &prices()), 0.72 + 1.08 + 0.03);
        // Twice the price in a multi-region.
        let multi = Shape { multi_region: true, ..shape() };
        same(load().firestore(&multi, &prices()), 3.66);
        // Within the free part, the deletes of the TTL policy alone: 1,000 × 30 × $0.10/million.
        let few = Load {
            sessions: 1000.0,
            requests: 0.0,
            loads: 0.0,
            commits: 0.0,
            touches: 0.0,
            ends: 0.0,
        };
        same(few.firestore(&shape(), &prices()), 0.003);
    }

    /// By hand: 1,000,000 sessions a day, 30 days each, and a day until the TTL policy: 31 million of
    /// 1,511 bytes are 43.62 GiB; 42.62 × $0.18 = $7.67.
    /// Writes 1,000,000 - 20,000: 980,000 × 30 × $0.90/million = $26.46. TTL: 30 million × $0.10/million = $3.
    #[test]
    fn firestore_is_paid_by_the_gibibyte_beyond_the_first() {
        let load = Load {
            sessions: 1e6,
            requests: 0.0,
            loads: 0.0,
            commits: 0.0,
            touches: 0.0,
            ends: 0.0,
        };
        let shape = Shape { idle: Duration::from_secs(30 * 86_400), ..shape() };
        same(load.on_firestore(&shape).gib, 43.62);
        same(load.firestore(&shape, &prices()), 7.672 + 26.46 + 3.0);
    }

    /// By hand: 6 million requests of 0.1 s are 600,000 s. vCPU: 420,000 paid × $0.000024 = $10.08. Memory:
    /// 300,000 GiB-s, all free. Requests: 4 million paid × $0.40/million = $1.60.
    #[test]
    fn cloud_run_is_paid_by_the_second_beyond_what_is_free_each_month() {
        same(load().cloud_run(&shape(), &prices()), 10.08 + 1.6);
        let few = Load { requests: 50_000.0, ..load() };
        same(few.cloud_run(&shape(), &prices()), 0.0);
    }

    /// By hand: an instance that is busy for the whole month is 2,592,000 s, however many requests it has at
    /// once. 2 billion requests of 0.1 s would be 77 of them, and the busiest hour needs 33: a peak of 3,858
    /// requests a second of 1 ms are 6.43 cores, so 7 instances by cores, and 5 by number.
    #[test]
    fn no_more_seconds_are_paid_than_the_instances_have() {
        let many = Load { requests: 2e9 / 30.0, ..load() };
        assert_eq!(many.instances(&shape()), 7.0);
        let seconds = 7.0 * 2_592_000.0;
        let expected = (seconds - 180_000.0) * 0.000_024
            + (seconds / 2.0 - 360_000.0) * 0.000_002_5
            + (2e9 - 2e6) * 0.000_000_4;
        same(many.cloud_run(&shape(), &prices()), expected);
    }

    /// By hand: 730 × ($0.0526 + $0.0071) + 10 × $0.04 = $43.98.
    #[test]
    fn an_instance_of_app_engine_is_paid_by_the_hour() {
        let (what, dollars) = load().flex(&shape(), &prices());
        assert_eq!(what, "1 instance");
        same(dollars, 43.981);
    }

    /// By hand: 208 sessions are nothing; the smallest machine has half a core, and 12 requests a second at
    /// the peak take 0.02: 730 × $0.0168 = $12.26, and 10 GiB of disk are $1.
    #[test]
    fn the_smallest_machine_that_fits_is_taken() {
        let ways = load().ways(&shape(), &prices());
        let redis = ways.iter().find(|way| way.name.ends_with("Redis")).unwrap();
        assert_eq!(redis.parts[0].0, "1 × 2 shared vCPU, 2 GiB");
        same(redis.dollars(), 12.264 + 1.0);
        // 10 million sessions of 900 bytes are 8.38 GiB, planned with 60 %: 13.97, and 1 GiB besides.
        let many = Load { sessions: 480_000_000.0, ..load() };
        let ways = many.ways(&shape(), &prices());
        let redis = ways.iter().find(|way| way.name.ends_with("Redis")).unwrap();
        assert_eq!(redis.parts[0].0, "1 × 4 vCPU, 16 GiB");
    }

    #[test]
    fn the_cheapest_way_comes_first() {
        let ways = load().ways(&shape(), &prices());
        assert_eq!(ways.len(), 4);
        assert!(ways.windows(2).all(|pair| pair[0].dollars() <= pair[1].dollars()));
    }
}
