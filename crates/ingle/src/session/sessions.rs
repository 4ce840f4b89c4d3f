//! The sessions of an app, without a request: for its jobs and operators.

use std::{fmt, sync::Arc};

use super::{
    error::Error,
    login::{LoginTicket, ticket},
    users::{self, SessionInfo},
};
use crate::{detach::Detachable, engine::Engine};

/// The sessions of an app, for what happens outside of its requests: a password that was reset by
/// mail, an account that was closed, a job. [`SessionLayer::sessions`](crate::SessionLayer::sessions)
/// makes it. Clones share everything.
///
/// ```
/// # async fn reset(layer: ingle::SessionLayer) -> Result<(), ingle::Error> {
/// let sessions = layer.sessions();
/// let ended = sessions.end_all_of("ada").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sessions {
    engine: Arc<Engine>,
}

impl Sessions {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::clone(engine) }
    }

    /// The sessions of a user, the one that was used last first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store cannot list by user. Otherwise the store gave no answer.
    pub async fn of_user(&self, user: &str) -> Result<Vec<SessionInfo>, Error> {
        users::list(&self.engine, user).await
    }

    /// Ends all sessions of a user, on every instance, and returns how many there were. See
    /// [`Session::end_all`](crate::Session::end_all).
    ///
    /// When this returns, none of them lives, and no login that was under way before can succeed. On a
    /// store that cannot list by user, each ends when it is next used, and the count is 0.
    ///
    /// # Errors
    /// Some sessions may live on. Call it again.
    pub async fn end_all_of(&self, user: &str) -> Result<usize, Error> {
        let (engine, user) = (Arc::clone(&self.engine), user.to_owned());
        let end = |handle| async move { users::end_all_of(&engine, &user, &handle).await };
        Detachable::new(end).await
    }

    /// See [`Session::login_ticket`](crate::Session::login_ticket).
    ///
    /// # Errors
    /// The store gave no answer.
    pub async fn login_ticket(&self, user: &str) -> Result<LoginTicket, Error> {
        ticket(&self.engine, user).await
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}
