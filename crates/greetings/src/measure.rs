//! What is counted and measured. `ingle` counts what sessions do; this adds what the program does.

use std::time::Duration;

use axum::http::Method;
use metrics::{Recorder, Unit, describe_gauge, describe_histogram, gauge, histogram};

use crate::access;

const REQUEST_SECONDS: &str = "http_request_duration_seconds";
const IN_FLIGHT: &str = "http_requests_in_flight";
const BUILD_INFO: &str = "greetings_build_info";

/// What is put into [`BUCKETS`] for a collector. Prometheus has no other histograms.
#[cfg(feature = "otlp")]
pub(crate) const HISTOGRAMS: [&str; 2] = [REQUEST_SECONDS, "ingle_store_seconds"];

/// The upper bounds of the buckets, in seconds: from a read that a cache answers to the longest wait
/// for a store, and what is beyond.
pub(crate) const BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counts from now on. Call it once, before anything is made that counts.
pub(crate) fn install(recorder: impl Recorder + Sync + 'static) {
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
}

pub(crate) fn in_flight(by: f64) {
    gauge!(IN_FLIGHT).increment(by);
}

pub(crate) fn request(method: &Method, status: u16, took: Duration) {
    let labels = [("method", access::label_of(method)), ("status", status.to_string().into())];
    histogram!(REQUEST_SECONDS, &labels).record(took);
}
