//! `deploy/compose.yaml` with each of its stores: the app is restarted and killed under load, and each
//! answered view is there afterwards.

use std::process::Command;

use anyhow::Result;

use super::{
    containers::{Containers, said},
    image::{self, IMAGE},
    tools::{self, python_program},
    visit::{Visitors, free_address, wait_until, wait_until_ready},
};
use crate::step::{self, Steps, capture, root};

const FILE: &str = "deploy/compose.yaml";

/// Debian's servers, in the place of the official images.
const SERVERS: [&str; 2] = ["postgresql", "redis-server"];

/// What podman-compose calls all containers of the file.
const POD: &str = "pod_greetings";

const VISITORS: usize = 8;

const RESTARTS: usize = 3;

pub(super) fn run(steps: &mut Steps) -> Result<()> {
    if !steps.run("podman-compose", tools::install_python)? {
        steps.skip("compose", "There is no Python for podman-compose.");
        return Ok(());
    }
    let Some(containers) = image::prepare(steps)? else { return Ok(()) };
    steps.run("images of the stores", || {
        containers.debian("stores", &SERVERS)?;
        containers.stand_in("docker.io/library/redis:8", "redis", &[])?;
        containers.stand_in("docker.io/library/postgres:18", "postgres", &[])
    })?;
    ["redis", "postgres"].into_iter().try_for_each(|store| {
        let name = format!("compose with {store}, restarted under load");
        steps.run(&name, || restarted_under_load(&containers, store))
    })
}

fn restarted_under_load(containers: &Containers, store: &str) -> Result<()> {
    let address = free_address()?;
    let compose = |arguments: &[&str]| {
        let mut compose = containers.set(python_program("podman-compose"));
        compose.arg("--file").arg(root().join(FILE)).args(["--profile", store]).args(arguments);
        compose.env("IMAGE", IMAGE).env("COOKIES", "--insecure-http");
        compose.env("PORT", address.port().to_string());
        compose
    };
    // Also what is left of a run that was ended.
    let remove = || {
        said(containers.podman(&["pod", "rm", "--force", "--ignore", POD]), "a pod is left")?;
        said(compose(&["down", "--volumes"]), "volumes are left")
    };
    remove()?;
    step::run(compose(&["up", "--detach", "--no-build"]))?;
    let app = format!("app-on-{store}");
    let tried = wait_until_ready(address).and_then(|()| {
        // This podman starts all at once. What another one would wait for is at least true.
        step::run(containers.podman(&["healthcheck", "run", &container(store)]))?;
        let mut visitors = Visitors::begin(address, VISITORS)?;
        visitors.during(|| {
            for _ in 0..RESTARTS {
                step::run(compose(&["restart", &app]))?;
                wait_until_ready(address)?;
            }
            kill(containers, &container(&app))?;
            wait_until_ready(address)
        })
    });
    if tried.is_err() {
        step::run(compose(&["logs"]))?;
    }
    remove()?;
    tried
}

/// Kills the process of a container, as a machine does that runs out of memory. What podman kills itself
/// it does not start again.
fn kill(containers: &Containers, container: &str) -> Result<()> {
    let inspect = ["inspect", "--format", "{{.State.Pid}}", container];
    let process = capture(containers.podman(&inspect))?;
    let mut kill = Command::new("kill");
    kill.args(["-KILL", process.trim_end()]);
    step::run(kill)?;
    wait_until("its end is seen", || Ok(capture(containers.podman(&inspect))? != process))
}

/// What podman-compose calls the container of a service.
fn container(service: &str) -> String {
    format!("greetings_{service}_1")
}
