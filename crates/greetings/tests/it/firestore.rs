//! The app on Firestore, that is, on its emulators: hidane, which is quick, and Google's.

use std::{net::SocketAddr, sync::Arc};

use ingle::store::{Firestore, FirestoreConfig, Ids, Store};

use crate::{
    outages::{after_a_loss_of_all_data_visitors_begin_anew, no_view_and_no_session_is_lost},
    place::Place,
};

/// Makes a test of each function for each emulator. The function is given the address of one that
/// others use, too; but not at the same time, since these tests keep it busy, and a request of the app
/// waits a second for its store.
macro_rules! on_each_emulator {
    ($($test:ident)*) => {
        mod hidane {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _alone = crate::place::ALONE.write().await;
                super::$test(testbed::firestore::hidane()).await;
            })*
        }
        mod google {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _alone = crate::place::ALONE.write().await;
                super::$test(testbed::firestore::google()).await;
            })*
        }
    };
}

mod load;
mod start;
mod stopped;
mod tutorial;

const PROJECT: &str = "ingle-test";

/// A collection of its own on the hidane that tests share.
pub(crate) fn on_hidane() -> Place {
    place(testbed::firestore::hidane())
}

/// A collection of its own on an emulator.
pub(crate) fn place(emulator: SocketAddr) -> Place {
    in_collection(emulator, &collection(), "")
}

/// A name that no other collection has.
fn collection() -> String {
    format!("test-{:032x}", fastrand::u128(..))
}

/// A collection on an emulator; `options` stand at the end of its URL.
fn in_collection(emulator: SocketAddr, collection: &str, options: &str) -> Place {
    let url = format!("firestore://{PROJECT}/{collection}{options}");
    let environment = vec![(EMULATOR, emulator.to_string())];
    Place::elsewhere(url, environment, |place| Box::pin(open(place)))
}

/// The variables of this process are no place for an emulator of one test.
async fn open(place: &Place) -> Arc<dyn Store> {
    let (path, options) = place.url.split_once('?').unwrap_or((&place.url, ""));
    let collection = path.rsplit('/').next().expect("a collection");
    let mut config = FirestoreConfig::new(PROJECT, collection);
    config.ids = match options {
        "ids=plain" => Ids::Plain,
        "ids=upgrade" => Ids::Upgrade,
        _ => Ids::Hashed,
    };
    config.emulator = place.environment.first().map(|(_, address)| address.clone());
    Arc::new(Firestore::open(config).await.expect("the store opens"))
}

/// The variable that leads to an emulator.
const EMULATOR: &str = "FIRESTORE_EMULATOR_HOST";

#[tokio::test(flavor = "multi_thread")]
async fn hidane_is_paused_and_resumed() {
    let server = testbed::firestore::start_hidane();
    let place = place(server.address());
    no_view_and_no_session_is_lost(server, place, |s| s.pause(), |s| s.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_is_paused_and_resumed() {
    let server = testbed::firestore::start_google();
    let place = place(server.address());
    no_view_and_no_session_is_lost(server, place, |s| s.pause(), |s| s.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hidane_is_killed_and_restarted() {
    let server = testbed::firestore::start_hidane();
    let place = place(server.address());
    after_a_loss_of_all_data_visitors_begin_anew(server, place).await;
}
