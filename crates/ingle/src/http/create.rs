//! A session that begins without a request.

use std::fmt;

use super::{HeaderChange, SessionLayer};
use crate::{
    id::Handle,
    session::{Error, HandlerOutcome, Session},
};

/// A session that [`SessionLayer::create_session`] has begun, and the cookie for whoever is to have it.
#[derive(Clone)]
pub struct NewSession {
    handle: Handle,
    set_cookie: String,
}

impl NewSession {
    /// What logs and people call the session.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The value of the header Set-Cookie that gives the session to a browser. It is a secret.
    #[must_use]
    pub fn set_cookie(&self) -> &str {
        &self.set_cookie
    }

    /// The value of the header Cookie that a client sends which is no browser. It is a secret.
    #[must_use]
    pub fn cookie(&self) -> &str {
        self.set_cookie.split(';').next().unwrap_or_default()
    }
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl SessionLayer {
    /// Begins a session without a request, for a device that a user has paired, a client that is no
    /// browser, or a job. `None` if `fill` stored nothing and logged nobody in.
    ///
    /// ```
    /// # async fn pair(layer: ingle::SessionLayer) -> Result<(), ingle::Error> {
    /// let session = layer.create_session(async |session| session.login("ada").await).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `fill`, and of a commit of what it recorded. There may be a session all the same, of
    /// which nobody has the cookie. It ends by its deadlines.
    pub async fn create_session<F>(&self, fill: F) -> Result<Option<NewSession>, Error>
    where
        F: AsyncFnOnce(&Session) -> Result<(), Error>,
    {
        let in_flight = self.door().begin([]);
        let session = in_flight.session().clone();
        let filled = fill(&session).await;
        let finished = in_flight.finish(HandlerOutcome::Success).await;
        filled?;
        if let Some(error) = finished.error() {
            return Err(error.clone());
        }
        let set_cookie = finished.headers().iter().find_map(|change| match change {
            HeaderChange::SetCookie { value, .. } => Some(value.clone()),
            HeaderChange::Append { .. } | HeaderChange::Replace { .. } => None,
        });
        let new = session.handle().zip(set_cookie);
        Ok(new.map(|(handle, set_cookie)| NewSession { handle, set_cookie }))
    }
}
