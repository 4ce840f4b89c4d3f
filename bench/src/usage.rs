//! What processes use: CPU time and memory, as the kernel tells in `/proc`.

use std::{collections::HashMap, fs, time::Instant};

use crate::machine;

/// A process with all that it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) u32);

impl Tree {
    /// This program itself. The servers that it started are children of it and not part of this.
    fn own_seconds() -> f64 {
        fs::read_to_string("/proc/self/stat")
            .ok()
            .and_then(|stat| seconds(&stat))
            .unwrap_or_default()
    }

    /// CPU time until now, of those that still run.
    pub(crate) fn cpu_seconds(self) -> f64 {
        let of = |pid: &u32| seconds(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
        self.processes().iter().filter_map(of).sum()
    }

    /// Memory that is in use, in bytes: what several share is divided among them.
    pub(crate) fn memory_bytes(self) -> f64 {
        let of = |pid: &u32| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        };
        self.processes().iter().filter_map(of).sum::<f64>() * 1024.0
    }

    fn processes(self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let stat = fs::read_to_string(entry.path().join("stat")).ok();
            let parent = stat.as_deref().and_then(|stat| field(stat, 1)?.parse().ok());
            if let (Some(pid), Some(parent)) = (pid, parent) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut found = vec![self.0];
        let mut todo = vec![self.0];
        while let Some(pid) = todo.pop() {
            let next = children.remove(&pid).unwrap_or_default();
            found.extend(&next);
            todo.extend(next);
        }
        found
    }
}

/// A field of `/proc/PID/stat`, counted from the state, which follows the name in brackets.
fn field(stat: &str, n: usize) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(n)
}

/// User and system time.
fn seconds(stat: &str) -> Option<f64> {
    let ticks = |n| field(stat, n)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / machine::ticks())
}

/// What was used while something was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    pub(crate) app_seconds: f64,
    pub(crate) store_seconds: f64,
    /// The part of the machine that neither app, store nor this program used.
    pub(crate) disturbed: f64,
}

/// Looks at the processes when it is made, and again at the end.
#[derive(Debug)]
pub(crate) struct Watch {
    app: Vec<Tree>,
    store: Option<Tree>,
    begun: Instant,
    before: [f64; 4],
}

impl Watch {
    pub(crate) fn new(app: Vec<Tree>, store: Option<Tree>) -> Self {
        let mut watch = Self { app, store, begun: Instant::now(), before: [0.0; 4] };
        watch.before = watch.look();
        watch
    }

    fn look(&self) -> [f64; 4] {
        let app = self.app.iter().map(|app| app.cpu_seconds()).sum();
        let store = self.store.map_or(0.0, Tree::cpu_seconds);
        [app, store, Tree::own_seconds(), machine::busy_seconds()]
    }

    pub(crate) fn used(&self) -> Used {
        let after = self.look();
        let [app_seconds, store_seconds, own, busy] =
            [0, 1, 2, 3].map(|n| after.get(n).unwrap_or(&0.0) - self.before.get(n).unwrap_or(&0.0));
        let all = self.begun.elapsed().as_secs_f64() * machine::cores();
        let foreign = busy - app_seconds - store_seconds - own;
        Used { app_seconds, store_seconds, disturbed: (foreign / all).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_name() {
        let stat = "7 (a (b) c) S 3 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1";
        assert_eq!(field(stat, 1), Some("3"));
        assert_eq!(seconds(stat), Some(300.0 / machine::ticks()));
        assert_eq!(seconds("nonsense"), None);
    }

    #[test]
    fn this_process_uses_memory_and_has_itself_in_its_tree() {
        let own = Tree(std::process::id());
        assert!(own.processes().contains(&own.0));
        assert!(own.memory_bytes() > 0.0);
    }
}
