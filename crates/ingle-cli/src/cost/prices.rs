//! Prices, from one file with a date: the one that the program came with, or another.

use std::path::Path;

use serde::Deserialize;

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
    /// The smallest first.
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
    /// Not of the TTL policy.
    pub(super) deletes: f64,
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
        let prices: Self = match file {
            None => serde_json::from_str(OWN).map_err(|error| Failed::other(error.to_string()))?,
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| wrong(file, &error))?;
                serde_json::from_str(&text).map_err(|error| wrong(file, &error))?
            }
        };
        match (file, prices.machines.is_empty()) {
            (Some(file), true) => Err(wrong(file, &"it names no machine")),
            _ => Ok(prices),
        }
    }

    /// The file that the program came with.
    pub(super) fn own() -> &'static str {
        OWN
    }
}
