//! Hashed ids alone: no store of this build has others.

use std::sync::Arc;

use super::{cookie::Cookie, door::Settings};
use crate::{
    engine::policy::Policy,
    id::{HashedIds, IdScheme},
    store::Ids,
};

pub(super) fn set_up(_: Ids, _: &mut Settings, _: &mut Policy) {}

pub(super) fn schemes(
    _: Ids,
    namespace: &str,
    _: &Cookie,
) -> (Arc<dyn IdScheme>, Option<(Cookie, Arc<dyn IdScheme>)>) {
    (Arc::new(HashedIds::new(namespace)), None)
}
