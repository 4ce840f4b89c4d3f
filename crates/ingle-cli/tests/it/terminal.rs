//! Where people sit before it: a terminal, a pipe that ends, Ctrl-C.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use rustix_openpty::{openpty, rustix::termios::Winsize};
use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    Ended,
    commands::on_each_store,
    place::{ADA, ALSO_BOB, BOB, Place, record},
    program, run,
};

/// Runs a program on a terminal of so many columns, where somebody types, and returns how it ended and all
/// that the terminal showed.
pub(crate) fn on_terminal(mut program: Command, columns: u16, typed: &str) -> (i32, String) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(None, Some(&size)).unwrap();
    let (mut screen, user) = (File::from(pty.controller), pty.user);
    program.stdin(user.try_clone().unwrap());
    program.stdout(user.try_clone().unwrap()).stderr(user);
    let mut child = program.spawn().unwrap();
    // Its ends of the terminal.
    drop(program);
    screen.write_all(typed.as_bytes()).unwrap();
    let mut reader = screen.try_clone().unwrap();
    let shown = thread::spawn(move || {
        let mut shown = Vec::new();
        // The terminal ends as an error.
        let _ = reader.read_to_end(&mut shown);
        String::from_utf8(shown).unwrap().replace("\r\n", "\n")
    });
    let code = child.wait().unwrap().code().unwrap_or(-1);
    (code, shown.join().unwrap())
}

fn terminal(place: &Place, columns: u16, typed: &str, arguments: &[&str]) -> (i32, String) {
    let mut program = program(place);
    program.args(arguments);
    on_terminal(program, columns, typed)
}

on_each_store! {
    a_table_fits_its_terminal_and_is_whole_in_a_file
    there_is_no_color_where_none_is_wanted
    what_others_wrote_is_inert_on_a_terminal_and_exact_in_json
    who_sits_at_a_terminal_is_asked_and_types_the_number
    a_pipe_that_ends_is_no_failure
    ctrl_c_says_how_many_were_ended_and_another_run_goes_on
    output_that_is_lost_stops_no_end_and_hides_no_change
    ctrl_c_ends_the_question_and_no_session
    what_is_gone_before_it_is_to_end_is_told_of
    an_export_has_no_progress_among_its_lines
    ctrl_c_ends_a_watch_as_interrupted
    ctrl_c_leaves_no_part_of_an_export
}

async fn a_table_fits_its_terminal_and_is_whole_in_a_file(place: Place) {
    let long = "x".repeat(200);
    place.put("d000000000000000", Some(&long), json!({})).await;
    for columns in [20, 40, 60, 80, 120] {
        let (code, shown) = terminal(&place, columns, "", &["sessions", "list"]);
        assert_eq!((code, shown.lines().count()), (0, 6), "{shown}");
        for line in shown.lines() {
            let line = line.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
            assert!(line.width() <= usize::from(columns), "{columns}: {line}");
        }
        assert!(shown.contains(ADA), "{shown}");
        assert_eq!(shown.contains("SIZE"), columns >= 80, "{columns}: {shown}");
    }
    let list = run(&place, &["sessions", "list"]).ok().stdout;
    assert!(list.contains(&long) && !list.contains('\u{1b}'), "{list}");
}

async fn there_is_no_color_where_none_is_wanted(place: Place) {
    assert!(terminal(&place, 80, "", &["sessions", "list"]).1.contains("\u{1b}[1m"));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut program = program(&place);
        program.env(name, value).args(["sessions", "list"]);
        let (_, shown) = on_terminal(program, 80, "");
        assert!(!shown.contains('\u{1b}'), "{name}: {shown:?}");
    }
    // An empty one says nothing.
    let mut program = program(&place);
    program.env("NO_COLOR", "").args(["sessions", "list"]);
    assert!(on_terminal(program, 80, "").1.contains("\u{1b}[1m"));
}

async fn what_others_wrote_is_inert_on_a_terminal_and_exact_in_json(place: Place) {
    let flood = format!("a{}", "\u{301}".repeat(10_000));
    let escapes = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\r\nx\u{202e}gpj.exe\u{2066}\u{200b}";
    let data = json!({ "flood": flood, "escapes": escapes, "name\u{1b}[8m": 1 });
    place.put("d000000000000000", Some("eve\u{202e}\u{2028}"), data.clone()).await;
    for command in [
        &["sessions", "list"][..],
        &["sessions", "show", "d0"],
        &["users", "list"],
        &["stats"],
        &["sessions", "set", "d0", "escapes=text:\u{1b}[31m", "--dry-run"],
        &["sessions", "end", "d000", "--dry-run"],
    ] {
        let (code, shown) = terminal(&place, 80, "", command);
        assert_eq!(code, 0, "{command:?}: {shown}");
        let shown = shown.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        let is_harmful = |c: char| {
            (c.is_control() && c != '\n') || "\u{202e}\u{2066}\u{200b}\u{2028}".contains(c)
        };
        assert!(!shown.contains(is_harmful), "{command:?}: {shown:?}");
        assert!(shown.matches('\u{301}').count() < 10, "{command:?}: {shown:?}");
    }
    let shown = run(&place, &["sessions", "show", "d0", "--json"]).ok().json();
    assert_eq!((&shown["data"], &shown["user"]["name"]), (&data, &json!("eve\u{202e}\u{2028}")));
}

