//! The table, who makes it, and whether it and its server will do.

use std::sync::Arc;

use tokio_postgres::Row;

use super::{
    failure::{Failure, PostgresError},
    place::PostgresConfig,
    pool::Pool,
};

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
           END";

/// What there is of the table.
enum Table {
    Missing,
    Ours,
}

/// Makes the table, if it is not there.
pub(super) async fn migrate(pool: &Arc<Pool>) -> Result<(), PostgresError> {
    let config = pool.config();
    let row = look(pool).await?;
    check_server(&row, config)?;
    match check_table(&row, config)? {
        Table::Ours => Ok(()),
        Table::Missing => pool.run(for_table(config)).await.map_err(|failure| {
            match failure.explain(config) {
                PostgresError::Denied { user, table, message } => {
                    PostgresError::MayNotCreate { user, table, message }
                }
                // The schema that the table's name begins with.
                PostgresError::NoTable { .. } => PostgresError::Other {
                    code: "3F000".to_owned(),
                    message: "there is no such schema; run `CREATE SCHEMA` for it".to_owned(),
                },
                other => other,
            }
        }),
    }
}

/// Checks all that the store needs, and returns what an acknowledged commit survives there.
pub(super) async fn check(pool: &Arc<Pool>) -> Result<String, PostgresError> {
    let config = pool.config();
    let row = look(pool).await?;
    check_server(&row, config)?;
    if matches!(check_table(&row, config)?, Table::Missing) {
        let (database, table) = (config.database().to_owned(), config.table_shown());
        return Err(PostgresError::NoTable { database, table });
    }
    let missing: Option<String> = get(&row, 9, config)?;
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        let (user, table) = (config.user().to_owned(), config.table_shown());
        let message = format!("it may not {missing}");
        return Err(PostgresError::Denied { user, table, message });
    }
    survives(&row, config)
}

async fn look(pool: &Arc<Pool>) -> Result<Row, PostgresError> {
    let config = pool.config();
    let rows = pool.look(LOOK, config.table_sql()).await;
    let rows = rows.map_err(|failure| match failure.explain(config) {
        // `to_regclass` of a table in a schema that is not this user's to use.
        PostgresError::NoTable { database, .. } => {
            PostgresError::NoTable { database, table: config.table_shown() }
        }
        other => other,
    })?;
    let other = || PostgresError::Other {
        code: "02000".to_owned(),
        message: "it answered a query without a row".to_owned(),
    };
    rows.into_iter().next().ok_or_else(other)
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: usize,
    config: &PostgresConfig,
) -> Result<T, PostgresError> {
    row.try_get(column).map_err(|error| Failure::Sent(error).explain(config))
}

fn check_server(row: &Row, config: &PostgresConfig) -> Result<(), PostgresError> {
    let version: i32 = get(row, 0, config)?;
    if version < OLDEST {
        return Err(PostgresError::TooOld { hosts: config.hosts(), version, oldest: OLDEST });
    }
    if get(row, 1, config)? {
        return Err(PostgresError::ReadOnly { hosts: config.hosts() });
    }
    let encoding: String = get(row, 2, config)?;
    if encoding != "UTF8" {
        return Err(PostgresError::Encoding { database: config.database().to_owned(), encoding });
    }
    Ok(())
}

fn check_table(row: &Row, config: &PostgresConfig) -> Result<Table, PostgresError> {
    let comment: Option<&str> = get(row, 7, config)?;
    if !get::<bool>(row, 8, config)? {
        return Ok(Table::Missing);
    }
    let (database, table) = (config.database().to_owned(), config.table_shown());
    let version = comment.and_then(|comment| comment.strip_prefix(COMMENT)?.parse().ok());
    match version {
        Some(VERSION) => Ok(Table::Ours),
        Some(schema) if schema > VERSION => {
            Err(PostgresError::Newer { database, table, schema, newest: VERSION })
        }
        _ => Err(PostgresError::Foreign { database, table }),
    }
}

/// What an acknowledged commit survives as the server is set, as the end of a sentence.
fn survives(row: &Row, config: &PostgresConfig) -> Result<String, PostgresError> {
    let setting = |column| get::<&str>(row, column, config);
    let (fsync, pages, commit) = (setting(3)?, setting(4)?, setting(5)?);
    let standbys = !setting(6)?.is_empty();
    let weaker = match (fsync, commit, pages) {
        ("off", _, _) => {
            "the end of this process, and no crash of the server's machine: it has `fsync = off`"
        }
        (_, "off", _) => {
            "the end of this process, and no crash of the server: it has `synchronous_commit = off`"
        }
        (_, _, "off") => {
            "a crash, and a power loss only where the disk writes pages whole: the server has \
             `full_page_writes = off`"
        }
        _ if standbys && commit != "local" => {
            return Ok(
                "a crash, a power loss, and the loss of the server if a synchronous standby \
                       takes over"
                    .to_owned(),
            );
        }
        _ => return Ok("a crash and a power loss".to_owned()),
    };
    tracing::warn!(survives = weaker, "PostgreSQL is set up to lose sessions that it acknowledged");
    Ok(weaker.to_owned())
}

/// The script with the names of one table in it.
fn for_table(config: &PostgresConfig) -> String {
    let (schema, table) = &config.table;
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
                let schema = schema.as_ref().map_or(String::new(), |name| format!("\"{name}\"."));
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
