//! Edits, beside an app that changes the same session.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ingle::{SessionLayer, adapter::HandlerOutcome, data::Data};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    on_both_stores,
    scene::{Scene, begin_in_browser},
};

on_both_stores! {
    a_field_is_saved_at_the_first_try_while_two_instances_count_and_no_count_is_lost
    a_field_that_somebody_else_changed_is_refused_with_all_three_values
    two_operators_who_edit_different_fields_both_save
    a_value_changes_its_type_and_every_type_comes_back_as_it_was
    fields_and_items_are_added_and_removed
    what_is_within_lists_and_maps_at_any_depth_is_edited_and_changes_its_type
    a_list_is_put_into_another_order_as_one_edit
    a_list_in_a_list_and_one_with_secrets_are_put_into_another_order
    what_is_wrong_in_json_is_said_with_its_place_and_what_was_typed_stays
    a_value_of_another_type_is_refused_in_the_words_of_the_form
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

/// Visitors of an instance who count as fast as it goes, until they are told to stop.
fn count(
    layer: &SessionLayer,
    cookie: &str,
    counted: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> JoinSet<()> {
    let mut visitors = JoinSet::new();
    for _ in 0..2 {
        let (door, cookie) = (layer.door(), cookie.to_owned());
        let (counted, stop) = (Arc::clone(counted), Arc::clone(stop));
        visitors.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let in_flight = door.begin([cookie.as_bytes()]);
                in_flight.session().increment("views", 1).unwrap();
                let finished = in_flight.finish(HandlerOutcome::Success).await;
                if let Some(error) = finished.error() {
                    stop.store(true, Ordering::SeqCst);
                    panic!("a visitor was refused: {error}");
                }
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    visitors
}

async fn a_field_is_saved_at_the_first_try_while_two_instances_count_and_no_count_is_lost(
    scene: Scene,
) {
    let (handle, cookie) = begin_in_browser(&scene.layer, async |session| {
        session.insert("greeting", "Hola")?;
        session.insert("views", 0)
    })
    .await;
    let (counted, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let here = count(&scene.layer, &cookie, &counted, &stop);
    let elsewhere = count(&scene.other_instance(), &cookie, &counted, &stop);
    let at = format!("/sessions/{handle}/edit");
    let mut before = "Hola".to_owned();
    for n in 0..20 {
        // The app goes on meanwhile, however slow the machine is.
        let seen = counted.load(Ordering::SeqCst);
        let after = format!("Hello {n}");
        let answer = save(&scene, &at, &edit("greeting", &json!(before), "text", &after)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("Saved."), "{answer:?}");
        before = after;
        while counted.load(Ordering::SeqCst) == seen {
            assert!(!stop.load(Ordering::SeqCst), "a visitor was refused");
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    here.join_all().await;
    elsewhere.join_all().await;
    let views = counted.load(Ordering::SeqCst);
    assert!(views >= 20);
    assert_eq!(scene.data(&handle).await, json!({ "greeting": "Hello 19", "views": views }));
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
        "fine": { "$timestamp": "2026-05-04T12:30:00.123456789Z" },
        "early": { "$timestamp": "1912-06-23T02:15:00Z" }, "unpadded": { "$bytes": "aGk" },
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
        ("list", " [1, 2]\r\n", json!([1, 2])),
        ("map", "{\"a\": {}}", json!({ "a": {} })),
        ("list", "", json!([])),
        ("map", " ", json!({})),
    ] {
        let answer = save(&scene, &at, &edit("at", &before, kind, text)).await;
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
        assert_eq!(scene.data(&handle).await["at"], value);
        before = value;
    }
    for (kind, text) in [
        ("int", "3.5"),
        ("bool", "yes"),
        ("timestamp", "today"),
        ("x", ""),
        ("", ""),
        ("list", "{}"),
        ("map", "[]"),
        ("map", "{"),
        ("json", ""),
        // It would be another number.
        ("json", "[9223372036854775808]"),
        ("list", "[18446744073709551616]"),
    ] {
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

async fn what_is_within_lists_and_maps_at_any_depth_is_edited_and_changes_its_type(scene: Scene) {
    let handle =
        scene.holding(json!({ "a": { "b": [{ "c": { "d": [[1, 2], 3] } }] }, "x": 1 })).await;
    let at = format!("/sessions/{handle}/edit");
    // What the form of a place carries, saved with another type, or removed.
    let form = async |path: &str| {
        let path = crate::http::form(&[("path", path)]);
        let form = scene.get(&format!("{at}?{path}")).await;
        assert_eq!(form.status, 200, "{path}");
        form.hidden("before")
    };
    for (path, kind, value) in [
        ("a.b[0].c.d[0][1]", "text", "two"),
        ("a.b[0].c.d[1]", "map", r#"{"e":null}"#),
        ("a.b[0].c.d[1].e", "list", ""),
        ("a.b[0].c.d[0][0]", "double", "1"),
    ] {
        let before = form(path).await;
        let fields = [("path", path), ("before", &*before), ("kind", kind), ("value", value)];
        assert_eq!(scene.post(&at, &fields).await.status, 200, "{path}");
    }
    let expected = json!({ "a": { "b": [{ "c": { "d": [[1.0, "two"], { "e": [] }] } }] }, "x": 1 });
    assert_eq!(scene.data(&handle).await, expected);
    let add = scene.get(&format!("/sessions/{handle}/add?in=a.b%5B0%5D.c.d%5B1%5D.e")).await;
    let (path, before) = (add.hidden("path"), add.hidden("before"));
    let add = [
        ("path", &*path),
        ("before", &*before),
        ("kind", "timestamp"),
        ("value", "2026-05-04T12:30:00Z"),
    ];
    assert_eq!(scene.post(&at, &add).await.status, 200);
    for path in ["a.b[0].c.d[0]", "a.b[0].c.d[0].e[0]"] {
        let before = form(path).await;
        let remove = [("path", path), ("before", &*before), ("do", "remove")];
        assert_eq!(scene.post(&at, &remove).await.status, 200, "{path}");
    }
    let expected = json!({ "a": { "b": [{ "c": { "d": [{ "e": [] }] } }] }, "x": 1 });
    assert_eq!(scene.data(&handle).await, expected);
}

fn order_of(html: &str) -> Vec<&str> {
    let fields = html.split("name=\"order\" value=\"").skip(1);
    fields.map(|rest| rest.split('"').next().unwrap()).collect()
}

async fn a_list_is_put_into_another_order_as_one_edit(scene: Scene) {
    let items = json!([{ "n": 1 }, "two", 3.0]);
    let handle = scene.holding(json!({ "cart": { "items": items }, "views": 1 })).await;
    let (page, at) = (format!("/sessions/{handle}"), format!("/sessions/{handle}/order"));
    let session = scene.get(&page).await.body;
    assert_eq!(session.matches("Order of ").count(), 1, "{session}");
    assert!(session.contains("/order?path=cart.items\""), "{session}");
    let form = scene.get(&format!("{at}?path=cart.items")).await;
    assert_eq!(order_of(&form.body), ["0", "1", "2"]);
    let before = form.hidden("before");
    let fields = |order: [&'static str; 3], what: (&'static str, &'static str)| {
        let fields = [("path", "cart.items"), ("before", &*before), what];
        [fields.as_slice(), &order.map(|was| ("order", was))].concat()
    };
    // A move changes the form alone, and the same button is ready to be pressed again.
    let moved = scene.post(&at, &fields(["0", "1", "2"], ("move", "down:0"))).await;
    assert_eq!((moved.status, order_of(&moved.body)), (200, vec!["1", "0", "2"]));
    let focus = "value=\"down:1\" aria-label=\"Move item 0 down\" autofocus";
    assert!(moved.body.contains(focus), "{}", moved.body);
    let moved = scene.post(&at, &fields(["1", "0", "2"], ("move", "down:1"))).await;
    assert_eq!(order_of(&moved.body), ["1", "2", "0"]);
    assert!(moved.body.contains("aria-label=\"Move item 0 up\" autofocus"), "{}", moved.body);
    assert_eq!(scene.data(&handle).await["cart"]["items"], items);
    assert_eq!(scene.sessions().audit_log(None).await.unwrap().lines.len(), 0);
    // As it was, there is nothing to save.
    let same = scene.post(&at, &fields(["0", "1", "2"], ("do", "save"))).await;
    assert_eq!(same.status, 303);
    let put = |name: &'static str, value: Value| {
        let (handle, sessions) = (handle, scene.sessions());
        async move {
            let session = sessions.find(&handle).await.unwrap().unwrap();
            let put = move |data: &mut Data| data.insert(name.to_owned(), value.clone());
            session.update(put).await.unwrap();
        }
    };
    // What changed beside it does not matter.
    put("views", json!(2)).await;
    let saved = scene.post(&at, &fields(["1", "2", "0"], ("do", "save"))).await;
    assert!(saved.status == 200 && saved.body.contains("Saved."), "{saved:?}");
    let new = json!({ "cart": { "items": ["two", 3.0, { "n": 1 }] }, "views": 2 });
    assert_eq!(scene.data(&handle).await, new);
    let lines = scene.sessions().audit_log(None).await.unwrap().lines;
    assert_eq!((lines.len(), lines[0].act), (1, ingle::operator::AuditAct::Edit));
    // Another order on the condition of the old list is refused, with all three.
    let refused = scene.post(&at, &fields(["2", "1", "0"], ("do", "save"))).await;
    assert_eq!(refused.status, 409);
    assert_eq!(scene.data(&handle).await, new);
    let (edits, until) = (saved.hidden("edits"), saved.hidden("until"));
    let undone =
        scene.post(&format!("{page}/apply"), &[("edits", &edits), ("until", &until)]).await;
    assert_eq!(undone.status, 200, "{undone:?}");
    assert_eq!(scene.data(&handle).await["cart"]["items"], items);
    // No item is lost or doubled by a form that nobody was given.
    for order in [["0", "0", "1"], ["0", "1", "3"], ["0", "1", "x"]] {
        let refused = scene.post(&at, &fields(order, ("do", "save"))).await;
        assert_eq!(refused.status, 400, "{order:?}");
    }
    for what in [("move", "sideways"), ("move", "up:x")] {
        assert_eq!(scene.post(&at, &fields(["0", "1", "2"], what)).await.status, 400);
    }
    for (path, status) in [("views", 404), ("nothing", 404), ("", 400), ("cart.items%5B0%5D", 404)]
    {
        assert_eq!(scene.get(&format!("{at}?path={path}")).await.status, status, "{path}");
    }
    assert_eq!(scene.data(&handle).await["cart"]["items"], items);
}

async fn a_list_in_a_list_and_one_with_secrets_are_put_into_another_order(scene: Scene) {
    let data = json!({ "rows": [[1, 2], [3, 4]], "keys": [{ "token": "a" }, { "token": "b" }] });
    let handle = scene.holding(data).await;
    let at = format!("/sessions/{handle}/order");
    let swapped = |path: &str, before: &str| {
        [("path", path), ("before", before), ("order", "1"), ("order", "0")]
            .map(|(n, v)| (n, v.to_owned()))
    };
    let save = async |fields: [(&str, String); 4]| {
        scene.post(&at, &fields.each_ref().map(|(name, value)| (*name, &**value))).await.status
    };
    let form = scene.get(&format!("{at}?path=rows%5B1%5D")).await;
    assert_eq!(form.hidden("before"), "[[1,2],[3,4]]");
    assert_eq!(save(swapped("rows[1]", &form.hidden("before"))).await, 200);
    assert_eq!(scene.data(&handle).await["rows"], json!([[1, 2], [4, 3]]));
    let hidden = scene.get(&format!("{at}?path=keys")).await;
    assert!(hidden.body.contains("Reveal and edit") && !hidden.body.contains("name=\"order\""));
    let then = hidden.hidden("then");
    let form = scene
        .post(&format!("/sessions/{handle}/reveal"), &[("path", "keys"), ("then", &then)])
        .await;
    assert_eq!(save(swapped("keys", &form.hidden("before"))).await, 200);
    assert_eq!(scene.data(&handle).await["keys"], json!([{ "token": "b" }, { "token": "a" }]));
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

async fn a_value_of_another_type_is_refused_in_the_words_of_the_form(scene: Scene) {
    let handle = scene.holding(json!({ "views": 1 })).await;
    let at = format!("/sessions/{handle}/edit");
    for (kind, text, said) in [
        ("int", "many", "The type integer takes a whole number of 64 bits."),
        ("int", "99999999999999999999", "The type integer takes a whole number of 64 bits."),
        ("double", "many", "The type double takes a number, NaN, Infinity or -Infinity."),
        ("bool", "yes", "The type boolean takes true or false."),
        ("timestamp", "today", "The type timestamp takes a time from 1970 on, such as"),
        ("bytes", "?", "The type bytes takes base64 with padding."),
        ("geopoint", "x", "The type geographical point takes latitude and longitude, such as"),
        ("reference", "", "The type reference takes the name of a document."),
    ] {
        let refused = save(&scene, &at, &edit("views", &json!(1), kind, text)).await;
        assert!(refused.status == 422 && refused.body.contains(said), "{kind}: {}", refused.body);
        assert!(!refused.body.contains(&format!("{kind}:")), "{kind}: {}", refused.body);
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
