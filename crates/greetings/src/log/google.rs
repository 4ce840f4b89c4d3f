//! Lines for Google's Cloud Logging: one JSON object each, with the fields that its agents know.
//!
//! Their names are those of
//! [structured logging](https://cloud.google.com/logging/docs/structured-logging), and those of
//! [error reports](https://cloud.google.com/error-reporting/docs/formatting-error-messages).

use std::{fmt, panic};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use super::Said;
use crate::{access::Trace, options::Options, platform::Service};

/// What makes an entry an error report.
const REPORT: &str =
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

/// What filters of the log know panics by.
const PANICS: &str = "greetings::panic";

#[derive(Debug)]
pub(super) struct Google {
    service: Service,
}

#[derive(Serialize)]
struct Entry<'a> {
    severity: &'static str,
    time: String,
    message: &'a str,
    #[serde(rename = "httpRequest", skip_serializing_if = "Option::is_none")]
    request: Option<HttpRequest>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
    #[serde(rename = "logging.googleapis.com/trace", skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    #[serde(rename = "logging.googleapis.com/spanId", skip_serializing_if = "Option::is_none")]
    span: Option<String>,
    #[serde(
        rename = "logging.googleapis.com/trace_sampled",
        skip_serializing_if = "Option::is_none"
    )]
    is_sampled: Option<bool>,
    #[serde(rename = "logging.googleapis.com/labels", skip_serializing_if = "Option::is_none")]
    labels: Option<Labels>,
    #[serde(rename = "logging.googleapis.com/sourceLocation")]
    source: SourceLocation<'a>,
    #[serde(flatten)]
    report: Option<Report<'a>>,
}

/// `google.logging.type.HttpRequest`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpRequest {
    request_method: String,
    /// The path alone.
    request_url: String,
    status: u64,
    latency: String,
}

#[derive(Serialize)]
struct Labels {
    /// The handle.
    session: String,
}

/// `google.logging.v2.LogEntrySourceLocation`, in which a number of 64 bits is text.
#[derive(Serialize)]
struct SourceLocation<'a> {
    file: &'a str,
    line: String,
    function: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    #[serde(rename = "@type")]
    is: &'static str,
    service_context: ServiceContext<'a>,
    context: ReportContext<'a>,
}

#[derive(Serialize)]
struct ServiceContext<'a> {
    service: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportContext<'a> {
    report_location: ReportLocation<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportLocation<'a> {
    file_path: &'a str,
    line_number: u64,
    function_name: &'a str,
}

impl Google {
    pub(super) fn new(options: &Options) -> Self {
        Self { service: options.service.clone() }
    }

    fn line(
        &self,
        metadata: &Metadata<'_>,
        mut said: Said,
        time: String,
    ) -> serde_json::Result<String> {
        let request = said.take_request();
        let status = request.as_ref().map(|request| request.status);
        let message = match &request {
            Some(request) => format!("{} {} {}", request.method, request.path, request.status),
            None => std::mem::take(&mut said.message),
        };
        let request = request.map(|request| HttpRequest {
            request_method: request.method,
            request_url: request.path,
            status: request.status,
            latency: format!("{:.6}s", request.seconds),
        });
        // A panic says where it was; all else is where it is logged.
        let is_panic = metadata.target() == PANICS;
        let file = is_panic.then(|| said.take_text("file")).flatten();
        let line = is_panic.then(|| said.others.remove("line")).flatten();
        let line = line.and_then(|line| line.as_u64()).or(metadata.line().map(u64::from));
        let (file, line) = (file.as_deref().or(metadata.file()), line.unwrap_or_default());
        let (file, function) = (file.unwrap_or_default(), metadata.target());
        let trace = Trace::current();
        let name = |trace: Trace| {
            let project = self.service.project.as_ref()?;
            Some(format!("projects/{project}/traces/{:032x}", trace.id))
        };
        let report = (*metadata.level() == Level::ERROR).then(|| Report {
            is: REPORT,
            service_context: ServiceContext {
                service: &self.service.name,
                version: &self.service.version,
            },
            context: ReportContext {
                report_location: ReportLocation {
                    file_path: file,
                    line_number: line,
                    function_name: function,
                },
            },
        });
        let labels = said.take_text("session").map(|session| Labels { session });
        serde_json::to_string(&Entry {
            severity: severity(*metadata.level(), status),
            time,
            message: &message,
            request,
            fields: said.others,
            trace: trace.and_then(name),
            span: trace.map(|trace| format!("{:016x}", trace.span)),
            is_sampled: trace.map(|trace| trace.is_sampled),
            labels,
            source: SourceLocation { file, line: line.to_string(), function },
            report,
        })
    }
}

/// `google.logging.type.LogSeverity`. An answer is as severe as Google's own lines of requests have it.
fn severity(level: Level, status: Option<u64>) -> &'static str {
    match (level, status) {
        (_, Some(500..)) | (Level::ERROR, _) => "ERROR",
        (_, Some(400..)) | (Level::WARN, _) => "WARNING",
        (Level::INFO, _) => "INFO",
        _ => "DEBUG",
    }
}

impl<S, N> FormatEvent<S, N> for Google
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let line = self.line(event.metadata(), Said::of(event), time);
        writeln!(writer, "{}", line.map_err(|_| fmt::Error)?)
    }
}

/// Makes a panic a line like all others, which is an error report.
pub(super) fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let (file, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
        tracing::error!(target: PANICS, file, line, "panicked: {}", text.unwrap_or_default());
    }));
}
