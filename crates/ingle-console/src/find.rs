//! What an operator looks for, and a search that never takes long.

use std::time::Duration;

use ingle::{
    Handle, ListOptions, StoredSession,
    clock::Timestamp,
    operator::{DamagedSession, HandlePrefix},
    store::{Cursor, Ids, Info},
};
use ingle_operator::{Condition, Path, counted, sentence};
use tokio::time::Instant;

use crate::{context::Context, problem::Problem};

/// A text with more characters is no question that a person asks.
pub(crate) const QUESTION_MAX: usize = 1000;

/// How many sessions a page of a list or a part of a search has. With more, it would have more than 60 KiB.
pub(crate) const LINES: usize = 30;

/// How many sessions are read at a time while one searches. Only so many at first as there is room for,
/// which is enough where most match.
const READ_AT_ONCE: usize = 500;

/// How many sessions one request looks at, and for how long.
const SEARCHED_MAX: usize = 10_000;
const SEARCH_TIME: Duration = Duration::from_secs(1);

/// How long one looks for all sessions that are to end.
const COUNT_TIME: Duration = Duration::from_secs(10);

/// So many handles do not come in their order by accident.
const IN_ORDER_MIN: usize = 10;

/// Which sessions are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    All,
    OfHandle(HandlePrefix),
    OfUser(String),
    Where(Condition),
}

/// `user:ada`, a handle or its beginning, or a condition.
pub(crate) fn read(question: &str) -> Result<Wanted, String> {
    let question = question.trim();
    if question.chars().count() > QUESTION_MAX {
        return Err(format!(
            "This is too long: a search has at most {}.",
            counted(QUESTION_MAX, "character")
        ));
    }
    if question.is_empty() {
        return Ok(Wanted::All);
    }
    if let Some(name) = question.strip_prefix("user:") {
        return match name.trim() {
            "" => Err("After user: comes the name of a user.".to_owned()),
            name => Ok(Wanted::OfUser(name.to_owned())),
        };
    }
    if let Ok(prefix) = question.to_ascii_lowercase().parse() {
        return Ok(Wanted::OfHandle(prefix));
    }
    question.parse().map(Wanted::Where).map_err(|error| {
        let is_word = question.chars().all(|c| c.is_alphanumeric() || "._-@".contains(c));
        match is_word && !question.starts_with('@') {
            true => format!(
                "`{question}` alone is no search. The sessions of a user are `user:{question}`, and those with \
                 a field are `{question} exists`."
            ),
            false => sentence(error),
        }
    })
}

impl Wanted {
    fn options(&self) -> ListOptions {
        let options = ListOptions::new();
        match self {
            Self::All => options,
            Self::OfHandle(prefix) => options.of_handle(*prefix),
            Self::OfUser(name) => options.of_user(name),
            Self::Where(condition) => match condition.user() {
                Some(name) => options.of_user(name),
                None => options,
            },
        }
    }

    /// The places in the data that one looks at to see whether it is wanted.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Where(condition) => condition.paths(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn holds(&self, session: &StoredSession, now: Timestamp) -> bool {
        match self {
            Self::All => true,
            Self::OfHandle(prefix) => prefix.is_of(&session.info().handle),
            Self::OfUser(name) => {
                session.info().user.as_ref().is_some_and(|user| user.name == *name)
            }
            Self::Where(condition) => condition.holds(session, now),
        }
    }
}

/// What a part of a search has found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) sessions: Vec<StoredSession>,
    /// Those that cannot be read, so that nobody knows whether they are wanted.
    pub(crate) damaged: Vec<DamagedSession>,
    /// How many sessions were looked at.
    pub(crate) searched: usize,
    /// Where in the store it began and ended, where that can be told.
    pub(crate) span: Option<(f64, f64)>,
    /// Where the search goes on.
    pub(crate) next: Option<Cursor>,
}

/// Searches from a cursor on until `most` were found, or for as long as one request may.
pub(crate) async fn search(
    context: &Context,
    wanted: &Wanted,
    after: Option<Cursor>,
    most: usize,
) -> Result<Found, Problem> {
    let (options, began) = (wanted.options(), Instant::now());
    let mut place = Place::of(&context.sessions.store_info());
    let mut found = Found { next: after, ..Found::default() };
    loop {
        let room = most - found.sessions.len();
        let at_once = match wanted {
            Wanted::Where(_) if found.searched > 0 => READ_AT_ONCE,
            _ => room.min(READ_AT_ONCE),
        };
        let options = options.clone().limit(at_once);
        let looked = look(context, wanted, &options, found.next.take(), room).await?;
        looked.at.iter().for_each(|handle| place.pass(*handle));
        found.searched += looked.at.len();
        found.damaged.extend(looked.damaged);
        found.sessions.extend(looked.sessions);
        found.next = looked.next;
        let is_over = found.next.is_none()
            || found.sessions.len() >= most
            || found.searched >= SEARCHED_MAX
            || began.elapsed() >= SEARCH_TIME;
        if is_over {
            found.span = place.span();
            return Ok(found);
        }
    }
}

struct Look {
    at: Vec<Handle>,
    /// Those that are wanted.
    sessions: Vec<StoredSession>,
    damaged: Vec<DamagedSession>,
    next: Option<Cursor>,
}

