//! What a user must be allowed, and what is said where it is not.

use ingle::store::{ErrorKind, OpenErrorKind, open};
use testbed::redis::{ask, start};

use super::{
    opening::{refused, works},
    *,
};

#[tokio::test]
async fn a_user_with_few_rights_a_database_and_a_prefix_will_do() {
    let server = start(&[]);
    let at = server.address();
    let rights = "~shop:* +get +set +@sortedset +pexpire +scan +eval +evalsha +select \
                  +asking +cluster|slots +config|get";
    ask(at, &format!("ACL SETUSER app on >p@ss:w/rd {rights}")).unwrap();
    works(&format!("redis://app:p%40ss%3Aw%2Frd@{at}/3?prefix=shop")).await;
    works(&format!("redis://app:p%40ss%3Aw%2Frd@{at}?prefix=shop:sub")).await;
    let error = refused(&format!("redis://app:p%40ss%3Aw%2Frd@{at}")).await;
    assert!(error.contains("may not do this") && error.contains("~ingle:*"), "{error}");
    assert!(ask(at, "INFO keyspace").unwrap().contains("db3:keys="), "in its database");
    for right in
        ["get", "set", "pexpire", "zadd", "zrem", "zrange", "zremrangebyscore", "eval", "evalsha"]
    {
        ask(at, &format!("ACL SETUSER app -{right}")).unwrap();
        let error = refused(&format!("redis://app:p%40ss%3Aw%2Frd@{at}?prefix=shop")).await;
        assert!(error.contains("ACL SETUSER"), "{right}: {error}");
        ask(at, &format!("ACL SETUSER app +{right}")).unwrap();
    }
    // What only makes the words about durability better is not needed.
    ask(at, "ACL SETUSER app -config|get").unwrap();
    let store = open(&format!("redis://app:p%40ss%3Aw%2Frd@{at}?prefix=shop")).await.unwrap();
    let durability = store.info().durability;
    assert!(durability.contains("may not be asked"), "{durability}");
}

#[tokio::test]
async fn a_user_who_may_not_scan_has_all_but_the_list_of_all() {
    let server = start(&[]);
    let at = server.address();
    ask(at, "ACL SETUSER app on >hunter2 ~ingle:* +@all -scan").unwrap();
    let (log, _guard) = crate::log::Log::catch();
    let store = open(&format!("redis://app:hunter2@{at}")).await.unwrap();
    assert!(log.text().contains("may not call SCAN"), "{}", log.text());
    let record = record(random_key(), Some("mary"));
    store.commit(Write::Create { record: &record }, now()).await.unwrap();
    let lists = store.as_list().unwrap();
    assert_eq!(lists.list_by_user("mary", None, 10, now()).await.unwrap().records.len(), 1);
    let error = lists.list(None, 10, now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("+scan"), "{cause}");
}

#[tokio::test]
async fn a_server_that_may_not_be_asked_by_hello_is_asked_by_info() {
    for settings in [&["--rename-command", "HELLO", ""][..], &[]] {
        let server = start(settings);
        let at = server.address();
        ask(at, "ACL SETUSER app on >hunter2 ~ingle:* +@all -hello").unwrap();
        works(&format!("redis://app:hunter2@{at}")).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_say_who_it_is_is_not_called_old() {
    let server = start(&["--rename-command", "HELLO", ""]);
    let at = server.address();
    ask(at, "ACL SETUSER app on >hunter2 ~ingle:* +@all -info").unwrap();
    let error = open(&format!("redis://app:hunter2@{at}")).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Denied, "{error}");
    let line = error.to_string();
    assert!(line.contains("HELLO (it knows no such command)"), "{line}");
    assert!(line.contains("INFO (this user may not call it)"), "{line}");
    assert!(line.contains("ACL SETUSER USER +hello +info") && !line.contains("older"), "{line}");
}

#[tokio::test]
async fn a_right_that_only_a_database_or_a_cluster_needs_is_told_there() {
    let rights = "on >hunter2 ~ingle:* +@all";
    let server = start(&[]);
    ask(server.address(), &format!("ACL SETUSER app {rights} -select")).unwrap();
    let url = format!("redis://app:hunter2@{}", server.address());
    works(&url).await;
    assert!(refused(&format!("{url}/3")).await.contains("+select"));
    let server = start(&["--cluster-enabled", "yes"]);
    ask(server.address(), "CLUSTER ADDSLOTSRANGE 0 16383").unwrap();
    ask(server.address(), &format!("ACL SETUSER app {rights} -cluster|slots")).unwrap();
    let error = refused(&format!("redis://app:hunter2@{}", server.address())).await;
    assert!(error.contains("+cluster|slots"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_full_is_not_called_old() {
    let server = start(&["--maxclients", "1"]);
    let _held = std::net::TcpStream::connect(server.address()).unwrap();
    let error = refused(&format!("redis://{}", server.address())).await;
    // It may have gone before it could be asked anything.
    assert!(error.contains("`maxclients`") && !error.contains("older"), "{error}");
}

/// Does all that a store can be asked for.
async fn work(url: &str) {
    let store = Redis::open(RedisConfig::parse(url).unwrap()).await.unwrap();
    let base = create(&store, &record(random_key(), Some("mary"))).await;
    let base = replace(&store, &base, |_| {}).await.unwrap();
    let other = User::new("ada", 0, Timestamp::from_millis(7));
    let base = replace(&store, &base, |record| record.header.user = Some(other)).await.unwrap();
    let key = base.record.header.key;
    store.touch(&key, now().after(minutes(90)), now()).await.unwrap();
    let base = live(&store, &key).await.unwrap();
    let moved = renew(&store, &base).await;
    store.list(None, 10, now()).await.unwrap();
    store.list_by_user("ada", None, 10, now()).await.unwrap();
    store.ping().await.unwrap();
    store.sweep(now(), 10).await.unwrap();
    destroy(&store, &moved.record.header.key).await;
}

#[tokio::test]
async fn each_command_that_the_store_sends_is_tried_when_it_is_opened() {
    let server = start(&[]);
    let at = server.address();
    ask(at, "ACL SETUSER app on >hunter2 ~ingle:* +@all").unwrap();
    let url = format!("redis://app:hunter2@{at}/3");
    ask(at, "CONFIG RESETSTAT").unwrap();
    work(&url).await;
    let stats = ask(at, "INFO commandstats").unwrap();
    let sent = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
    // What this test sends, what no ACL forbids, and what is not needed.
    let others =
        ["auth", "hello", "quit", "info", "config|resetstat", "config|get", "scan", "publish"];
    let sent: Vec<&str> = sent.filter(|command| !others.contains(command)).collect();
    for command in ["get", "set", "zadd", "zrem", "evalsha"] {
        assert!(sent.contains(&command), "{command} is not in {sent:?}");
    }
    for command in sent {
        ask(at, &format!("ACL SETUSER app -{command}")).unwrap();
        let error = refused(&url).await;
        assert!(error.contains("ACL SETUSER"), "{command}: {error}");
        ask(at, &format!("ACL SETUSER app +{command}")).unwrap();
    }
    for command in others {
        ask(at, &format!("ACL SETUSER app -{command}")).unwrap();
    }
    open(&url).await.unwrap();
}
