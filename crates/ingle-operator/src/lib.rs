//! What the tools of operators share, whichever way they show sessions: how a place in the data is
//! named, how values are typed, compared and edited, and what is hidden.
//!
//! It uses the public API of ingle alone, and knows no terminal, no page and no store.

mod anonymise;
mod condition;
mod edit;
mod facts;
mod human;
mod inert;
mod path;
mod redact;
mod value;

pub use anonymise::Anonymiser;
pub use condition::{Condition, NotACondition};
pub use edit::{Conflict, Edit, NoEdit, apply, changed, differences, for_edits};
pub use human::{
    NotADuration, NotASize, age, ago, bytes, counted, duration, grouped, instant, sentence, size,
};
pub use inert::{inert, inert_json, shortened};
pub use path::{NotAPath, NotAnAssignment, NotThere, Path, Segment, assignment, remove_all};
pub use redact::{HIDDEN, Redacted, holds_hidden, is_secret, redacted};
pub use value::{NotAValue, Typed, has_too_large_integer, kind, of_text, typed};
