//! The tutorial's app as a program: options, store, sessions, server, and a clean end.
//!
//! `app.rs` is what the tutorial shows; the rest is what any service needs around it. `run` names
//! all of it in order. `accounts.rs` adds logins. `actix.rs` is the same app on another framework.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use ingle::{
    Cookie, CookieConfig, SessionLayer,
    store::{Ids, OpenError, OpenErrorKind, Store},
};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

mod access;
mod accounts;
#[cfg(feature = "actix")]
mod actix;
mod app;
mod banner;
mod lab;
mod limit;
mod log;
mod measure;
mod options;
#[cfg_attr(not(feature = "otlp"), path = "no_otlp.rs")]
mod otlp;
mod platform;
mod prometheus;
mod server;
mod watch;
mod workers;

use access::{Access, NoteSession, Told};
use accounts::{Accounts, Streams, command::AddError};
use limit::Limit;
use options::{Command, Options, Setting, Transport, Wrong};
use server::{Ended, Signals};
use watch::Watch;
use workers::Workers;

/// How long the end waits for work in the background, which nobody was promised.
const BACKGROUND_TIME_MAX: Duration = Duration::from_millis(500);

/// Why the program ends with another code than 0: one line for people.
struct Failure {
    code: u8,
    line: String,
}

/// What a server begins with.
struct Start {
    options: Options,
    listener: TcpListener,
    store: Arc<dyn Store>,
    sessions: SessionLayer,
    accounts: Option<Accounts>,
    signals: Signals,
    /// Who is told of requests.
    told: Told,
}

/// The program `greetings`, on axum.
#[must_use]
pub fn on_axum() -> ExitCode {
    program(true, async |start| {
        let Start { options, listener, store, sessions, accounts, signals, told } = start;
        let limit = Limit::new(options.limits.in_flight, options.limits.request_time);
        let streams = Streams::new();
        let accounts = accounts.map(|accounts| (accounts, streams.clone()));
        let note = NoteSession(told);
        let app =
            app::router(store, options.store_time, sessions, limit, options.lab, accounts, note);
        let app = Access::new(told, app);
        let workers = Workers::start()?;
        let on_stop = |connections| {
            tracing::info!(connections, "stopping");
            streams.stop();
        };
        Ok(server::serve(listener, app, options.limits, workers, signals, on_stop).await)
    })
}

/// The program `greetings-actix`: the same app on actix-web.
#[cfg(feature = "actix")]
#[must_use]
pub fn on_actix() -> ExitCode {
    program(false, actix::serve)
}

/// Runs the program on a framework, with accounts where it has pages for them.
fn program(has_accounts: bool, serve: impl AsyncFnOnce(Start) -> io::Result<Ended>) -> ExitCode {
    let ended = match Runtime::new() {
        Ok(runtime) => {
            let ended = runtime.block_on(run(has_accounts, serve));
            runtime.shutdown_timeout(BACKGROUND_TIME_MAX);
            ended
        }
        Err(error) => Err(Failure::start("begin", &error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, line }) => {
            // A closed stderr has no reader.
            let _ = writeln!(io::stderr(), "greetings: {line}");
            ExitCode::from(code)
        }
    }
}

/// The whole program.
async fn run(
    has_accounts: bool,
    serve: impl AsyncFnOnce(Start) -> io::Result<Ended>,
) -> Result<(), Failure> {
    let arguments = std::env::args_os().skip(1);
    let options = match options::command(arguments, |name| std::env::var_os(name))? {
        Command::Serve(options) => *options,
        Command::AddAccount(add) => return print(&add.run()?),
        Command::Help => return print(options::HELP),
        Command::Version => return print(banner::VERSION),
    };
    let watch = Watch::begin(&options).map_err(|error| Failure::watch(&*error))?;
    if options.migrate {
        return migrate(&options).await;
    }
    let ended = served(options, has_accounts, &watch, serve).await;
    if let Ok(Ended::AtOnce(signal)) = ended {
        // The runtime would still wait for what it runs.
        std::process::exit(128 + i32::from(signal));
    }
    if let Ok(Ended::Overdue(busy)) = ended {
        tracing::warn!(busy, "stopped before all requests were answered");
    }
    watch.end().await;
    ended.map(|_| ())
}

/// Opens what was asked for, and serves until a signal comes.
async fn served(
    options: Options,
    has_accounts: bool,
    watch: &Watch,
    serve: impl AsyncFnOnce(Start) -> io::Result<Ended>,
) -> Result<Ended, Failure> {
    let accounts = open_accounts(&options, has_accounts)?;
    let signals = Signals::listen().map_err(|error| Failure::start("wait for signals", &error))?;
    let listener = listen(options.listen, "").await?;
    let metrics = serve_metrics(&options, watch).await?;
    let metrics_at = metrics.as_ref().map(|(_, address)| *address);
    let told = watch.of_requests();
    let store = open_store(&options).await?;
    if let Some(trouble) = platform::warning(&options) {
        tracing::warn!("sessions end with this instance: {trouble}");
    }
    let cookie = cookie(&options, store.info().ids)?;
    let sessions = sessions(&options, Arc::clone(&store), cookie.clone());
    // What they count is there before anybody hears where to ask for it.
    drop(sessions.door());
    let count = accounts.as_ref().map(|accounts| accounts.count);
    banner::announce(&options, count, store.as_ref(), &cookie, &listener, metrics_at);
    let start = Start { options, listener, store, sessions, accounts, signals, told };
    serve(start).await.map_err(|error| Failure::start("serve", &error))
}