async fn who_sits_at_a_terminal_is_asked_and_types_the_number(place: Place) {
    let end = ["sessions", "end", "--user", "bob"];
    for typed in ["\n", "y\n", "yes\n", "3\n", "\u{4}"] {
        let (code, shown) = terminal(&place, 80, typed, &end);
        assert_eq!(code, 4, "{typed:?}: {shown}");
        assert!(shown.contains("Type 2 to end them"), "{shown}");
    }
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 4);
    let (code, shown) = terminal(&place, 80, "2\n", &end);
    assert_eq!(code, 0, "{shown}");
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sits_at_a_terminal_types_a_value_and_is_told_how_it_ends() {
    let place = Place::sqlite().filled().await;
    let set = ["sessions", "set", ADA, "greeting=-"];
    let (code, shown) = terminal(&place, 80, "Hola Mundo\n\u{4}", &set);
    assert!(code == 0 && shown.contains("Ctrl-D"), "{shown}");
    assert_eq!(place.data(ADA).await.unwrap()["greeting"], "Hola Mundo");
}

async fn a_pipe_that_ends_is_no_failure(place: Place) {
    let data = json!({ "text": "x".repeat(500) });
    place.put_all((0..300).map(|n| record(&format!("e{n:015}"), None, data.clone()))).await;
    for command in [&["sessions", "list", "--ndjson"][..], &["export"], &["sessions", "list"]] {
        let mut list = program(&place);
        let mut list =
            list.args(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(list.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        drop(lines);
        let ended = Ended::of(list.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command:?}");
    }
}

async fn ctrl_c_says_how_many_were_ended_and_another_run_goes_on(place: Place) {
    let old = |n| record(&format!("e{n:015}"), None, json!({ "old": true }));
    place.put_all((0..200).map(old)).await;
    let end = ["sessions", "end", "--where", "old = true", "--confirm", "200", "--ndjson"];
    let mut ending = program(&place);
    let mut ending =
        ending.args(end).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(ending.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    kill_process(Pid::from_child(&ending), Signal::INT).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let ended = Ended::of(ending.wait_with_output().unwrap());
    let n_ended = 1 + rest.lines().count();
    let left = run(&place, &["sessions", "list", "--where", "old = true", "--ndjson"]).ok();
    assert_eq!(left.lines().len(), 200 - n_ended, "{ended:?}");
    if n_ended < 200 {
        let says = format!("{n_ended} of 200 sessions ended");
        assert!(ended.code == 130 && ended.stderr.contains(&says), "{ended:?}");
        let rest = (200 - n_ended).to_string();
        run(&place, &["sessions", "end", "--where", "old = true", "--confirm", &rest]).ok();
    }
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 4);
    // Each end is one line of the audit log.
    let log = run(&place, &["audit", "--ndjson"]).ok().lines();
    assert_eq!(log.len(), 200);
    assert!(log.iter().all(|line| line["outcome"] == "done"));
}

async fn output_that_is_lost_stops_no_end_and_hides_no_change(place: Place) {
    for (is_closed, code, first) in [(true, 0, 'e'), (false, 1, 'f')] {
        let old = |n| record(&format!("{first}{n:015}"), None, json!({ "old": true }));
        place.put_all((0..200).map(old)).await;
        let mut end = program(&place);
        end.args(["sessions", "end", "--where", "old = true", "--confirm", "200", "--ndjson"]);
        end.stdout(if is_closed { Stdio::piped() } else { full() }).stderr(Stdio::piped());
        let mut end = end.spawn().unwrap();
        drop(end.stdout.take());
        let ended = Ended::of(end.wait_with_output().unwrap()).with(code);
        assert!(ended.stderr.contains("200 sessions ended"), "{ended:?}");
        assert_eq!(ended.stderr.contains("could not write"), !is_closed, "{ended:?}");
        assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 4);
    }
    let mut set = program(&place);
    set.args(["sessions", "set", ADA, "views=102"]).stdout(full());
    let ended = Ended::of(set.output().unwrap()).with(1);
    assert!(ended.stderr.contains("the session was changed"), "{ended:?}");
    assert_eq!(place.data(ADA).await.unwrap()["views"], 102);
    let mut end = program(&place);
    end.args(["users", "end", "bob", "--yes", "--json"]).stdout(full());
    let ended = Ended::of(end.output().unwrap()).with(1);
    assert!(ended.stderr.contains("2 sessions ended"), "{ended:?}");
}

/// A disk that is full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

async fn ctrl_c_ends_the_question_and_no_session(place: Place) {
    for command in [&["sessions", "end", "--all"][..], &["users", "end", "bob"]] {
        let pty = openpty(None, None).unwrap();
        let mut screen = BufReader::new(File::from(pty.controller));
        let mut end = program(&place);
        end.args(command).stdin(pty.user.try_clone().unwrap()).stderr(pty.user);
        let mut ending = end.stdout(Stdio::null()).spawn().unwrap();
        drop(end);
        let mut asked = Vec::new();
        screen.read_until(b':', &mut asked).unwrap();
        assert!(String::from_utf8_lossy(&asked).contains("to end them"), "{asked:?}");
        kill_process(Pid::from_child(&ending), Signal::INT).unwrap();
        assert_eq!(ending.wait().unwrap().code(), Some(130), "{command:?}");
        let mut said = Vec::new();
        // The terminal ends as an error.
        let _ = screen.read_to_end(&mut said);
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("interrupted; nothing was changed"), "{said}");
    }
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 4);
}

