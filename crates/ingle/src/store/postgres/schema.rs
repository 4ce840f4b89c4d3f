//! The table: how it is made, and whether it and its server will do.

use std::sync::Arc;

use tokio_postgres::{Row, error::SqlState};

use super::{
    config::PostgresConfig,
    error::{Failure, Names, Problem},
    pool::Pool,
};
use crate::{clock::Timestamp, store::Warning};

/// What makes the table, for `psql` as well.
const SCHEMA: &str = include_str!("schema.sql");

/// The version of the schema that this library makes, and the newest that it knows.
const VERSION: u32 = 1;

/// The table's comment tells whose it is; the version stands behind it.
const COMMENT: &str = "sessions of ingle, schema ";

/// The oldest PostgreSQL that the store is written for.
const OLDEST: i32 = 13;

/// What is asked of a server when the store is opened. `to_regclass` already sees a table that was
/// committed after this statement began, and nothing else here would.
const LOOK: &str = "
    SELECT current_setting('server_version_num')::int / 10000,
           pg_is_in_recovery(),
           current_setting('server_encoding'),
           current_setting('fsync'),
           current_setting('full_page_writes'),
           current_setting('synchronous_commit'),
           current_setting('synchronous_standby_names'),
           obj_description(to_regclass($1), 'pg_class'),
           EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1)),
           CASE WHEN to_regclass($1) IS NOT NULL THEN
               ARRAY_TO_STRING(ARRAY(
                   SELECT needed FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed
                   WHERE NOT has_table_privilege(to_regclass($1), needed)
               ), ', ')
           END,
           current_user::text,
           current_database()::text,
           (SELECT source FROM pg_settings WHERE name = 'fsync'),
           (SELECT source FROM pg_settings WHERE name = 'full_page_writes'),
           (SELECT source FROM pg_settings WHERE name = 'synchronous_commit'),
           (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// How the server is set up.
pub(super) struct Setup {
    /// What an acknowledged commit survives, as the end of a sentence.
    pub(super) durability: &'static str,
    /// What loses sessions.
    pub(super) warnings: Vec<Warning>,
    /// The time by its clock.
    pub(super) clock: Timestamp,
}

/// What there is of the table.
enum Table {
    Missing,
    Ours,
}

/// Makes the table, if it is not there.
pub(super) async fn migrate(pool: &Arc<Pool>) -> Result<(), Problem> {
    let (row, names) = look(pool).await?;
    let names = &names;
    check_server(&row, names)?;
    match check_table(&row, names)? {
        Table::Ours => Ok(()),
        Table::Missing => {
            pool.run(script(pool.config())).await.map_err(|failure| match failure.code() {
                Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    Problem::may_not_create(names, "it lacks a right")
                }
                Some(code) if *code == SqlState::INVALID_SCHEMA_NAME => Problem::no_schema(names),
                _ => failure.explain(names),
            })
        }
    }
}

/// Checks all that the store needs, and returns how the server is set up.
pub(super) async fn check(pool: &Arc<Pool>) -> Result<Setup, Problem> {
    let (row, names) = look(pool).await?;
    let names = &names;
    check_server(&row, names)?;
    if matches!(check_table(&row, names)?, Table::Missing) {
        return Err(Problem::no_table(names));
    }
    let missing: Option<String> = get(&row, 9, names)?;
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        return Err(Problem::denied(names, &format!("it may not {missing}")));
    }
    let (durability, warning) = durability(&row, names)?;
    let clock: i64 = get(&row, 15, names)?;
    let clock = Timestamp::from_millis(u64::try_from(clock).unwrap_or(0));
    Ok(Setup { durability, warnings: warning.into_iter().collect(), clock })
}

