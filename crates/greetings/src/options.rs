//! The command line and the environment, in two steps: what was typed, then what it means.
//!
//! Everything wrong with either is one line that names the option or variable, quotes what it was
//! given, and says what it takes. The arguments are read with lexopt because nothing but the
//! arguments should decide what that line is; the help is text, written to be read.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ingle::Lifetime;
use lexopt::prelude::{Long, Short, Value};
use tracing_subscriber::EnvFilter;

use crate::{
    accounts::command::Add,
    otlp,
    platform::{Platform, Service},
    server::Limits,
};

pub(crate) const HELP: &str = include_str!("help.txt");

/// What the program was asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(Box<Options>),
    AddAccount(Add),
    Help,
    Version,
}

/// What was typed, and what it means.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) store: Setting,
    /// Nobody said where sessions are kept.
    pub(crate) store_is_default: bool,
    /// Where sessions are kept in an emulator and not in Firestore.
    pub(crate) emulator: Option<String>,
    pub(crate) platform: Platform,
    pub(crate) namespace: String,
    /// The cookie's name, where that was said.
    pub(crate) cookie_name: Option<Setting>,
    /// How often dead sessions are swept. Never, if there is none.
    pub(crate) sweep_every: Option<Duration>,
    pub(crate) lifetime: Lifetime,
    /// The file of those who can log in.
    pub(crate) accounts: Option<PathBuf>,
    pub(crate) transport: Transport,
    pub(crate) limits: Limits,
    /// How long a request waits for the store, where that was said.
    pub(crate) store_time: Option<Duration>,
    pub(crate) lab: bool,
    /// Only make what the store must find.
    pub(crate) migrate: bool,
    /// Where Prometheus asks for what is counted.
    pub(crate) metrics: Option<SocketAddr>,
    /// The collector that traces and metrics are sent to.
    pub(crate) otlp: Option<Setting>,
    pub(crate) log_format: LogFormat,
    /// Which lines are logged.
    pub(crate) log: String,
    pub(crate) service: Service,
}

/// Whom the log is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// People, on stderr.
    Text,
    /// Google's Cloud Logging, as JSON on stdout.
    Google,
}

/// Who can listen in between the browser and this program, which decides the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Plain HTTP that does not leave this machine.
    Loopback,
    /// Plain HTTP over a network, because it was asked for.
    Insecure,
    /// HTTPS, which a proxy or a platform in front of this program speaks.
    Https,
}

/// A mistake in how the program was started: one line.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) String);

/// A value, and where it came from, so that a complaint can name it.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

/// What was typed.
#[derive(Debug, Default)]
struct Typed {
    listen: Option<Setting>,
    port: Option<Setting>,
    store: Option<Setting>,
    emulator: Option<OsString>,
    platform: Platform,
    namespace: Option<Setting>,
    cookie_name: Option<Setting>,
    sweep: Option<Setting>,
    idle: Option<Setting>,
    absolute: Option<Setting>,
    accounts: Option<PathBuf>,
    in_flight: Option<Setting>,
    header_timeout: Option<Setting>,
    request_timeout: Option<Setting>,
    drain_timeout: Option<Setting>,
    store_timeout: Option<Setting>,
    metrics: Option<Setting>,
    otlp: Option<Setting>,
    log_format: Option<Setting>,
    log: Option<Setting>,
    service: Service,
    behind_https: bool,
    insecure_http: bool,
    lab: bool,
    migrate: bool,
}

/// The long options, for suggestions.
const NAMES: [&str; 22] = [
    "absolute",
    "accounts",
    "behind-https",
    "cookie-name",
    "drain-timeout",
    "header-timeout",
    "help",
    "idle",
    "in-flight",
    "insecure-http",
    "lab",
    "listen",
    "log-format",
    "metrics",
    "migrate",
    "namespace",
    "otlp",
    "request-timeout",
    "store",
    "store-timeout",
    "sweep",
    "version",
];

