//! What an app decides about its sessions, each with its default, and what follows for a record.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::events::OnEvent;
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    data::{Data, Limits, update::Rules},
    id::{Key, NoRandomness},
    record::{Epoch, FORMAT, Header, Op, Ops, Record},
};

/// What an app decides about its sessions.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) lifetime: Lifetime,
    pub(crate) limits: Limits,
    pub(crate) deadline: Duration,
    pub(crate) user_limit: Option<UserLimit>,
    pub(crate) on_outage: OnOutage,
    pub(crate) on_lost_update: OnLostUpdate,
    pub(crate) on_wrong_type: OnWrongType,
    pub(crate) on_server_error: OnServerError,
    pub(crate) new_sessions_per_second: Option<NonZeroU32>,
    pub(crate) sweep_every: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) on_event: Option<OnEvent>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lifetime: Lifetime::default(),
            limits: Limits::default(),
            deadline: Duration::from_secs(1),
            user_limit: None,
            on_outage: OnOutage::default(),
            on_lost_update: OnLostUpdate::default(),
            on_wrong_type: OnWrongType::default(),
            on_server_error: OnServerError::default(),
            new_sessions_per_second: None,
            sweep_every: Some(Duration::from_secs(60)),
            clock: Arc::new(SystemClock),
            on_event: None,
        }
    }
}

impl Policy {
    /// The time by which deadlines are decided.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// When an operation that begins now gives up.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// What holds for each read and change of data.
    pub(crate) fn rules(&self) -> Rules {
        Rules { limits: self.limits, anew: self.on_wrong_type == OnWrongType::BeginAnew }
    }

    /// The first record of a session. Its key and its first op are drawn when it is written.
    pub(crate) fn first_record(&self, data: Data) -> Result<Record, NoRandomness> {
        let created = self.now();
        let absolute_deadline = created.after(self.lifetime.absolute());
        let mut header = Header {
            format: FORMAT,
            key: Key::from_bytes([0; 32]),
            created,
            idle_deadline: absolute_deadline,
            absolute_deadline,
            idle_timeout: None,
            user: None,
            epoch: Epoch::random()?,
            counter: 1,
            ops: Ops::default(),
        };
        header.idle_deadline = self.idle_deadline(&header);
        Ok(Record { header, data })
    }

    /// The first record that is kept of a user beside their sessions. It ends when nothing has changed
    /// it for longer than any session lives.
    pub(crate) fn record_of_user(
        &self,
        key: Key,
        op: Op,
        data: Data,
    ) -> Result<Record, NoRandomness> {
        let mut header = Header {
            key,
            absolute_deadline: Timestamp::MAX,
            idle_timeout: Some(self.lifetime.absolute().max(LONGEST_USE)),
            ops: [op].into_iter().collect(),
            ..self.first_record(Data::new())?.header
        };
        header.idle_deadline = self.idle_deadline(&header);
        Ok(Record { header, data })
    }

    /// Gives a record that this library did not write the lifetime that it has from its first
    /// commit on.
    pub(crate) fn adopt(&self, header: &mut Header) -> Result<(), NoRandomness> {
        header.epoch = Epoch::random()?;
        header.absolute_deadline = self.now().after(self.lifetime.absolute());
        Ok(())
    }

    /// The idle deadline of a session that is used now.
    pub(crate) fn idle_deadline(&self, header: &Header) -> Timestamp {
        self.now().after(self.idle(header)).min(header.absolute_deadline)
    }

    /// When the session was used last, as far as its idle deadline tells: a touch is not made at each
    /// use, and at the end of a life it moves nothing.
    pub(crate) fn last_use(&self, header: &Header) -> Timestamp {
        let idle = u64::try_from(self.idle(header).as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp::from_millis(header.idle_deadline.as_millis().saturating_sub(idle));
        // Whoever has another idle time than the app, such as a tool, knows this at least.
        since.max(header.created)
    }

    /// The idle deadline that a touch gives the session, if the move is worth a write.
    pub(crate) fn touch(&self, header: &Header) -> Option<Timestamp> {
        let idle_deadline = self.idle_deadline(header);
        let moves = idle_deadline.since(header.idle_deadline);
        (moves >= touch_every(self.idle(header))).then_some(idle_deadline)
    }

    fn idle(&self, header: &Header) -> Duration {
        header.idle_timeout.unwrap_or_else(|| self.lifetime.idle())
    }
}

/// What a request gets if it reads its session while the store does not answer.
///
/// Neither choice sets a cookie or changes a record, so an outage logs nobody out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// [`Error::Unavailable`](crate::Error::Unavailable), as a response 503 with Retry-After.
    #[default]
    Fail,
    /// Reads find no data, as for a visitor without a session. Writes are still an error. For
    /// routes that can do without a session.
    Anonymous,
}

/// What happens to an `insert` or a `remove` of a field that this request read and another request
/// changed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLostUpdate {
    /// It is refused with [`Error::LostUpdate`](crate::Error::LostUpdate), as a response 409.
    #[default]
    Refuse,
    /// It overwrites the other request's value without notice: the last write wins.
    LastWriteWins,
}

