//! Crashes of the SQLite store: processes that are killed, disks that fail, files that are damaged.
//!
//! `kill.rs` and its `worker.rs` have the first, `disk.rs` the second, `damage.rs` the third;
//! `book.rs` knows what was acknowledged.

use std::{env, path::Path, process::ExitCode};

use anyhow::Result;

use crate::{options::Options, report::Section};

pub(crate) mod book;
mod damage;
mod disk;
mod kill;
mod worker;

/// The variables that make this program a worker: its folder, and how its sessions' names begin.
const FOLDER: &str = "INGLE_TORTURE_WORKER";
const PREFIX: &str = "INGLE_TORTURE_WORKER_PREFIX";

/// The exit code of this program, if it was started as a worker.
pub(crate) fn worker() -> Option<ExitCode> {
    let folder = env::var_os(FOLDER)?;
    let prefix = env::var(PREFIX).unwrap_or_default();
    Some(match worker::work(Path::new(&folder), &prefix) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torture: a worker: {error:#}");
            ExitCode::FAILURE
        }
    })
}

pub(crate) async fn run(options: &Options) -> Result<Section> {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mut section = Section { name: "crash", ..Section::default() };

    let killed = kill::run(options.count(40, 200), &mut rng).await?;
    section.text += &format!(
        "**Kill.** {} processes were killed with SIGKILL while they committed to the SQLite \
         store, {} of them while they opened it, and {} times all was looked for: {} tokens were \
         acknowledged, {} refused, {} unknown.\n\n",
        killed.rounds,
        killed.early,
        killed.checks,
        killed.book.acknowledged,
        killed.book.refused,
        killed.book.unknown,
    );
    section.broken.extend(killed.broken);

    let failed = disk::run(options.count(8, 40), &mut rng).await?;
    section.text += &format!(
        "**Disk.** {} times calls of `greetings` for a sync or a write failed, {} calls in all; {} \
         times it did not start and said why, {} times it gave up writing until its restart: {} tokens were acknowledged, {} refused, {} \
         unknown.\n\n",
        failed.cases,
        failed.injected,
        failed.not_begun,
        failed.gave_up,
        failed.book.acknowledged,
        failed.book.refused,
        failed.book.unknown,
    );
    for note in failed.notes {
        section.text += &format!("- {note}\n");
    }
    println!("{}", section.text);
    section.broken.extend(failed.broken);

    let (flips, cuts) = (options.count(150, 3000), options.count(60, 600));
    let damaged = damage::run(flips, cuts, &mut rng).await?;
    section.text += &format!(
        "\n**Damage.** {} flipped bits and {} missing ends of the file and of its log: {} times \
         the file was refused with a reason; else of the loads {} gave what was written, {} an \
         error, and {} nothing, where SQLite's own check finds the damage; {} times the log's \
         commits behind the damage were taken back. Without the sums of the rows, {} flipped bits \
         gave wrong data {} times.\n",
        damaged.flips,
        damaged.cuts,
        damaged.refused,
        damaged.right,
        damaged.told,
        damaged.missing,
        damaged.taken_back,
        damaged.flips_without_sums,
        damaged.wrong_without_sums,
    );
    section.broken.extend(damaged.broken);
    Ok(section)
}
