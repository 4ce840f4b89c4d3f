//! Sessions as JSON. The names of the fields are stable: scripts read them.

use ingle::{SessionInfo, data::Data, operator::DamagedSession};
use ingle_operator::{instant, redacted};
use serde_json::{Value, json};

/// A session without its data.
pub(crate) fn header(info: &SessionInfo, knows_use: bool) -> Value {
    let user = info.user.as_ref().map(|user| {
        json!({
            "name": user.name,
            "since": instant(user.at),
            "label": user.label,
            "actor": user.actor,
            "remembered": user.is_remembered,
        })
    });
    json!({
        "handle": info.handle.to_string(),
        "user": user,
        "began": instant(info.began),
        "last_seen": knows_use.then(|| instant(info.last_seen)),
        "idle_deadline": instant(info.idle_deadline),
        "ends": instant(info.ends),
        "commits": info.commits,
        "data_bytes": info.data_bytes,
        "expired": info.has_expired,
    })
}

/// One that cannot be read.
pub(crate) fn damaged(damaged: &DamagedSession) -> Value {
    json!({ "handle": damaged.handle().to_string(), "damaged": damaged.cause() })
}

/// The same with data.
pub(crate) fn whole(info: &SessionInfo, knows_use: bool, data: Data) -> Value {
    let mut header = header(info, knows_use);
    if let Some(fields) = header.as_object_mut() {
        fields.insert("data".to_owned(), data.into());
    }
    header
}

/// The data as it may be shown.
pub(crate) fn shown(data: &Data, reveal: bool) -> Data {
    if reveal { data.clone() } else { redacted(data).data }
}
