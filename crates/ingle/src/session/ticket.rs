//! Tickets: a value that a request leaves under a random text, and that one other request gets by it.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, Session, work::Id};
use crate::{
    data::{TICKETS, read},
    engine::{change::Edit, ticket},
};

impl Session {
    /// Keeps a value in this session, and returns the text by which it can be [redeemed](Self::redeem),
    /// once. It reads nothing, and is stored before the response leaves. If it cannot be stored, the
    /// response is an error, so no browser gets the text. Call [`commit`](Self::commit) before you send
    /// the text by other ways, such as by mail.
    ///
    /// For the `state` of OAuth with its PKCE verifier in any number of tabs, for forms that count once,
    /// and for links that work once. The text has 144 random bits as 24 letters, digits, `-` and `_`.
    /// The session keeps its SHA-256, and tells nobody the text again.
    ///
    /// A ticket ends `ttl` after it was issued, and with the session. [`renew`](Self::renew) keeps it, so
    /// that a login keeps what was begun before. `kind` says what it is for: the same text is worth
    /// nothing as another kind. If nobody redeems them, the newest 64 are kept, up to a quarter of the
    /// [bytes](crate::Limits::bytes_max). Where a change needs the room, the oldest give way, after the
    /// [one-time messages](Self::push_flash). Tickets are kept beside the app's fields, in a reserved
    /// field that no app can name.
    ///
    /// # Errors
    /// A session cannot hold the value, or there are no random bytes. Nothing was recorded.
    pub fn issue<T: Serialize>(
        &self,
        kind: &str,
        value: &T,
        ttl: Duration,
    ) -> Result<String, Error> {
        let text = ticket::text()?;
        let policy = self.shared.policy();
        let now = policy.now();
        let hash = ticket::hash(kind, &text);
        let ticket = ticket::encode(&hash, now.after(ttl), value, &policy.limits)
            .map_err(|error| error.under(TICKETS))?;
        self.state().edits.push(Edit::Issue { ticket, now });
        Ok(text)
    }

    /// Returns the value of a ticket that this session [issued](Self::issue), and ends the ticket.
    ///
    /// Of any number of calls at once, on any number of instances, exactly one gets the value. `None` if
    /// the ticket was redeemed already, has ended, is of another kind, or is another session's. Nothing
    /// is changed then.
    ///
    /// # Errors
    /// As [`update`](Self::update). If the value is not a `T`, the ticket is kept, unless the layer says
    /// [`OnWrongType::BeginAnew`](crate::OnWrongType::BeginAnew): then it ends, and this returns `None`.
    pub async fn redeem<T>(&self, kind: &str, text: &str) -> Result<Option<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let (hash, now) = (ticket::hash(kind, text), self.shared.policy().now());
        let mend = self.mend();
        self.transact(
            move |draft| {
                let Some((value, left)) = ticket::take(draft.get(TICKETS), &hash, now) else {
                    return Ok(None);
                };
                let value = read::read_value(TICKETS, value, mend)?;
                draft.set(TICKETS.to_owned(), left);
                Ok(value)
            },
            Id::Keep,
        )
        .await
    }
}
