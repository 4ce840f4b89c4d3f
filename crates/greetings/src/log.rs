//! The log: a line for each request and each event, for people on stderr, or for Google on stdout.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _},
};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::Filtered,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
        time::{FormatTime as _, SystemTime},
    },
    layer::{Layered, SubscriberExt as _},
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::{
    access,
    options::{LogFormat, Options},
};

mod google;

/// What writes lines where spans are made, too.
type Lines =
    Layered<Filtered<Box<dyn Layer<Registry> + Send + Sync>, EnvFilter, Registry>, Registry>;

/// Begins to log as the options say, beside what makes spans, if anything does.
pub(crate) fn begin(options: &Options, spans: Option<impl Layer<Lines> + Send + Sync + 'static>) {
    let filter = match options.log_format {
        LogFormat::Text => options.log.clone(),
        // Each panic is a line already.
        LogFormat::Google => format!("{},tower_http::catch_panic=off", options.log),
    };
    // A client that does not speak HTTP is no error of the app. actix-web has it as one.
    let filter = format!("{filter},actix_http::h1::dispatcher=off");
    match spans {
        // One filter for all costs a request less than one for each.
        None => registry().with(EnvFilter::new(filter)).with(lines(options)).init(),
        Some(spans) => {
            // Of spans the lines have what they have without them.
            let filter = EnvFilter::new(format!("{filter},{}=off", access::SPANS));
            registry().with(lines(options).with_filter(filter)).with(spans).init();
        }
    }
    if options.log_format == LogFormat::Google {
        google::report_panics();
    }
}

/// Writes each line.
fn lines<S>(options: &Options) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer();
    match options.log_format {
        LogFormat::Text => {
            let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let lines = lines.with_ansi(!is_plain && io::stderr().is_terminal());
            Box::new(lines.event_format(Text::default()).with_writer(io::stderr))
        }
        LogFormat::Google => {
            let google = google::Google::new(options);
            Box::new(lines.event_format(google).with_writer(io::stdout))
        }
    }
}

/// What an event has to say.
#[derive(Debug, Default)]
struct Said {
    message: String,
    others: Map<String, Value>,
}

impl Said {
    fn of(event: &Event<'_>) -> Self {
        let mut said = Self::default();
        event.record(&mut said);
        said
    }

    fn take_text(&mut self, name: &str) -> Option<String> {
        match self.others.remove(name)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// What was said of a request, by [`access`].
    fn take_request(&mut self) -> Option<Request> {
        let status = self.others.remove("status")?.as_u64()?;
        let seconds = self.others.remove("seconds")?.as_f64()?;
        Some(Request {
            method: self.take_text("method")?,
            path: self.take_text("path")?,
            status,
            seconds,
        })
    }
}

struct Request {
    method: String,
    path: String,
    status: u64,
    seconds: f64,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // To write to a string does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.record_str(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

/// Lines for people: of requests as they are used to, of all else as `tracing` writes them.
#[derive(Debug, Default)]
struct Text(Format<Full>);

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != access::TARGET {
            return self.0.format_event(context, writer, event);
        }
        let mut said = Said::of(event);
        let Some(Request { method, path, status, seconds }) = said.take_request() else {
            return self.0.format_event(context, writer, event);
        };
        SystemTime.format_time(&mut writer)?;
        let (begin, end) = match (writer.has_ansi_escapes(), status) {
            (false, _) => ("", ""),
            (true, 500..) => ("\x1b[31m", "\x1b[0m"),
            (true, 400..) => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[32m", "\x1b[0m"),
        };
        write!(writer, " {method:>4} {path} {begin}{status}{end} {:.1} ms", seconds * 1000.0)?;
        match said.take_text("session") {
            Some(session) => writeln!(writer, " {session}"),
            None => writeln!(writer),
        }
    }
}
