//! What is counted and measured, for Prometheus: as text, on an address of its own.
//!
//! `ingle` counts what sessions do; this adds what the program does. It is never on the address that
//! visitors have, because it tells everybody how the app fares.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{Method, header::CONTENT_TYPE},
    routing::get,
};
use metrics::{Unit, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, task::JoinSet, time::interval};

use crate::{
    access,
    server::{self, Limits, Signals},
};

const REQUEST_SECONDS: &str = "http_request_duration_seconds";
const IN_FLIGHT: &str = "http_requests_in_flight";
const BUILD_INFO: &str = "greetings_build_info";

/// The upper bounds of the buckets, in seconds: from a read that a cache answers to the longest wait
/// for a store, and what is beyond.
const BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How often measurements are put into their buckets, also where nobody asks for them.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Counts from now on. Call it before anything is made that counts.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS)?.build_recorder();
    let handle = recorder.handle();
    // It is called once, so there is no other.
    let _ = metrics::set_global_recorder(recorder);
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "How long requests take until their response begins, by method and status."
    );
    describe_gauge!(IN_FLIGHT, "Requests that are being answered.");
    describe_gauge!(BUILD_INFO, "Always 1, with the version of the program.");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(IN_FLIGHT).set(0.0);
    // There from the start, as the counters are: the share of what fails is 0 and not unknown.
    for method in ["GET", "POST"] {
        for status in ["200", "500", "503"] {
            let _ = histogram!(REQUEST_SECONDS, "method" => method, "status" => status);
        }
    }
    Ok(handle)
}

/// Answers who asks, until the process is asked to stop, or what is returned is dropped.
pub(crate) fn serve(
    listener: TcpListener,
    handle: PrometheusHandle,
    limits: Limits,
) -> io::Result<JoinSet<()>> {
    let signals = Signals::listen()?;
    let (handle, upkeep) = (Arc::new(handle.clone()), handle);
    let page = async move || {
        let text = handle.render();
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
    };
    let app = Router::new().route("/metrics", get(page));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        server::serve(listener, app, limits, signals, |_| ()).await;
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

pub(crate) fn in_flight(by: f64) {
    gauge!(IN_FLIGHT).increment(by);
}

pub(crate) fn request(method: &Method, status: u16, took: Duration) {
    let labels = [("method", access::label_of(method)), ("status", status.to_string().into())];
    histogram!(REQUEST_SECONDS, &labels).record(took);
}