async fn what_is_gone_before_it_is_to_end_is_told_of(place: Place) {
    let pty = openpty(None, None).unwrap();
    let mut screen = BufReader::new(File::from(pty.controller));
    let mut end = program(&place);
    end.args(["sessions", "end", "--user", "bob", "--ndjson"]).stdout(Stdio::piped());
    end.stdin(pty.user.try_clone().unwrap()).stderr(pty.user);
    let ending = end.spawn().unwrap();
    drop(end);
    let mut asked = Vec::new();
    screen.read_until(b':', &mut asked).unwrap();
    run(&place, &["sessions", "end", BOB]).ok();
    screen.get_mut().write_all(b"2\n").unwrap();
    let mut said = Vec::new();
    // The terminal ends as an error.
    let _ = screen.read_to_end(&mut said);
    let said = String::from_utf8(said).unwrap();
    let ended = Ended::of(ending.wait_with_output().unwrap()).ok().lines();
    assert!(said.contains("1 of 2 sessions ended; 1 had ended, been renewed"), "{said}");
    assert!(said.contains("`ingle users end`"), "{said}");
    assert_eq!((ended.len(), &ended[0]["handle"]), (2, &json!(ALSO_BOB)), "{ended:?}");
    assert_eq!(ended[1], json!({ "handle": BOB, "ended": false }));
}

async fn an_export_has_no_progress_among_its_lines(place: Place) {
    let data = json!({ "text": "x".repeat(500) });
    place.put_all((0..700).map(|n| record(&format!("e{n:015}"), None, data.clone()))).await;
    let (code, shown) = terminal(&place, 80, "", &["export"]);
    assert_eq!(code, 0, "{shown}");
    let mut n_sessions = 0;
    for line in shown.lines() {
        // What is left of it on the screen.
        let left = line.rsplit('\r').next().unwrap().replace("\u{1b}[2K", "");
        match serde_json::from_str::<serde_json::Value>(&left) {
            Ok(_) => n_sessions += 1,
            Err(_) => assert_eq!(left, "ingle: 704 sessions written"),
        }
    }
    assert_eq!(n_sessions, 704);
}

async fn ctrl_c_ends_a_watch_as_interrupted(place: Place) {
    let mut watch = program(&place);
    watch.args(["sessions", "watch", "--every", "50ms", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    let first = thread::spawn(move || {
        let mut begun = Vec::new();
        stdout.read_until(b'}', &mut begun).unwrap();
        (begun, stdout)
    });
    // It may begin after any of these.
    let mut n = 0;
    while !first.is_finished() {
        n += 1;
        place.put(&format!("e{n:015}"), None, json!({})).await;
    }
    let (mut shown, mut stdout) = first.join().unwrap();
    kill_process(Pid::from_child(&watch), Signal::INT).unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    let ended = Ended::of(watch.wait_with_output().unwrap()).with(130);
    assert_eq!(ended.stderr, "ingle: the watch was interrupted\n");
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown[0]["event"], "began");
}

async fn ctrl_c_leaves_no_part_of_an_export(place: Place) {
    let data = json!({ "text": "x".repeat(2000) });
    place.put_all((0..1500).map(|n| record(&format!("e{n:015}"), None, data.clone()))).await;
    let file = place.folder().join("all");
    let mut export = program(&place);
    export.args(["export", "--output", file.to_str().unwrap()]).stderr(Stdio::piped());
    let export = export.spawn().unwrap();
    let names = || {
        let names =
            std::fs::read_dir(place.folder()).unwrap().map(|name| name.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".ingle-export-")).count()
    };
    while names() == 0 && !file.exists() {
        thread::yield_now();
    }
    kill_process(Pid::from_child(&export), Signal::INT).unwrap();
    let ended = Ended::of(export.wait_with_output().unwrap());
    assert_eq!(names(), 0, "{ended:?}");
    if ended.code == 130 {
        assert!(!file.exists() && ended.stderr.contains("no file"), "{ended:?}");
    } else {
        // It was faster.
        assert_eq!(
            (ended.code, std::fs::read_to_string(&file).unwrap().lines().count()),
            (0, 1504)
        );
    }
}
