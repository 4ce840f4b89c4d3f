//! The connections of a pool that the app has.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use ingle::{
    clock::{Clock as _, SystemClock},
    store::{OpenErrorKind, Postgres, PostgresConfig, Store as _},
};
use tokio_postgres::NoTls;

use crate::postgres::{Scene, create, key, record, replace, tables::dropped_calls, views};

fn pool(scene: &Scene, size: usize) -> Pool {
    let driver = format!("postgres://postgres@{}/postgres", scene.server).parse().unwrap();
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(driver, NoTls, recycling);
    Pool::builder(manager).max_size(size).build().unwrap()
}

fn config(scene: &Scene, pool: &Pool) -> PostgresConfig {
    let mut config = PostgresConfig::from_deadpool(pool.clone());
    config.table = scene.table.clone();
    config
}

#[tokio::test]
async fn a_pool_of_the_apps_own_serves() {
    let scene = Scene::new().await;
    let pool = pool(&scene, 2);
    Postgres::migrate(config(&scene, &pool)).await.unwrap();
    let store = Postgres::open(config(&scene, &pool)).await.unwrap();
    let base = create(&store, &record(key(1), SystemClock.now(), views(1))).await;
    let base = replace(&store, &base, views(2)).await;
    assert_eq!(scene.only(&store).await, base);
    store.ping().await.unwrap();
    // The app has its connections, and the store takes one at a time.
    let mine = pool.get().await.unwrap();
    let row = mine.query_one(&format!("SELECT counter FROM {}", scene.table), &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    replace(&store, &base, views(3)).await;
    assert!(pool.status().size <= 2);
    // Nobody hears what the server tells on them.
    assert!(store.listen().await.unwrap().is_none());
}

#[tokio::test]
async fn an_error_on_a_pool_of_the_apps_own_has_the_names_of_its_server() {
    let scene = Scene::new().await;
    let mut none = config(&scene, &pool(&scene, 1));
    none.table = "none".to_owned();
    let error = Postgres::open(none).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Missing);
    assert!(error.to_string().contains("database `postgres` has no table `none`"), "{error}");
}

#[tokio::test]
async fn no_answer_reaches_another_call_on_a_pool_of_the_apps_own() {
    let scene = Scene::new().await;
    let pool = pool(&scene, 3);
    let store = Postgres::open(config(&scene, &pool)).await.unwrap();
    dropped_calls(&store).await;
}

#[tokio::test]
async fn a_pool_that_has_no_connection_to_give_is_told_in_one_line() {
    let scene = Scene::new().await;
    let pool = pool(&scene, 1);
    let store = Postgres::open(config(&scene, &pool)).await.unwrap();
    let held = pool.get().await.unwrap();
    let mut waits = config(&scene, &pool);
    waits.connect_timeout = Duration::from_millis(20);
    let error = Postgres::open(waits).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Unreachable);
    assert!(error.to_string().contains("no connection in time"), "{error}");
    drop(held);
    store.ping().await.unwrap();
    pool.close();
    let error = store.ping().await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("the app gave no connection of its pool"), "{why}");
}
