//! Prices, from one file with a date: the one that the program came with, or another.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::exit::Failed;

const OWN: &str = include_str!("prices.json");

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// When they were written down.
    pub(crate) date: String,
    pub(crate) note: String,
    pub(super) firestore: Firestore,
    pub(super) cloud_run: CloudRun,
    pub(super) app_engine_flex: AppEngineFlex,
    /// The smallest first, in whatever order the file has them.
    pub(super) machines: Vec<Machine>,
    pub(super) machine_disk_gib_month: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Firestore {
    pub(super) one_region: Calls,
    pub(super) multi_region: Calls,
    pub(super) free_each_day: FreeCalls,
    pub(super) free_gib: f64,
}

/// For one document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Calls {
    pub(super) read: f64,
    pub(super) write: f64,
    pub(super) delete: f64,
    pub(super) gib_month: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreeCalls {
    pub(super) reads: f64,
    pub(super) writes: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloudRun {
    pub(super) vcpu_second: f64,
    pub(super) gib_second: f64,
    pub(super) request: f64,
    pub(super) free_each_month: FreeRun,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreeRun {
    pub(super) vcpu_seconds: f64,
    pub(super) gib_seconds: f64,
    pub(super) requests: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppEngineFlex {
    pub(super) vcpu_hour: f64,
    pub(super) gib_hour: f64,
    pub(super) disk_gib_month: f64,
    /// Of each instance.
    pub(super) disk_gib: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Machine {
    pub(super) name: String,
    /// What it has all the time.
    pub(super) cores: f64,
    pub(super) gib: f64,
    pub(super) hour: f64,
}

impl Prices {
    /// Those of a file, or those that the program came with.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, Failed> {
        let wrong = |file: &Path, error: &dyn std::fmt::Display| {
            Failed::usage(format!(
                "--prices {file:?}: {error}; `ingle cost --print-prices` prints one to begin with"
            ))
        };
        match file {
            None => Self::parse(OWN).map_err(Failed::other),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| wrong(file, &error))?;
                Self::parse(&text).map_err(|error| wrong(file, &error))
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut prices: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let all: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if let Some(number) = below_zero(&all) {
            return Err(format!("it has {number}, and no number there is below 0"));
        }
        if prices.machines.is_empty() {
            return Err("it names no machine".to_owned());
        }
        if let Some(machine) = prices.machines.iter().find(|one| one.cores * one.gib == 0.0) {
            return Err(format!("the machine {:?} has no core or no memory", machine.name));
        }
        let by_size = |one: &Machine, other: &Machine| {
            one.cores.total_cmp(&other.cores).then(one.gib.total_cmp(&other.gib))
        };
        prices.machines.sort_by(by_size);
        Ok(prices)
    }

    /// The file that the program came with.
    pub(super) fn own() -> &'static str {
        OWN
    }
}

fn below_zero(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| *number < 0.0),
        Value::Array(items) => items.iter().find_map(below_zero),
        Value::Object(fields) => fields.values().find_map(below_zero),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_that_nobody_can_count_with_are_refused() {
        for (from, to, says) in [
            ("\"vcpu_hour\": 0.0526", "\"vcpu_hour\": -1", "below 0"),
            ("\"cores\": 4,", "\"cores\": 0,", "has no core"),
            ("\"gib\": 16,", "\"gib\": -0.0,", "no memory"),
        ] {
            let text = OWN.replace(from, to);
            assert_ne!(text, OWN);
            let wrong = Prices::parse(&text).unwrap_err();
            assert!(wrong.contains(says), "{wrong}");
        }
    }

    #[test]
    fn machines_are_taken_by_their_size_in_whatever_order_they_stand() {
        let mut all: Value = serde_json::from_str(OWN).unwrap();
        all["machines"].as_array_mut().unwrap().reverse();
        let prices = Prices::parse(&all.to_string()).unwrap();
        assert!(prices.machines.is_sorted_by(|one, other| one.cores < other.cores));
    }
}
