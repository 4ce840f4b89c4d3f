//! Ends of one, of several, and of all of a user.

use serde_json::json;

use crate::{on_both_stores, scene::Scene};

on_both_stores! {
    one_session_ends
    those_that_were_selected_end_and_more_than_ten_take_their_number
    all_that_match_end_and_what_matches_no_more_lives_on
    all_sessions_of_a_user_end
}

async fn one_session_ends(scene: Scene) {
    let handle = scene.holding(json!({ "views": 1 })).await;
    let at = format!("/sessions/{handle}/end");
    assert_eq!(scene.post(&at, &[]).await.status, 200);
    assert!(scene.sessions().find(&handle).await.unwrap().is_none());
    assert_eq!(scene.post(&at, &[]).await.status, 404);
}

async fn those_that_were_selected_end_and_more_than_ten_take_their_number(scene: Scene) {
    let mut handles = Vec::new();
    for n in 0..13 {
        handles.push(scene.holding(json!({ "n": n })).await.to_string());
    }
    let two: Vec<_> = handles[..2].iter().map(|handle| ("handle", &**handle)).collect();
    let asked = scene.post("/sessions/end", &two).await;
    assert!(asked.body.contains("End 2 sessions?"), "{}", asked.body);
    assert!(
        handles[..2].iter().all(|handle| asked.body.contains(&format!("<code>{handle}</code>")))
    );
    let confirmed = [two.as_slice(), &[("confirmed", "1")]].concat();
    assert!(scene.post("/sessions/end", &confirmed).await.body.contains("2 sessions have ended."));
    // A second click ends nothing more.
    let again = scene.post("/sessions/end", &confirmed).await;
    assert!(
        again.body.contains("0 sessions have ended. 2 sessions had ended before"),
        "{}",
        again.body
    );
    let rest: Vec<_> = handles[2..].iter().map(|handle| ("handle", &**handle)).collect();
    for count in [None, Some(""), Some("10"), Some("12"), Some("x")] {
        let mut fields = [rest.as_slice(), &[("confirmed", "1")]].concat();
        fields.extend(count.map(|count| ("count", count)));
        assert_eq!(scene.post("/sessions/end", &fields).await.status, 422, "{count:?}");
    }
    assert!(scene.sessions().find(&handles[2].parse().unwrap()).await.unwrap().is_some());
    let fields = [rest.as_slice(), &[("confirmed", "1"), ("count", "11")]].concat();
    assert!(scene.post("/sessions/end", &fields).await.body.contains("11 sessions have ended."));
    assert!(scene.get("/sessions").await.body.contains("There is no session yet."));
    assert_eq!(scene.post("/sessions/end", &[("handle", "x")]).await.status, 400);
}

async fn all_that_match_end_and_what_matches_no_more_lives_on(scene: Scene) {
    let mut handles = Vec::new();
    for n in 0..6 {
        handles.push(scene.holding(json!({ "n": n })).await);
    }
    let asked = scene.post("/sessions/end", &[("matching", "1"), ("q", "n > 2")]).await;
    assert!(asked.body.contains("End 3 sessions?"), "{}", asked.body);
    assert!(asked.body.contains("The search: <code>n &#62; 2</code>"), "{}", asked.body);
    let session = scene.sessions().find(&handles[3]).await.unwrap().unwrap();
    let put = |data: &mut ingle::data::Data| data.insert("n".to_owned(), 0.into());
    session.update(put).await.unwrap();
    let mut fields = vec![("q", "n > 2".to_owned()), ("confirmed", "1".to_owned())];
    fields.extend(handles[3..].iter().map(|handle| ("handle", handle.to_string())));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
    let body = scene.post("/sessions/end", &fields).await.body;
    assert!(body.contains("2 sessions have ended. 1 session did not match any more"), "{body}");
    for (n, handle) in handles.iter().enumerate() {
        let lives = scene.sessions().find(handle).await.unwrap().is_some();
        assert_eq!(lives, n < 4, "{n}");
    }
    assert_eq!(scene.post("/sessions/end", &[("matching", "1"), ("q", "n >")]).await.status, 400);
}

async fn all_sessions_of_a_user_end(scene: Scene) {
    for user in ["ada", "ada", "bob"] {
        scene.begin(async |session| session.login(user).await).await;
    }
    let asked = scene.post("/user/end", &[("name", "ada")]).await;
    assert!(asked.body.contains("End 2 sessions of this user?"), "{}", asked.body);
    let ended = scene.post("/user/end", &[("name", "ada"), ("confirmed", "1")]).await;
    assert!(ended.body.contains("2 sessions have ended."), "{}", ended.body);
    assert!(scene.sessions().of_user("ada").await.unwrap().is_empty());
    assert_eq!(scene.sessions().of_user("bob").await.unwrap().len(), 1);
    let body = scene.get("/audit").await.body;
    assert!(
        body.contains("end-all") && body.contains("2 ended") && body.contains("grace"),
        "{body}"
    );
}
