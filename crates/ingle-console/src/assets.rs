//! The files of the pages, which are in the program: nothing is loaded from elsewhere. Each is under a
//! name with its hash in it, so a browser keeps it and a new version has a new name.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

struct Asset {
    path: String,
    kind: &'static str,
    text: &'static str,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    let asset = |name: &str, end: &str, kind, text: &'static str| {
        let hash = Sha256::digest(text);
        let digits: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Asset { path: format!("/assets/{name}-{digits}.{end}"), kind, text }
    };
    [
        asset("console", "css", "text/css; charset=utf-8", include_str!("../assets/console.css")),
        asset(
            "console",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("../assets/console.js"),
        ),
        asset(
            "search",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("../assets/search.js"),
        ),
        asset("icon", "svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ]
});

/// Where the style, the scripts and the icon are, below the console.
pub(crate) fn paths() -> [String; 4] {
    ASSETS.each_ref().map(|asset| asset.path.clone())
}

pub(crate) async fn get(Path(name): Path<String>) -> Response {
    let found = ASSETS.iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(&name));
    let Some(asset) = found else { return StatusCode::NOT_FOUND.into_response() };
    let cached = "public, max-age=31536000, immutable";
    ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, cached)], asset.text)
        .into_response()
}
