//! What is measured as text for Prometheus, on an address of its own.
//!
//! It is never on the address that visitors have, because it tells everybody how the app fares.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use metrics_exporter_prometheus::{
    BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use metrics_process::Collector;
use tokio::{net::TcpListener, task::JoinSet, time::interval};

use crate::{
    measure::BUCKETS,
    server::{self, Limits, Signals},
    workers::Workers,
};

/// How often measurements are put into their buckets, also where nobody asks for them.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

pub(crate) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    Ok(PrometheusBuilder::new().set_buckets(&BUCKETS)?.build_recorder())
}

/// Answers who asks, until the process is asked to stop, or what is returned is dropped.
pub(crate) fn serve(
    listener: TcpListener,
    handle: PrometheusHandle,
    limits: Limits,
) -> io::Result<JoinSet<()>> {
    let signals = Signals::listen()?;
    let (handle, upkeep) = (Arc::new(handle.clone()), handle);
    let process = Collector::default();
    process.describe();
    let page = async move || {
        // CPU, memory, files: what the operating system says at this moment.
        process.collect();
        let text = handle.render();
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
    };
    let app = Router::new().route("/metrics", get(page));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        server::serve(listener, app, limits, Workers::here(), signals, |_| ()).await;
    });
    tasks.spawn(async move {
        let mut every = interval(UPKEEP_EVERY);
        loop {
            every.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(tasks)
}
