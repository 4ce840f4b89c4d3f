//! No metrics: the same functions, which do nothing.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Key;

pub(super) fn key(_: &'static str, _: &'static str, _: Option<&'static str>) -> Key {
    Key
}

pub(super) fn unlabelled(_: &'static str) -> Key {
    Key
}

pub(super) fn announce(_: &Key, _: &'static str) {}

pub(super) fn announce_seconds(_: &Key, _: &'static str) {}

pub(super) fn count(_: &Key, _: u64) {}

pub(super) fn record(_: &Key, _: Duration) {}

pub(super) fn count_unlabelled(_: &'static str) {}
