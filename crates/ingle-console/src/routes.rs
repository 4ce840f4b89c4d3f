//! Which address leads to which page.

use axum::{
    Router,
    routing::{get, post},
};

use crate::{Console, api, assets, edit, end, live, order, pages, reveal};

pub(crate) fn routes() -> Router<Console> {
    Router::new()
        .route("/", get(pages::overview::get))
        .route("/live", get(live::activity))
        .route("/sessions", get(pages::sessions::get))
        .route("/sessions/part", get(pages::sessions::part))
        .route("/sessions/end", post(end::several))
        .route("/sessions/{handle}", get(pages::session::get))
        .route("/sessions/{handle}/live", get(live::session))
        .route("/sessions/{handle}/edit", get(edit::form).post(edit::save))
        .route("/sessions/{handle}/add", get(edit::add_form))
        .route("/sessions/{handle}/order", get(order::form).post(order::save))
        .route("/sessions/{handle}/json", get(edit::json_form).post(edit::save_json))
        .route("/sessions/{handle}/apply", post(edit::apply_again))
        .route("/sessions/{handle}/reveal", post(reveal::post))
        .route("/sessions/{handle}/end", post(end::one))
        .route("/user", get(pages::user))
        .route("/user/end", post(end::of_user))
        .route("/audit", get(pages::audit))
        .route("/api/v1", get(pages::api::lead))
        .route("/api/v1/", get(pages::api::get))
        .route("/assets/{name}", get(assets::get))
        .merge(api::routes())
}
