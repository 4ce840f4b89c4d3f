//! What a condition can ask of a session beside its data: `@age`, `@idle`, `@ends`, `@size`, `@user`.
//!
//! `@` begins no name of a field that is written without quotes. So `@age` is the session's, whatever
//! fields the app has.

use ingle::{SessionInfo, clock::Timestamp};

use crate::human::{bytes, duration};

/// What is known of a session at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) age_millis: u64,
    pub(crate) idle_millis: u64,
    pub(crate) left_millis: u64,
    pub(crate) bytes: u64,
    pub(crate) user: Option<&'a str>,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(info: &'a SessionInfo, now: Timestamp) -> Self {
        let millis = |later: Timestamp, earlier: Timestamp| {
            u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
        };
        Self {
            age_millis: millis(now, info.began),
            idle_millis: millis(now, info.last_seen),
            left_millis: millis(info.idle_deadline.min(info.ends), now),
            bytes: u64::try_from(info.data_bytes).unwrap_or(u64::MAX),
            user: info.user.as_ref().map(|user| &*user.name),
        }
    }
}

/// What is measured of every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Since it began.
    Age,
    /// Since it was last used.
    Idle,
    /// Until it ends, if it is not used until then.
    Ends,
    /// Of its data, as the app's limit counts them.
    Size,
}

impl Measure {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "age" => Some(Self::Age),
            "idle" => Some(Self::Idle),
            "ends" => Some(Self::Ends),
            "size" => Some(Self::Size),
            _ => None,
        }
    }

    /// In milliseconds, or in bytes.
    pub(crate) fn of(self, facts: &Facts<'_>) -> u64 {
        match self {
            Self::Age => facts.age_millis,
            Self::Idle => facts.idle_millis,
            Self::Ends => facts.left_millis,
            Self::Size => facts.bytes,
        }
    }

    /// Whether it is another one each millisecond, so that it equals nothing.
    pub(crate) fn moves(self) -> bool {
        self != Self::Size
    }

    /// Reads what it is compared with, in milliseconds or in bytes.
    pub(crate) fn read(self, text: &str) -> Result<u64, String> {
        match self {
            Self::Size => bytes(text).map_err(|error| error.to_string()),
            _ => match duration(text) {
                Ok(time) => Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
