//! Where the program runs, as far as the environment says, and what that means for its sessions.

use std::ffi::OsString;

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

/// What Google's logs know the program by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Whose traces its lines belong to.
    pub(crate) project: Option<String>,
}

impl Service {
    /// As Cloud Run and App Engine call it, or else as it is built.
    pub(crate) fn of(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| environment(name)?.into_string().ok().filter(|text| !text.is_empty());
        let first = |names: [&'static str; 2], default: &str| {
            names.into_iter().find_map(text).unwrap_or_else(|| default.to_owned())
        };
        Self {
            name: first(["K_SERVICE", "GAE_SERVICE"], env!("CARGO_PKG_NAME")),
            version: first(["K_REVISION", "GAE_VERSION"], env!("CARGO_PKG_VERSION")),
            project: text("GOOGLE_CLOUD_PROJECT"),
        }
    }

    /// Where nobody says which project it is, it is that of the sessions.
    pub(crate) fn project_of(&mut self, store: &str) {
        let of_store = || store.strip_prefix("firestore://")?.split(['/', '?']).next();
        if self.project.is_none() {
            self.project = of_store().map(ToOwned::to_owned);
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

/// The same as a warning, unless the store has given it: SQLite does where no file of an instance lasts.
pub(crate) fn warning(options: &Options) -> Option<String> {
    let is_given =
        options.platform != Platform::Kubernetes && options.store.value.starts_with("sqlite:");
    trouble(options).filter(|_| !is_given)
}
