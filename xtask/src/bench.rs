//! `cargo xtask bench`: prepares what a comparison needs, then measures it.
//!
//! The crate `bench` measures, and knows what its arguments mean; it takes the programs that are
//! measured from where cargo put its own, and the peers from a folder of theirs.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{
    budget,
    step::{self, Steps, cargo, root},
    tools,
};

/// The peers' workspace, and the folder that it is built in.
pub(crate) const PEERS_WORKSPACE: (&str, &str) = ("bench/peers/Cargo.toml", "target/peers");

/// Its packages. The one on Firestore is built by itself: only a full run needs what it depends on.
const PEERS: [&str; 4] =
    ["peer-actix-session", "peer-axum-session", "peer-reference", "peer-tower-sessions"];
const PEER_ON_FIRESTORE: &str = "peer-firestore";

/// What the benchmark without a network printed and what was counted, for the program that writes it down.
const REQUESTS: &str = "target/bench/requests.txt";
const INSTRUCTIONS: &str = "target/bench/instructions.txt";

/// What must be there for which arguments.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    stores: bool,
    /// Not just those stores and peers that a quick look is at.
    every_store: bool,
    scale: bool,
    tutorial: bool,
    requests: bool,
}

impl Wanted {
    fn by(args: &[&str]) -> Self {
        let has = |name: &str| args.contains(&name);
        let named = |name| has(name) || has("all");
        let others = ["scale", "tutorial", "requests"].into_iter().any(has);
        let stores = named("stores") || !others;
        Self {
            stores,
            every_store: stores && !has("--quick"),
            scale: named("scale"),
            tutorial: named("tutorial"),
            requests: named("requests"),
        }
    }
}

pub(crate) fn run(steps: &mut Steps, args: &[&str]) -> Result<()> {
    let bench = |more: &[&str]| {
        let run = ["run", "--release", "--package", "bench", "--"];
        step::run(cargo(&[run.as_slice(), args, more].concat()))
    };
    if args.iter().any(|arg| ["help", "-h", "--help"].contains(arg)) {
        return bench(&[]);
    }
    // It knows its arguments, and is asked before minutes go into what it needs.
    steps.run("build the benchmark", || bench(&["--check"]))?;
    prepare(steps, &Wanted::by(args))?;
    steps.run("measure", || bench(&[]))
}

fn prepare(steps: &mut Steps, wanted: &Wanted) -> Result<()> {
    if wanted.stores || wanted.scale {
        steps.run("Redis", tools::install_redis)?;
    }
    if wanted.stores {
        steps.run("other servers of Redis", tools::install_redis_editions)?;
    }
    if wanted.every_store {
        steps.run("memcached", tools::install_memcached)?;
        steps.run("PostgreSQL", tools::install_postgres)?;
        steps.run("express-session", tools::install_express)?;
        steps.run("Flask-Session", tools::install_flask_session)?;
    }
    if wanted.every_store || wanted.tutorial {
        steps.run("Firestore emulator", tools::install_optimized_hidane)?;
        if !steps.run("tutorial's app", tools::install_tutorial)? && wanted.tutorial {
            bail!("without Python there is nothing to compare with");
        }
    }
    if wanted.stores {
        steps.run("build the peers", || {
            println!("Builds the peers, a workspace of their own. At first it takes minutes.");
            build_peers(&PEERS)
        })?;
    }
    if wanted.every_store {
        steps.run("build the peer on Firestore", || build_peers(&[PEER_ON_FIRESTORE]))?;
    }
    steps.run("build greetings", || {
        let greetings = ["--package", "greetings", "--all-features"];
        step::run(cargo(&[["build", "--release"].as_slice(), &greetings].concat()))
    })?;
    if wanted.requests {
        steps.run("measure without a network", requests)?;
        let counted = budget::lines(steps)?;
        keep(INSTRUCTIONS, &counted)?;
    }
    Ok(())
}

fn build_peers(packages: &[&str]) -> Result<()> {
    let mut build = vec!["build", "--release", "--locked", "--manifest-path", PEERS_WORKSPACE.0];
    build.extend(["--target-dir", PEERS_WORKSPACE.1]);
    build.extend(packages.iter().flat_map(|package| ["--package", package]));
    step::run(cargo(&build))
}

fn requests() -> Result<()> {
    let bench = ["bench", "--package", "bench-requests", "--bench", "times", "--"];
    // In the order of the source, and long enough to be steady.
    let sorted = ["--sort", "location", "--min-time", "1", "--color", "never"];
    let printed = step::capture(cargo(&[bench.as_slice(), &sorted].concat()))?;
    print!("{printed}");
    keep(REQUESTS, &printed)
}

fn keep(file: &str, text: &str) -> Result<()> {
    let path = root().join(file);
    let folder = path.parent().unwrap_or(root());
    fs::create_dir_all(folder).context("could not make a folder for what was measured")?;
    fs::write(&path, text).with_context(|| format!("could not write {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_prepared_follows_what_is_measured() {
        let no = Wanted {
            stores: false,
            every_store: false,
            scale: false,
            tutorial: false,
            requests: false,
        };
        assert_eq!(Wanted::by(&["--quick"]), Wanted { stores: true, ..no });
        assert_eq!(Wanted::by(&[]), Wanted { stores: true, every_store: true, ..no });
        assert_eq!(Wanted::by(&["scale", "--repeats", "1"]), Wanted { scale: true, ..no });
        let all = Wanted::by(&["all"]);
        assert!(all.every_store && all.scale && all.tutorial && all.requests);
    }
}
