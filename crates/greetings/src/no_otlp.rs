//! The place of `otlp.rs` in a program that was built without it: nothing is told to a collector.

use axum::http::Extensions;
use metrics_exporter_prometheus::PrometheusRecorder;
use tracing::Span;
use tracing_subscriber::layer::Identity;

use crate::{
    access::Trace,
    options::{Setting, Wrong},
    platform::Service,
};

/// Refuses a collector's address.
pub(crate) fn collector(given: &Setting) -> Result<Setting, Wrong> {
    let Setting { name, value } = given;
    let line =
        "this program was built without the feature otlp; build it with it, or leave this out";
    Err(Wrong(format!("{name} {value:?}: {line}")))
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Otlp {}

impl Otlp {
    pub(crate) fn new(_: &Setting, _: &Service) -> Result<Self, &'static str> {
        Err("this program was built without OTLP")
    }

    pub(crate) fn layer(&self) -> Identity {
        match *self {}
    }

    pub(crate) fn install(&self, _: Option<PrometheusRecorder>) {
        match *self {}
    }

    pub(crate) fn end(&self) {
        match *self {}
    }
}

/// A request is a part of what its caller says.
pub(crate) fn join(_: &Span, caller: Option<Trace>) -> Option<Trace> {
    caller
}

pub(crate) fn route_of(_: &Extensions) -> Option<String> {
    None
}

pub(crate) fn rename(_: &Span, _: String) {}
