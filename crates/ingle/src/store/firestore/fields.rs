//! The names of the fields that ingle adds to a document beside those of the app.

/// The header.
pub(super) const HEADER: &str = "_ingle";
/// From when on Firestore may delete the document: for a record the earlier one of its deadlines.
pub(super) const EXPIRES: &str = "_ingle_expires";
/// The name of the user.
pub(super) const USER: &str = "_ingle_user";
