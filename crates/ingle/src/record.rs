//! What a store keeps for one session: the app's data, and the library's header.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{clock::Timestamp, data::Data, words};

#[doc(inline)]
pub use crate::id::{Key, NoRandomness, NotAKey};

/// The format that this version of the library writes, and the newest that it reads.
pub const FORMAT: u16 = 1;

/// How many of its last commits a record remembers by op.
pub const OPS_MAX: usize = 16;

/// What a store keeps for one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The library's part.
    pub header: Header,
    /// The app's part.
    pub data: Data,
}

impl Record {
    /// Whether a deadline has passed. From the instant of its deadline on, the record is dead.
    #[must_use]
    pub fn is_dead(&self, now: Timestamp) -> bool {
        now >= self.header.idle_deadline || now >= self.header.absolute_deadline
    }

    /// Whether a replace of `base` by this record leaves the idle deadline, so that what a touch has made of
    /// it meanwhile stays (law 8).
    pub(crate) fn keeps_idle_deadline(&self, base: &Self) -> bool {
        self.header.idle_deadline == base.header.idle_deadline
    }
}

/// The data of a session. It is empty where there is no record.
pub(crate) fn data_of(record: Option<&Record>) -> &Data {
    static NONE: LazyLock<Data> = LazyLock::new(Data::new);
    record.map_or(&NONE, |record| &record.data)
}

/// The library's part of a record.
///
/// A store keeps every field. A field that is new breaks a store that makes a header of what it has read, so
/// that none is left out unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of this format. [`FORMAT`] in a record that this version writes.
    pub format: u16,
    /// The key that the record was written under. Each load compares it. So a reply that belongs to
    /// another request is an error, and never another visitor's session.
    pub key: Key,
    /// When the session began.
    pub created: Timestamp,
    /// The record is dead from this instant on, unless a commit or a touch moves it further.
    pub idle_deadline: Timestamp,
    /// The record is dead from this instant on, whatever happens. It stays the same under
    /// one key, except that the first commit sets it in a record of another program. A login or a
    /// reauthentication sets it anew, with a new key.
    pub absolute_deadline: Timestamp,
    /// How far ahead a commit or a touch moves the idle deadline. `None` for the time that the
    /// layer sets.
    pub idle_timeout: Option<Duration>,
    /// The user whom the session is logged in for.
    pub user: Option<User>,
    /// Distinguishes this record from any other that ever had this key.
    pub epoch: Epoch,
    /// How many commits of this library the record has had. A store may use it as its version. It
    /// is zero in a record that this library did not write; see [`foreign`](Self::foreign).
    pub counter: u64,
    /// The ops of the last commits.
    pub ops: Ops,
}

impl Header {
    /// The header of a record that another program wrote and that has none. An example is a
    /// document of an app that follows the Firestore tutorial. Its first commit gives it a
    /// lifetime. Until then it never dies.
    ///
    /// The epoch must be the same at each load, and another for each record that had this key.
    #[must_use]
    pub fn foreign(key: Key, created: Timestamp, epoch: Epoch) -> Self {
        Self {
            format: FORMAT,
            key,
            created,
            idle_deadline: Timestamp::MAX,
            absolute_deadline: Timestamp::MAX,
            idle_timeout: None,
            user: None,
            epoch,
            counter: 0,
            ops: Ops::default(),
        }
    }

    /// Whether a commit that turns this header into `next` moves only what every commit moves: the
    /// idle deadline, the counter and the ops. Nearly all commits do, so a store has a fast path
    /// for them.
    #[must_use]
    pub fn only_moves(&self, next: &Self) -> bool {
        // By name, so that a new field is not forgotten here.
        let Self {
            format,
            key,
            created,
            idle_deadline: _,
            absolute_deadline,
            idle_timeout,
            user,
            epoch,
            counter: _,
            ops: _,
        } = self;
        *key == next.key
            && *format == next.format
            && *created == next.created
            && *absolute_deadline == next.absolute_deadline
            && *idle_timeout == next.idle_timeout
            && *user == next.user
            && *epoch == next.epoch
    }

    /// Whether this library has not written the record yet.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.counter == 0
    }
}

/// The user whom a session is logged in for, since when, and how. It never changes under a key: a
/// login, and a reauthentication too, moves the session to a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The name that the app gave.
    #[serde(default)]
    pub name: String,
    /// The user's generation at login. It moves on when all sessions of a user are ended, and with it all
    /// sessions of an older generation end.
    #[serde(default)]
    pub generation: u64,
    /// When the user proved who they are: at login, or at the last reauthentication.
    #[serde(default = "long_ago")]
    pub at: Timestamp,
    /// What the user is to know the session by, such as `Firefox on Windows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Who acts in the user's name, if it is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Whether the browser keeps the cookie when it closes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_remembered: bool,
}

