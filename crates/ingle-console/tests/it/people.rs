//! A console that others reach, and people with a browser each who come to it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ingle::{
    Handle, SessionLayer,
    clock::{Clock, SystemClock, Timestamp},
    store::Memory,
};
use ingle_console::Public;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    http::{Answer, form, raw},
    scene::{PATIENCE, begin},
};

/// The system's clock, ahead by what a test says: tokens of real providers have its times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead(Arc<AtomicU64>);

impl Ahead {
    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
}

/// As every program does.
pub(crate) fn with_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
    });
}

/// A console, as it is served to others.
pub(crate) struct Opened {
    pub(crate) address: SocketAddr,
    pub(crate) layer: SessionLayer,
    pub(crate) clock: Ahead,
    _server: JoinSet<()>,
}

impl Opened {
    pub(crate) fn serve(listener: TcpListener, public: Public) -> Self {
        let clock = Ahead::default();
        let layer = SessionLayer::new(Memory::new())
            .clock(Arc::new(clock.clone()))
            .sweep_every(None)
            .deadline(PATIENCE);
        let address = listener.local_addr().unwrap();
        let sessions = layer.sessions();
        let mut server = JoinSet::new();
        server.spawn(async move {
            ingle_console::serve_public(listener, sessions, public).await.unwrap();
        });
        Self { address, layer, clock, _server: server }
    }

    /// A session of the app with this data.
    pub(crate) async fn holding(&self, data: Value) -> Handle {
        begin(&self.layer, async |session| {
            for (name, value) in data.as_object().unwrap() {
                session.insert(name, value)?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn lives(&self, handle: &Handle) -> bool {
        self.layer.sessions().find(handle).await.unwrap().is_some()
    }
}

/// Somebody with a browser that keeps cookies and follows nothing by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Person {
    /// By port and name. Paths do not matter here.
    cookies: BTreeMap<(String, String), String>,
}

impl Person {
    pub(crate) async fn get(&mut self, url: &str) -> Answer {
        self.send("GET", url, "", "").await
    }

    /// Sends a form from a page of the same site.
    pub(crate) async fn post(&mut self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let kind = "Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded";
        self.send("POST", url, &format!("{kind}\r\n"), &form(fields)).await
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        url: &str,
        lines: &str,
        body: &str,
    ) -> Answer {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address: SocketAddr = host.parse().unwrap();
        let path = if path.is_empty() { "/" } else { path };
        let port = address.port().to_string();
        let cookies = self.cookies.iter().filter(|((of, _), _)| *of == port);
        let cookies: Vec<_> = cookies.map(|((_, name), value)| format!("{name}={value}")).collect();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}");
        let rest = format!("Cookie: {}\r\nContent-Length: {}\r\n", cookies.join("; "), body.len());
        let answer = raw(address, &(head + &rest + "Connection: close\r\n\r\n" + body)).await;
        for line in answer.head.lines().filter_map(|line| line.split_once(':')) {
            if line.0.eq_ignore_ascii_case("set-cookie") {
                let (name, value) =
                    line.1.trim().split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert((port.clone(), name.to_owned()), value.to_owned());
            }
        }
        answer
    }

    /// The cookie that a server on this address has set, as `name=value`.
    pub(crate) fn cookie_of(&self, address: SocketAddr) -> Option<String> {
        let port = address.port().to_string();
        let mut of =
            self.cookies.iter().filter(|((of, _), value)| *of == port && !value.is_empty());
        of.next().map(|((_, name), value)| format!("{name}={value}"))
    }

    pub(crate) fn forget(&mut self, address: SocketAddr) {
        self.cookies.retain(|(port, _), _| *port != address.port().to_string());
    }
}

/// Where an answer leads, as a whole address.
#[track_caller]
pub(crate) fn location(answer: &Answer, from: SocketAddr) -> String {
    let to = answer.header("location").unwrap_or_else(|| panic!("it leads nowhere: {answer:?}"));
    if to.starts_with('/') { format!("http://{from}{to}") } else { to.to_owned() }
}
