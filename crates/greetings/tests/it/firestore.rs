//! The app on Firestore, that is, on its emulators: hidane, which is quick, and Google's.

use std::{net::SocketAddr, sync::Arc};

use ingle::store::{Firestore, FirestoreConfig, Store};

use crate::place::Place;

/// Makes a test of each function for each emulator. The function is given the address of one that
/// others use, too.
macro_rules! on_each_emulator {
    ($($test:ident)*) => {
        mod hidane {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(testbed::firestore::hidane()).await })*
        }
        mod google {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(testbed::firestore::google()).await })*
        }
    };
}

mod load;
mod outages;
mod start;
mod tutorial;

const PROJECT: &str = "ingle-test";

/// A collection of its own on the hidane that tests share.
pub(crate) fn on_hidane() -> Place {
    place(testbed::firestore::hidane())
}

/// A collection of its own on an emulator.
fn place(emulator: SocketAddr) -> Place {
    in_collection(emulator, &collection())
}

/// A name that no other collection has.
fn collection() -> String {
    format!("test-{:032x}", fastrand::u128(..))
}

fn in_collection(emulator: SocketAddr, collection: &str) -> Place {
    let url = format!("firestore://{PROJECT}/{collection}");
    let environment = vec![(EMULATOR, emulator.to_string())];
    Place::elsewhere(url, environment, |place| {
        Box::pin(async {
            let collection = place.url.rsplit('/').next().expect("a collection");
            let collection = collection.split('?').next().expect("a name");
            let mut config = FirestoreConfig::new(PROJECT, collection);
            config.emulator = place.environment.first().map(|(_, address)| address.clone());
            let store = Firestore::open(config).await.expect("the store opens");
            Arc::new(store) as Arc<dyn Store>
        })
    })
}

/// The variable that leads to an emulator.
const EMULATOR: &str = "FIRESTORE_EMULATOR_HOST";
