//! What the server tells of sessions that ended, wherever they did.

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_postgres::Notification;

use super::{error::NAME, link::Link};
use crate::{
    id::Key,
    store::{Applied, Error, ErrorKind, Listener},
};

/// Who listens. Each destroy tells the key, of sessions in any table of the database.
pub(super) struct Ends {
    pub(super) hears: mpsc::Receiver<Notification>,
    /// To drop it ends the connection.
    pub(super) _link: Box<dyn Link>,
}

#[async_trait]
impl Listener for Ends {
    async fn next(&mut self) -> Result<Key, Error> {
        while let Some(notification) = self.hears.recv().await {
            // Anybody may notify, so it may be anything.
            if let Ok(key) = notification.payload().parse() {
                return Ok(key);
            }
        }
        let error = Error::new(NAME, ErrorKind::Unavailable, Applied::No);
        Err(error.with_source("the connection to listen on has ended"))
    }
}