/// The namespace, if nothing else was said.
const NAMESPACE: &str = "greetings";
const NAMESPACE_BYTES_MAX: usize = 64;
/// As much of a namespace fits into a cookie's name.
const COOKIE_BYTES_MAX: usize = 48;
const IN_FLIGHT_MAX: usize = 100_000;
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);
/// What is logged if nothing else was said: requests, the life of sessions, and what is wrong.
const LOG: &str = "warn,greetings=info,ingle::events=info";
const SWEEP_EVERY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the arguments (without the program's name) and the environment.
pub(crate) fn command(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, Wrong> {
    let mut typed = Typed::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut is_first = true;
    while let Some(argument) = parser.next().map_err(wrong_argument)? {
        match argument {
            Long("behind-https") => typed.behind_https = true,
            Long("insecure-http") => typed.insecure_http = true,
            Long("lab") => typed.lab = true,
            Long("migrate") => typed.migrate = true,
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("accounts") => typed.accounts = Some(path(&mut parser)?),
            Long(name) => match typed.setting(name) {
                Some((name, setting)) => *setting = Some(value(&mut parser, name)?),
                None => return Err(unknown(name)),
            },
            Short(letter) => return Err(unexpected(&format!("-{letter}"))),
            Value(text) if is_first && text == "account" => return account(&mut parser),
            Value(text) => return Err(unexpected(&text.to_string_lossy())),
        }
        is_first = false;
    }
    // A variable that an option overrides is not looked at, so it cannot be wrong.
    let variable = |name| environment(name).map(|value| Setting::new(name, value)).transpose();
    if typed.listen.is_none() {
        typed.port = variable("PORT")?;
    }
    if typed.store.is_none() {
        typed.store = variable("INGLE_STORE")?;
    }
    // As for the variables of platforms: empty is as good as not set.
    if typed.otlp.is_none() {
        typed.otlp = variable("OTEL_EXPORTER_OTLP_ENDPOINT")?.filter(|otlp| !otlp.value.is_empty());
    }
    typed.log = variable("RUST_LOG")?.filter(|log| !log.value.is_empty());
    typed.emulator = environment("FIRESTORE_EMULATOR_HOST");
    typed.platform = Platform::of(|name| environment(name).is_some_and(|value| !value.is_empty()));
    typed.service = Service::of(&environment);
    Ok(Command::Serve(Box::new(typed.meaning()?)))
}

impl Typed {
    /// The option of this name that takes a value, and where that is kept.
    fn setting(&mut self, name: &str) -> Option<(&'static str, &mut Option<Setting>)> {
        Some(match name {
            "absolute" => ("--absolute", &mut self.absolute),
            "cookie-name" => ("--cookie-name", &mut self.cookie_name),
            "drain-timeout" => ("--drain-timeout", &mut self.drain_timeout),
            "header-timeout" => ("--header-timeout", &mut self.header_timeout),
            "idle" => ("--idle", &mut self.idle),
            "in-flight" => ("--in-flight", &mut self.in_flight),
            "listen" => ("--listen", &mut self.listen),
            "log-format" => ("--log-format", &mut self.log_format),
            "metrics" => ("--metrics", &mut self.metrics),
            "namespace" => ("--namespace", &mut self.namespace),
            "otlp" => ("--otlp", &mut self.otlp),
            "request-timeout" => ("--request-timeout", &mut self.request_timeout),
            "store" => ("--store", &mut self.store),
            "store-timeout" => ("--store-timeout", &mut self.store_timeout),
            "sweep" => ("--sweep", &mut self.sweep),
            _ => return None,
        })
    }

    fn meaning(self) -> Result<Options, Wrong> {
        let limits = self.limits()?;
        let store_time = self.store_timeout.as_ref().map(Setting::timeout).transpose()?;
        let listen = given_or(self.listen, "--listen", "127.0.0.1:8080");
        let listen = match &self.port {
            Some(port) => {
                (Ipv4Addr::UNSPECIFIED, port.parsed("a port, 0 to 65535", number)?).into()
            }
            None => listen.parsed("an address and a port, such as 127.0.0.1:8080", parse)?,
        };
        let transport = transport(listen, self.behind_https, self.insecure_http)?;
        let namespace = given_or(self.namespace, "--namespace", NAMESPACE).parsed(
            "a name of 1 to 64 bytes without control characters",
            |text| {
                let fits = (1..=NAMESPACE_BYTES_MAX).contains(&text.len());
                (fits && !text.contains(char::is_control)).then(|| text.to_owned())
            },
        )?;
        // Who logs in and is not remembered is gone for good much sooner than a visitor.
        let (idle, absolute) = match self.accounts {
            None => ("30d", "365d"),
            Some(_) => ("30m", "12h"),
        };
        let idle = given_or(self.idle, "--idle", idle);
        let absolute = given_or(self.absolute, "--absolute", absolute);
        let store_is_default = self.store.is_none();
        let store = given_or(self.store, "--store", "sqlite:greetings-data");
        // As the store takes it: empty is as good as not set.
        let emulator = self.emulator.map(|host| host.to_string_lossy().trim().to_owned());
        let emulator = emulator.filter(|host| !host.is_empty());
        let emulator = emulator.filter(|_| store.value.starts_with("firestore:"));
        let mut service = self.service;
        service.project_of(&store.value);
        let is_google = matches!(self.platform, Platform::CloudRun | Platform::AppEngine);
        let log_format = if is_google { "google" } else { "text" };
        let address = |metrics: &Setting| {
            metrics.parsed("an address and a port of its own, such as 127.0.0.1:9464", parse)
        };
        Ok(Options {
            listen,
            store,
            store_is_default,
            emulator,
            platform: self.platform,
            namespace,
            cookie_name: self.cookie_name,
            sweep_every: given_or(self.sweep, "--sweep", "60s")
                .parsed("off, or a duration from 1s to 1d", sweep_every)?,
            lifetime: Lifetime::new(idle.duration()?, absolute.duration()?)
                .map_err(|error| Wrong(format!("--idle and --absolute: {error}")))?,
            accounts: self.accounts,
            transport,
            limits,
            store_time,
            lab: self.lab,
            migrate: self.migrate,
            metrics: self.metrics.as_ref().map(address).transpose()?,
            otlp: self.otlp.as_ref().map(otlp::collector).transpose()?,
            log_format: given_or(self.log_format, "--log-format", log_format)
                .parsed("text or google", log_format_of)?,
            service,
            log: given_or(self.log, "RUST_LOG", LOG)
                .parsed("levels and targets, such as info or ingle=debug,warn", |text| {
                    EnvFilter::try_new(text).is_ok().then(|| text.to_owned())
                })?,
        })
    }

    fn limits(&self) -> Result<Limits, Wrong> {
        let timeout = |given: &Option<Setting>, name, default| {
            given_or(given.clone(), name, default).timeout()
        };
        Ok(Limits {
            in_flight: given_or(self.in_flight.clone(), "--in-flight", "512")
                .parsed("a number from 1 to 100000", |text| {
                    number(text).filter(|n| (1..=IN_FLIGHT_MAX).contains(n))
                })?,
            header_time: timeout(&self.header_timeout, "--header-timeout", "10s")?,
            request_time: timeout(&self.request_timeout, "--request-timeout", "30s")?,
            drain_time: timeout(&self.drain_timeout, "--drain-timeout", "9s")?,
            // A proxy or platform connects for all of its clients.
            per_client: self.port.is_none() && !self.behind_https,
        })
    }
}

/// The cookie of the apps in a namespace: that of the first one has no more than the usual name.
pub(crate) fn cookie_name(usual: &str, namespace: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if namespace == NAMESPACE {
        usual.to_owned()
    } else if namespace.len() <= COOKIE_BYTES_MAX && namespace.bytes().all(is_plain) {
        format!("{usual}-{namespace}")
    } else {
        // FNV-1a, which stays the same for ever, as the name must.
        let hash = namespace.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{usual}-{hash:016x}")
    }
}

/// What was typed, or the default of the option of this name.
fn given_or(given: Option<Setting>, name: &'static str, default: &str) -> Setting {
    given.unwrap_or_else(|| Setting { name, value: default.to_owned() })
}

impl Setting {
    fn new(name: &'static str, value: OsString) -> Result<Self, Wrong> {
        match value.into_string() {
            // Mounted secrets end in blanks and line ends, which are meant by nobody.
            Ok(value) => Ok(Self { name, value: value.trim().to_owned() }),
            Err(value) => Err(Wrong(format!("{name} {value:?} is not UTF-8 text"))),
        }
    }

    pub(crate) fn parsed<T>(
        &self,
        takes: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Wrong> {
        let Self { name, value } = self;
        parse(value).ok_or_else(|| Wrong(format!("{name} {value:?}: it takes {takes}")))
    }

    fn duration(&self) -> Result<Duration, Wrong> {
        self.parsed("a duration with its unit, such as 90s, 30m, 12h or 30d", duration)
    }

    fn timeout(&self) -> Result<Duration, Wrong> {
        self.parsed("a duration from 1s to 1h", |text| {
            duration(text).filter(|time| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(time))
        })
    }
}

fn log_format_of(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "google" => Some(LogFormat::Google),
        _ => None,
    }
}

/// How often to sweep, or never.
#[expect(clippy::option_option, reason = "to sweep never is no mistake")]
fn sweep_every(text: &str) -> Option<Option<Duration>> {
    if text == "off" {
        return Some(None);
    }
    duration(text).filter(|every| (TIMEOUT_MIN..=SWEEP_EVERY_MAX).contains(every)).map(Some)
}

fn transport(listen: SocketAddr, https: bool, insecure: bool) -> Result<Transport, Wrong> {
    let local = listen.ip().to_canonical().is_loopback();
    match (https, insecure) {
        (true, true) => {
            Err(Wrong("--behind-https and --insecure-http exclude each other".to_owned()))
        }
        (true, false) => Ok(Transport::Https),
        (false, _) if local => Ok(Transport::Loopback),
        (false, true) => Ok(Transport::Insecure),
        (false, false) => Ok(Transport::Https),
    }
}

/// A duration as it is typed: a whole number and one unit.
fn duration(text: &str) -> Option<Duration> {
    let (amount, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds_each = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number::<u64>(amount)?.checked_mul(seconds_each).map(Duration::from_secs)
}

/// Digits alone; the standard library would take a plus sign too.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| parse(text)).flatten()
}

fn parse<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn value(parser: &mut lexopt::Parser, name: &'static str) -> Result<Setting, Wrong> {
    let value = parser.value().map_err(|_| Wrong(format!("{name} needs a value")))?;
    Setting::new(name, value)
}

fn path(parser: &mut lexopt::Parser) -> Result<PathBuf, Wrong> {
    let value = parser.value().map_err(|_| Wrong("--accounts needs a value".to_owned()))?;
    Ok(value.into())
}

/// What follows `account`.
fn account(parser: &mut lexopt::Parser) -> Result<Command, Wrong> {
    let usage = |what: &str| {
        let usage = "greetings account add NAME --accounts FILE asks for a password, or reads it from a pipe";
        Wrong(format!("account: {what}, and no account was added; {usage}"))
    };
    let no_option = |option: &str| format!("{option:?} is none of its options");
    let (mut words, mut file) = (Vec::new(), None);
    while let Some(argument) = parser.next().map_err(wrong_argument)? {
        match argument {
            Value(word) => words.push(word),
            Long("accounts") => file = Some(path(parser)?),
            Short('h') | Long("help") => return Ok(Command::Help),
            Long(option) => return Err(usage(&no_option(&format!("--{option}")))),
            Short(option) => return Err(usage(&no_option(&format!("-{option}")))),
        }
    }
    let [add, name] = &words[..] else { return Err(usage("it takes `add` and one name")) };
    if add != "add" {
        return Err(usage(&format!("{add:?} is nothing that it does")));
    }
    let Some(file) = file else { return Err(usage("--accounts is missing")) };
    let takes = "it takes a name of 1 to 64 characters without a colon, and no # or blank first";
    let added = name.to_str().and_then(|name| Add::new(name.to_owned(), file));
    added.map(Command::AddAccount).ok_or_else(|| Wrong(format!("account add {name:?}: {takes}")))
}

fn wrong_argument(error: lexopt::Error) -> Wrong {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            Wrong(format!("{option} takes no value, and it was given {value:?}"))
        }
        other => Wrong(other.to_string()),
    }
}

fn unknown(name: &str) -> Wrong {
    let similar = NAMES.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = similar.into_iter().max_by(|(one, _), (other, _)| one.total_cmp(other));
    match best {
        Some((similarity, known)) if similarity > 0.8 => {
            Wrong(format!("there is no option {:?}; did you mean --{known}?", format!("--{name}")))
        }
        _ => unexpected(&format!("--{name}")),
    }
}

fn unexpected(argument: &str) -> Wrong {
    Wrong(format!("{argument:?} is not an option of this program; see greetings --help"))
}

#[cfg(test)]
mod tests;
