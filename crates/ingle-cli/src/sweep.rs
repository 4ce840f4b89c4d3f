//! `ingle sweep` and `ingle migrate`: what a store needs done to it as a whole.

use ingle::{
    clock::{Clock as _, SystemClock},
    store,
};
use serde_json::json;

use crate::{
    exit::{Failed, say},
    options::PlaceOptions,
    out::{Format, Out},
    stop::Stop,
};

/// How many records one call deletes, so that the app's commits do not wait long.
const BATCH: usize = 500;

pub(crate) async fn sweep(place: &PlaceOptions, out: &mut Out) -> Result<(), Failed> {
    let store = place.open().await?;
    let stop = Stop::listen();
    let mut deleted = 0;
    loop {
        stop.check(&format!("{}; run it again to go on", done(deleted)))?;
        let swept = store.sweep(SystemClock.now(), BATCH).await;
        let swept = swept.map_err(|error| {
            let failed = Failed::from(error);
            if deleted > 0 { failed.partly(&done(deleted)) } else { failed }
        })?;
        deleted += swept.deleted;
        if !swept.more {
            break;
        }
    }
    if out.format == Format::Text {
        say(&format!("ingle: {}", done(deleted)));
    } else {
        out.document(&json!({ "deleted": deleted }))?;
        out.flush()?;
    }
    Ok(())
}

fn done(deleted: usize) -> String {
    format!("{deleted} dead records were deleted")
}

pub(crate) async fn migrate(place: &PlaceOptions, out: &mut Out) -> Result<(), Failed> {
    let url = place.url()?;
    store::migrate(&url).await?;
    // Which also makes a folder and a file, where these are the store.
    store::open(&url).await?;
    if out.format == Format::Text {
        say("ingle: the store is ready");
    } else {
        out.document(&json!({ "ready": true }))?;
        out.flush()?;
    }
    Ok(())
}
