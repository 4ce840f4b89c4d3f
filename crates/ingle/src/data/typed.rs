//! What to tell where data does not have the type that the app reads it as: the place, and never the
//! value, which may be a secret.

use serde_path_to_error::Path;

/// The path of the data itself.
pub(super) const WHOLE: &str = "(the whole data)";

/// The data does not have the type that the app reads it as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` in the data has the wrong type: {message}", path.escape_debug())]
#[non_exhaustive]
pub struct WrongType {
    /// The place in the data, such as `cart.items[2].price`.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

impl WrongType {
    /// What serde says of the field of this name, or of the whole data if it is empty.
    pub(super) fn new(name: &str, inner: &Path, message: &str) -> Self {
        let inner = inner.to_string();
        let path = match (name, inner.as_str()) {
            ("", ".") => WHOLE.to_owned(),
            ("", inner) => inner.to_owned(),
            (name, ".") => name.to_owned(),
            (name, inner) if inner.starts_with('[') => format!("{name}{inner}"),
            (name, inner) => format!("{name}.{inner}"),
        };
        Self { path, message: without_values(message) }
    }
}

/// A message of serde without the value that it quotes, which may be a secret and would end in a
/// log. What serde expected stays. The words of a type's own check do not, because they may say
/// anything.
fn without_values(message: &str) -> String {
    if message.starts_with("missing field ") || message.starts_with("duplicate field ") {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((found, expected)) => {
            let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        None => "the type refuses what is there".to_owned(),
    }
}
