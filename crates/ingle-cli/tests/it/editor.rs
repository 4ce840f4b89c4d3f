//! `ingle sessions edit`, with scripts as editors, beside what others change meanwhile.

use std::{fs, os::unix::process::CommandExt as _, path::PathBuf};

use serde_json::json;

use crate::{
    Ended, PROGRAM,
    commands::on_each_store,
    place::{ADA, Place},
    program,
};

/// Edits ada's session by a script, which is given the file as `$1`.
fn edit(place: &Place, script: &str, options: &[&str]) -> Ended {
    let file = place.folder().join("editor");
    fs::write(&file, script).unwrap();
    let mut edit = program(place);
    edit.env("EDITOR", format!("sh {}", file.display())).env("TMPDIR", place.folder());
    // Ctrl-C is for all of a group.
    edit.process_group(0).args(["sessions", "edit", ADA]).args(options);
    Ended::of(edit.output().unwrap())
}

/// The text that was kept, and where.
fn kept(ended: &Ended) -> (PathBuf, String) {
    let line = ended.stderr.lines().last().unwrap();
    let path = line.split("your text is kept in ").nth(1).unwrap().split(';').next().unwrap();
    (path.into(), fs::read_to_string(path).unwrap())
}

/// No text is left behind that nobody was told of.
fn nothing_is_left(place: &Place) {
    let left = fs::read_dir(place.folder()).unwrap().map(|file| file.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("ingle-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

on_each_store! {
    what_was_edited_is_stored_beside_what_others_change
    a_field_that_another_has_changed_is_a_conflict_and_the_text_is_kept
    what_cannot_be_stored_is_told_and_the_text_is_kept
    a_secret_is_not_in_the_text_unless_it_is_revealed
    an_editor_that_fails_or_is_interrupted_loses_no_text
}

async fn what_was_edited_is_stored_beside_what_others_change(place: Place) {
    let meanwhile = format!("{PROGRAM} sessions set {ADA} views=500 cart.coupon=d");
    let script = format!("sed -i 's/\"Hi\"/\"Hola\"/; s/\"n\": 1/\"n\": 2/' \"$1\"; {meanwhile}");
    let done = edit(&place, &script, &[]).ok();
    assert!(done.stdout.contains("greeting: text:Hi → text:Hola"), "{done:?}");
    let data = place.data(ADA).await.unwrap();
    let expected = json!({
        "views": 500,
        "greeting": "Hola",
        "password": "s3cret-1",
        "cart": { "items": [{ "n": 2 }], "coupon": "d", "api_key": "s3cret-2" },
    });
    assert_eq!(serde_json::Value::Object(data), expected);
    nothing_is_left(&place);
}

async fn a_field_that_another_has_changed_is_a_conflict_and_the_text_is_kept(place: Place) {
    let meanwhile = format!("{PROGRAM} sessions set {ADA} greeting=Theirs");
    let script = format!("sed -i 's/\"Hi\"/\"Yours\"/; s/101/7/' \"$1\"; {meanwhile}");
    let conflict = edit(&place, &script, &[]).with(5);
    let told = "greeting: it was text:Hi, it is text:Theirs now, and yours is text:Yours";
    assert!(conflict.stderr.contains(told), "{conflict:?}");
    let (path, text) = kept(&conflict);
    assert!(text.contains("\"Yours\""), "{text}");
    fs::remove_file(path).unwrap();
    let data = place.data(ADA).await.unwrap();
    assert_eq!((&data["greeting"], &data["views"]), (&json!("Theirs"), &json!(101)));
    let log = program(&place).args(["audit", "--ndjson"]).output().unwrap();
    let log = Ended::of(log).ok().stdout;
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let refused: Vec<_> = lines.filter(|line| line["outcome"] == "refused").collect();
    assert_eq!(refused.len(), 1, "{log}");
    assert_eq!(refused[0]["fields"], json!({ "greeting": {}, "views": {} }));
}

async fn what_cannot_be_stored_is_told_and_the_text_is_kept(place: Place) {
    let before = place.data(ADA).await.unwrap();
    for (script, code, says) in [
        ("echo '{' >> \"$1\"", 1, "your text is no JSON"),
        ("echo '[1]' > \"$1\"", 1, "must be an object"),
        ("sed -i 's/\"note\": .*//; s/\"views\"/\"__views__\"/' \"$1\"", 4, "nothing was changed"),
        ("sed -i 's/101/18446744073709551616/' \"$1\"", 1, "more than 64 bits"),
        (
            "sed -i 's/\"greeting\": \"Hi\"/\"copy\": {\"$hidden\": \"text\"}/' \"$1\"",
            4,
            "hidden value",
        ),
    ] {
        let ended = edit(&place, script, &[]).with(code);
        assert!(ended.stderr.contains(says), "{script}: {ended:?}");
        let (path, _) = kept(&ended);
        fs::remove_file(path).unwrap();
        assert_eq!(place.data(ADA).await.unwrap(), before, "{script}");
    }
    for script in ["exit 1", "true"] {
        let ended = edit(&place, script, &[]);
        assert_eq!(ended.code, i32::from(script == "exit 1"), "{ended:?}");
        assert!(ended.stderr.contains("nothing was changed"), "{ended:?}");
    }
    let ended = edit(&place, &format!("{PROGRAM} sessions end {ADA}; sed -i s/Hi/Ho/ \"$1\""), &[]);
    let (_, text) = kept(&ended.with(3));
    assert!(text.contains("\"Ho\""), "{text}");
}

async fn a_secret_is_not_in_the_text_unless_it_is_revealed(place: Place) {
    let copy = place.folder().join("copy");
    let script = format!("cp \"$1\" {0}; stat -c %a \"$1\" >> {0}", copy.display());
    edit(&place, &script, &[]).ok();
    let text = fs::read_to_string(&copy).unwrap();
    assert!(!text.contains("s3cret") && text.contains("// user       ada"), "{text}");
    assert!(text.ends_with("600\n"), "{text}");
    edit(&place, &script, &["--reveal"]).ok();
    assert!(fs::read_to_string(&copy).unwrap().contains("s3cret-1"));
    let script = "sed -i 's/{ *\"$hidden\": \"text\" *}/\"x\"/' \"$1\"; \
                  tr -d '\\n' < \"$1\" > \"$1.x\"; cat \"$1.x\" > /dev/null; rm \"$1.x\"";
    edit(&place, script, &[]).ok();
}

#[tokio::test]
async fn without_an_editor_nothing_is_edited() {
    let place = Place::sqlite().filled().await;
    let ended = crate::run(&place, &["sessions", "edit", ADA]).with(2);
    assert!(ended.stderr.contains("set VISUAL or EDITOR"), "{ended:?}");
}

async fn an_editor_that_fails_or_is_interrupted_loses_no_text(place: Place) {
    let before = place.data(ADA).await.unwrap();
    for (end, code) in [("exit 3", 1), ("printf '\\377' >> \"$1\"", 1), ("kill -INT 0", 130)] {
        let ended = edit(&place, &format!("sed -i s/Hi/Ho/ \"$1\"; {end}"), &["--reveal"]);
        let ended = ended.with(code);
        assert!(ended.stderr.contains("nothing was changed"), "{ended:?}");
        let line = ended.stderr.lines().last().unwrap();
        let path = line.split("your text is kept in ").nth(1).unwrap().split(';').next().unwrap();
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        assert!(text.contains("\"Ho\""), "{end}: {text}");
        fs::remove_file(path).unwrap();
        assert_eq!(place.data(ADA).await.unwrap(), before, "{end}");
    }
    // What nobody wrote in is no loss.
    for (end, code) in [("exit 3", 1), ("kill -INT 0", 130), ("rm \"$1\"", 1)] {
        edit(&place, end, &["--reveal"]).with(code);
        nothing_is_left(&place);
    }
    let done = edit(&place, "trap '' INT; kill -INT 0; sed -i s/Hi/Ho/ \"$1\"", &[]).ok();
    assert!(done.stdout.contains("greeting"), "{done:?}");
    nothing_is_left(&place);
}

#[tokio::test]
async fn an_empty_visual_is_no_editor() {
    let place = Place::sqlite().filled().await;
    let mut edit = program(&place);
    edit.env("VISUAL", "").env("EDITOR", "sed -i s/Hi/Ho/").args(["sessions", "edit", ADA]);
    Ended::of(edit.output().unwrap()).ok();
    assert_eq!(place.data(ADA).await.unwrap()["greeting"], "Ho");
}
