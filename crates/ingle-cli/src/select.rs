//! Goes through the sessions that are meant, page by page, so that any number needs little memory.

use ingle::{
    ListOptions, SessionPage, Sessions, StoredSession, operator::DamagedSession, store::Cursor,
};
use ingle_operator::counted;

use crate::{
    exit::{Failed, say},
    options::Selection,
};

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
            && self.condition.as_ref().is_none_or(|condition| condition.holds(session, now))
    }

    /// The user whom all are of that are meant, if there is one.
    fn one_user(&self) -> Option<&str> {
        self.user.as_deref().or_else(|| self.condition.as_ref()?.user())
    }
}

/// The pages of those that are meant.
pub(crate) struct Pages<'a> {
    sessions: &'a Sessions,
    selection: &'a Selection,
    options: ListOptions,
    after: Option<Cursor>,
    is_done: bool,
    n_damaged: usize,
}

/// How many sessions that cannot be read are named.
const NAMED_MAX: usize = 100;

impl<'a> Pages<'a> {
    pub(crate) fn new(
        sessions: &'a Sessions,
        selection: &'a Selection,
        with_expired: bool,
    ) -> Self {
        let options = ListOptions::new().with_expired(with_expired).limit(FIRST_PAGE);
        let options = match selection.one_user() {
            Some(user) => options.of_user(user),
            None => options,
        };
        Self { sessions, selection, options, after: None, is_done: false, n_damaged: 0 }
    }

    /// The next of them; `None` behind the last ones. There may be none on a page. What cannot be read is
    /// named on stderr, and passed over.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<StoredSession>>, Failed> {
        let Some(page) = self.next_page().await? else { return Ok(None) };
        page.damaged.iter().for_each(|damaged| self.pass_over(damaged));
        Ok(Some(page.sessions))
    }

    /// The same, with those that cannot be read: nobody knows whether they are meant.
    pub(crate) async fn next_page(&mut self) -> Result<Option<SessionPage>, Failed> {
        if self.is_done {
            return Ok(None);
        }
        let mut page = self.sessions.list(&self.options, self.after.as_ref()).await?;
        self.options = self.options.clone().limit(PAGE);
        self.after = page.next.take();
        self.is_done = self.after.is_none();
        page.sessions.retain(|session| self.selection.fits(session, self.sessions));
        Ok(Some(page))
    }

    /// Names a session that cannot be read.
    pub(crate) fn pass_over(&mut self, damaged: &DamagedSession) {
        self.n_damaged += 1;
        if self.n_damaged <= NAMED_MAX {
            let (handle, cause) = (damaged.handle(), damaged.cause());
            say(&format!("ingle: the session {handle} cannot be read: {cause}"));
        }
    }

    /// How many were passed over.
    pub(crate) fn n_damaged(&self) -> usize {
        self.n_damaged
    }

    /// The end of what was done with them. It fails if some were passed over, and says what was not done
    /// with these.
    pub(crate) fn end(&self, done: Result<(), Failed>, not_done: &str) -> Result<(), Failed> {
        if self.n_damaged == 0 {
            return done;
        }
        let failed = Failed::other(format!(
            "{} cannot be read, so {not_done}; `ingle sessions show HANDLE` says how to look at one",
            counted(self.n_damaged, "session"),
        ));
        Err(failed.or_earlier(done))
    }
}
