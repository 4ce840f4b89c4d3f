//! `ingle doctor`: what is wrong with the store and the app, each with what mends it.
//!
//! What a store says of itself, at its start and in a 503, is in the library, so the words are the same.
//! `doctor/store.rs` asks it, `doctor/app.rs` asks the app as its visitors do, by `doctor/browser.rs`.

use ingle::store::{OpenError, Warning};
use ingle_operator::inert;
use serde_json::{Value, json};

use crate::{
    exit::Failed,
    options::{DoctorOptions, PlaceOptions},
    out::{Format, Out},
};

mod app;
mod browser;
mod store;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    part: Part,
    /// What it is about, for programs.
    about: &'static str,
    problem: String,
    help: String,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Store,
    App,
}

impl Part {
    const ALL: [Self; 2] = [Self::Store, Self::App];

    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::App => "app",
        }
    }
}

impl Problem {
    fn of_app(about: &'static str, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { part: Part::App, about, problem: problem.into(), help: help.into() }
    }

    /// What stands in one sentence, which says after a semicolon what to do.
    fn of_store(about: &'static str, line: &str) -> Self {
        let (problem, help) = line.split_once("; ").unwrap_or((line, ""));
        Self { part: Part::Store, about, problem: problem.to_owned(), help: help.to_owned() }
    }

    fn warned(part: Part, warning: &Warning) -> Self {
        let (problem, help) = (warning.problem().to_owned(), warning.help().to_owned());
        Self { part, about: warning.about(), problem, help }
    }

    /// The commands that it says are to be run.
    fn commands(&self) -> Vec<&str> {
        let mut parts = self.help.split('`');
        let mut commands = Vec::new();
        while let (Some(before), Some(quoted)) = (parts.next(), parts.next()) {
            if before.ends_with("run ") {
                commands.push(quoted);
            }
        }
        commands
    }

    fn json(&self) -> Value {
        json!({
            "part": self.part.name(),
            "about": self.about,
            "problem": self.problem,
            "help": self.help,
            "commands": self.commands(),
        })
    }
}

impl From<&OpenError> for Problem {
    fn from(error: &OpenError) -> Self {
        let problem = format!("could not open the {} store: {}", error.store(), error.problem());
        Self { part: Part::Store, about: "open", problem, help: error.help().to_owned() }
    }
}

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: DoctorOptions,
) -> Result<(), Failed> {
    let url = place.url_if_any()?;
    let page = options.url.as_deref().map(app::page).transpose()?;
    if url.is_none() && page.is_none() {
        return Err(Failed::usage(
            "what is to be looked at? Name the store by --store URL or INGLE_STORE, or the app by its URL",
        ));
    }
    if options.write && url.is_none() {
        return Err(Failed::usage("--write needs a store; name it by --store URL or INGLE_STORE"));
    }
    let mut problems = Vec::new();
    if let Some(url) = url {
        problems.extend(store::look(&url, options.write, place.timeout).await);
    }
    if let Some(page) = page {
        problems.extend(app::look(&page).await);
    }
    let printed = match out.format {
        Format::Text => print(out, &problems),
        _ => out.document(&json!({
            "good": problems.is_empty(),
            "problems": problems.iter().map(Problem::json).collect::<Vec<_>>(),
        })),
    };
    let printed = printed.and_then(|()| out.flush());
    match problems.is_empty() {
        true => printed,
        // All was said on stdout.
        false => Err(Failed::other("").or_earlier(printed)),
    }
}

fn print(out: &mut Out, problems: &[Problem]) -> Result<(), Failed> {
    for part in Part::ALL {
        let mut of_part = problems.iter().filter(|problem| problem.part == part).peekable();
        if of_part.peek().is_some() {
            out.title(&format!("✗ the {}", part.name()))?;
        }
        for problem in of_part {
            out.line(&format!("  {}", inert(&problem.problem)))?;
            if !problem.help.is_empty() {
                out.line(&format!("    → {}", inert(&problem.help)))?;
            }
        }
    }
    match problems.len() {
        0 => out.line("good to go"),
        1 => out.line("1 problem"),
        n => out.line(&format!("{n} problems")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_those_that_are_to_be_run() {
        let problem =
            Problem::of_store("x", "`a` is so; as an administrator run `b c`, see `d`, run `e`");
        assert_eq!(problem.problem, "`a` is so");
        assert_eq!(problem.commands(), ["b c", "e"]);
        assert!(Problem::of_store("x", "no help").commands().is_empty());
    }
}
