//! Where the program runs, as far as the environment says, and what that means for its sessions.

use crate::options::Options;

/// Who started this program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Nobody who says so.
    #[default]
    Unknown,
    CloudRun,
    AppEngine,
    Kubernetes,
}

impl Platform {
    /// What each platform sets says which it is.
    pub(crate) fn of(is_set: impl Fn(&str) -> bool) -> Self {
        if is_set("K_SERVICE") {
            Self::CloudRun
        } else if is_set("GAE_SERVICE") {
            Self::AppEngine
        } else if is_set("KUBERNETES_SERVICE_HOST") {
            Self::Kubernetes
        } else {
            Self::Unknown
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::CloudRun => Some("Cloud Run"),
            Self::AppEngine => Some("App Engine"),
            Self::Kubernetes => Some("Kubernetes"),
        }
    }
}

/// What is wrong with the place of the sessions where the program runs, and what to do.
///
/// A folder that was named may be a volume that lasts, which Kubernetes mounts. Cloud Run and App Engine
/// start and stop instances as they like, so there it cannot be shared by all.
pub(crate) fn trouble(options: &Options) -> Option<String> {
    let name = options.platform.name()?;
    let is_local = ["sqlite:", "memory:"].iter().any(|kind| options.store.value.starts_with(kind));
    let is_trouble = match options.platform {
        Platform::Kubernetes => options.store_is_default,
        _ => is_local,
    };
    is_trouble.then(|| {
        format!(
            "on {name} an instance has no disk that lasts and that others see: use a store on a server, \
             such as --store firestore://PROJECT/sessions or INGLE_STORE"
        )
    })
}
