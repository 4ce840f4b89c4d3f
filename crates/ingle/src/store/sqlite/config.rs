//! Which folder a URL names.
//!
//! It looks at no disk.

use std::path::{Path, PathBuf};

use super::error::{bad_url, untidy};
use crate::store::{OpenError, floor::text::is_tidy};

/// Reads `sqlite:///absolute/folder` or `sqlite:relative/folder`. Blanks and line ends around it are no
/// part of it: mounted secrets end in them.
pub(in crate::store) fn folder_of(url: &str) -> Result<PathBuf, OpenError> {
    let form = "the URL takes a folder: sqlite:///absolute/folder or sqlite:relative/folder";
    let rest = url.trim().strip_prefix("sqlite:").ok_or_else(|| bad_url(form))?;
    let folder = match rest.strip_prefix("//") {
        // Two slashes begin a host name, and there is none: the file is on this machine.
        Some(path) if path.starts_with('/') => path,
        None if !rest.is_empty() => rest,
        _ => return Err(bad_url(form)),
    };
    if folder.contains(['?', '#', '%', '\0']) {
        let problem =
            "the URL takes a folder whose name has no `?`, `#`, `%` or NUL; there are no options";
        return Err(bad_url(problem));
    }
    Ok(folder.into())
}

/// Refuses a name that nobody means, such as that of a file's content with its line end. The folder would be
/// made, and the next start with the right name would find no session.
pub(super) fn check(folder: &Path) -> Result<(), OpenError> {
    if is_tidy(&folder.to_string_lossy()) { Ok(()) } else { Err(untidy(folder)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OpenErrorKind;

    #[test]
    fn a_url_names_a_folder() {
        for (url, folder) in [
            ("sqlite:///var/lib/app", "/var/lib/app"),
            ("sqlite:/var/lib/app", "/var/lib/app"),
            ("sqlite:data/sessions", "data/sessions"),
            ("sqlite:./a b", "./a b"),
            (" sqlite:data\r\n", "data"),
        ] {
            assert_eq!(folder_of(url).unwrap(), PathBuf::from(folder), "{url:?}");
        }
    }

    #[test]
    fn a_url_without_a_folder_or_with_options_is_refused() {
        for (url, expected) in [
            ("sqlite:", "takes a folder: "),
            ("sqlite://", "takes a folder: "),
            ("sqlite://host/folder", "takes a folder: "),
            ("data", "takes a folder: "),
            ("sqlite:data?mode=ro", "no options"),
            ("sqlite:data#x", "no options"),
            ("sqlite:da%20ta", "no options"),
            ("sqlite:da\0ta", "no options"),
        ] {
            let error = folder_of(url).unwrap_err();
            assert_eq!(error.kind(), OpenErrorKind::Config, "{url:?}");
            assert!(error.to_string().contains(expected), "{url:?}: {error}");
        }
    }
}
