//! Edits, beside an app that changes the same session.

use ingle::data::Data;
use serde_json::{Value, json};

use crate::{on_both_stores, scene::Scene};

on_both_stores! {
    a_field_is_saved_while_the_app_counts_and_no_count_is_lost
    a_field_that_somebody_else_changed_is_refused_with_all_three_values
    two_operators_who_edit_different_fields_both_save
    a_value_changes_its_type_and_every_type_comes_back_as_it_was
    fields_and_items_are_added_and_removed
    what_is_wrong_in_json_is_said_with_its_place_and_what_was_typed_stays
    the_whole_as_json_saves_only_what_was_changed
    an_edit_is_undone_for_ten_minutes_and_not_over_what_came_after
}

fn edit(path: &str, before: &Value, kind: &str, value: &str) -> Vec<(String, String)> {
    [("path", path), ("before", &before.to_string()), ("kind", kind), ("value", value)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

async fn save(scene: &Scene, at: &str, fields: &[(String, String)]) -> crate::http::Answer {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    scene.post(at, &fields).await
}

async fn a_field_is_saved_while_the_app_counts_and_no_count_is_lost(scene: Scene) {
    const COUNTS: u64 = 400;
    let handle = scene.holding(json!({ "greeting": "Hola", "views": 0 })).await;
    let session = scene.sessions().find(&handle).await.unwrap().unwrap();
    let app = async {
        for _ in 0..COUNTS {
            let count = |data: &mut Data| {
                let views = data["views"].as_u64().unwrap();
                data.insert("views".to_owned(), (views + 1).into());
            };
            session.update(count).await.unwrap();
        }
    };
    let operator = async {
        let at = format!("/sessions/{handle}/edit");
        let mut before = "Hola".to_owned();
        for n in 0..20 {
            let after = format!("Hello {n}");
            let answer = save(&scene, &at, &edit("greeting", &json!(before), "text", &after)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            before = after;
        }
    };
    tokio::join!(app, operator);
    assert_eq!(scene.data(&handle).await, json!({ "greeting": "Hello 19", "views": COUNTS }));
}

async fn a_field_that_somebody_else_changed_is_refused_with_all_three_values(scene: Scene) {
    let handle = scene.holding(json!({ "greeting": "Theirs", "views": 1 })).await;
    let at = format!("/sessions/{handle}/edit");
    let answer = save(&scene, &at, &edit("greeting", &json!("Before"), "text", "Yours")).await;
    assert_eq!(answer.status, 409);
    for value in ["Before", "Theirs", "Yours"] {
        assert!(answer.body.contains(&format!("&#34;{value}&#34;")), "{}", answer.body);
    }
    assert_eq!(scene.data(&handle).await["greeting"], "Theirs");
    // Once more, on the condition of what is there now.
    let edits = answer.hidden("edits");
    let at = format!("/sessions/{handle}/apply");
    assert_eq!(scene.post(&at, &[("edits", &edits)]).await.status, 200);
    assert_eq!(scene.data(&handle).await["greeting"], "Yours");
    // A removal is refused as well.
    let mut fields = edit("greeting", &json!("Before"), "text", "");
    fields.push(("do".to_owned(), "remove".to_owned()));
    assert_eq!(save(&scene, &format!("/sessions/{handle}/edit"), &fields).await.status, 409);
    assert_eq!(scene.data(&handle).await["greeting"], "Yours");
}

async fn two_operators_who_edit_different_fields_both_save(scene: Scene) {
    let handle = scene.holding(json!({ "a": 1, "b": { "c": 1, "d": 1 } })).await;
    let at = format!("/sessions/{handle}/edit");
    let one = edit("a", &json!(1), "int", "2");
    let other = edit("b.c", &json!(1), "int", "2");
    let third = edit("b.d", &json!(1), "int", "2");
    let (one, other, third) =
        tokio::join!(save(&scene, &at, &one), save(&scene, &at, &other), save(&scene, &at, &third));
    assert_eq!((one.status, other.status, third.status), (200, 200, 200));
    assert_eq!(scene.data(&handle).await, json!({ "a": 2, "b": { "c": 2, "d": 2 } }));
}

async fn a_value_changes_its_type_and_every_type_comes_back_as_it_was(scene: Scene) {
    let values = json!({
        "integer": i64::MAX, "double": 1.0, "nan": { "$double": "NaN" }, "text": "one\n\ttwo",
        "lines": "a\r\nb\u{7}", "boolean": true, "null": null,
        "timestamp": { "$timestamp": "2026-05-04T12:30:00.123456Z" }, "bytes": { "$bytes": "aGk=" },
        "geopoint": { "$geopoint": [52.5, -13.0] }, "reference": { "$reference": "a/b" },
        "map": { "a": { "b": null } }, "list": [1, 1.5, "x", [], {}], "blank": "\n x ",
    });
    let handle = scene.holding(json!({ "at": 0, "beside": 1.0 })).await;
    let at = format!("/sessions/{handle}/edit");
    let mut before = json!(0);
    for (name, value) in values.as_object().unwrap() {
        let session = scene.sessions().find(&handle).await.unwrap().unwrap();
        let put = value.clone();
        session
            .update(move |data: &mut Data| data.insert("at".to_owned(), put.clone()))
            .await
            .unwrap();
        // The form shows it, and saved as it is shown it is the same.
        let form = scene.get(&format!("{at}?path=at")).await;
        let shown: Value = serde_json::from_str(&form.hidden("before")).unwrap();
        assert_eq!(shown, *value, "{name}");
        let (kind, text) = shown_in(&form.body);
        let sent = text.replace('\n', "\r\n");
        assert_eq!(save(&scene, &at, &edit("at", value, &kind, &sent)).await.status, 200, "{name}");
        assert_eq!(scene.data(&handle).await, json!({ "at": value, "beside": 1.0 }), "{name}");
        before = value.clone();
    }
    for (kind, text, value) in [
        ("int", "3", json!(3)),
        ("double", "3", json!(3.0)),
        ("text", "3", json!("3")),
        ("bool", "true", json!(true)),
        ("null", "", json!(null)),
        ("json", "[1]", json!([1])),
    ] {
        let answer = save(&scene, &at, &edit("at", &before, kind, text)).await;
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
        assert_eq!(scene.data(&handle).await["at"], value);
        before = value;
    }
    for (kind, text) in
        [("int", "3.5"), ("bool", "yes"), ("timestamp", "today"), ("x", ""), ("", "")]
    {
        let answer = save(&scene, &at, &edit("at", &before, kind, text)).await;
        assert_eq!(answer.status, 422, "{kind}: {answer:?}");
    }
    assert_eq!(scene.data(&handle).await["at"], before);
}

/// The type and the text that a form shows.
fn shown_in(html: &str) -> (String, String) {
    let kind = html.split("\" selected>").next().unwrap().rsplit("value=\"").next().unwrap();
    let text = html.split("<textarea").nth(1).unwrap().split_once(">\n").unwrap().1;
    let text = text.split("</textarea>").next().unwrap();
    let mut text = text.to_owned();
    for (escape, c) in
        [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
    {
        text = text.replace(escape, c);
    }
    (kind.to_owned(), text)
}

async fn fields_and_items_are_added_and_removed(scene: Scene) {
    let handle = scene.holding(json!({ "cart": { "items": [1] } })).await;
    let at = format!("/sessions/{handle}/edit");
    let add = [("path", ""), ("name", "a.b"), ("kind", "int"), ("value", "1")];
    assert_eq!(scene.post(&at, &add).await.status, 200);
    // It is there now, so it is not added again.
    let again = [("path", ""), ("name", "a.b"), ("kind", "int"), ("value", "2")];
    assert_eq!(scene.post(&at, &again).await.status, 409);
    let form = scene.get(&format!("/sessions/{handle}/add?in=cart.items")).await;
    let (path, before) = (form.hidden("path"), form.hidden("before"));
    assert_eq!((&*path, &*before), ("cart.items[1]", "[1]"));
    let add = [("path", &*path), ("before", &*before), ("kind", "json"), ("value", "{\"n\":2}")];
    assert_eq!(scene.post(&at, &add).await.status, 200);
    let form = scene.get(&format!("/sessions/{handle}/add?in=cart.items%5B1%5D")).await;
    let before = form.hidden("before");
    let add = [
        ("path", "cart.items[1]"),
        ("name", "x"),
        ("before", &before),
        ("kind", "null"),
        ("value", ""),
    ];
    assert_eq!(scene.post(&at, &add).await.status, 200);
    let add = [("path", "cart"), ("name", "new"), ("kind", "text"), ("value", "y")];
    assert_eq!(scene.post(&at, &add).await.status, 200);
    let expected = json!({ "a.b": 1, "cart": { "items": [1, { "n": 2, "x": null }], "new": "y" } });
    assert_eq!(scene.data(&handle).await, expected);
    let remove =
        [("path", "cart.items[0]"), ("before", "[1,{\"n\":2,\"x\":null}]"), ("do", "remove")];
    assert_eq!(scene.post(&at, &remove).await.status, 200);
    let remove = [("path", "\"a.b\""), ("before", "1"), ("do", "remove")];
    assert_eq!(scene.post(&at, &remove).await.status, 200);
    let expected = json!({ "cart": { "items": [{ "n": 2, "x": null }], "new": "y" } });
    assert_eq!(scene.data(&handle).await, expected);
    let nameless = [("path", ""), ("name", ""), ("kind", "int"), ("value", "1")];
    assert_eq!(scene.post(&at, &nameless).await.status, 422);
}

async fn what_is_wrong_in_json_is_said_with_its_place_and_what_was_typed_stays(scene: Scene) {
    let handle = scene.holding(json!({ "views": 1 })).await;
    let at = format!("/sessions/{handle}/json");
    for (text, place) in [
        ("{\r\n  \"views\": 2,\r\n  'a': 1\r\n}", "Line 3, column 3"),
        ("{\"views\": NaN}", "Line 1, column 11"),
        ("{} x", "Line 1, column 4"),
        ("\u{feff}{}", "Line 1, column 1"),
        ("[1]", "Line 1, column 1"),
        ("{\"a\": \"\\ud800\"}", "Line 1, column"),
        ("", "Line 1, column 0"),
    ] {
        let answer = scene.post(&at, &[("before", "{\"views\":1}"), ("value", text)]).await;
        assert_eq!(answer.status, 422, "{text}");
        assert!(answer.body.contains(place), "{text}: {}", answer.body);
        let (_, typed) = shown_in(&answer.body.replace("</form>", "\" selected>"));
        assert_eq!(typed, text.replace("\r\n", "\n"));
    }
    assert_eq!(scene.data(&handle).await, json!({ "views": 1 }));
}

async fn the_whole_as_json_saves_only_what_was_changed(scene: Scene) {
    let handle = scene.holding(json!({ "views": 1, "a": { "b": 1, "c": 2 }, "gone": 1 })).await;
    let at = format!("/sessions/{handle}/json");
    let before = scene.get(&at).await.hidden("before");
    let session = scene.sessions().find(&handle).await.unwrap().unwrap();
    session.update(|data: &mut Data| data.insert("views".to_owned(), 2.into())).await.unwrap();
    let wanted = r#"{ "views": 1, "a": { "b": 5, "c": 2 }, "new": [1.0] }"#;
    assert_eq!(scene.post(&at, &[("before", &before), ("value", wanted)]).await.status, 200);
    let expected = json!({ "views": 2, "a": { "b": 5, "c": 2 }, "new": [1.0] });
    assert_eq!(scene.data(&handle).await, expected);
    let unchanged = scene.post(&at, &[("before", &before), ("value", &before)]).await;
    assert_eq!(unchanged.status, 303);
    // One field of several is in conflict: nothing is saved.
    let wanted = r#"{ "views": 9, "a": { "b": 1, "c": 7 }, "gone": 1 }"#;
    let answer = scene.post(&at, &[("before", &before), ("value", wanted)]).await;
    assert_eq!(answer.status, 409);
    assert_eq!(scene.data(&handle).await, expected);
    let edits = answer.hidden("edits");
    let answer = scene.post(&format!("/sessions/{handle}/apply"), &[("edits", &edits)]).await;
    assert_eq!(answer.status, 200);
    let expected = json!({ "views": 9, "a": { "b": 5, "c": 7 }, "new": [1.0] });
    assert_eq!(scene.data(&handle).await, expected);
}

async fn an_edit_is_undone_for_ten_minutes_and_not_over_what_came_after(scene: Scene) {
    let handle = scene.holding(json!({ "a": 1, "b": null })).await;
    let (at, apply) = (format!("/sessions/{handle}/edit"), format!("/sessions/{handle}/apply"));
    let mut undos = Vec::new();
    for (path, before) in [("a", json!(1)), ("b", json!(null))] {
        let saved = save(&scene, &at, &edit(path, &before, "int", "2")).await;
        undos.push((saved.hidden("edits"), saved.hidden("until")));
    }
    let added = [("path", ""), ("name", "c"), ("kind", "int"), ("value", "3")];
    let saved = scene.post(&at, &added).await;
    undos.push((saved.hidden("edits"), saved.hidden("until")));
    assert_eq!(scene.data(&handle).await, json!({ "a": 2, "b": 2, "c": 3 }));
    for (edits, until) in &undos {
        let undone = scene.post(&apply, &[("edits", edits), ("until", until)]).await;
        assert_eq!(undone.status, 200, "{edits}: {undone:?}");
        assert!(undone.body.contains("Undone."));
    }
    assert_eq!(scene.data(&handle).await, json!({ "a": 1, "b": null }));
    let saved = save(&scene, &at, &edit("a", &json!(1), "int", "2")).await;
    let (edits, until) = (saved.hidden("edits"), saved.hidden("until"));
    let session = scene.sessions().find(&handle).await.unwrap().unwrap();
    session.update(|data: &mut Data| data.insert("a".to_owned(), 7.into())).await.unwrap();
    let undone = scene.post(&apply, &[("edits", &edits), ("until", &until)]).await;
    assert_eq!(undone.status, 409);
    session.update(|data: &mut Data| data.insert("a".to_owned(), 2.into())).await.unwrap();
    scene.clock.advance(std::time::Duration::from_secs(600));
    let undone = scene.post(&apply, &[("edits", &edits), ("until", &until)]).await;
    assert_eq!(undone.status, 410);
    assert_eq!(scene.data(&handle).await["a"], 2);
}