/// What happens where stored data does not have the type that the app reads it as, such as after a
/// release that changed the type.
///
/// The guide's chapter *Changing your types between releases* says how to keep data readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnWrongType {
    /// [`Error::WrongType`](crate::Error::WrongType), as a response 500, until the app stores
    /// something else there or ends the session.
    #[default]
    Fail,
    /// A top-level field that does not fit is read as if it were missing, and the rest is kept. It
    /// stays stored until a change of it is committed, so an instance that has the older type still
    /// finds it. One-time messages that do not fit are dropped when they are taken. Each case is
    /// logged as a warning.
    BeginAnew,
}

/// How many sessions a user may have at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserLimit {
    pub(crate) max: NonZeroUsize,
    pub(crate) beyond: OnUserLimit,
}

/// What happens at a login of a user who has as many sessions as they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUserLimit {
    /// The session that began first ends before the new one begins. Should the login fail then, it has ended all
    /// the same: both at once would be one too many. Its place is free for the next login, at once or, where the
    /// store was away, after a minute.
    EndOldest,
    /// The login is refused with [`Error::TooManySessions`](crate::Error::TooManySessions), as a
    /// response 409.
    Refuse,
}

/// What happens to edits that are not committed when a handler answers with a status of 500 or
/// more. Through tower, a response whose header `grpc-status` is not `0` counts as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnServerError {
    /// They are discarded, because the handler did not finish its work.
    #[default]
    Discard,
    /// They are committed as with any other status.
    Commit,
}

/// How long a session lives without use, and at most.
///
/// | preset | idle | absolute | source |
/// |---|---|---|---|
/// | [`Lifetime::default()`] | 30 min | 12 h | OWASP session management sheet; within NIST AAL2 |
/// | [`Lifetime::AAL1`] | 30 days | 30 days | NIST SP 800-63B-4: overall at most 30 days |
/// | [`Lifetime::AAL2`] | 1 h | 24 h | the same: idle at most 1 h, overall at most 24 h |
/// | [`Lifetime::AAL3`] | 15 min | 12 h | the same: idle at most 15 min, overall at most 12 h |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    idle: Duration,
    absolute: Duration,
}

/// Browsers keep no cookie longer (RFC 6265bis 5.5), so no session is of use for longer.
pub(crate) const LONGEST_USE: Duration = Duration::from_secs(400 * DAY);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Lifetime {
    /// NIST authentication assurance level 1.
    pub const AAL1: Self = Self::of_secs(30 * DAY, 30 * DAY);
    /// NIST authentication assurance level 2.
    pub const AAL2: Self = Self::of_secs(HOUR, 24 * HOUR);
    /// NIST authentication assurance level 3.
    pub const AAL3: Self = Self::of_secs(15 * MINUTE, 12 * HOUR);

    const fn of_secs(idle: u64, absolute: u64) -> Self {
        Self { idle: Duration::from_secs(idle), absolute: Duration::from_secs(absolute) }
    }

    /// A session ends `idle` after the last use that was stored, and `absolute` after it began, or after its
    /// user last logged in or proved who they are. A change is always stored. A read counts when a tenth of
    /// `idle` has passed since the last one that did, and at least a minute where `idle` is 2 minutes or
    /// more. So a session may end by so much earlier.
    ///
    /// # Errors
    /// One of them is shorter than a second, or the idle time is longer than the absolute one.
    pub fn new(idle: Duration, absolute: Duration) -> Result<Self, LifetimeError> {
        if idle < Duration::from_secs(1) || absolute < Duration::from_secs(1) {
            return Err(LifetimeError::TooShort);
        }
        if idle > absolute {
            return Err(LifetimeError::IdleBeyondAbsolute);
        }
        Ok(Self { idle, absolute })
    }

    /// How long a session lives without use.
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// How long a session lives at most.
    #[must_use]
    pub const fn absolute(&self) -> Duration {
        self.absolute
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::of_secs(30 * MINUTE, 12 * HOUR)
    }
}

/// Times that no session can live by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LifetimeError {
    /// A time is shorter than a second.
    #[error("the idle and the absolute time of a session are at least 1 second each")]
    TooShort,
    /// The idle time is longer than the absolute one, so it could never pass.
    #[error("the idle time of a session is at most as long as its absolute time")]
    IdleBeyondAbsolute,
}

/// A touch is made at most once in this time, or in a tenth of the idle time if that is longer.
const TOUCH_EVERY_MIN: Duration = Duration::from_secs(60);

/// How far the idle deadline must move before it is worth a write to the store.
///
/// With an idle time below two minutes, a session could end before its first touch. Then only the
/// tenth counts.
fn touch_every(idle: Duration) -> Duration {
    let tenth = idle / 10;
    if idle < TOUCH_EVERY_MIN * 2 { tenth } else { tenth.max(TOUCH_EVERY_MIN) }
}

#[cfg(test)]
mod tests;
