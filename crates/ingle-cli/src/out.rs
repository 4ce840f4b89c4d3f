//! What goes to stdout or a file: lines for people, or JSON for programs.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
};

use ingle_operator::inert_json;
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

/// Stdout, or a file.
pub(crate) struct Out {
    sink: Box<dyn Write + Send>,
    /// Whether the list that is one document has begun.
    is_in_list: bool,
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
        let sink = Box::new(io::BufWriter::new(io::stdout()));
        Self {
            sink,
            is_in_list: false,
            format,
            is_terminal,
            columns,
            has_color: is_terminal && !is_colorless,
        }
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

    /// The same, but to a file, where nobody looks at it at once.
    pub(crate) fn into_file(self, file: File) -> Self {
        let sink: Box<dyn Write + Send> = Box::new(io::BufWriter::new(file));
        Self {
            sink,
            is_in_list: false,
            is_terminal: false,
            has_color: false,
            columns: COLUMNS,
            format: self.format,
        }
    }

    /// One document, as a whole.
    pub(crate) fn document(&mut self, value: &Value) -> Result<(), Failed> {
        match self.format {
            Format::Ndjson => self.line(&inert_json(&value.to_string())),
            _ => self.line(&inert_json(&format!("{value:#}"))),
        }
    }

    /// One of several values, which are a list where one document is asked for.
    pub(crate) fn item(&mut self, value: &Value) -> Result<(), Failed> {
        let json = inert_json(&value.to_string());
        if self.format != Format::Json {
            return self.line(&json);
        }
        let before = if self.is_in_list { "," } else { "[" };
        self.is_in_list = true;
        self.text(&format!("{before}\n  {json}"))
    }

    /// What stands behind the last of them.
    pub(crate) fn end_of_items(&mut self) -> Result<(), Failed> {
        if self.format == Format::Json {
            let end = if std::mem::take(&mut self.is_in_list) { "\n]\n" } else { "[]\n" };
            self.text(end)?;
        }
        self.flush()
    }

    /// Shows what was written so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failed> {
        written(self.sink.flush())
    }
}

impl Drop for Out {
    /// After a failure, too, what was printed is one document.
    fn drop(&mut self) {
        if self.is_in_list {
            let _ = self.end_of_items();
        }
    }
}

fn written(done: io::Result<()>) -> Result<(), Failed> {
    done.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failed::unread(),
        _ => Failed::other(format!("could not write: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is in a file after this was printed into it.
    fn printed(print: impl FnOnce(&mut Out) -> Result<(), Failed>) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = FormatOptions { json: true, ndjson: false };
        let mut out = Out::new(&options).into_file(file.reopen().unwrap());
        print(&mut out).unwrap();
        drop(out);
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn a_list_is_one_document_also_where_it_was_broken_off() {
        for n in 0..3 {
            let items = vec![json!({ "a": "\u{9b}" }); n];
            let some = |out: &mut Out| items.iter().try_for_each(|item| out.item(item));
            let whole = printed(|out| some(out).and_then(|()| out.end_of_items()));
            let broken = printed(some);
            assert_eq!(serde_json::from_str::<Value>(&whole).unwrap(), Value::from(items.clone()));
            assert!(!whole.contains('\u{9b}') && whole.ends_with('\n'), "{whole}");
            assert_eq!(broken, if n == 0 { "" } else { &whole });
        }
    }
}