/// Asks the server; and the names with what it calls the user and the database, which a pool or a pooler
/// may have chosen.
async fn look(pool: &Arc<Pool>) -> Result<(Row, Names), Problem> {
    let names = pool.names();
    let rows = pool.look(LOOK, pool.config().table_sql()).await;
    let rows = rows.map_err(|failure| failure.explain(names))?;
    let none = || Problem::other("02000", "it answered a query without a row");
    let row = rows.into_iter().next().ok_or_else(none)?;
    let (user, database) = (get(&row, 10, names)?, get(&row, 11, names)?);
    let names = Names { user, database, ..names.clone() };
    Ok((row, names))
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: usize,
    names: &Names,
) -> Result<T, Problem> {
    row.try_get(column).map_err(|error| Failure::Sent(error).explain(names))
}

fn check_server(row: &Row, names: &Names) -> Result<(), Problem> {
    let version: i32 = get(row, 0, names)?;
    if version < OLDEST {
        return Err(Problem::too_old(names, version, OLDEST));
    }
    if get(row, 1, names)? {
        return Err(Problem::read_only(names));
    }
    let encoding: String = get(row, 2, names)?;
    if encoding != "UTF8" {
        return Err(Problem::encoding(names, &encoding));
    }
    Ok(())
}

fn check_table(row: &Row, names: &Names) -> Result<Table, Problem> {
    let comment: Option<&str> = get(row, 7, names)?;
    if !get::<bool>(row, 8, names)? {
        return Ok(Table::Missing);
    }
    let version = comment.and_then(|comment| comment.strip_prefix(COMMENT)?.parse().ok());
    match version {
        Some(VERSION) => Ok(Table::Ours),
        Some(schema) if schema > VERSION => Err(Problem::newer(names, schema, VERSION)),
        _ => Err(Problem::foreign(names)),
    }
}

/// What an acknowledged commit survives as the server is set, as the end of a sentence, and what mends that.
fn durability(row: &Row, names: &Names) -> Result<(&'static str, Option<Warning>), Problem> {
    let setting = |column| get::<&str>(row, column, names);
    let (fsync, pages, commit) = (setting(3)?, setting(4)?, setting(5)?);
    let standbys = !setting(6)?.is_empty();
    let (weaker, name, source) = match (fsync, commit, pages) {
        ("off", _, _) => (
            "the end of this process, and no crash of the server's machine: it has `fsync = off`",
            "fsync",
            12,
        ),
        (_, "off", _) => (
            "the end of this process, and no crash of the server: it has `synchronous_commit = off`",
            "synchronous_commit",
            14,
        ),
        (_, _, "off") => (
            "a crash, and a power loss only where the disk writes pages whole: the server has \
             `full_page_writes = off`",
            "full_page_writes",
            13,
        ),
        _ if standbys && commit != "local" => {
            let all = "a crash, a power loss, and the loss of the server if a synchronous standby takes over";
            return Ok((all, None));
        }
        _ => return Ok(("a crash and a power loss", None)),
    };
    let source: Option<&str> = get(row, source, names)?;
    let problem = format!("an acknowledged commit survives {weaker}");
    let help = names.set_back(name, source.unwrap_or_default());
    Ok((weaker, Some(Warning::new("durability", problem, help))))
}

/// The script with the names of one table in it.
fn script(config: &PostgresConfig) -> String {
    let (schema, table) = config.schema_and_table();
    let mut script = String::with_capacity(SCHEMA.len());
    let mut rest = SCHEMA;
    while !rest.is_empty() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (word, after) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        match word.strip_prefix("ingle_sessions") {
            // An index is made in the schema of its table; all else needs the schema's name.
            Some(end @ ("_to_sweep" | "_by_user")) => {
                script.push_str(&format!("\"{table}{end}\""));
            }
            Some(end) => {
                let schema = schema.map_or(String::new(), |name| format!("\"{name}\"."));
                script.push_str(&format!("{schema}\"{table}{end}\""));
            }
            None => script.push_str(word),
        }
        let (between, after) = after.split_at(after.find(is_name).unwrap_or(after.len()));
        script.push_str(between);
        rest = after;
    }
    script
}
