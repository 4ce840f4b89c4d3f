//! Draws `docs/ingle.svg`: what the command prints on a terminal, of sessions that are made up.
//!
//! `cargo build -p ingle-cli && cargo run -p ingle-cli --example picture` draws it anew.

use std::{
    error::Error,
    fmt::Write as _,
    fs::{self, File},
    io::Read as _,
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use ingle::{
    clock::{Clock as _, SystemClock, Timestamp},
    record::{Epoch, FORMAT, Header, Op, Ops, Record, User},
    store::{self, Store, Write},
};
use rustix_openpty::{openpty, rustix::termios::Winsize};
use serde_json::{Value, json};

/// What is typed, one command after the other.
const TYPED: [&str; 5] = [
    "ingle sessions list --where 'cart.items exists'",
    "ingle sessions show 3fa9",
    "ingle sessions set 3fa9 'cart.items[0].n=int:3'",
    "ingle sessions end --user bob --yes",
    "ingle audit --limit 2",
];

const COLUMNS: u16 = 88;

/// The size of a cell and the room around all of them, in pixels.
const WIDTH: f32 = 8.0;
const HEIGHT: usize = 18;
const MARGIN: usize = 16;

const MINUTE: u64 = 60;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("sessions").display());
    fill(&*store::open(&url).await?).await?;
    let mut lines = Vec::new();
    for typed in TYPED {
        lines.push((format!("$ {typed}"), "typed"));
        for line in shown(typed, &url)?.lines() {
            let title =
                line.strip_prefix("\u{1b}[1m").and_then(|line| line.strip_suffix("\u{1b}[0m"));
            lines.push(title.map_or((line.to_owned(), ""), |title| (title.to_owned(), "title")));
        }
        lines.push((String::new(), ""));
    }
    lines.pop();
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ingle.svg");
    fs::write(picture, svg(&lines))?;
    Ok(())
}

/// Made-up sessions.
async fn fill(store: &dyn Store) -> Result<(), Box<dyn Error>> {
    let cart = |n: u64| json!({ "items": [{ "sku": "A-1", "n": n }] });
    let ada = json!({ "views": 101, "cart": cart(1), "api_key": "k" });
    for (first, user, minutes, data) in [
        (0x3f_a9, Some("ada"), 131, ada),
        (0x7b_01, Some("bob"), 24, json!({ "views": 7, "cart": cart(2) })),
        (0x7b_02, Some("bob"), 3, json!({ "views": 1 })),
        (0xc0_4e, None, 12, json!({ "cart": cart(5), "language": "es" })),
    ] {
        let record = Arc::new(record(first, user, minutes, data)?);
        store.commit(Write::Create { record: &record }, SystemClock.now()).await?;
    }
    Ok(())
}

fn record(
    first: u16,
    user: Option<&str>,
    minutes: u64,
    data: Value,
) -> Result<Record, Box<dyn Error>> {
    let now = SystemClock.now();
    let created = Timestamp::from_millis(now.as_millis() - minutes * MINUTE * 1000);
    let rest = "c1d2e4b5a697".repeat(5);
    let mut ops = Ops::default();
    ops.push(Op::random()?);
    let header = Header {
        format: FORMAT,
        key: format!("{first:04x}{rest}").parse()?,
        created,
        // A little more, so that it is a whole number when it is shown.
        idle_deadline: now.after(Duration::from_secs(30 * MINUTE + 59)),
        absolute_deadline: now.after(Duration::from_secs(12 * 60 * MINUTE + 59)),
        idle_timeout: None,
        user: user.map(|name| User::new(name, 0, created)),
        epoch: Epoch::random()?,
        counter: minutes,
        ops,
    };
    let Value::Object(data) = data else { return Err("the data is an object".into()) };
    Ok(Record { header, data })
}

/// What a terminal shows of a command.
fn shown(typed: &str, url: &str) -> Result<String, Box<dyn Error>> {
    let folder = std::env::current_exe()?;
    let folder = folder.ancestors().nth(2).ok_or("the program is in no folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let size = Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(None, Some(&size))?;
    let mut shell = Command::new("sh");
    shell.args(["-c", typed]).env("PATH", path).env("INGLE_STORE", url);
    shell.env("INGLE_OPERATOR", "eve@example.com").env("TERM", "xterm").env_remove("NO_COLOR");
    shell.stdin(pty.user.try_clone()?).stdout(pty.user.try_clone()?).stderr(pty.user);
    let mut child = shell.spawn()?;
    // Its ends of the terminal.
    drop(shell);
    let mut shown = Vec::new();
    // The terminal ends as an error.
    let _ = File::from(pty.controller).read_to_end(&mut shown);
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{typed}: {status}").into());
    }
    Ok(String::from_utf8(shown)?.replace("\r\n", "\n"))
}

/// Draws lines as text, in the colors of whoever looks at it.
fn svg(lines: &[(String, &str)]) -> String {
    let width = f32::from(COLUMNS) * WIDTH + 2.0 * MARGIN as f32;
    let height = lines.len() * HEIGHT + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"The command ingle in a terminal\">\n<style>\n\
         rect {{ fill: #ffffff; stroke: #d0d7de }}\n\
         text {{ fill: #1f2328; font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; \
         white-space: pre }}\n\
         .typed {{ fill: #0550ae; font-weight: 600 }}\n.title {{ font-weight: 700 }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         rect {{ fill: #0d1117; stroke: #30363d }}\ntext {{ fill: #e6edf3 }}\n.typed {{ fill: #79c0ff }}\n}}\n\
         </style>\n<rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
        width - 1.0,
        height - 1
    );
    for (n, (line, class)) in lines.iter().enumerate().filter(|(_, (line, _))| !line.is_empty()) {
        let text = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let y = MARGIN + n * HEIGHT + 13;
        let _ = writeln!(
            svg,
            "<text{class} x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{text}</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}