/// Reads a page of the store. If there is no room for all that are wanted on it, it is read again up to the
/// last one for which there is: only the store knows the cursor behind that one.
async fn look(
    context: &Context,
    wanted: &Wanted,
    options: &ListOptions,
    after: Option<Cursor>,
    room: usize,
) -> Result<Look, Problem> {
    let now = context.sessions.now();
    let mut page = context.sessions.list(options, after.as_ref()).await?;
    let fits = page.sessions.iter().enumerate().filter(|(_, session)| wanted.holds(session, now));
    let last = fits.map(|(at, _)| at).take(room.saturating_add(1)).collect::<Vec<_>>();
    if last.len() > room
        && let Some(last) = room.checked_sub(1).and_then(|at| last.get(at))
    {
        let options = options.clone().limit(last + 1);
        page = context.sessions.list(&options, after.as_ref()).await?;
    }
    let at = page.sessions.iter().map(|session| session.info().handle).collect();
    page.sessions.retain(|session| wanted.holds(session, now));
    Ok(Look { at, sessions: page.sessions, damaged: page.damaged, next: page.next })
}

/// How far one is through a store that lists sessions in the order of their keys. Keys of hashed ids are
/// spread evenly, so what the first ones take up tells about how many there are. Whether a store does so is
/// seen by what comes.
struct Place {
    is_in_order: bool,
    n: usize,
    first: Option<Handle>,
    last: Option<Handle>,
}

impl Place {
    fn of(store: &Info) -> Self {
        Self { is_in_order: store.ids == Ids::Hashed, n: 0, first: None, last: None }
    }

    fn pass(&mut self, handle: Handle) {
        self.is_in_order &= self.last.is_none_or(|last| last < handle);
        self.n += 1;
        self.first = self.first.or(Some(handle));
        self.last = Some(handle);
    }

    fn span(&self) -> Option<(f64, f64)> {
        let share = |handle: Handle| {
            let digits = u64::from_str_radix(&handle.to_string(), 16).ok()?;
            Some(digits as f64 / u64::MAX as f64)
        };
        let is_known = self.is_in_order && self.n >= IN_ORDER_MIN;
        is_known.then_some((share(self.first?)?, share(self.last?)?))
    }
}

/// The sessions of many that are to end.
pub(crate) struct Counted {
    pub(crate) handles: Vec<Handle>,
    pub(crate) n_damaged: usize,
    /// Whether these are all.
    pub(crate) is_all: bool,
}

/// Looks for all that are wanted, up to `most`.
pub(crate) async fn count(
    context: &Context,
    wanted: &Wanted,
    most: usize,
) -> Result<Counted, Problem> {
    let (began, mut after) = (Instant::now(), None);
    let mut counted = Counted { handles: Vec::new(), n_damaged: 0, is_all: false };
    loop {
        let room = most - counted.handles.len();
        let found = search(context, wanted, after, room.min(READ_AT_ONCE)).await?;
        counted.n_damaged += found.damaged.len();
        counted.handles.extend(found.sessions.iter().map(|session| session.info().handle));
        after = found.next;
        counted.is_all = after.is_none() && counted.handles.len() <= most;
        counted.handles.truncate(most);
        let is_over = counted.is_all || counted.handles.len() >= most;
        if is_over || began.elapsed() >= COUNT_TIME {
            return Ok(counted);
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
        assert!(matches!(read("@age > 2h and not @user exists"), Ok(Wanted::Where(_))));
        for (text, said) in [
            ("*", "At character 2, `exists` or one of"),
            ("%", "At character 2, `exists` or one of = != < <= > >= is missing."),
            ("@age", "At character 5, `exists` or one of"),
            ("@age > 2 parsecs", "At character 8, a duration is"),
            ("../../etc", "At character 1, a field is missing."),
            ("views > 1 AND @user exists", "At character 11, write `and` in the place of `AND`."),
            ("greeting = 'Hola'", "At character 12, put texts and names in double quotes"),
            ("ada@example.com", "The sessions of a user are `user:ada@example.com`, and"),
            ("views", "those with a field are `views exists`."),
            ("0123456789abcdef0", "`0123456789abcdef0` alone is no search."),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.contains(said) && wrong.len() < 200, "{text}: {wrong}");
        }
        assert!(read(&"a".repeat(100 * 1024)).unwrap_err().contains("too long"));
    }

    #[test]
    fn a_place_is_told_where_handles_come_in_their_order() {
        let hashed = Info::new("test", "nothing");
        let span = |info: &Info, handles: &[u64]| {
            let mut place = Place::of(info);
            handles.iter().for_each(|n| place.pass(format!("{n:016x}").parse().unwrap()));
            place.span()
        };
        let quarter = u64::MAX / 4;
        let rising: Vec<u64> = (1..=10).map(|n| quarter + n * (quarter / 10)).collect();
        let (first, last) = span(&hashed, &rising).unwrap();
        assert!((first - 0.275).abs() < 1e-9 && (last - 0.5).abs() < 1e-9, "{first} {last}");
        let mut mixed = rising.clone();
        mixed.swap(3, 4);
        assert_eq!(span(&hashed, &mixed), None);
        assert_eq!(span(&hashed, &rising[..9]), None);
        assert_eq!(span(&hashed.with_ids(Ids::Plain), &rising), None);
    }
}
