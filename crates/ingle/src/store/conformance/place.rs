//! Where one law is tried: a folder and a name that nothing else has.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Tells a process that it was started to help its parent, and where.
pub(super) const PLACE_OF_PARENT: &str = "INGLE_CONFORMANCE_PLACE";

/// Where one law is tried. A store that is opened here twice gives two handles on the same records.
///
/// Clones are the same place. The folder is removed with the last of them; what a store keeps on a
/// server under the [`name`](Self::name) is left there, so let the suite have a server, a database
/// or a project that can be thrown away.
#[derive(Clone, Debug)]
pub struct Place(Arc<Site>);

#[derive(Debug)]
struct Site {
    name: String,
    folder: PathBuf,
    /// Whether this process made the folder, and so removes it.
    ours: bool,
}

impl Place {
    /// A folder of this place alone, empty at first.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// A name of this place alone, for a prefix of keys, a table or a collection: 22 lower-case
    /// letters, digits and underscores, a letter first.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The place of the parent, in a process that was started to help it; else a new one.
    pub(super) fn find() -> Self {
        match env::var(PLACE_OF_PARENT) {
            Ok(name) => Self(Arc::new(Site { folder: folder(&name), name, ours: false })),
            Err(_) => Self::new(),
        }
    }

    /// Whether this process was started to help another one here.
    pub(super) fn is_of_parent(&self) -> bool {
        !self.0.ours
    }

    /// A place that nothing else has.
    ///
    /// # Panics
    /// If no folder can be made in the temporary folder.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two of them are never equal")]
    pub fn new() -> Self {
        let random = getrandom::u64().expect("a place needs a random name");
        let name = format!("ingle_{random:016x}");
        let folder = folder(&name);
        fs::create_dir(&folder).expect("a place needs a folder in the temporary folder");
        Self(Arc::new(Site { name, folder, ours: true }))
    }
}

fn folder(name: &str) -> PathBuf {
    env::temp_dir().join(name)
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.ours {
            // A folder that stays behind harms no test, and a panic here would hide the law's own.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
