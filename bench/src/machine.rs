//! What a reader of numbers has to know of the machine and of what ran on it.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

/// The cores and the processor, such as `2 cores (Intel Xeon)`.
pub(crate) fn processor() -> String {
    let cores = match thread::available_parallelism() {
        Ok(n) => format!("{n} cores"),
        Err(_) => "an unknown number of cores".to_owned(),
    };
    let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = facts.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then_some(value.trim())
    });
    model.map_or_else(|| cores.clone(), |model| format!("{cores} ({model})"))
}

/// How many processes wanted a core in the last minute, where the system tells.
pub(crate) fn load() -> Option<String> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    Some(load.split(' ').next()?.to_owned())
}

/// What a command prints, or none if it cannot be run or fails.
pub(crate) fn printed(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| printed.trim().to_owned())
}
