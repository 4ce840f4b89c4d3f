//! What the store needs of a connection, no matter who makes it.

use std::pin::Pin;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_postgres::{Client, Notification, Statement, types::Type};

use super::error::Failure;

/// A connection that is being made. It borrows nothing, so that it can go on without its caller.
pub(super) type Connecting =
    Pin<Box<dyn Future<Output = Result<Box<dyn Link>, Failure>> + Send + 'static>>;

/// A connection to listen on that is being made, and what the server tells on it.
pub(super) type Listening = Pin<
    Box<
        dyn Future<Output = Result<(Box<dyn Link>, mpsc::Receiver<Notification>), Failure>>
            + Send
            + 'static,
    >,
>;

/// Where connections come from.
pub(super) trait Source: Send + Sync {
    /// A connection on which nothing is under way.
    fn connect(&self) -> Connecting;

    /// A connection of its own to listen on. None if there is none to be had.
    fn listen(&self) -> Option<Listening>;

    /// Whether each connection goes back to where it came from when its statement has been answered:
    /// others use it as well.
    fn takes_back(&self) -> bool;
}

/// A connection. To drop it gives it back, where it came from somebody who takes it back.
#[async_trait]
pub(super) trait Link: Send + Sync {
    fn client(&self) -> &Client;

    async fn prepare(&self, sql: &str, types: &[Type]) -> Result<Statement, tokio_postgres::Error>;

    /// Ends it, so that nobody else is given it.
    fn close(self: Box<Self>);

    /// The same where an answer is still to come, for which the driver would keep it open.
    fn abort(self: Box<Self>);
}
