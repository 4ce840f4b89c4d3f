//! The statements, each of them a transaction of its own and one round trip.

use std::sync::LazyLock;

use tokio_postgres::types::Type;

/// Which statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Load,
    Create,
    Replace,
    Renew,
    /// Of several replaces.
    Batch,
    Touch,
    Destroy,
    /// The same without telling those who listen.
    DestroyUntold,
    MakeWay,
    Sweep,
    List,
    ListByUser,
    Ping,
    /// A replace with the line of its act.
    ReplaceWith,
    /// A destroy with the line of its act.
    DestroyWith,
    /// The same without telling those who listen.
    DestroyUntoldWith,
}

pub(super) const KINDS: usize = 16;

const KEY: Type = Type::BYTEA;
const TIME: Type = Type::TIMESTAMPTZ;
const INTEGER: Type = Type::INT8;

/// Those of a renew: the record, the caller's time, the condition, and when the mark is dead. The others
/// that write a record have fewer of them.
const RENEW: &[Type] = &[
    KEY,
    Type::INT2,
    TIME,
    TIME,
    TIME,
    INTEGER,
    Type::TEXT,
    Type::JSONB,
    INTEGER,
    INTEGER,
    Type::BYTEA,
    Type::JSONB,
    TIME,
    KEY,
    INTEGER,
    INTEGER,
    Type::BYTEA,
    TIME,
];
const RECORD: &[Type] = RENEW.split_at(12).0;
const REPLACE: &[Type] = RENEW.split_at(17).0;
const DESTROY: &[Type] = &[KEY, TIME, TIME];

/// Those of an act, and then those of the replace of its line.
static REPLACE_WITH: LazyLock<Vec<Type>> = LazyLock::new(|| [REPLACE, REPLACE].concat());
static DESTROY_WITH: LazyLock<Vec<Type>> = LazyLock::new(|| [DESTROY, REPLACE].concat());

impl Kind {
    /// The types of its parameters.
    pub(super) fn types(self) -> &'static [Type] {
        match self {
            Self::Load | Self::MakeWay => const { &[KEY, TIME] },
            Self::Create => const { RECORD },
            Self::Replace => const { REPLACE },
            Self::Renew => const { RENEW },
            Self::Batch => {
                const {
                    &[
                        Type::BYTEA_ARRAY,
                        Type::TIMESTAMPTZ_ARRAY,
                        Type::INT8_ARRAY,
                        Type::BYTEA_ARRAY,
                        Type::JSONB_ARRAY,
                        Type::INT8_ARRAY,
                        Type::INT8_ARRAY,
                        Type::BYTEA_ARRAY,
                        Type::TIMESTAMPTZ_ARRAY,
                    ]
                }
            }
            Self::Touch => const { &[KEY, TIME, TIME] },
            Self::Destroy | Self::DestroyUntold => const { DESTROY },
            Self::Sweep => const { &[TIME, INTEGER] },
            Self::List => const { &[KEY, TIME, INTEGER] },
            Self::ListByUser => const { &[KEY, TIME, INTEGER, Type::TEXT] },
            Self::Ping => &[],
            Self::ReplaceWith => &REPLACE_WITH,
            Self::DestroyWith | Self::DestroyUntoldWith => &DESTROY_WITH,
        }
    }
}

/// What a row is read from, in the order of `codec::record`.
macro_rules! columns {
    () => {
        "key, format, created, idle_deadline, absolute_deadline, idle_timeout_ms, user_name, \
         login, epoch, counter, ops, data"
    };
}

/// What turns a row into a mark: with nothing of the session left, and no longer on a list.
macro_rules! mark {
    ($moved_to:literal, $until:literal) => {
        concat!(
            "is_mark = true, moved_to = ",
            $moved_to,
            ", data = '{}', user_name = NULL, login = NULL, idle_timeout_ms = NULL, \
             epoch = 0, counter = 0, ops = '', idle_deadline = ",
            $until,
            ", absolute_deadline = ",
            $until,
            ", sweep_at = ",
            $until
        )
    };
}

/// Which rows are dead at the instant of a parameter, records and marks.
macro_rules! dead {
    ($now:literal) => {
        concat!("least(s.idle_deadline, s.absolute_deadline) <= ", $now)
    };
}

