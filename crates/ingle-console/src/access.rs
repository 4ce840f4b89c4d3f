//! Who may use the console, and what they may do.

mod proxy;
mod public;
mod roles;

use std::fmt;

use ingle::operator::Operator;

pub(crate) use proxy::NotOfProxy;
pub use proxy::Proxy;
#[cfg(feature = "oidc")]
pub(crate) use proxy::is_name;
pub use public::{Identity, Public, PublicUrl};
#[cfg(feature = "oidc")]
pub(crate) use public::{is_loopback, is_safe};
pub use roles::RoleTable;

/// How the console comes to know who asks.
#[derive(Debug)]
#[non_exhaustive]
pub enum Access {
    /// The app in which the console is mounted knows. A middleware of its own, behind its login, puts a
    /// [`Grant`] into the extensions of each request.
    ByApp {
        /// The values of the Host header that are answered, such as `admin.example` or
        /// `localhost:3000`. A request for any other host is refused with 421, so that no page of
        /// another site can reach the console by a name that leads to it (DNS rebinding). Without any,
        /// every request is refused.
        hosts: Vec<String>,
    },
    /// The console knows by itself, by a provider of OpenID Connect, by IAP or by a proxy.
    Public(Box<Public>),
}

impl From<Public> for Access {
    fn from(public: Public) -> Self {
        Self::Public(Box::new(public))
    }
}

/// Settings with which the console would not be safe, or could not work. The text says what is wrong, and
/// what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAccess(String);

impl InvalidAccess {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for InvalidAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidAccess {}

/// What somebody may do. Each role may do all that the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Sees sessions and the audit log. Values that look secret are hidden.
    Viewer,
    /// Ends sessions.
    Operator,
    /// Edits the data of sessions, and reveals what is hidden. Each reveal is in the audit log.
    Editor,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Editor].into_iter().find(|role| role.name() == name)
    }
}

/// Somebody who may use the console: an extension of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub(crate) name: String,
    pub(crate) from: Option<String>,
    pub(crate) role: Role,
}

impl Grant {
    /// For somebody of this name, such as their mail address, which the audit log has.
    #[must_use]
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), from: None, role }
    }

    /// The same with where they act from, such as an address, for the audit log.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self { from: Some(place.into()), ..self }
    }

    pub(crate) fn operator(&self) -> Operator {
        let operator = Operator::new(&self.name);
        match &self.from {
            Some(place) => operator.at(place),
            None => operator,
        }
    }
}
