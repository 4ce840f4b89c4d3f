//! What a reader of numbers has to know of the machine and of what ran on it.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use crate::spread::Spread;

/// How many writes are timed to see what the disk takes.
const SYNCED_WRITES: usize = 200;

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

/// Cores that this program may use.
pub(crate) fn cores() -> f64 {
    thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
}

/// How many ticks of the kernel's CPU times are a second.
pub(crate) fn ticks() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// CPU time that anybody used since the machine was started.
pub(crate) fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let all = first.split_ascii_whitespace().skip(1).take(8).enumerate();
    // The fourth and the fifth are idle: nothing to do, or nothing but waiting for a disk.
    let busy = all.filter(|(n, _)| !matches!(n, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / ticks()
}

/// The median time that a write of 4 KiB takes until it is on the disk, in microseconds.
pub(crate) fn synced_write() -> Option<f64> {
    let mut file = tempfile::tempfile().ok()?;
    let mut times = Vec::new();
    for _ in 0..SYNCED_WRITES {
        let begin = Instant::now();
        file.write_all(&[0; 4096]).ok()?;
        file.sync_data().ok()?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Spread::of(times).map(|times| times.median)
}
