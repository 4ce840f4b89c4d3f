//! The order of a list: items are moved on a form, and saved as one edit of the list.
//!
//! A move is a button of the form, which answers with the form as it is then. So it works without scripts,
//! and nothing is stored before it is saved.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use ingle::{StoredSession, data::Data};
use ingle_operator::{Edit, Path, kind, redacted};
use serde_json::Value;

use crate::{
    context::{Context, Editing, Top},
    edit::{self, DAMAGED},
    form::{Form, Query},
    problem::Problem,
    view::{page, told},
};

/// Longer lists are put into order as JSON.
const ITEMS_MAX: usize = 100;

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    top: Top,
    href: String,
    handle: String,
    path: String,
    /// The value that is there, or that of the list around it, as JSON.
    before: String,
    items: Vec<Item>,
    /// The button that was pressed, which is to be pressed again.
    focus: Option<Move>,
    is_too_long: bool,
}

struct Item {
    /// Where it was.
    was: usize,
    kind: &'static str,
    text: String,
}

/// An item goes one place up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    at: usize,
    is_up: bool,
}

impl Move {
    fn read(text: &str) -> Option<Self> {
        let (way, at) = text.split_once(':')?;
        let is_up = match way {
            "up" => true,
            "down" => false,
            _ => return None,
        };
        Some(Self { at: at.parse().ok()?, is_up })
    }

    /// Makes it, and returns the button that moves the same item on, or back where it is at an end.
    fn make(self, order: &mut [usize]) -> Option<Self> {
        let to = if self.is_up { self.at.checked_sub(1)? } else { self.at.checked_add(1)? };
        if to >= order.len() || self.at >= order.len() {
            return None;
        }
        order.swap(self.at, to);
        let is_at_end = to == if self.is_up { 0 } else { order.len() - 1 };
        Some(Self { at: to, is_up: self.is_up != is_at_end })
    }
}

impl OrderPage {
    fn has_focus(&self, at: &usize, is_up: bool) -> bool {
        self.focus == Some(Move { at: *at, is_up })
    }
}

/// The form of a list's order.
pub(crate) async fn form(
    Editing(context, session): Editing,
    Query(query): Query,
) -> Result<Response, Problem> {
    let path = edit::path_of(query.text("path"))?;
    let shown = redacted(session.snapshot()).data;
    of_list(&context, &session, &path, &shown)
}

/// The same with what may be shown of the data.
pub(crate) fn of_list(
    context: &Context,
    session: &StoredSession,
    path: &Path,
    shown: &Data,
) -> Result<Response, Problem> {
    if edit::is_hidden(shown, session, path) {
        return Ok(edit::hidden_page(context, session, path, "order"));
    }
    if !matches!(path.get(session.snapshot()), Some(Value::Array(_))) {
        let text = "There is no such list in this session any more.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "The list is not there", text));
    }
    let place = edit::place_of(path);
    let before = place.get(shown).filter(|value| !edit::may_hide(value, session, path));
    let (Some(before), Some(Value::Array(items))) = (before, path.get(shown)) else {
        return Ok(edit::hidden_page(context, session, path, "order"));
    };
    let order = (0..items.len()).collect();
    Ok(page_of(context, session, path, before.to_string(), items, order, None))
}

fn page_of(
    context: &Context,
    session: &StoredSession,
    path: &Path,
    before: String,
    items: &[Value],
    order: Vec<usize>,
    focus: Option<Move>,
) -> Response {
    let item = |was: usize| {
        let item = items.get(was)?;
        Some(Item { was, kind: kind(item), text: told(item) })
    };
    let is_too_long = order.len() > ITEMS_MAX;
    let shown = OrderPage {
        top: context.top("sessions"),
        href: context.href(session),
        handle: session.info().handle.to_string(),
        path: path.to_string(),
        before,
        items: if is_too_long { Vec::new() } else { order.into_iter().filter_map(item).collect() },
        focus,
        is_too_long,
    };
    page(StatusCode::OK, &shown)
}

/// Moves an item on the form, or saves the order.
pub(crate) async fn save(
    Editing(context, session): Editing,
    form: Form,
) -> Result<Response, Problem> {
    let damaged = || Problem::bad_request(DAMAGED);
    let path = edit::path_of(form.text("path"))?;
    let before = serde_json::from_str(form.text("before")).map_err(|_| damaged())?;
    let shown = edit::shown_of(&edit::place_of(&path), Some(&before)).map_err(|_| damaged())?;
    let Some(Value::Array(items)) = path.get(&shown) else { return Err(damaged()) };
    let order: Result<Vec<usize>, _> = form.all("order").map(str::parse).collect();
    let mut order = order.map_err(|_| damaged())?;
    if !is_order(&order, items.len()) {
        return Err(damaged());
    }
    if let Some(text) = form.field("move") {
        let focus = Move::read(text).ok_or_else(damaged)?.make(&mut order);
        let before = form.text("before").to_owned();
        return Ok(page_of(&context, &session, &path, before, items, order, focus));
    }
    if order.is_sorted() {
        return Ok(Redirect::to(&context.href(&session)).into_response());
    }
    let moved: Vec<Value> = order.iter().filter_map(|was| items.get(*was).cloned()).collect();
    let edit = Edit::set(&shown, &path, moved.into()).map_err(|_| damaged())?;
    edit::commit(&context, &session, vec![edit], edit::SAVED).await
}

/// Whether each item is there exactly once.
fn is_order(order: &[usize], n_items: usize) -> bool {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..n_items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_moves_to_the_end_and_no_further() {
        let mut order = vec![0, 1, 2];
        let down = Move::read("down:0").unwrap().make(&mut order);
        assert_eq!((&*order, down), (&[1, 0, 2][..], Move::read("down:1")));
        let back = down.unwrap().make(&mut order);
        assert_eq!((&*order, back), (&[1, 2, 0][..], Move::read("up:2")));
        for text in ["up:0", "down:2", "up:7", "down:18446744073709551615"] {
            assert_eq!(Move::read(text).unwrap().make(&mut order), None, "{text}");
        }
        assert_eq!(order, [1, 2, 0]);
        for text in ["", "up", "left:1", "up:x", "up:-1"] {
            assert_eq!(Move::read(text), None, "{text}");
        }
    }

    #[test]
    fn an_order_has_each_item_once() {
        assert!(is_order(&[2, 0, 1], 3) && is_order(&[], 0));
        for order in [&[0, 0, 1][..], &[0, 1], &[0, 1, 3], &[0, 1, 2, 3]] {
            assert!(!is_order(order, 3), "{order:?}");
        }
    }
}
