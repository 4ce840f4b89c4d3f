//! Goes through the sessions that are meant, page by page, so that any number needs little memory.

use ingle::{ListOptions, Sessions, StoredSession, store::Cursor};
use ingle_operator::redacted;

use crate::{exit::Failed, options::Selection};

/// How many sessions are asked for at a time: few at first, so that the first row comes at once.
const FIRST_PAGE: usize = 50;
const PAGE: usize = 500;

impl Selection {
    /// Whether a session is meant.
    pub(crate) fn fits(&self, session: &StoredSession, sessions: &Sessions) -> bool {
        let info = session.info();
        let now = sessions.now();
        let user = info.user.as_ref().map(|user| user.name.as_str());
        self.user.as_deref().is_none_or(|name| user == Some(name))
            && self.older.is_none_or(|age| now.since(info.began) >= age)
            && self.idle.is_none_or(|time| now.since(info.last_seen) >= time)
            // Of what is shown: whoever could ask for what is hidden could guess it unseen.
            && self.condition.as_ref().is_none_or(|condition| {
                condition.holds(&redacted(session.snapshot()).data)
            })
    }
}

/// The pages of those that are meant.
pub(crate) struct Pages<'a> {
    sessions: &'a Sessions,
    selection: &'a Selection,
    options: ListOptions,
    after: Option<Cursor>,
    is_done: bool,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(
        sessions: &'a Sessions,
        selection: &'a Selection,
        with_expired: bool,
    ) -> Self {
        let options = ListOptions::new().with_expired(with_expired).limit(FIRST_PAGE);
        let options = match &selection.user {
            Some(user) => options.of_user(user),
            None => options,
        };
        Self { sessions, selection, options, after: None, is_done: false }
    }

    /// The next of them; `None` behind the last ones. There may be none on a page.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<StoredSession>>, Failed> {
        if self.is_done {
            return Ok(None);
        }
        let page = self.sessions.list(&self.options, self.after.as_ref()).await?;
        self.options = self.options.clone().limit(PAGE);
        self.is_done = page.next.is_none();
        self.after = page.next;
        let mut found = page.sessions;
        found.retain(|session| self.selection.fits(session, self.sessions));
        Ok(Some(found))
    }
}
