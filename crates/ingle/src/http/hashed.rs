//! Hashed ids alone: no store of this build has others.

use std::sync::Arc;

use super::{
    cookie::Cookie,
    door::{IdSchemes, Settings},
};
use crate::{engine::policy::Policy, id::HashedIds, store::Ids};

pub(super) fn set_up(_: Ids, _: &mut Settings, _: &mut Policy) {}

pub(super) fn schemes(_: Ids, namespace: &str, _: &Cookie) -> IdSchemes {
    IdSchemes { own: Arc::new(HashedIds::new(namespace)), legacy: None }
}