fn print(text: &str) -> Result<(), Failure> {
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Those of the file that was named, where the program has pages for them.
fn open_accounts(options: &Options, has_accounts: bool) -> Result<Option<Accounts>, Failure> {
    let Some(path) = &options.accounts else { return Ok(None) };
    let failed = |line: &str| Failure::usage(&format!("--accounts {path:?}: {line}"));
    if !has_accounts {
        return Err(failed("this program has no accounts; greetings has, which is on axum"));
    }
    Accounts::open(path).map(Some).map_err(|line| failed(&line))
}

/// What answers Prometheus, and where, if that was asked for.
async fn serve_metrics(
    options: &Options,
    watch: &Watch,
) -> Result<Option<(JoinSet<()>, SocketAddr)>, Failure> {
    let Some(address) = options.metrics else { return Ok(None) };
    let listener = listen(address, " for --metrics").await?;
    let serving = watch.serve(listener, options.limits);
    serving.map_err(|error| Failure::start("serve metrics", &error))
}

async fn listen(address: SocketAddr, why: &str) -> Result<TcpListener, Failure> {
    let result = TcpListener::bind(address).await;
    result.map_err(|error| Failure::start(&format!("listen on {address}{why}"), &error))
}

async fn open_store(options: &Options) -> Result<Arc<dyn Store>, Failure> {
    let opened = ingle::store::open(&options.store.value).await;
    opened.map_err(|error| Failure::store(options, &error))
}

/// Makes what the store must find, where it is not there yet.
async fn migrate(options: &Options) -> Result<(), Failure> {
    let made = ingle::store::migrate(&options.store.value).await;
    made.map_err(|error| Failure::store(options, &error))?;
    print("greetings: the store is ready\n")
}

/// A cookie that the tutorial's app can read where sessions are shared with it. It outlives the
/// browser, but with accounts only where somebody asks for that at the login.
///
/// Each namespace has a cookie of its own. Browsers do not tell the ports of a host apart, and with one
/// name two apps on a host would end each other's sessions. A name that was asked for is taken as it is.
fn cookie(options: &Options, ids: Ids) -> Result<Cookie, Failure> {
    let for_transport = match options.transport {
        Transport::Https => CookieConfig::default(),
        Transport::Loopback | Transport::Insecure => CookieConfig::development(),
    };
    let name = match (ids, &options.cookie_name) {
        (Ids::Plain, _) if options.accounts.is_some() => {
            let line = "--accounts: a store with ids=plain has no users; leave out one of the two";
            return Err(Failure::usage(line));
        }
        (Ids::Plain, Some(_)) => {
            let line = "--cookie-name: a store with ids=plain shares the cookie `session_id` with the \
                        tutorial's app; leave out one of the two";
            return Err(Failure::usage(line));
        }
        (Ids::Plain, None) => "session_id".to_owned(),
        (_, Some(name)) => name.value.clone(),
        (_, None) => options::cookie_name(&for_transport.name, &options.namespace),
    };
    let config = CookieConfig { name, ..for_transport };
    let persistent = options.accounts.is_none();
    let cookie = Cookie::new(CookieConfig { persistent, ..config });
    cookie.map_err(|error| match &options.cookie_name {
        Some(Setting { name, value }) => Failure::usage(&format!("{name} {value:?}: {error}")),
        None => Failure::usage(&error.to_string()),
    })
}

/// How the sessions of this app are: in its own namespace, and as long as it was asked for.
fn sessions(options: &Options, store: Arc<dyn Store>, cookie: Cookie) -> SessionLayer {
    let layer = SessionLayer::new(store).namespace(&options.namespace);
    let layer = layer.cookie(cookie).lifetime(options.lifetime).sweep_every(options.sweep_every);
    let layer = match options.store_time {
        Some(time) => layer.deadline(time),
        None => layer,
    };
    match options.accounts {
        Some(_) => layer.on_error(accounts::refusal),
        None => layer,
    }
}

/// What to do about a store that cannot be opened, beyond what its error says.
fn advice(options: &Options) -> String {
    match platform::trouble(options) {
        Some(trouble) => format!("; {trouble}"),
        None if options.store_is_default => {
            "; --store or INGLE_STORE says where, and neither was given".to_owned()
        }
        None => String::new(),
    }
}

impl Failure {
    fn start(what: &str, error: &io::Error) -> Self {
        Self { code: 1, line: format!("could not {what}: {error}") }
    }

    fn watch(error: &dyn std::error::Error) -> Self {
        Self { code: 1, line: format!("could not begin to count and to trace: {error}") }
    }

    fn store(options: &Options, error: &OpenError) -> Self {
        match error.kind() {
            OpenErrorKind::Config | OpenErrorKind::NotBuilt => {
                Self::usage(&format!("{}: {error}", options.store.name))
            }
            _ => Self { code: 3, line: format!("{error}{}", advice(options)) },
        }
    }

    fn usage(line: &str) -> Self {
        Self { code: 2, line: line.to_owned() }
    }
}

impl From<AddError> for Failure {
    fn from(error: AddError) -> Self {
        Self { code: 1, line: error.to_string() }
    }
}

impl From<Wrong> for Failure {
    fn from(Wrong(line): Wrong) -> Self {
        Self::usage(&line)
    }
}
