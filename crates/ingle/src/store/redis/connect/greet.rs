//! The first words on a connection: who we are, and who is there.

use redis::{ServerError, Value};

use super::{
    super::{
        config::RedisConfig,
        error::{self, Cause, Failure},
    },
    link::Link,
    server::Server,
};

/// The oldest version that refuses a script as a whole, or not at all.
const OLDEST: [u32; 2] = [7, 0];

/// Logs in, checks that the server will do, and returns what it is.
pub(super) async fn greet(
    link: &Link,
    config: &RedisConfig,
    server: &str,
) -> Result<Server, Cause> {
    if let Some(password) = &config.password {
        let mut auth = redis::cmd("AUTH");
        config.user.iter().for_each(|user| _ = auth.arg(user));
        // One that has no password at all takes none.
        let wrong = |_: &str| error::wrong_password(server);
        let let_in = link.call(auth.arg(password)).await;
        let_in.map_err(|failure| not_let_in(failure, config, server, wrong))?;
    }
    let said = introduction(link, config, server).await?;
    let said = |name: &str| said.iter().find(|(other, _)| other == name).map(|(_, is)| is.as_str());
    // A replica of a cluster knows the masters and sends on to them.
    let is_cluster = said("mode") == Some("cluster");
    let (name, version) = (said("server").unwrap_or("redis"), said("version").unwrap_or("0"));
    let found = Server::new(name, version, is_cluster);
    if !found.is_since(OLDEST) {
        return Err(error::too_old(server, &found.to_string()));
    }
    if said("mode") == Some("sentinel") {
        return Err(error::sentinel(server));
    }
    if said("role") != Some("master") && !is_cluster {
        let master = master_of(link).await;
        return Err(error::replica(server, master.as_deref()));
    }
    if config.database != 0 && !is_cluster {
        let none = |message: &str| error::no_database(server, config.database, message);
        let selected = link.call(redis::cmd("SELECT").arg(config.database)).await;
        selected.map_err(|failure| not_let_in(failure, config, server, none))?;
    }
    Ok(found)
}

/// Where a replica says that its master is, if it may be asked.
async fn master_of(link: &Link) -> Option<String> {
    let info = link.call(redis::cmd("INFO").arg("replication")).await.ok()?;
    let lines = || text(&info).into_iter().flat_map(str::lines);
    let of = |name: &str| lines().find_map(|line| line.trim_end().strip_prefix(name));
    Some(format!("{}:{}", of("master_host:")?, of("master_port:")?))
}

/// What a server says of itself: names and values, as `HELLO` calls them.
type Introduction = Vec<(String, String)>;

/// Asks a server who it is: by `HELLO`, or by `INFO` where that has another name there or an ACL forbids it.
async fn introduction(
    link: &Link,
    config: &RedisConfig,
    server: &str,
) -> Result<Introduction, Cause> {
    let no_hello = match link.call(&redis::cmd("HELLO")).await {
        Ok(Value::Array(words)) => {
            let pairs = words.chunks_exact(2).filter_map(|pair| match pair {
                [name, value] => Some((text(name)?.to_owned(), text(value)?.to_owned())),
                _ => None,
            });
            return Ok(pairs.collect());
        }
        Ok(_) => return Err(error::not_redis(server, "it does not say who it is")),
        Err(Failure::Refused(refusal)) if error::is_forbidden(&refusal) => words_of(&refusal),
        Err(failure) => {
            let otherwise = |message: &str| error::not_redis(server, message);
            return Err(not_let_in(failure, config, server, otherwise));
        }
    };
    match link.call(&redis::cmd("INFO")).await {
        Ok(info) => {
            let lines: Vec<(&str, &str)> = text(&info)
                .into_iter()
                .flat_map(str::lines)
                .filter_map(|line| line.trim_end().split_once(':'))
                .collect();
            // Valkey also says there which version of Redis it is like.
            let names = [
                ("server", ["server_name", "server_name"]),
                ("version", ["valkey_version", "redis_version"]),
                ("mode", ["server_mode", "redis_mode"]),
                ("role", ["role", "role"]),
            ];
            let pairs = names.into_iter().filter_map(|(name, [first, second])| {
                let is = |wanted| lines.iter().find(|(name, _)| *name == wanted);
                is(first).or_else(|| is(second)).map(|(_, is)| (name.to_owned(), (*is).to_owned()))
            });
            Ok(pairs.collect())
        }
        Err(Failure::Refused(refusal)) if error::is_forbidden(&refusal) => {
            Err(error::nameless(server, &no_hello, &words_of(&refusal)))
        }
        Err(failure) => {
            let otherwise = |message: &str| error::not_redis(server, message);
            Err(not_let_in(failure, config, server, otherwise))
        }
    }
}

/// Without what a server repeats of the command.
fn words_of(refusal: &ServerError) -> String {
    match refusal.code() {
        "NOPERM" => "this user may not call it",
        _ => "it knows no such command",
    }
    .to_owned()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// Why a server did not let us in: a refusal that is not told by its code is `otherwise`.
fn not_let_in(
    failure: Failure,
    config: &RedisConfig,
    server: &str,
    otherwise: impl FnOnce(&str) -> Cause,
) -> Cause {
    match failure {
        Failure::NotSent(cause) => cause,
        Failure::Lost(message) => error::not_redis(server, &message),
        Failure::Refused(refusal) => match refusal.code() {
            "NOAUTH" => error::no_password(server),
            "ERR"
                if refusal
                    .details()
                    .is_some_and(|words| words.starts_with("max number of clients")) =>
            {
                error::full(server)
            }
            "WRONGPASS" => error::wrong_password(server),
            "ERR" => otherwise(refusal.details().unwrap_or_default()),
            _ => error::refused(&refusal, &config.prefix),
        },
    }
}
