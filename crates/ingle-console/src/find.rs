//! What an operator looks for, and a search that never takes long.

use std::time::Duration;

use ingle::{DamagedSession, HandlePrefix, ListOptions, StoredSession, store::Cursor};
use ingle_operator::{Condition, redacted};
use tokio::time::Instant;

use crate::{context::Context, problem::Problem};

/// A longer text is no question that a person asks.
const QUESTION_MAX: usize = 1000;

/// How many sessions a page of a list has. With more, it would have more than 60 KiB.
pub(crate) const LINES: usize = 40;

/// How many sessions are read at a time while one searches.
const READ_AT_ONCE: usize = 100;

/// How many sessions one request looks at, and for how long.
const SEARCHED_MAX: usize = 10_000;
const SEARCH_TIME: Duration = Duration::from_secs(2);

/// Which sessions are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    All,
    OfHandle(HandlePrefix),
    OfUser(String),
    Where(Condition),
}

/// `user:ada`, a handle or its beginning, or a condition on the data.
pub(crate) fn read(question: &str) -> Result<Wanted, String> {
    let question = question.trim();
    if question.len() > QUESTION_MAX {
        return Err(format!("This is too long: a search has at most {QUESTION_MAX} bytes."));
    }
    if question.is_empty() {
        return Ok(Wanted::All);
    }
    if let Some(name) = question.strip_prefix("user:") {
        return Ok(Wanted::OfUser(name.trim().to_owned()));
    }
    if let Ok(prefix) = question.to_ascii_lowercase().parse() {
        return Ok(Wanted::OfHandle(prefix));
    }
    question.parse().map(Wanted::Where).map_err(|error| {
        format!(
            "This is neither a handle, nor user:NAME, nor a condition. {}",
            error.to_string().replace("a condition is such as", "A condition is such as")
        )
    })
}

impl Wanted {
    fn options(&self) -> ListOptions {
        let options = ListOptions::new();
        match self {
            Self::All => options.limit(LINES),
            Self::OfHandle(prefix) => options.of_handle(*prefix).limit(LINES),
            Self::OfUser(name) => options.of_user(name).limit(LINES),
            Self::Where(_) => options.limit(READ_AT_ONCE),
        }
    }

    pub(crate) fn holds(&self, session: &StoredSession) -> bool {
        match self {
            // Of what is shown: whoever could ask for what is hidden could guess it unseen.
            Self::Where(condition) => condition.holds(&redacted(session.snapshot()).data),
            Self::All => true,
            Self::OfHandle(prefix) => prefix.is_of(&session.info().handle),
            Self::OfUser(name) => {
                session.info().user.as_ref().is_some_and(|user| user.name == *name)
            }
        }
    }
}

/// What a part of a search has found.
pub(crate) struct Found {
    pub(crate) sessions: Vec<StoredSession>,
    /// Those that cannot be read, so that nobody knows whether they are wanted.
    pub(crate) damaged: Vec<DamagedSession>,
    /// How many sessions were looked at.
    pub(crate) searched: usize,
    /// Where the search goes on.
    pub(crate) next: Option<Cursor>,
}

/// Searches from a cursor on until at least `enough` were found, or for as long as one request may.
pub(crate) async fn search(
    context: &Context,
    wanted: &Wanted,
    after: Option<Cursor>,
    enough: usize,
) -> Result<Found, Problem> {
    let (options, began) = (wanted.options(), Instant::now());
    let mut found = Found { sessions: Vec::new(), damaged: Vec::new(), searched: 0, next: after };
    loop {
        let page = context.sessions.list(&options, found.next.as_ref()).await?;
        found.searched += page.sessions.len();
        found.damaged.extend(page.damaged);
        found.sessions.extend(page.sessions.into_iter().filter(|session| wanted.holds(session)));
        found.next = page.next;
        let is_over = found.next.is_none()
            || found.sessions.len() >= enough
            || found.searched >= SEARCHED_MAX
            || began.elapsed() >= SEARCH_TIME;
        if is_over {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_handle_a_user_or_a_condition() {
        assert_eq!(read("  "), Ok(Wanted::All));
        assert_eq!(read("3f9A"), Ok(Wanted::OfHandle("3f9a".parse().unwrap())));
        assert_eq!(read("user:ada smith"), Ok(Wanted::OfUser("ada smith".to_owned())));
        assert!(matches!(read("views > 100"), Ok(Wanted::Where(_))));
        for text in ["*", "%", "../../etc", "views", "0123456789abcdef0"] {
            assert!(read(text).unwrap_err().contains("neither a handle"), "{text}");
        }
        assert!(read(&"a".repeat(100 * 1024)).unwrap_err().contains("too long"));
    }
}