/// Which rows are live records then.
macro_rules! live {
    ($now:literal) => {
        concat!("NOT s.is_mark AND NOT ", dead!($now))
    };
}

/// Which of them are on a list. What has no key is nobody's session, and must not fill a page.
macro_rules! listed {
    ($now:literal) => {
        concat!("length(key) = 32 AND ", live!($now))
    };
}

/// Which row is what a replace or a renew is made from.
macro_rules! base {
    () => {
        concat!("key = $14 AND counter = $15 AND epoch = $16 AND ops = $17 AND ", live!("$13"))
    };
}

macro_rules! replace {
    () => {
        concat!(
            "UPDATE TABLE AS s SET key = $1, format = $2, created = $3, \
             idle_deadline = coalesce($4, idle_deadline), absolute_deadline = $5, idle_timeout_ms = $6, user_name = $7, login = $8, \
             epoch = $9, counter = $10, ops = $11, data = $12, sweep_at = least(sweep_at, $4, $5) \
             WHERE ",
            base!()
        )
    };
}

/// Turns a live row into the mark of an end.
///
/// It tells those who listen of it, when it is committed. Nothing else does: a transaction that notifies
/// holds a lock of the whole server while it commits, so all of those are committed one after another.
/// Ends are rare enough for that. Commits are not, nor are renews, one of which goes with each login.
macro_rules! destroy {
    () => {
        concat!("UPDATE TABLE AS s SET ", mark!("NULL", "$3"), " WHERE key = $1 AND ", live!("$2"))
    };
}

/// Tells those who listen.
macro_rules! told {
    () => {
        " RETURNING pg_notify('ingle_ended', encode(key, 'hex'))"
    };
}

/// Lets an act be done only where its line is as it was.
macro_rules! with_line {
    () => {
        " AND EXISTS (SELECT FROM line)"
    };
}

/// What those who listen do: on the channel that a destroy tells of itself, and for as long as they like.
/// Before version 14 there is no such setting.
pub(super) const LISTEN: &str = "SELECT set_config(name, '0', false) FROM pg_settings \
                                 WHERE name = 'idle_session_timeout'; \
                                 LISTEN ingle_ended";

/// The texts, in the order of [`Kind`]; TABLE stands for the table.
///
/// Nothing but a create inserts, and that only where nothing has the key. What is dead there is deleted
/// by a statement of its own, if it still is.
const TEXTS: [&str; KINDS] = [
    concat!(
        "SELECT ",
        columns!(),
        ", is_mark, moved_to FROM TABLE AS s WHERE key = $1 AND NOT ",
        dead!("$2")
    ),
    concat!(
        "INSERT INTO TABLE AS s (",
        columns!(),
        ", sweep_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, least($4, $5)) \
         ON CONFLICT (key) DO NOTHING RETURNING counter"
    ),
    concat!(replace!(), " RETURNING 1"),
    RENEW_TEXT,
    BATCH,
    concat!(
        "UPDATE TABLE AS s \
         SET idle_deadline = greatest(idle_deadline, least($2, absolute_deadline)) \
         WHERE key = $1 AND ",
        live!("$3"),
        " RETURNING 1"
    ),
    concat!(destroy!(), told!()),
    concat!(destroy!(), " RETURNING 1"),
    concat!("DELETE FROM TABLE AS s WHERE key = $1 AND ", dead!("$2"), " RETURNING 1"),
    SWEEP,
    concat!(
        "SELECT ",
        columns!(),
        " FROM TABLE AS s WHERE key > $1 AND ",
        listed!("$2"),
        " ORDER BY key LIMIT $3"
    ),
    concat!(
        "SELECT ",
        columns!(),
        " FROM TABLE AS s WHERE user_name = $4 AND key > $1 AND ",
        listed!("$2"),
        " ORDER BY key LIMIT $3"
    ),
    // It also fails where the table is gone, or is not this user's to read.
    "SELECT current_setting('transaction_read_only')::bool, \
         (SELECT count(*) FROM (SELECT FROM TABLE LIMIT 0) AS none)",
    // Of these three, only the act.
    concat!(replace!(), with_line!(), " RETURNING 1"),
    concat!(destroy!(), with_line!(), told!()),
    concat!(destroy!(), with_line!(), " RETURNING 1"),
];