impl User {
    /// A user of this name and generation, logged in at this instant.
    #[must_use]
    pub fn new(name: impl Into<String>, generation: u64, at: Timestamp) -> Self {
        let name = name.into();
        Self { name, generation, at, label: None, actor: None, is_remembered: false }
    }

    /// All but the name, as JSON: a store keeps the name where it can be looked up.
    #[allow(dead_code, reason = "only some stores write the name elsewhere")]
    pub(crate) fn details(&self) -> Data {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut details)) => {
                details.remove("name");
                details
            }
            _ => Data::new(),
        }
    }

    /// The user of this name with these details. One whom an operator wrote down without any is of
    /// the first generation, and logged in long ago. None if they are not what they should be.
    #[allow(dead_code, reason = "only some stores read the name from elsewhere")]
    pub(crate) fn from_details(name: String, details: Option<Value>) -> Option<Self> {
        let Some(details) = details else { return Some(Self::new(name, 0, long_ago())) };
        let user: Self = serde_json::from_value(details).ok()?;
        Some(Self { name, ..user })
    }
}

fn long_ago() -> Timestamp {
    Timestamp::from_millis(0)
}

/// The random name of a record's life. Each create draws a new one.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(#[serde(with = "hex")] u64);

/// The random name of a commit. It is drawn before the first attempt and kept through every retry.
///
/// It need not be secret. It must differ for any two commits that one record remembers.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Op(#[serde(with = "hex")] u64);

macro_rules! random_name {
    ($name:ident) => {
        impl $name {
            /// A new, unique name.
            ///
            /// # Errors
            /// [`NoRandomness`] if the operating system gives no random bytes.
            pub fn random() -> Result<Self, NoRandomness> {
                words::next().map(Self)
            }

            /// The name with these bits, as a store reads it back.
            #[must_use]
            pub const fn from_bits(bits: u64) -> Self {
                Self(bits)
            }

            /// The bits of this name.
            #[must_use]
            pub const fn to_bits(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }
    };
}

random_name!(Epoch);
random_name!(Op);

/// The ops of a record's last commits, the oldest first. At most [`OPS_MAX`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Op>", into = "Vec<Op>")]
pub struct Ops {
    /// Those beyond `count` are all zero bits.
    ring: [Op; OPS_MAX],
    count: usize,
}

impl Default for Ops {
    fn default() -> Self {
        Self { ring: [Op(0); OPS_MAX], count: 0 }
    }
}

impl Ops {
    /// Adds the op of the newest commit and forgets the oldest beyond [`OPS_MAX`].
    pub fn push(&mut self, op: Op) {
        match self.ring.get_mut(self.count) {
            Some(free) => {
                *free = op;
                self.count += 1;
            }
            None => {
                self.ring.rotate_left(1);
                self.ring[OPS_MAX - 1] = op;
            }
        }
    }

    /// Whether the commit `op` is among the last ones.
    #[must_use]
    pub fn contains(&self, op: Op) -> bool {
        self.known().contains(&op)
    }

    /// The op of the newest commit.
    #[must_use]
    pub fn newest(&self) -> Option<Op> {
        self.known().last().copied()
    }

    /// The ops, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Op> + ExactSizeIterator {
        self.known().iter().copied()
    }

    fn known(&self) -> &[Op] {
        self.ring.get(..self.count).unwrap_or(&self.ring)
    }
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known()).finish()
    }
}

impl From<Vec<Op>> for Ops {
    fn from(ops: Vec<Op>) -> Self {
        ops.into_iter().collect()
    }
}

impl From<Ops> for Vec<Op> {
    fn from(ops: Ops) -> Self {
        ops.iter().collect()
    }
}

impl FromIterator<Op> for Ops {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        let mut ring = Self::default();
        ops.into_iter().for_each(|op| ring.push(op));
        ring
    }
}

/// Names are 16 hexadecimal digits wherever people may read them, because JSON numbers end at 53
/// bits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` passes references")]
    pub(super) fn serialize<S: Serializer>(bits: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{bits:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

/// The condition of a commit: it succeeds only if the record still has this version.
///
/// Each store has its own kind: a counter, an update time, a cas token. Only the store that issued
/// a version knows its meaning. All others may compare two versions of one record for equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Stands for no record.
    pub const NONE: Self = Self(0);
}

/// A record as a store holds it, with the version that it had there.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The record.
    pub record: Arc<Record>,
    /// The condition of a commit on top of it.
    pub version: Version,
}
