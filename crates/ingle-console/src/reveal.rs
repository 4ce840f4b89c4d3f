//! Hidden values, shown to an operator of whom that is written down.

use axum::{extract::Path as Route, response::Response};
use ingle_operator::{Path, redacted};

use crate::{
    access::Role,
    context::Context,
    edit,
    form::Form,
    order,
    pages::session::{Shown, answer},
    problem::Problem,
};

/// Shows hidden values, once it is written down that this operator looks at them.
pub(crate) async fn post(
    context: Context,
    Route(handle): Route<String>,
    form: Form,
) -> Result<Response, Problem> {
    context.must_be(Role::Editor)?;
    let session = context.session(&handle).await?;
    let hidden = redacted(session.snapshot()).fields;
    let path: Option<Path> = match form.text("path") {
        "" => None,
        text => Some(text.parse().map_err(|_| Problem::bad_request("There is no such field."))?),
    };
    // What was opened alone is all that is shown.
    let is_shown = |name: &&str| path.as_ref().is_none_or(|path| path.field() == *name);
    let fields: Vec<&str> = hidden.iter().map(String::as_str).filter(is_shown).collect();
    if !fields.is_empty() {
        session.note_reveal(&fields).await?;
    }
    match (form.text("then"), &path) {
        ("edit", Some(path)) => edit::value_form(&context, &session, path, session.snapshot()),
        ("order", Some(path)) => order::of_list(&context, &session, path, session.snapshot()),
        ("json", _) => Ok(edit::whole_form(&context, &session, session.snapshot().clone(), false)),
        _ => Ok(answer(&context, &session, Shown { is_revealed: true, ..Shown::default() })),
    }
}
