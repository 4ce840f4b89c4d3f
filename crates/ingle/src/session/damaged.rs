//! A session that cannot be read, as an operator finds it.

use std::{fmt, sync::Arc};

use super::{audit::Audit, error::Error, stored};
use crate::{
    engine::Engine,
    id::Handle,
    store::{self, Applied, Damaged, ErrorKind},
};

/// A session whose record cannot be read: it is damaged, or a newer version of this library wrote it. No
/// request can use it here, and it can be ended like any other.
#[derive(Clone)]
pub struct DamagedSession {
    engine: Arc<Engine>,
    audit: Audit,
    damaged: Damaged,
}

impl DamagedSession {
    pub(super) fn new(engine: &Arc<Engine>, audit: &Audit, damaged: Damaged) -> Self {
        Self { engine: Arc::clone(engine), audit: audit.clone(), damaged }
    }

    /// What logs and people call it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.damaged.key.handle()
    }

    /// What is wrong with its record. It tells nothing of the data.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.damaged.cause
    }

    /// How to find its record with the store's own tool: a query or a command. What that shows is the
    /// session's data, with all secrets.
    #[must_use]
    pub fn look(&self) -> &str {
        &self.damaged.look
    }

    /// Ends it for good. False if it had ended before.
    ///
    /// # Errors
    /// It may live on. Do not say that it has ended.
    pub async fn end(&self) -> Result<bool, Error> {
        stored::end(&self.engine, &self.audit, self.damaged.key, None).await
    }

    pub(super) fn error(&self) -> Error {
        let name = self.engine.context().client.name();
        let error = store::Error::new(name, ErrorKind::Corrupt, Applied::No);
        Error::Damaged(Arc::new(error.with_source(self.damaged.cause.clone())))
    }
}

impl fmt::Debug for DamagedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DamagedSession").field("handle", &self.handle()).finish_non_exhaustive()
    }
}
