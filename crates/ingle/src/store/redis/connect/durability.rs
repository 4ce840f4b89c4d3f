//! What an acknowledged commit survives, as the servers are set up.

use redis::Value;

use super::Client;

/// Asks the first server, and warns of what loses sessions. Where the settings may not be read, as
/// with most services, it says so.
pub(in crate::store) async fn of(client: &Client) -> String {
    let setting = async |name: &str| {
        let command = redis::cmd("CONFIG").arg("GET").arg(name).to_owned();
        let answer = client.masters().first()?.call(&command).await.ok()?;
        let Value::Array(answer) = answer else { return None };
        match answer.into_iter().nth(1) {
            Some(Value::BulkString(value)) => String::from_utf8(value).ok(),
            _ => None,
        }
    };
    if let Some(policy) = setting("maxmemory-policy").await
        && policy != "noeviction"
    {
        tracing::warn!(
            policy,
            "Redis ends sessions when its memory is full; `CONFIG SET maxmemory-policy noeviction` \
             makes it refuse new ones instead"
        );
    }
    match (setting("appendonly").await.as_deref(), setting("appendfsync").await.as_deref()) {
        (Some("yes"), Some("always")) => "a crash and a power loss of the server, each commit being \
                                          synced; not a failover to a replica that lags behind",
        (Some("yes"), Some("everysec")) => {
            "a crash of the server, and a power loss but for the last two seconds; not a failover \
             to a replica that lags behind"
        }
        (Some("yes"), Some(_)) => {
            "a crash of the server, and a power loss but for what its system had not written yet; \
             not a failover to a replica that lags behind"
        }
        (Some(_), _) => {
            tracing::warn!(
                "Redis keeps no append-only file, so a crash loses sessions; `CONFIG SET appendonly \
                 yes` makes it keep one"
            );
            "nothing since the server's last snapshot: `appendonly` is not set"
        }
        (None, _) => {
            "what the server's append-only file does, which may not be asked for; not a failover \
             to a replica that lags behind"
        }
    }
    .to_owned()
}
