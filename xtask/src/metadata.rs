//! What cargo knows about the workspace and everything it depends on.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::step::{capture, cargo};

/// The library that others add to their app.
pub(crate) const LIBRARY: &str = "ingle";

/// The output of `cargo metadata`, with every feature on.
pub(crate) fn load() -> Result<Value> {
    let text = capture(cargo(&["metadata", "--format-version", "1", "--all-features"]))?;
    serde_json::from_str(&text).context("could not read the output of `cargo metadata`")
}

pub(crate) fn packages(metadata: &Value) -> &[Value] {
    array(metadata, "packages")
}

/// The features of one package, in alphabetical order and without `default`.
pub(crate) fn features(metadata: &Value, package: &str) -> Vec<String> {
    let package = packages(metadata).iter().find(|candidate| string(candidate, "name") == package);
    let features = package.and_then(|package| package.get("features")?.as_object());
    let names = features.into_iter().flat_map(|features| features.keys());
    let mut names: Vec<String> = names.filter(|name| *name != "default").cloned().collect();
    names.sort();
    names
}

/// A text field, empty where it is absent or null.
pub(crate) fn string<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A list field, empty where it is absent or null.
pub(crate) fn array<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_without_default() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "other", "features": { "x": [] } },
            { "name": "ingle", "features": { "redis": ["dep:redis"], "default": ["axum"], "axum": [] } },
        ] });
        assert_eq!(features(&metadata, "ingle"), ["axum", "redis"]);
        assert!(features(&metadata, "absent").is_empty());
    }
}
