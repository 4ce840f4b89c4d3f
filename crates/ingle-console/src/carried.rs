//! Edits that a page carries, to be made by a click: those that take an edit back, and those of a conflict
//! once more. Where hidden values are in them, this process keeps the edits and the page has a random name,
//! so that no page has a value that nobody has revealed on it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ingle::{Handle, StoredSession, clock::Timestamp};
use ingle_operator::{Conflict, Edit};

use crate::{
    context::Context,
    cursor::random_text,
    edit::{Written, as_text},
    form::Form,
};

/// How long an edit can be undone.
pub(crate) const TIME: Duration = Duration::from_secs(10 * 60);

/// How much is kept. The oldest goes when there is more, and can be undone no longer.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The fields of a form: edits, or the name of those that are kept.
const EDITS: &str = "edits";
const KEPT: &str = "kept";

/// A field of a form with edits in it.
pub(crate) struct Carried {
    pub(crate) field: &'static str,
    pub(crate) value: String,
}

impl Carried {
    /// What a page carries of a session: `written`, which is made of these edits.
    pub(crate) fn of(
        context: &Context,
        session: &StoredSession,
        edits: &[Edit],
        written: &[Written],
    ) -> Result<Self, getrandom::Error> {
        let text = as_text(written);
        if !edits.iter().any(has_hidden) {
            return Ok(Self { field: EDITS, value: text });
        }
        let kept = &context.console.0.kept;
        let whose = (&*context.grant.name, session.info().handle);
        Ok(Self { field: KEPT, value: kept.keep(whose, text, context.sessions.now())? })
    }
}

/// The edits that a form carries, as a text. None if they were kept and are not any more.
pub(crate) fn read(context: &Context, session: &StoredSession, form: &Form) -> Option<String> {
    let Some(name) = form.field(KEPT) else { return Some(form.text(EDITS).to_owned()) };
    let whose = (&*context.grant.name, session.info().handle);
    context.console.0.kept.find(whose, name, context.sessions.now())
}

/// Whether a page without revealed values shows less of it.
fn has_hidden(edit: &Edit) -> bool {
    let Edit { path, before, yours, .. } = edit.clone();
    let whole = Conflict { path, before, theirs: None, yours };
    whole.redacted() != whole
}

/// The edits that this process keeps, the newest first.
#[derive(Default)]
pub(crate) struct Kept(Mutex<VecDeque<Entry>>);

struct Entry {
    name: String,
    operator: String,
    handle: Handle,
    edits: String,
    ends: Timestamp,
}

impl Kept {
    fn keep(
        &self,
        (operator, handle): (&str, Handle),
        edits: String,
        now: Timestamp,
    ) -> Result<String, getrandom::Error> {
        let (name, operator) = (random_text()?, operator.to_owned());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_front(Entry {
            name: name.clone(),
            operator,
            handle,
            edits,
            ends: now.after(TIME),
        });
        let mut bytes = 0;
        all.retain(|entry| {
            bytes += entry.edits.len();
            now < entry.ends && bytes <= KEPT_BYTES_MAX
        });
        Ok(name)
    }

    /// Those of this name, for whoever made them and on the session that they are of.
    fn find(&self, whose: (&str, Handle), name: &str, now: Timestamp) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|entry| now < entry.ends);
        let is_it =
            |entry: &&Entry| entry.name == name && (&*entry.operator, entry.handle) == whose;
        all.iter().find(is_it).map(|entry| entry.edits.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn what_is_kept_is_for_whoever_made_it_and_for_ten_minutes() {
        let kept = Kept::default();
        let [handle, other] =
            ["00000000000000aa", "00000000000000ab"].map(|text| text.parse().unwrap());
        let name = kept.keep(("ada", handle), "edits".to_owned(), NOW).unwrap();
        assert_eq!(kept.find(("ada", handle), &name, NOW).as_deref(), Some("edits"));
        for (whose, name) in
            [(("eve", handle), &*name), (("ada", other), &name), (("ada", handle), "")]
        {
            assert_eq!(kept.find(whose, name, NOW), None, "{whose:?}");
        }
        assert_eq!(kept.find(("ada", handle), &name, NOW.after(TIME)), None);
        assert!(kept.0.lock().unwrap().is_empty(), "no secret stays longer than it is of use");
    }

    #[test]
    fn the_oldest_goes_where_there_is_too_much() {
        let (kept, handle) = (Kept::default(), "00000000000000aa".parse().unwrap());
        let names: Vec<String> = (0..40)
            .map(|_| kept.keep(("ada", handle), "x".repeat(1024 * 1024), NOW).unwrap())
            .collect();
        let is_there = |name: &String| kept.find(("ada", handle), name, NOW).is_some();
        let there: Vec<bool> = names.iter().map(is_there).collect();
        assert!(there.is_sorted() && there.iter().filter(|is_there| **is_there).count() == 16);
    }
}
