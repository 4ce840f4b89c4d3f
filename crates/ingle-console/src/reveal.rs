//! Hidden values, shown to an operator of whom that is written down.

use axum::response::Response;
use ingle_operator::{Path, redacted};

use crate::{
    context::Editing,
    edit,
    form::Form,
    order,
    pages::session::{Shown, answer},
    problem::Problem,
};

/// Shows hidden values, once it is written down that this operator looks at them.
pub(crate) async fn post(
    Editing(context, session): Editing,
    form: Form,
) -> Result<Response, Problem> {
    let hidden = redacted(session.snapshot()).fields;
    let path: Option<Path> = match form.text("path") {
        "" => None,
        text => Some(text.parse().map_err(|_| Problem::bad_request("There is no such field."))?),
    };
    let then = form.text("then");
    // A form of one value shows nothing of the other fields.
    let alone = path.as_ref().filter(|_| matches!(then, "edit" | "order"));
    let is_shown = |name: &&str| alone.is_none_or(|path| path.field() == *name);
    let fields: Vec<&str> = hidden.iter().map(String::as_str).filter(is_shown).collect();
    if !fields.is_empty() {
        session.note_reveal(&fields).await?;
    }
    match (then, alone) {
        ("edit", Some(path)) => edit::value_form(&context, &session, path, session.snapshot()),
        ("order", Some(path)) => order::of_list(&context, &session, path, session.snapshot()),
        ("json", _) => Ok(edit::whole_form(&context, &session, session.snapshot().clone(), false)),
        _ => Ok(answer(&context, &session, Shown { is_revealed: true, ..Shown::default() })),
    }
}
