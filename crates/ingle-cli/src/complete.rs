//! What a shell may offer for a handle or a user: what is in the store, if it answers soon. A shell is told
//! nothing of a session's data, and of no failure.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    time::Duration,
};

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCompleter, CompletionCandidate},
};
use ingle::{ListOptions, Sessions, StoredSession};
use ingle_operator::inert;

use crate::options::{Options, PlaceOptions};

/// The variable by which a shell asks.
pub(crate) const VARIABLE: &str = "INGLE_COMPLETE";

/// How long a shell waits for the store, and how many sessions are looked at.
const TIME: Duration = Duration::from_secs(2);
const LOOKED_AT: usize = 500;

/// How much is offered.
const OFFERED: usize = 50;

/// Answers a shell, if one asks. Then the program ends.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Options::command).var(VARIABLE).bin("ingle").complete();
}

/// Offers the handles that begin so.
pub(crate) fn handles() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let options = match current.to_str() {
            Some("") => ListOptions::new(),
            Some(text) => match text.parse() {
                Ok(prefix) => ListOptions::new().of_handle(prefix),
                Err(_) => return Vec::new(),
            },
            None => return Vec::new(),
        };
        let mut handles: Vec<_> = look(options)
            .iter()
            .map(|session| {
                let user = session.info().user.as_ref().map(|user| inert(&user.name));
                let help = user.filter(|name| is_plain(name)).map(Into::into);
                CompletionCandidate::new(session.info().handle.to_string()).help(help)
            })
            .collect();
        handles.truncate(OFFERED);
        handles
    })
}

/// Offers the users who have sessions and whose names begin so.
pub(crate) fn users() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(current) = current.to_str() else { return Vec::new() };
        let sessions = look(ListOptions::new());
        let names = sessions.iter().filter_map(|session| session.info().user.as_ref());
        let names = names.map(|user| &*user.name);
        let names: BTreeSet<&str> =
            names.filter(|name| name.starts_with(current) && is_plain(name)).collect();
        names.into_iter().take(OFFERED).map(CompletionCandidate::new).collect()
    })
}

/// Whether a shell takes a name for nothing else: it stands in the command line as it is.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "._@+-".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

/// The first sessions of a list. None where the store is not known, or does not answer soon.
fn look(options: ListOptions) -> Vec<StoredSession> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (Some(place), Ok(runtime)) = (place(), runtime) else { return Vec::new() };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let found = runtime.block_on(async {
        let look = async {
            let sessions: Sessions = place.sessions().await.ok()?;
            Some(sessions.list(&options.limit(LOOKED_AT), None).await.ok()?.sessions)
        };
        tokio::time::timeout(TIME, look).await.ok().flatten()
    });
    runtime.shutdown_background();
    found.unwrap_or_default()
}

/// The store, as far as the words before the cursor or the environment name it.
fn place() -> Option<PlaceOptions> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let command = Options::command().ignore_errors(true);
    let matches = command.try_get_matches_from(joined(words)).ok()?;
    let mut place = PlaceOptions::from_arg_matches(&matches).ok()?;
    place.timeout = place.timeout.min(TIME);
    Some(place)
}

/// The words as they were typed: bash breaks them at each `:` and `=`.
fn joined(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut joined, mut is_open): (Vec<OsString>, bool) = (Vec::new(), false);
    for word in words {
        let is_break = word == ":" || word == "=";
        match joined.last_mut() {
            Some(last) if is_break || is_open => last.push(&word),
            _ => joined.push(word),
        }
        is_open = is_break;
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bash_broke_is_joined() {
        let words =
            ["ingle", "--store", "redis", ":", "//localhost", ":", "6379", "show", "--a", "=", "b"];
        let joined = joined(words.into_iter().map(Into::into));
        assert_eq!(joined, ["ingle", "--store", "redis://localhost:6379", "show", "--a=b"]);
    }

    #[test]
    fn no_name_is_offered_that_a_shell_would_run() {
        for name in ["ada", "ada@example.com", "José", "a.b-c_d+e"] {
            assert!(is_plain(name), "{name}");
        }
        for name in
            ["", "-x", "a b", "$(x)", "`x`", "a;b", "a|b", "a'b", "a\\b", "a:b", "~", "a\u{202e}"]
        {
            assert!(!is_plain(name), "{name}");
        }
    }
}
