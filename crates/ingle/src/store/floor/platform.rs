//! Where this program runs, as far as the environment tells.

use std::env;

/// A platform that starts and ends instances by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Platform {
    CloudRun,
    AppEngine,
    Kubernetes,
}

impl Platform {
    /// The one that this program runs on.
    pub(in crate::store) fn here() -> Option<Self> {
        let known = [
            ("K_SERVICE", Self::CloudRun),
            ("GAE_SERVICE", Self::AppEngine),
            ("KUBERNETES_SERVICE_HOST", Self::Kubernetes),
        ];
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        known.into_iter().find(|(name, _)| is_set(*name)).map(|(_, platform)| platform)
    }

    pub(in crate::store) fn name(self) -> &'static str {
        match self {
            Self::CloudRun => "Cloud Run",
            Self::AppEngine => "App Engine",
            Self::Kubernetes => "Kubernetes",
        }
    }

    /// Whether an instance's files end with it, whatever it is told to mount.
    pub(in crate::store) fn forgets_files(self) -> bool {
        matches!(self, Self::CloudRun | Self::AppEngine)
    }
}
