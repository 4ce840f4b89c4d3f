//! A server, and the connection that this process has with it.
//!
//! There is one at a time. When it is lost, the next call makes another, in a task of its own, so
//! that it comes about also when that call gives up; all others wait for it, no longer than they may.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};

use super::{
    super::{
        config::RedisConfig,
        error::{self, Cause},
    },
    dial::{Address, STEP_TIME_MAX},
    greet::greet,
    link::Link,
    tls::Tls,
};
use crate::{
    detach,
    store::floor::{
        pulse::Pulse,
        text::{shell_word, shown},
    },
};

/// After an attempt that failed, those who come so soon are told the same, and no other is made.
pub(in crate::store) const PAUSE: Duration = Duration::from_millis(100);

/// How connections are made.
pub(super) struct Settings {
    pub(super) config: RedisConfig,
    pub(super) tls: Option<Tls>,
    pub(super) pulse: Pulse,
}

pub(super) struct Node {
    pub(super) address: Address,
    pub(super) settings: Arc<Settings>,
    /// Whether the server is part of a cluster, as it said when it was last connected with.
    is_cluster: AtomicBool,
    state: Mutex<State>,
}

enum State {
    /// No attempt was made yet.
    New,
    /// Made when the process had stood still so often.
    Open(Arc<Link>, u64),
    /// Somebody is at it.
    Connecting(watch::Receiver<Option<Result<Arc<Link>, Cause>>>),
    Failed(Instant, Cause),
}

impl Node {
    pub(super) fn new(settings: &Arc<Settings>, address: Address) -> Arc<Self> {
        Arc::new(Self {
            address,
            settings: Arc::clone(settings),
            is_cluster: AtomicBool::new(false),
            state: Mutex::new(State::New),
        })
    }

    pub(super) fn name(&self) -> String {
        self.address.to_string()
    }

    /// What a person begins a command to it with. The password is asked for.
    pub(super) fn command_line(&self) -> String {
        let RedisConfig { tls, cacert, user, password, .. } = &self.settings.config;
        let mut line = match &self.address {
            Address::Tcp(host, port) => format!("redis-cli -h {host} -p {port}"),
            Address::Unix(path) => format!("redis-cli -s {}", shell_word(&shown(path))),
        };
        if *tls {
            line.push_str(" --tls");
        }
        if let Some(file) = cacert {
            line.push_str(&format!(" --cacert {}", shell_word(&shown(file))));
        }
        if let Some(user) = user {
            line.push_str(&format!(" --user {}", shell_word(user)));
        }
        if password.is_some() {
            line.push_str(" --askpass");
        }
        line
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.is_cluster.load(Ordering::Relaxed)
    }

    /// The connection, if there is one.
    pub(super) fn open_link(&self) -> Option<Arc<Link>> {
        self.good_link(&self.state())
    }

    /// The connection that is open, unless it is from before the process stood still.
    fn good_link(&self, state: &State) -> Option<Arc<Link>> {
        let State::Open(link, stops) = state else { return None };
        let is_good = link.is_open() && *stops == self.settings.pulse.stops();
        is_good.then(|| Arc::clone(link))
    }

    /// The connection, made if there is none.
    pub(super) async fn link(self: &Arc<Self>) -> Result<Arc<Link>, Cause> {
        let mut connecting = {
            let mut state = self.state();
            if let Some(link) = self.good_link(&state) {
                return Ok(link);
            }
            match &*state {
                State::Failed(when, error) if when.elapsed() < PAUSE => return Err(error.clone()),
                State::Connecting(connecting) => connecting.clone(),
                State::New | State::Open(..) | State::Failed(..) => {
                    let connecting = self.connect();
                    *state = State::Connecting(connecting.clone());
                    connecting
                }
            }
        };
        let over = connecting.wait_for(Option::is_some).await;
        let over = over.ok().and_then(|over| over.clone());
        over.unwrap_or_else(|| {
            // The runtime that it was made in has ended; the next call begins anew.
            let mut state = self.state();
            if matches!(&*state, State::Connecting(gone) if gone.same_channel(&connecting)) {
                *state = State::New;
            }
            Err(error::not_now("the attempt to connect was given up"))
        })
    }

    fn connect(self: &Arc<Self>) -> watch::Receiver<Option<Result<Arc<Link>, Cause>>> {
        let (over, connecting) = watch::channel(None);
        let node = Arc::clone(self);
        let attempt = async move {
            let stops = node.settings.pulse.stops();
            let opened = node.open().await.map(Arc::new);
            *node.state() = match &opened {
                Ok(link) => State::Open(link.clone(), stops),
                Err(error) => State::Failed(Instant::now(), error.clone()),
            };
            // Nobody may be left who waits for it.
            let _ = over.send(Some(opened));
        };
        // Without a runtime the channel closes, and says that nobody is at it.
        detach::spawn(attempt);
        connecting
    }

    /// Makes a connection, logs in, and asks who is there.
    async fn open(&self) -> Result<Link, Cause> {
        let Settings { config, tls, pulse: _ } = &*self.settings;
        let link = Link::open(tls.as_ref(), &self.address).await?;
        let server = self.name();
        let greeted = timeout(STEP_TIME_MAX, greet(&link, config, &server)).await;
        let found = greeted.unwrap_or_else(|_| Err(error::silent(&server)))?;
        self.is_cluster.store(found.is_cluster(), Ordering::Relaxed);
        Ok(link.with(found))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each use is one look and one write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