/// The line's part of an act's statement: its row is locked before the act, and written after it.
const LINE: [&str; 3] = [
    concat!(
        "WITH line AS MATERIALIZED (SELECT FROM TABLE AS s WHERE ",
        base!(),
        " FOR NO KEY UPDATE), act AS ("
    ),
    ") ",
    concat!(replace!(), " AND EXISTS (SELECT FROM act) RETURNING 1"),
];

/// Moves a record and leaves a mark: where the condition holds, the row becomes the mark, and the record is
/// inserted under its new key. Where that is taken, the statement fails, and neither is done.
const RENEW_TEXT: &str = concat!(
    "WITH base AS ( \
         UPDATE TABLE AS s SET ",
    mark!("$1", "$18"),
    " WHERE ",
    base!(),
    " RETURNING 1 \
     ) INSERT INTO TABLE (",
    columns!(),
    ", sweep_at) \
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, least($4, $5) FROM base \
     RETURNING counter"
);

/// Commits of several records that move what every commit moves, and the data. What another transaction
/// has locked is left out. Answers with one row: the numbers, from 1, of those whose rows were there and
/// free, and of those that met their conditions and were written.
const BATCH: &str = concat!(
    "WITH free AS MATERIALIZED ( \
         SELECT c.* FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY \
             AS c(key, idle_deadline, counter, ops, data, base_counter, base_epoch, base_ops, now, \
                  number) \
         JOIN TABLE AS s ON s.key = c.key FOR NO KEY UPDATE OF s SKIP LOCKED \
     ), written AS ( \
         UPDATE TABLE AS s SET idle_deadline = coalesce(c.idle_deadline, s.idle_deadline), \
             counter = c.counter, ops = c.ops, data = c.data, sweep_at = least(s.sweep_at, c.idle_deadline) \
         FROM free AS c WHERE s.key = c.key AND s.counter = c.base_counter \
             AND s.epoch = c.base_epoch AND s.ops = c.base_ops AND ",
    live!("c.now"),
    " RETURNING c.number \
     ) SELECT (SELECT array_agg(number) FROM free), (SELECT array_agg(number) FROM written)"
);

/// One instance at a time sweeps: the lock ends with the statement, so that it works behind a
/// pooler as well. What is locked by another writer is left for the next sweep. What is due and
/// lives is looked at again when it dies.
const SWEEP: &str = concat!(
    "WITH turn AS MATERIALIZED ( \
         SELECT pg_try_advisory_xact_lock(1768843116, 'TABLE'::regclass::oid::int) AS mine \
     ), due AS MATERIALIZED ( \
         SELECT s.key FROM TABLE AS s \
         WHERE (SELECT mine FROM turn) AND s.sweep_at <= $1 \
         ORDER BY s.sweep_at LIMIT $2 FOR UPDATE SKIP LOCKED \
     ), dead AS ( \
         DELETE FROM TABLE AS s USING due WHERE s.key = due.key AND ",
    dead!("$1"),
    " RETURNING 1 \
     ), live AS ( \
         UPDATE TABLE AS s SET sweep_at = least(s.idle_deadline, s.absolute_deadline) \
         FROM due WHERE s.key = due.key AND NOT ",
    dead!("$1"),
    " RETURNING 1 \
     ) SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM due), (SELECT count(*) FROM live)"
);

/// The statements on one table.
#[derive(Debug)]
pub(super) struct Statements([String; KINDS]);

impl Statements {
    pub(super) fn new(table: &str) -> Self {
        let mut texts = TEXTS.map(str::to_owned);
        for kind in [Kind::ReplaceWith, Kind::DestroyWith, Kind::DestroyUntoldWith] {
            let act_params = kind.types().len() - REPLACE.len();
            if let Some(text) = texts.get_mut(kind as usize) {
                let [before, between, after] = LINE.map(|part| shifted(part, act_params));
                *text = [&*before, text, &between, &after].concat();
            }
        }
        Self(texts.map(|text| text.replace("TABLE", table)))
    }

    pub(super) fn sql(&self, kind: Kind) -> &str {
        self.0.get(kind as usize).map_or("", String::as_str)
    }
}

/// The same with parameters that begin so much later.
fn shifted(sql: &str, by: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().unwrap_or_default() + by;
        text.push_str(&format!("${number}{rest}"));
    }
    text
}
