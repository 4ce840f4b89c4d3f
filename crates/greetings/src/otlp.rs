//! Traces and metrics for an OpenTelemetry collector, by OTLP over gRPC.
//!
//! A request is a span, and each call of the store is one within it. What else can be set is set by
//! [the standard's variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/),
//! which the SDK reads.

use std::{env, time::Duration};

use axum::{
    extract::MatchedPath,
    http::{Extensions, Uri},
};
use metrics_exporter_prometheus::PrometheusRecorder;
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
use metrics_util::layers::FanoutBuilder;
use opentelemetry::{
    KeyValue, SpanId, TraceFlags, TraceId,
    metrics::MeterProvider as _,
    trace::{SpanContext, TraceContextExt as _, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::{
    access::{SPANS, Trace},
    measure::{self, BUCKETS, HISTOGRAMS},
    options::{Setting, Wrong},
    platform::Service,
};

/// How long the end of the program waits for the last spans and figures to be sent.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// A collector's address as it was given.
pub(crate) fn collector(given: &Setting) -> Result<Setting, Wrong> {
    let takes = "the address of a collector that speaks gRPC, such as http://127.0.0.1:4317";
    given.parsed(takes, |text| {
        let address = text.parse::<Uri>().ok()?;
        matches!(address.scheme_str(), Some("http" | "https")).then(|| given.clone())
    })
}

/// What is told to a collector.
#[derive(Clone, Debug)]
pub(crate) struct Otlp {
    traces: SdkTracerProvider,
    meters: SdkMeterProvider,
}

impl Otlp {
    /// Call it in the runtime: what it makes sends from there.
    pub(crate) fn new(endpoint: &Setting, service: &Service) -> Result<Self, ExporterBuildError> {
        let resource = resource(service);
        let spans = SpanExporter::builder().with_tonic().with_endpoint(&endpoint.value).build()?;
        let figures =
            MetricExporter::builder().with_tonic().with_endpoint(&endpoint.value).build()?;
        let traces = SdkTracerProvider::builder().with_resource(resource.clone());
        let meters = SdkMeterProvider::builder().with_resource(resource);
        Ok(Self {
            traces: traces.with_batch_exporter(spans).build(),
            meters: meters.with_periodic_exporter(figures).build(),
        })
    }

    /// Makes spans of requests and of calls of the store. What is logged meanwhile is an event of them.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.traces.tracer(env!("CARGO_PKG_NAME"));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        // Where it stands in the code, and on which thread, is the same for each.
        let layer = layer.with_location(false).with_threads(false).with_target(false);
        let layer = layer.with_tracked_inactivity(false);
        layer.with_filter(filter_fn(is_told).with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Counts from now on, for Prometheus as well if it asks.
    pub(crate) fn install(&self, prometheus: Option<PrometheusRecorder>) {
        let meter = self.meters.meter(env!("CARGO_PKG_NAME"));
        let collector = OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(meter));
        collector.set_histogram_bounds(HISTOGRAMS.into_iter(), &BUCKETS);
        let all = FanoutBuilder::default().add_recorder(collector);
        measure::install(match prometheus {
            Some(prometheus) => all.add_recorder(prometheus).build(),
            None => all.build(),
        });
    }

    /// Sends what is left. A collector that does not answer is not waited for.
    pub(crate) fn end(&self) {
        // Both log by themselves what went wrong.
        let _ = self.traces.shutdown_with_timeout(END_TIME_MAX);
        let _ = self.meters.shutdown_with_timeout(END_TIME_MAX);
    }
}

/// Who sends it: as the standard's variables say, or else as the platform does.
fn resource(service: &Service) -> Resource {
    let has_name = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"].into_iter().any(|name| {
        let value = env::var(name).unwrap_or_default();
        name == "OTEL_SERVICE_NAME" && !value.is_empty() || value.contains("service.name=")
    });
    let version = KeyValue::new("service.version", service.version.clone());
    let resource = Resource::builder().with_attribute(version);
    match has_name {
        true => resource.build(),
        false => resource.with_service_name(service.name.clone()).build(),
    }
}

/// Spans of ours; and of what is logged, what is wrong and the life of sessions. What is logged of the
/// sending itself would be sent again, and again.
fn is_told(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_ours = ["greetings", "ingle"].into_iter().any(|name| {
        target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    let is_worth_it = *metadata.level() <= Level::WARN || target == "ingle::events";
    is_ours
        && if metadata.is_span() {
            target == SPANS || target.starts_with("ingle")
        } else {
            is_worth_it
        }
}

/// Makes a span a part of the trace of whoever asked, if any. What is logged within belongs to the span.
pub(crate) fn join(span: &Span, caller: Option<Trace>) -> Option<Trace> {
    if span.is_disabled() {
        return caller;
    }
    if let Some(Trace { id, span: parent, is_sampled }) = caller {
        let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let (id, parent) = (TraceId::from(id), SpanId::from(parent));
        let caller = SpanContext::new(id, parent, flags, true, TraceState::default());
        // It fails for a span that has begun, and this one has not.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(caller));
    }
    let context = span.context();
    let made = context.span().span_context().clone();
    made.is_valid().then(|| Trace {
        id: u128::from_be_bytes(made.trace_id().to_bytes()),
        span: u64::from_be_bytes(made.span_id().to_bytes()),
        is_sampled: made.is_sampled(),
    })
}

/// The route of a request, with names in the place of values.
pub(crate) fn route_of(extensions: &Extensions) -> Option<String> {
    extensions.get().map(|path: &MatchedPath| path.as_str().to_owned())
}

/// Names a span after the route of its request. What has begun keeps the name that `tracing` gave it.
pub(crate) fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}
