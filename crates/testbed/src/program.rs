//! What there is to know about one kind of server.

use std::{fmt, net::SocketAddr, process::Command};

/// How a server is started on an address, and how one sees that it answers there.
///
/// What the server needs for as long as it exists, as a temporary folder, is moved into the
/// function that makes the command.
pub struct Program {
    name: &'static str,
    command: Box<dyn Fn(SocketAddr) -> Command + Send + Sync>,
    answers: fn(SocketAddr) -> bool,
}

impl Program {
    pub fn new(
        name: &'static str,
        command: impl Fn(SocketAddr) -> Command + Send + Sync + 'static,
        answers: fn(SocketAddr) -> bool,
    ) -> Self {
        Self { name, command: Box::new(command), answers }
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn command(&self, address: SocketAddr) -> Command {
        (self.command)(address)
    }

    pub(crate) fn answers(&self, address: SocketAddr) -> bool {
        (self.answers)(address)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.name).finish()
    }
}
