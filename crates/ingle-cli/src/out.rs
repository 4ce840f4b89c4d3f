//! What goes to stdout: lines for people, or JSON for programs.

use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;
use terminal_size::{Width, terminal_size};

use crate::{exit::Failed, options::FormatOptions};

/// Where lines go that are no terminal's.
const COLUMNS: usize = 120;

/// How things are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One document.
    Json,
    /// One document a line.
    Ndjson,
}

/// Stdout.
pub(crate) struct Out {
    sink: io::BufWriter<io::Stdout>,
    pub(crate) format: Format,
    /// Whether people look at it at once.
    pub(crate) is_terminal: bool,
    pub(crate) columns: usize,
    has_color: bool,
}

impl Out {
    pub(crate) fn new(options: &FormatOptions) -> Self {
        let format = match options {
            FormatOptions { json: true, .. } => Format::Json,
            FormatOptions { ndjson: true, .. } => Format::Ndjson,
            _ => Format::Text,
        };
        let is_terminal = io::stdout().is_terminal();
        let size = terminal_size().map(|(Width(columns), _)| usize::from(columns));
        let columns = size.filter(|_| is_terminal).unwrap_or(COLUMNS).max(20);
        // no-color.org: set and not empty.
        let is_colorless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let sink = io::BufWriter::new(io::stdout());
        Self { sink, format, is_terminal, columns, has_color: is_terminal && !is_colorless }
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failed> {
        written(writeln!(self.sink, "{text}"))
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failed> {
        written(self.sink.write_all(text.as_bytes()))
    }

    /// A line that is not what was asked for, but says what that is.
    pub(crate) fn title(&mut self, text: &str) -> Result<(), Failed> {
        if self.has_color {
            self.line(&format!("\u{1b}[1m{text}\u{1b}[0m"))
        } else {
            self.line(text)
        }
    }

    /// One document, as a whole.
    pub(crate) fn document(&mut self, value: &Value) -> Result<(), Failed> {
        match self.format {
            Format::Ndjson => self.line(&value.to_string()),
            _ => self.line(&format!("{value:#}")),
        }
    }

    /// Shows what was written so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failed> {
        written(self.sink.flush())
    }
}

pub(crate) fn written(done: io::Result<()>) -> Result<(), Failed> {
    done.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failed::unread(),
        _ => Failed::other(format!("could not write: {error}")),
    })
}
