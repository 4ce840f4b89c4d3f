//! Chromium, driven by its own driver (WebDriver, a W3C standard): what a browser does with a cookie is
//! asked of one.
//!
//! A call blocks the thread. Every name of a host leads to this machine, so a test has as many sites as
//! it wants; `localhost` counts as one with TLS.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Program, Server, axe};

/// Debian's packages, which are also the names of the programs but for the driver's.
pub const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

const BROWSER: &str = "chromium";
const DRIVER: &str = "chromedriver";

/// No answer takes so long on any machine, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two questions whether a condition holds.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the browser and its driver can be run.
#[must_use]
pub fn is_installed() -> bool {
    [BROWSER, DRIVER].iter().all(|program| {
        let version = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// A browser with a profile of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Chromium {
    driver: Server,
    session: String,
    _profile: TempDir,
}

impl Chromium {
    /// Starts a browser without a cookie.
    ///
    /// # Panics
    ///
    /// If it is not installed, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        if !is_installed() {
            panic!(
                "Chromium is not installed: on Debian, `apt-get install {}`",
                PACKAGES.join(" ")
            );
        }
        let driver = Server::start(program()).expect("Chromium's driver starts");
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let arguments = [
            "--headless=new".to_owned(),
            // As root there is no sandbox.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--host-resolver-rules=MAP * 127.0.0.1".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        // Whoever looks for an element waits for it. Each ends before this program would give the driver up.
        let half = PATIENCE.as_secs() * 1000 / 2;
        let timeouts = json!({"implicit": half, "pageLoad": half, "script": half});
        let options = json!({"goog:chromeOptions": {"args": arguments}, "timeouts": timeouts});
        let wanted = json!({"capabilities": {"alwaysMatch": options}});
        let mut chromium = Self { driver, session: String::new(), _profile: profile };
        let begun = chromium.call("POST", "", Some(&wanted));
        let id = begun.get("sessionId").and_then(Value::as_str);
        let id = id.expect("the driver names the session");
        chromium.session = format!("/{id}");
        chromium
    }

    /// Goes to a page, as if its address was typed. Returns when it is there.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.call("POST", "/url", Some(&json!({"url": url})));
    }

    /// Sends the page's first form.
    #[track_caller]
    pub fn submit(&self) {
        self.run("document.forms[0].submit()");
    }

    /// Follows the page's first link.
    #[track_caller]
    pub fn follow(&self) {
        self.run("document.links[0].click()");
    }

    /// Runs a script in the page. It returns what the script returns, or what its promise comes to.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", Some(&json!({"script": script, "args": []})))
    }

    /// Waits until a condition holds in the page, which may be another one by then.
    ///
    /// It asks again and again. A script that waited in the page would be lost with the page.
    #[track_caller]
    pub fn wait_for(&self, condition: &str) {
        let script = format!("return document.readyState === 'complete' && Boolean({condition})");
        let body = json!({"script": script, "args": []});
        let target = format!("/session{}/execute/sync", self.session);
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = exchange(self.driver.address(), "POST", &target, Some(&body));
            // While the page changes, there is none to ask.
            let value = answer.ok().and_then(|mut answer| answer.get_mut("value").map(Value::take));
            if value == Some(Value::Bool(true)) {
                return;
            }
            assert!(Instant::now() < until, "`{condition}` does not come true: {value:?}");
            thread::sleep(PAUSE);
        }
    }

    /// Shows pages in a window so wide that somebody works in, in light or in dark colours, as a system
    /// asks for them.
    #[track_caller]
    pub fn look(&self, width: u32, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let window =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        let commands = [
            ("setDeviceMetricsOverride", window),
            ("setEmulatedMedia", media),
            ("setFocusEmulationEnabled", json!({"enabled": true})),
        ];
        for (command, parameters) in commands {
            let call = json!({"cmd": format!("Emulation.{command}"), "params": parameters});
            self.call("POST", "/goog/cdp/execute", Some(&call));
        }
        // The browser says yes before the page has the new size, and a page that changes its size while
        // somebody measures it seems to have faults.
        self.wait_for(&format!(
            "innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches"
        ));
    }

    /// What is wrong with the page as it is shown now, for those who do not see it well, have no mouse, or a
    /// small screen. Nothing, if all is well.
    ///
    /// # Panics
    ///
    /// If axe is not installed.
    #[track_caller]
    pub fn faults(&self) -> Vec<String> {
        if self.run("return typeof axe") == "undefined" {
            self.run(&axe::source());
        }
        let faults = self.run(axe::FAULTS);
        let faults = faults.as_array().expect("a list of faults");
        faults.iter().map(|fault| fault.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Presses keys, one after the other, wherever the focus is. Keys that are no characters are those of
    /// WebDriver: U+E007 is Enter, U+E004 Tab, U+E00C Escape, and U+E009 holds Control to the end.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let mut actions = Vec::new();
        let mut held = Vec::new();
        for key in keys.chars() {
            actions.push(json!({"type": "keyDown", "value": key}));
            match key {
                '\u{e009}' => held.push(json!({"type": "keyUp", "value": key})),
                _ => actions.push(json!({"type": "keyUp", "value": key})),
            }
        }
        actions.extend(held);
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]});
        self.call("POST", "/actions", Some(&actions));
    }

    /// Runs no script of a page that is opened from now on.
    #[track_caller]
    pub fn without_scripts(&self) {
        let call = json!({
            "cmd": "Emulation.setScriptExecutionDisabled",
            "params": {"value": true},
        });
        self.call("POST", "/goog/cdp/execute", Some(&call));
    }

    /// Clicks on the first element that a selector finds, as a mouse does.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.call("POST", &format!("/element/{element}/click"), Some(&json!({})));
    }

    /// Types a text into a field, where its caret is.
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.call("POST", &format!("/element/{element}/value"), Some(&json!({"text": text})));
    }

    /// Waits for an element of this name with this text in it, also where the page runs no script.
    #[track_caller]
    pub fn see(&self, element: &str, text: &str) {
        self.found("xpath", &format!("//{element}[contains(normalize-space(.), '{text}')]"));
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        self.found("css selector", selector)
    }

    /// The driver's name of the first such element. It waits for one.
    #[track_caller]
    fn found(&self, using: &str, value: &str) -> String {
        let wanted = json!({"using": using, "value": value});
        let found = self.call("POST", "/element", Some(&wanted));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        id.expect("the driver names the element").to_owned()
    }

    /// The text of the page.
    #[track_caller]
    pub fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// The text of the page in the first frame of the page, whatever site it is of.
    #[track_caller]
    pub fn text_of_frame(&self) -> String {
        self.call("POST", "/frame", Some(&json!({"id": 0})));
        let text = self.text();
        self.call("POST", "/frame", Some(&json!({"id": null})));
        text
    }

    /// The cookies that it would send to the page, each as the driver describes it.
    #[track_caller]
    pub fn cookies(&self) -> Vec<Value> {
        match self.call("GET", "/cookie", None) {
            Value::Array(cookies) => cookies,
            other => panic!("no list of cookies: {other}"),
        }
    }

    /// The values of the cookies with a name that it would send to the page.
    #[track_caller]
    pub fn values(&self, name: &str) -> Vec<String> {
        let value = |cookie: Value| {
            let is_named = cookie.get("name")? == name;
            is_named.then_some(cookie.get("value")?.as_str()?.to_owned())
        };
        self.cookies().into_iter().filter_map(value).collect()
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let target = format!("/session{}{path}", self.session);
        let mut answer = exchange(self.driver.address(), method, &target, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        let value = answer.get_mut("value").map(Value::take).unwrap_or_default();
        assert!(value.get("error").is_none(), "{method} {target}: {value}");
        value
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver would leave the browser's folders behind.
        let _ =
            exchange(self.driver.address(), "DELETE", &format!("/session{}", self.session), None);
    }
}

fn program() -> Program {
    let command = |address: SocketAddr| {
        let mut command = Command::new(DRIVER);
        command.arg(format!("--port={}", address.port()));
        command
    };
    let answers = |address| {
        exchange(address, "GET", "/status", None)
            .is_ok_and(|status| status.pointer("/value/ready") == Some(&Value::Bool(true)))
    };
    Program::new(DRIVER, command, answers)
}

fn exchange(
    driver: SocketAddr,
    method: &str,
    target: &str,
    body: Option<&Value>,
) -> io::Result<Value> {
    let mut stream = TcpStream::connect(driver)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    // The driver does not always close the connection, whatever it was told.
    let mut answer = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            // The status line has no colon either.
            None if line.starts_with("HTTP/") => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}
