//! The table, its indexes and its triggers, and whose file it is.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, config::DbConfig};

use super::{
    connect::{connect, patiently},
    error::{foreign, newer, opening, read_only, unsynced},
};
use crate::store::OpenError;

/// "ingl", in the header of the file: what tells it from any other SQLite database.
const APPLICATION_ID: i64 = 0x696e_676c;

/// The schema that this version writes, and the newest that it reads.
const USER_VERSION: i64 = 1;

/// How large SQLite leaves the log after a burst.
const LOG_BYTES_MAX: i64 = 64 << 20;

/// After so many pages the log is copied into the file, by the commit that finds it so: 16 MiB, four
/// times what SQLite does by itself. A page that was committed a hundred times is copied once.
const LOG_PAGES: i64 = 4096;

/// A table with rowids: a record has hundreds of bytes and may have many thousands, which would
/// make the inner pages of a tree ordered by key (`WITHOUT ROWID`) hold a few records each; and the
/// indexes name a row by a small number. `STRICT` refuses a blob where a person should read text.
///
/// `inner_key` is the key that the record was written under; `key` is where it is found. Times are
/// milliseconds since 1970. `login` is JSON: since when and how the user is logged in. `epoch` and
/// `counter` are 64 bits without a sign, kept as
/// the integer with the same bits. `sum` is what `codec.rs` checks a row by; it stands before `data`,
/// which may go on to other pages. A row that was written by hand has none. `sweep_at` is when a sweep
/// looks at the row next, and never later than it dies: a commit moves the deadline and not this, so
/// that it writes no index.
///
/// `mark` makes a row a mark and no record: `moved`, with the new key in `moved_to`, or `ended`. It is
/// dead at its deadlines as a record is, so a create and the sweep treat both alike. The index of the
/// marks, in the order of their time, is for those who listen; a commit of a record writes none of it.
const SCHEMA: &str = "
    CREATE TABLE sessions (
        key               BLOB NOT NULL PRIMARY KEY,
        inner_key         BLOB NOT NULL,
        format            INTEGER NOT NULL,
        created           INTEGER NOT NULL,
        idle_deadline     INTEGER NOT NULL,
        absolute_deadline INTEGER NOT NULL,
        idle_timeout      INTEGER,
        user              TEXT,
        login             TEXT,
        epoch             INTEGER NOT NULL,
        counter           INTEGER NOT NULL,
        ops               BLOB NOT NULL,
        sum               INTEGER,
        mark              TEXT,
        moved_to          BLOB,
        data              TEXT NOT NULL,
        sweep_at          INTEGER NOT NULL DEFAULT 0,
        dead_at           INTEGER NOT NULL AS (min(idle_deadline, absolute_deadline))
    ) STRICT;

    CREATE INDEX to_sweep ON sessions (sweep_at);
    CREATE INDEX by_user ON sessions (user, key) WHERE user IS NOT NULL;
    CREATE INDEX marks ON sessions (sweep_at, key, mark) WHERE mark IS NOT NULL;

    -- The library moves the counter with every commit; an edit by hand does not. Without this, a
    -- request that knows the record from before would write over the edit.
    CREATE TRIGGER an_edit_by_hand_is_a_commit
    AFTER UPDATE OF data, user, login, created, absolute_deadline, idle_timeout ON sessions
    WHEN NEW.counter = OLD.counter
    BEGIN
        SELECT RAISE(ABORT, 'data must be a JSON object; nothing was changed')
        WHERE iif(json_valid(NEW.data), json_type(NEW.data) <> 'object', 1);
        UPDATE sessions SET counter = counter + 1, sum = NULL WHERE rowid = NEW.rowid;
    END;

    -- A touch moves the sum with the deadline.
    CREATE TRIGGER a_deadline_set_by_hand_is_no_damage
    AFTER UPDATE OF idle_deadline ON sessions
    WHEN NEW.sum = OLD.sum AND NEW.idle_deadline <> OLD.idle_deadline
    BEGIN
        UPDATE sessions SET sum = NULL WHERE rowid = NEW.rowid;
    END;
";

/// The writer's connection to the file, which has the schema then, no matter which process made it.
pub(super) fn prepare(file: &Path) -> Result<Connection, OpenError> {
    let failed = opening(file);
    let mut connection = connect(file).map_err(&failed)?;
    if connection.is_readonly("main").map_err(&failed)? {
        return Err(read_only(file));
    }
    // Before anything is changed in a file that may be another program's.
    look(&mut connection).map_err(&failed)?.check(file)?;
    sync_each_commit(&connection, file)?;
    patiently(|| create(&mut connection)).map_err(&failed)?.check(file)?;
    // Triggers are there for people. The store's own writes meet the conditions of none, and with
    // triggers SQLite takes another, slower way.
    let triggers = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    connection.set_db_config(triggers, false).map_err(&failed)?;
    Ok(connection)
}

/// Whose file it is, as far as its header and its tables tell.
enum Owner {
    Nobody,
    Ingle { user_version: i64 },
    Another,
}

/// One read transaction, so that the schema is not half there when another process just makes it.
fn look(connection: &mut Connection) -> rusqlite::Result<Owner> {
    owner(&connection.transaction()?)
}

fn owner(connection: &Transaction<'_>) -> rusqlite::Result<Owner> {
    let header = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables = "SELECT count(*) FROM sqlite_schema";
    Ok(match (header("application_id")?, header("user_version")?) {
        (APPLICATION_ID, user_version) => Owner::Ingle { user_version },
        (0, 0) if connection.query_row(tables, (), |row| row.get::<_, i64>(0))? == 0 => {
            Owner::Nobody
        }
        _ => Owner::Another,
    })
}

impl Owner {
    fn check(self, file: &Path) -> Result<(), OpenError> {
        match self {
            Self::Nobody | Self::Ingle { user_version: USER_VERSION } => Ok(()),
            Self::Ingle { user_version } => Err(newer(file, user_version, USER_VERSION)),
            Self::Another => Err(foreign(file)),
        }
    }
}

/// Sets what an acknowledged commit depends on, and reads it back: SQLite refuses in silence.
fn sync_each_commit(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    let failed = opening(file);
    let journal_mode = || {
        connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
    };
    let journal_mode = patiently(journal_mode).map_err(&failed)?;
    if journal_mode != "wal" {
        return Err(unsynced(file, "journal_mode", &journal_mode));
    }
    connection.pragma_update(None, "synchronous", "full").map_err(&failed)?;
    let synchronous: i64 =
        connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(&failed)?;
    if synchronous != 2 {
        return Err(unsynced(file, "synchronous", &synchronous.to_string()));
    }
    let set = |name, value: i64| connection.pragma_update_and_check(None, name, value, |_| Ok(()));
    set("wal_autocheckpoint", LOG_PAGES).map_err(&failed)?;
    set("journal_size_limit", LOG_BYTES_MAX).map_err(&failed)
}

/// Makes the schema if nobody did, and says whose file it was before.
///
/// Of several processes that open a new file at once, one has the lock, and the others find its
/// work.
fn create(connection: &mut Connection) -> rusqlite::Result<Owner> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let owner = owner(&transaction)?;
    if matches!(owner, Owner::Nobody) {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", USER_VERSION)?;
        transaction.commit()?;
    }
    Ok(owner)
}
