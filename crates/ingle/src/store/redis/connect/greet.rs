//! The first words on a connection: who we are, and who is there.

use redis::Value;

use super::{
    super::{
        config::RedisConfig,
        error::{self, Cause, Failure},
    },
    link::Link,
};

/// The oldest version that refuses a script as a whole, or not at all.
const OLDEST: u32 = 7;

/// Logs in, checks that the server will do, and returns whether it is part of a cluster.
pub(super) async fn greet(link: &Link, config: &RedisConfig, server: &str) -> Result<bool, Cause> {
    if let Some(password) = &config.password {
        let mut auth = redis::cmd("AUTH");
        config.user.iter().for_each(|user| _ = auth.arg(user));
        // One that has no password at all takes none.
        let wrong = |_: &str| error::wrong_password(server);
        let let_in = link.call(auth.arg(password)).await;
        let_in.map_err(|failure| not_let_in(failure, config, server, wrong))?;
    }
    let old = |_: &str| error::too_old(server, "older than 6");
    let hello = link.call(&redis::cmd("HELLO")).await;
    let hello = hello.map_err(|failure| not_let_in(failure, config, server, old))?;
    let Value::Array(words) = hello else {
        return Err(error::not_redis(server, "it does not say who it is"));
    };
    let said = |name: &str| {
        let at = words.iter().position(|word| text(word) == Some(name))?;
        text(words.get(at + 1)?)
    };
    let (name, version) = (said("server").unwrap_or("redis"), said("version").unwrap_or("0"));
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    if major.unwrap_or(0) < OLDEST {
        return Err(error::too_old(server, &format!("{name} {version}")));
    }
    if said("mode") == Some("sentinel") {
        return Err(error::sentinel(server));
    }
    // A replica of a cluster knows the masters and sends on to them.
    let is_cluster = said("mode") == Some("cluster");
    if said("role") != Some("master") && !is_cluster {
        return Err(error::replica(server));
    }
    if config.database != 0 && !is_cluster {
        let none = |message: &str| error::no_database(server, config.database, message);
        let selected = link.call(redis::cmd("SELECT").arg(config.database)).await;
        selected.map_err(|failure| not_let_in(failure, config, server, none))?;
    }
    Ok(is_cluster)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
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
            "WRONGPASS" => error::wrong_password(server),
            "ERR" => otherwise(refusal.details().unwrap_or_default()),
            _ => error::refused(&refusal, &config.prefix),
        },
    }
}
