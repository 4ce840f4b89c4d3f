//! What a server is, by its name and its version, and what it can do.
//!
//! It knows no connection.

use std::fmt;

use crate::store::floor::text::one_line;

/// Since which version a server has `SET … IFEQ`, by the name that it gives itself.
const IFEQ_SINCE: [(&str, [u32; 2]); 2] = [("redis", [8, 4]), ("valkey", [8, 1])];

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Server {
    name: String,
    version: String,
    is_cluster: bool,
}

impl Server {
    pub(in crate::store) fn new(name: &str, version: &str, is_cluster: bool) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), is_cluster }
    }

    /// Whether it is part of a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// Whether its version is this one or a later one.
    pub(super) fn is_since(&self, oldest: [u32; 2]) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        [parts.next().unwrap_or(0), parts.next().unwrap_or(0)] >= oldest
    }

    /// Whether it has `SET … IFEQ`, by its version. One that says so and has not refuses the first.
    pub(in crate::store) fn has_ifeq(&self) -> bool {
        IFEQ_SINCE.iter().any(|(name, since)| self.name == *name && self.is_since(*since))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.name.as_str() {
            "redis" => "Redis",
            "valkey" => "Valkey",
            other => other,
        };
        write!(f, "{} {}", one_line(name), one_line(&self.version))
    }
}
