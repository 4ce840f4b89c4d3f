//! Metrics through the `metrics` facade.

use std::time::Duration;

pub(super) use metrics::Key;
use metrics::{Label, Level, Metadata, Unit, counter, with_recorder};

static METADATA: Metadata<'static> = Metadata::new("ingle", Level::INFO, Some("ingle"));

/// The name of a metric of one store, and of one verb of its.
pub(super) fn key(name: &'static str, store: &'static str, verb: Option<&'static str>) -> Key {
    let verb = verb.map(|verb| Label::from_static_parts("verb", verb));
    let labels = [Label::from_static_parts("store", store)].into_iter().chain(verb);
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

/// The name of a metric that belongs to no store.
pub(super) fn unlabelled(name: &'static str) -> Key {
    Key::from_static_name(name)
}

pub(super) fn announce(key: &Key, help: &'static str) {
    with_recorder(|recorder| {
        recorder.describe_counter(key.name_shared(), None, help.into());
        recorder.register_counter(key, &METADATA).increment(0);
    });
}

pub(super) fn announce_seconds(key: &Key, help: &'static str) {
    with_recorder(|recorder| {
        recorder.describe_histogram(key.name_shared(), Some(Unit::Seconds), help.into());
        let _ = recorder.register_histogram(key, &METADATA);
    });
}

pub(super) fn count(key: &Key, by: u64) {
    with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(by));
}

pub(super) fn record(key: &Key, took: Duration) {
    with_recorder(|recorder| recorder.register_histogram(key, &METADATA).record(took));
}

pub(super) fn count_unlabelled(name: &'static str) {
    counter!(name).increment(1);
}
