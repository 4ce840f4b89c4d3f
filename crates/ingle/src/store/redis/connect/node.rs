//! A server, and the connections that this process has with it.
//!
//! Each runtime has one at a time: where each thread has a runtime of its own, no call waits for another
//! thread to send it. When it is lost, the next call makes another, in a task of its own, so that it comes
//! about also when that call gives up; all others wait for it, no longer than they may.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, Handle},
    sync::watch,
    time::timeout,
};

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
    /// The connection of each runtime in which somebody called.
    states: Mutex<Vec<(Option<runtime::Id>, State)>>,
}

/// Tells how an attempt to connect ended.
type Attempt = watch::Receiver<Option<Result<Arc<Link>, Cause>>>;

enum State {
    /// No attempt was made yet.
    New,
    /// Made when the process had stood still so often.
    Open(Arc<Link>, u64),
    /// Somebody is at it.
    Connecting(Attempt),
    Failed(Instant, Cause),
}

impl Node {
    pub(super) fn new(settings: &Arc<Settings>, address: Address) -> Arc<Self> {
        Arc::new(Self {
            address,
            settings: Arc::clone(settings),
            is_cluster: AtomicBool::new(false),
            states: Mutex::default(),
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

    /// The connection of this runtime, if there is one.
    pub(super) fn open_link(&self) -> Option<Arc<Link>> {
        self.with_state(|state| self.good_link(state))
    }

    /// The connection of any runtime, to tell of the server.
    pub(super) fn any_link(&self) -> Option<Arc<Link>> {
        self.states().iter().find_map(|(_, state)| self.good_link(state))
    }

    /// The connection that is open, unless it is from before the process stood still.
    fn good_link(&self, state: &State) -> Option<Arc<Link>> {
        let State::Open(link, stops) = state else { return None };
        let is_good = link.is_open() && *stops == self.settings.pulse.stops();
        is_good.then(|| Arc::clone(link))
    }

    /// The connection of this runtime, made if there is none.
    pub(super) async fn link(self: &Arc<Self>) -> Result<Arc<Link>, Cause> {
        let mut connecting = match self.with_state(|state| self.link_in(state)) {
            Ok(link) => return link,
            Err(connecting) => connecting,
        };
        let over = connecting.wait_for(Option::is_some).await;
        let over = over.ok().and_then(|over| over.clone());
        over.unwrap_or_else(|| {
            // The runtime that it was made in has ended; the next call begins anew.
            self.with_state(|state| {
                if matches!(state, State::Connecting(gone) if gone.same_channel(&connecting)) {
                    *state = State::New;
                }
            });
            Err(error::not_now("the attempt to connect was given up"))
        })
    }

    /// What is known of the connection, or who is at it from now on.
    fn link_in(self: &Arc<Self>, state: &mut State) -> Result<Result<Arc<Link>, Cause>, Attempt> {
        if let Some(link) = self.good_link(state) {
            return Ok(Ok(link));
        }
        match state {
            State::Failed(when, error) if when.elapsed() < PAUSE => Ok(Err(error.clone())),
            State::Connecting(attempt) => Err(attempt.clone()),
            State::New | State::Open(..) | State::Failed(..) => {
                let attempt = self.connect();
                *state = State::Connecting(attempt.clone());
                Err(attempt)
            }
        }
    }

    fn connect(self: &Arc<Self>) -> Attempt {
        let (over, connecting) = watch::channel(None);
        let node = Arc::clone(self);
        let attempt = async move {
            let stops = node.settings.pulse.stops();
            let opened = node.open().await.map(Arc::new);
            node.with_state(|state| {
                *state = match &opened {
                    Ok(link) => State::Open(link.clone(), stops),
                    Err(error) => State::Failed(Instant::now(), error.clone()),
                };
            });
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

    /// Looks at the state of the connection of this runtime, and may change it.
    fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut states = self.states();
        if let Some((_, state)) = states.iter_mut().find(|(of, _)| *of == runtime) {
            return look(state);
        }
        // Runtimes that have ended are no more in it.
        states.retain(|(_, state)| state.is_alive());
        let mut state = State::New;
        let looked = look(&mut state);
        states.push((runtime, state));
        looked
    }

    fn states(&self) -> MutexGuard<'_, Vec<(Option<runtime::Id>, State)>> {
        // Each use is one look and one write.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether somebody may use it or is at it: both end with their runtime.
    fn is_alive(&self) -> bool {
        match self {
            Self::Open(link, _) => link.is_open(),
            Self::Connecting(connecting) => connecting.has_changed().is_ok(),
            Self::Failed(when, _) => when.elapsed() < PAUSE,
            Self::New => false,
        }
    }
}
