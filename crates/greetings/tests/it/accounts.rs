//! Logins, with `--accounts`: what a user, another user and a stranger see in their browsers.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Output, Stdio},
};

use tempfile::TempDir;
use testbed::http::{Answer, Browser};

use crate::{
    place::Place,
    process::{Instances, Process, program},
};

mod chromium;
mod file;
mod forms;
mod live;
mod processes;
mod sessions;

const PASSWORD: &str = "correct horse battery";
const NEW_PASSWORD: &str = "staple staple staple";

/// Makes a test of each function for a store that processes share and for one that they do not. The
/// function is given a scene with one process.
macro_rules! on_both_stores {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                super::$test(super::Scene::start(crate::place::Place::sqlite(), 1)).await
            })*
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let _beside = crate::place::ALONE.read().await;
                let place = crate::place::Place::at("memory:".to_owned());
                super::$test(super::Scene::start(place, 1)).await
            })*
        }
    };
}
use on_both_stores;

/// Processes with the accounts of ada and bob, who have the same password.
struct Scene {
    instances: Instances,
    accounts: Accounts,
}

impl Scene {
    fn start(place: Place, n: usize) -> Self {
        let accounts = Accounts::of(&["ada", "bob"]);
        let instances = Instances::start_with(place, n, &["--accounts", accounts.path()]);
        Self { instances, accounts }
    }

    fn first(&self) -> &Process {
        self.instances.first()
    }

    fn browser(&self) -> Browser {
        self.first().browser()
    }

    /// A new browser, in which this user is logged in.
    async fn logged_in(&self, name: &str) -> Browser {
        logged_in(self.first(), name).await
    }
}

/// A file of accounts, made as people make it.
struct Accounts {
    folder: TempDir,
    file: PathBuf,
    path: String,
}

impl Accounts {
    fn of(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("accounts");
        let path = file.to_str().expect("a path of text").to_owned();
        let accounts = Self { folder, file, path };
        for name in names {
            let added = accounts.add(name, format!("{PASSWORD}\n"));
            assert_eq!(added.status.code(), Some(0), "{added:?}");
        }
        accounts
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("the file is there")
    }

    /// Runs the command with these bytes on its stdin.
    fn add(&self, name: &str, stdin: impl AsRef<[u8]>) -> Output {
        let mut command = program();
        command.args(["account", "add", name, "--accounts", self.path()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut input = child.stdin.take().expect("it is piped");
        // It may have ended and said why.
        let _ = input.write_all(stdin.as_ref());
        drop(input);
        child.wait_with_output().expect("it ends")
    }
}

async fn logged_in(process: &Process, name: &str) -> Browser {
    let mut browser = process.browser();
    let answer = log_in(&mut browser, name, PASSWORD).await;
    assert_eq!((answer.status, location(&answer)), (303, "/"), "{answer:?}");
    browser
}

async fn log_in(browser: &mut Browser, name: &str, password: &str) -> Answer {
    browser.submit("/login", &[("name", name), ("password", password)]).await
}

/// Where an answer sends the browser on to.
fn location(answer: &Answer) -> &str {
    answer.header("location").unwrap_or_default()
}

/// The heading of a page, of which there is one.
fn heading(answer: &Answer) -> &str {
    let headings: Vec<&str> = answer.body.split("<h1>").skip(1).collect();
    let [heading] = headings[..] else { panic!("not one heading: {answer:?}") };
    heading.split("</h1>").next().unwrap_or_default()
}

/// What a page says first, or nothing.
fn said(answer: &Answer) -> &str {
    let note = answer.body.split("<p class=\"note").nth(1).unwrap_or_default();
    let text = note.split_once('>').map_or("", |(_, text)| text);
    text.split("</p>").next().unwrap_or_default()
}

/// The name of the user that the first page greets, if somebody is logged in.
async fn who(browser: &mut Browser) -> Option<String> {
    let answer = browser.get("/").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let named = answer.body.split("logged in as <b class=\"name\">").nth(1)?;
    named.split("</b>").next().map(str::to_owned)
}

/// The handles of the sessions on the page, the own one first.
async fn handles(browser: &mut Browser) -> Vec<String> {
    let answer = browser.get("/sessions").await;
    assert_eq!((answer.status, heading(&answer)), (200, "Your sessions"), "{answer:?}");
    let codes = answer.body.split("<code>").skip(1);
    codes.map(|code| code.split("</code>").next().unwrap_or_default().to_owned()).collect()
}
