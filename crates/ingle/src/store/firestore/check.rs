//! What a database is set up wrong for: what is asked of it beside the sessions.

use std::time::UNIX_EPOCH;

use reqwest::{Client as Http, Response, header};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use super::{
    connect::{CALL_TIME_MAX, Client, GOOGLE},
    error::emulator_in_production,
    fields::EXPIRES,
    identity, list,
};
use crate::{
    clock::Timestamp,
    store::{Warning, floor::platform::Platform},
};

/// Asks whatever the app's account may ask. What it may not is left out.
pub(super) async fn check(client: &Client, now: Timestamp) -> Result<Vec<Warning>, Status> {
    if let Some(host) = &client.server.emulator {
        // It needs no index, has no TTL policy, and is nowhere.
        return Ok(Platform::here()
            .map(|platform| emulator_in_production(host, platform))
            .into_iter()
            .collect());
    }
    let mut warnings = who_deletes(client, now).await?;
    let began = Instant::now();
    let database = timeout(CALL_TIME_MAX, ask(client, "")).await.ok().flatten();
    let answered = now.after(began.elapsed());
    if let Some(database) = database {
        let theirs = database.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        if let Some(theirs) = theirs.and_then(|date| httpdate::parse_http_date(date).ok()) {
            let since_1970 = theirs.duration_since(UNIX_EPOCH).unwrap_or_default();
            let theirs = Timestamp::from_millis(0).after(since_1970);
            warnings.extend(Warning::of_clocks("Google", now, answered, theirs));
        }
        if let Some(location) = text_of(database, "/locationId").await {
            let here = identity::region().await;
            let far = here.filter(|region| !is_near(&location, region));
            warnings.extend(far.map(|region| client.server.far(&location, &region)));
        }
    }
    Ok(warnings)
}

/// Whether sweeps or the TTL policy delete what is dead: one of them is enough, but sweeps do not run in an
/// instance that is frozen.
async fn who_deletes(client: &Client, now: Timestamp) -> Result<Vec<Warning>, Status> {
    let no_index = match list::find_dead(client, now, 1).await {
        Err(status) if status.code() == Code::FailedPrecondition => {
            Some(client.server.no_index_for_sweeps(&status).into_warning("index"))
        }
        found => found.map(|_| None)?,
    };
    let field = format!("/collectionGroups/{}/fields/{EXPIRES}", client.names.collection);
    let policy = timeout(CALL_TIME_MAX, ask(client, &field)).await.ok().flatten();
    let has_policy = match policy.filter(|answer| answer.status().is_success()) {
        Some(policy) => Some(text_of(policy, "/ttlConfig/state").await.is_some()),
        // It may not be asked.
        None => None,
    };
    let is_frozen = Platform::here().is_some_and(Platform::forgets_files);
    let no_policy = has_policy == Some(false) && (no_index.is_some() || is_frozen);
    let no_policy = no_policy.then(|| client.server.no_ttl_policy(EXPIRES));
    Ok(no_index.filter(|_| has_policy != Some(true)).into_iter().chain(no_policy).collect())
}

/// Asks the API for administrators about a part of the database.
async fn ask(client: &Client, path: &str) -> Option<Response> {
    let url = format!("{GOOGLE}/v1/{}{path}", client.names.database);
    let http = Http::builder().build().ok()?;
    http.get(url).headers(client.authorized().await.ok()?).send().await.ok()
}

/// A text in an answer, if it is one at all.
async fn text_of(answer: Response, place: &str) -> Option<String> {
    if !answer.status().is_success() {
        return None;
    }
    let answer: Value = answer.json().await.ok()?;
    answer.pointer(place)?.as_str().map(str::to_owned)
}

/// Whether a region is in a location of Firestore, which is a region itself or a continent's.
fn is_near(location: &str, region: &str) -> bool {
    match location {
        "nam5" | "nam7" => region.starts_with("us-"),
        "eur3" => region.starts_with("europe-"),
        location => location == region,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_near_in_itself_and_in_the_multi_region_around_it() {
        for (location, region, near) in [
            ("us-west1", "us-west1", true),
            ("us-west1", "us-west2", false),
            ("nam5", "us-central1", true),
            ("nam5", "europe-west1", false),
            ("eur3", "europe-west4", true),
            ("eur3", "us-east1", false),
        ] {
            assert_eq!(is_near(location, region), near, "{location} {region}");
        }
    }
}
