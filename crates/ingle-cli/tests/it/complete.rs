//! What a shell is offered: by the protocol that its script speaks, and in a real bash.

use std::{fs, net::TcpListener, path::Path, process::Command};

use serde_json::json;

use crate::{
    Ended, PROGRAM,
    commands::on_each_store,
    place::{ADA, ALSO_BOB, BOB, NOBODY, Place},
    program,
    terminal::on_terminal,
};

/// What a shell is offered for the last of some words.
fn offered(place: &Place, shell: &str, words: &[&str]) -> Vec<String> {
    let mut ask = program(place);
    ask.env("INGLE_COMPLETE", shell).env("_CLAP_IFS", "\n");
    ask.env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let ended = Ended::of(ask.args(["--", "ingle"]).args(words).output().unwrap()).ok();
    assert_eq!(ended.stderr, "", "{shell}: {words:?}");
    ended.stdout.lines().map(str::to_owned).collect()
}

on_each_store! {
    handles_and_users_are_offered_as_the_store_has_them
}

async fn handles_and_users_are_offered_as_the_store_has_them(place: Place) {
    place.put("d000000000000000", Some("$(touch x)"), json!({})).await;
    for command in ["show", "set", "unset", "edit", "end", "watch"] {
        assert_eq!(offered(&place, "bash", &["sessions", command, "7b"]), [BOB, ALSO_BOB]);
    }
    assert_eq!(offered(&place, "bash", &["sessions", "end", ADA, "c0"]), [NOBODY]);
    assert!(offered(&place, "bash", &["sessions", "show", ""]).contains(&ADA.to_owned()));
    assert_eq!(offered(&place, "zsh", &["sessions", "show", "3f"]), [format!("{ADA}:ada")]);
    assert_eq!(offered(&place, "fish", &["sessions", "show", "3f"]), [format!("{ADA}\tada")]);
    for shell in ["bash", "zsh", "fish"] {
        for words in [&["users", "end", "b"][..], &["sessions", "list", "--user", "b"]] {
            assert_eq!(offered(&place, shell, words), ["bob"], "{shell}: {words:?}");
        }
    }
    // What a shell would run is not offered.
    assert_eq!(offered(&place, "bash", &["users", "end", "$"]), [""; 0]);
    assert_eq!(offered(&place, "bash", &["sessions", "show", "xyz"]), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_the_one_that_the_words_name() {
    let (place, other) = (Place::sqlite().filled().await, Place::sqlite());
    let rest = ["sessions", "show", "3f"];
    let (scheme, folder) = place.url.split_once(':').unwrap();
    // As bash breaks it, and as others leave it.
    for store in [&["--store", scheme, ":", folder][..], &["--store", &place.url]] {
        assert_eq!(offered(&other, "bash", &[store, &rest].concat()), [ADA]);
    }
    let file = place.folder().join("url");
    fs::write(&file, &place.url).unwrap();
    let store = ["--store-file", file.to_str().unwrap()];
    assert_eq!(offered(&other, "bash", &[&store[..], &rest].concat()), [ADA]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_store_answers_nothing_is_offered_and_nothing_said() {
    // It listens, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut place = Place::sqlite();
    assert_eq!(offered(&place, "bash", &["sessions", "show", "3f"]), [""; 0]);
    assert!(!place.folder().join("sessions").exists(), "a store was made");
    for url in [format!("redis://{}", silent.local_addr().unwrap()), "nosuch:x".to_owned()] {
        place.url = url;
        for words in [["sessions", "show", "3f"], ["users", "end", "b"]] {
            assert_eq!(offered(&place, "bash", &words), [""; 0]);
        }
    }
    assert_eq!(offered(&place, "bash", &["sessions", "sh"]), ["show"]);
    assert_eq!(offered(&place, "bash", &["sessions", "list", "--lim"]), ["--limit"]);
    assert_eq!(offered(&place, "bash", &["console", "--role", "e"]), ["editor"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_bash_completes_a_handle() {
    let place = Place::sqlite().filled().await;
    let folder = Path::new(PROGRAM).parent().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-i"]).current_dir(place.folder());
    bash.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
    bash.env("INGLE_STORE", &place.url).env("TERM", "xterm").env("INPUTRC", "/dev/null");
    bash.env("HISTFILE", "/dev/null");
    let typed = "source <(ingle completions bash)\ningle sessions sho\t3f\t --json > shown\nexit\n";
    let (_, screen) = on_terminal(bash, 200, typed);
    let shown = fs::read_to_string(place.folder().join("shown")).unwrap_or_default();
    let shown: serde_json::Value =
        serde_json::from_str(&shown).unwrap_or_else(|_| panic!("{screen}"));
    assert_eq!(shown["handle"], ADA, "{screen}");
    assert!(screen.contains(&format!("show {ADA}")), "{screen}");
}
