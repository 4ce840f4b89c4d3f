//! What can be asked of the program. Each command has examples that run as they are printed.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, error::ErrorKind};
use ingle::{Limits, operator::HandlePrefix};
use ingle_operator::{Condition, Path, duration};

use crate::{
    complete,
    exit::Failed,
    new_value::{NewValue, assignment},
};
pub(crate) use crate::{console::ConsoleOptions, cost::CostOptions};

/// See, edit and end the sessions of an app, on any store of ingle.
#[derive(Debug, Parser)]
#[command(
    name = "ingle",
    version,
    subcommand_required = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 not found, 4 refused, 5 conflict, \
                  6 the store is not available, 7 it is not known whether it was done, 130 interrupted.\n\n\
                  Examples:\n  $ ingle sessions list --limit 3\n  $ ingle sessions show 3fa9\n  \
                  $ ingle stats"
)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    #[command(flatten)]
    pub(crate) format: FormatOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the help calls a place and its new value.
pub(crate) const ASSIGNMENT: &str = "PATH=VALUE";

impl Options {
    /// Reads the arguments of this program.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let options = Self::try_parse()?;
        // Clap's own rules do not see a global option that stands before the command.
        let conflict = |text| Err(clap::Error::raw(ErrorKind::ArgumentConflict, text));
        if options.format.json && options.format.ndjson {
            return conflict("--json cannot be used with --ndjson");
        }
        if options.place.store.is_some() && options.place.store_file.is_some() {
            return conflict("--store cannot be used with --store-file");
        }
        if let Command::Sessions { command: SessionsCommand::List(list) } = &options.command
            && list.sort.is_some()
            && list.limit.is_some_and(|limit| limit > SORTED_MAX)
        {
            let text = format!("--sort takes a --limit of {SORTED_MAX} at most");
            return Err(clap::Error::raw(ErrorKind::ValueValidation, text));
        }
        if let Command::Sessions { command: SessionsCommand::Set(set) } = &options.command
            && set.values.iter().filter(|(_, value)| *value == NewValue::OnStdin).count() > 1
        {
            return conflict("only one value can be on stdin");
        }
        let asks_for_use = options.command.selection().is_some_and(Selection::asks_for_use);
        if asks_for_use && options.place.idle_time.is_none() {
            let text = "--idle and @idle need --idle-time, which says how long the app lets a session \
                        live without use";
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, text));
        }
        Ok(options)
    }

    /// The command that these words name, as far as they name one.
    pub(crate) fn named_by(words: impl Iterator<Item = OsString>) -> String {
        let program = Self::command();
        let (mut command, mut name) = (&program, program.get_name().to_owned());
        for word in words {
            if let Some(inner) = command.find_subcommand(&word) {
                command = inner;
                name = format!("{name} {}", inner.get_name());
            }
        }
        name
    }
}

impl Selection {
    fn asks_for_use(&self) -> bool {
        self.idle.is_some() || self.condition.as_ref().is_some_and(Condition::asks_for_use)
    }
}

impl Command {
    fn selection(&self) -> Option<&Selection> {
        match self {
            Self::Sessions { command: SessionsCommand::List(options) } => Some(&options.selection),
            Self::Sessions { command: SessionsCommand::End(options) } => Some(&options.selection),
            Self::Export(options) => Some(&options.selection),
            _ => None,
        }
    }
}

/// Where the sessions are, and who asks.
#[derive(Args, Debug)]
#[command(next_help_heading = "Store")]
pub(crate) struct PlaceOptions {
    /// The URL of the store, such as sqlite:data or redis://localhost [env: INGLE_STORE].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// A file that holds the URL, such as a mounted secret.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) store_file: Option<PathBuf>,
    /// The namespace of the app's layer, in which `users end` and the console end all of a user. Empty for an
    /// app that sets none. Lists have the sessions of all apps that share the store.
    #[arg(long, global = true, env = "INGLE_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// How long the app lets a session live without use. Tells when a session was last used.
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub(crate) idle_time: Option<Duration>,
    /// How long one step may take, such as to open the store, or to load or change a session. The store has
    /// half of it for its first answer.
    #[arg(long, global = true, env = "INGLE_TIMEOUT", value_name = "TIME", value_parser = timeout, default_value = TIMEOUT)]
    pub(crate) timeout: Duration,
    /// Who acts, for the audit log. Default the user of this machine.
    #[arg(long, global = true, env = "INGLE_OPERATOR", value_name = "NAME")]
    pub(crate) operator: Option<String>,
}

/// How long a step may take, where nobody says it.
const TIMEOUT: &str = "10s";

/// The shortest and the longest time that a step may take.
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60 * 60);

fn timeout(text: &str) -> Result<Duration, String> {
    // An empty variable says nothing.
    let text = if text.trim().is_empty() { TIMEOUT } else { text };
    let time = duration(text).map_err(|error| error.to_string())?;
    let fits = TIMEOUTS.contains(&time);
    fits.then_some(time).ok_or_else(|| "it takes a duration from 100ms to 1h".to_owned())
}

/// How things are printed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct FormatOptions {
    /// Print one JSON document.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print one JSON document a line.
    #[arg(long, global = true)]
    pub(crate) ndjson: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List, show, edit, end and watch sessions.
    #[command(
        subcommand_required = true,
        after_help = "Examples:\n  $ ingle sessions list --where 'views > 100'"
    )]
    Sessions {
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// List users, and end all their sessions.
    #[command(subcommand_required = true, after_help = "Examples:\n  $ ingle users list")]
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// See and edit sessions in a browser.
    #[command(
        long_about = "See and edit sessions in a browser of this machine. For others, name the public URL, one way \
                      to know them, and their roles. docs/console.md has whole commands for providers, for Google's \
                      Identity-Aware Proxy and for other proxies.\n\nWho ends all of a user there ends them in the \
                      namespace of --namespace, and without it as in an app that sets none. In another one, logins \
                      under way live on.",
        after_help = "Examples:\n  $ ingle console --idle-time 30m\n  \
                      $ ingle console --idle-time 30m --role viewer"
    )]
    Console(Box<ConsoleOptions>),
    /// Show who did what, the newest first.
    #[command(after_help = "Examples:\n  $ ingle audit --limit 10\n  $ ingle audit --ndjson")]
    Audit(AuditOptions),
    /// Delete what has expired, now.
    #[command(after_help = "Examples:\n  $ ingle sweep")]
    Sweep(NoOptions),
    /// Count sessions: live, expired, by user, age and size.
    #[command(after_help = "Examples:\n  $ ingle stats\n  $ ingle stats --json")]
    Stats(NoOptions),
    /// Write the live sessions with their data, one JSON document a line.
    ///
    /// Values that look secret are hidden without --reveal. Nothing reads it back in.
    #[command(after_help = "Examples:\n  $ ingle export | gzip > sessions.ndjson.gz\n  \
                      $ ingle export --anonymise --user ada --output ada.ndjson")]
    Export(ExportOptions),
    /// Make what the store must find, such as its table.
    #[command(after_help = "Examples:\n  $ ingle migrate")]
    Migrate(NoOptions),
    /// Say what is wrong with the store and the app, each with what mends it.
    #[command(
        long_about = "Say what is wrong with the store and the app, each with what mends it. What is right is not \
                      told. The last line is `good to go`, and the exit code 0, or it counts the problems, and \
                      the code is 1.\n\nThe page of the app is asked for a few times, as by two visitors. It must \
                      be one that begins a session.",
        after_help = "Examples:\n  $ ingle doctor\n  $ ingle doctor --write --json"
    )]
    Doctor(DoctorOptions),
    /// Work out what a month costs, on Google Cloud and on machines of your own.
    #[command(
        after_help = "Examples:\n  $ ingle cost --visitors 20000 --requests 500000 --updates 30%\n  \
                      $ ingle cost --requests 5000000 --session 2000 --idle-time 30m --json"
    )]
    Cost(Box<CostOptions>),
    /// Print what makes a shell complete commands, options, handles and users.
    #[command(
        after_help = "A shell looks handles and users up in the store that the words before it name, or \
                      INGLE_STORE.\n\nExamples:\n  $ ingle completions bash > ingle.bash"
    )]
    Completions(CompletionsOptions),
    /// Print the manual page, or write all pages into a folder.
    #[command(after_help = "Examples:\n  $ ingle man > ingle.1\n  $ ingle man --output .")]
    Man(ManOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List sessions.
    #[command(after_help = "Examples:\n  $ ingle sessions list --user ada\n  \
                      $ ingle sessions list --where 'cart.items exists and views > 100' --ndjson\n  \
                      $ ingle sessions list --where '@age > 7d and @size > 8KiB' --limit 20\n  \
                      $ ingle sessions list --sort size --limit 5")]
    List(ListOptions),
    /// Show one session: what it is, and its data.
    #[command(
        after_help = "Examples:\n  $ ingle sessions show 3fa9\n  $ ingle sessions show 3fa9 --json"
    )]
    Show(ShowOptions),
    /// Set values in a session, each only if it is still as it was when the command began.
    #[command(
        after_help = "Values: 3, true, \"text\" and {\"a\": 1} are JSON; anything else is a text. With a type: \
                      int:3, double:1, text:3, bool:true, null, timestamp:2026-05-04T12:30:00Z, \
                      bytes:aGk=, geopoint:52.5,13.4, reference:NAME.\n\n\
                      The value - is the one on stdin, without the line end behind it: < FILE puts it into no \
                      shell's history, and shows it to no other user. For a dash, write text:-.\n\n\
                      Examples:\n  $ ingle sessions set 3fa9 'greeting=Hola Mundo'\n  \
                      $ ingle sessions set 3fa9 'cart.items[0].n=int:3' --dry-run\n  \
                      $ echo '{\"items\": []}' | ingle sessions set 3fa9 cart=-"
    )]
    Set(SetOptions),
    /// Take values out of a session.
    #[command(after_help = "Examples:\n  $ ingle sessions unset 3fa9 cart.coupon")]
    Unset(UnsetOptions),
    /// Edit a session in your editor, beside what the app changes meanwhile.
    #[command(
        after_help = "The editor is $VISUAL or $EDITOR. What you save is written value by value, each only if \
                      it is still as it was shown. Otherwise the exit code is 5, and your text is kept.\n\n\
                      Examples:\n  $ EDITOR='sed -i s/Hi/Hello/' ingle sessions edit 3fa9"
    )]
    Edit(EditOptions),
    /// End sessions for good.
    #[command(after_help = "Examples:\n  $ ingle sessions end 7b01\n  \
                      $ ingle sessions end --where 'views > 100' --dry-run\n  \
                      $ ingle sessions end --user bob --yes")]
    End(EndOptions),
    /// Follow what changes in a session, or in all of them.
    #[command(after_help = "Examples:\n  $ ingle sessions watch 3fa9 --for 1s\n  \
                      $ ingle sessions watch --for 1s --ndjson")]
    Watch(WatchOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List users who have sessions, and how many.
    #[command(after_help = "Examples:\n  $ ingle users list\n  $ ingle users list --json")]
    List(NoOptions),
    /// End all sessions of a user, and the logins under way.
    ///
    /// The namespace is that of the app's layer. In another one, logins under way live on, and on memcached all
    /// sessions of the user.
    #[command(after_help = "Examples:\n  $ ingle users end bob --namespace '' --yes\n  \
                      $ ingle users end bob --namespace greetings --dry-run")]
    End(EndUserOptions),
}

#[derive(Args, Debug)]
pub(crate) struct NoOptions {}

/// Which sessions are meant.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Which sessions")]
pub(crate) struct Selection {
    /// Those of this user.
    #[arg(long, value_name = "NAME", add = complete::users())]
    pub(crate) user: Option<String>,
    /// Those that fit, by their data ('views > 100 and cart.items exists') or by themselves: '@age > 2h',
    /// '@idle > 10m', '@ends < 1h', '@size > 8KiB', '@user = ada'. @idle needs --idle-time.
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) condition: Option<Condition>,
    /// Those that began longer ago than this.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) older: Option<Duration>,
    /// Those that were not used for this long. Needs --idle-time.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) idle: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Those that have expired and are not swept yet.
    #[arg(long)]
    pub(crate) expired: bool,
    /// No more than so many.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// The newest, those that end next, or the largest first. No store has them in such an order, so all are
    /// read before the first is printed. Needs --limit, of 10000 at most.
    #[arg(long, value_enum, value_name = "ORDER", requires = "limit")]
    pub(crate) sort: Option<Order>,
    /// The other end of --sort first: the oldest, those that end last, or the smallest.
    #[arg(long, requires = "sort")]
    pub(crate) reverse: bool,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Order {
    Began,
    Ends,
    Size,
}

/// How many sessions are sorted at most, since all of these are kept meanwhile.
pub(crate) const SORTED_MAX: usize = 10_000;

#[derive(Args, Debug)]
pub(crate) struct ShowOptions {
    /// The session's handle, or the beginning of it.
    #[arg(add = complete::handles())]
    pub(crate) handle: HandlePrefix,
    /// Show values that look secret, too. The audit log says that you did.
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// What the app's layer allows. What has more bytes or fields already may lose some.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits of the app's layer")]
pub(crate) struct LimitOptions {
    /// How many bytes the data may have as JSON.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().bytes_max)]
    max_bytes: usize,
    /// How deep the data may nest, 100 at most.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().depth_max)]
    max_depth: usize,
    /// How many top-level fields there may be.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().fields_max)]
    max_fields: usize,
}

impl LimitOptions {
    pub(crate) fn limits(&self) -> Result<Limits, Failed> {
        let Self { max_bytes, max_depth, max_fields } = *self;
        if max_depth > Limits::DEPTH_MAX {
            return Err(Failed::usage(format!("--max-depth is {} at most", Limits::DEPTH_MAX)));
        }
        Ok(Limits { bytes_max: max_bytes, depth_max: max_depth, fields_max: max_fields })
    }
}

#[derive(Args, Debug)]
pub(crate) struct SetOptions {
    /// The session's handle, or the beginning of it.
    #[arg(add = complete::handles())]
    pub(crate) handle: HandlePrefix,
    /// A place in the data and its new value, such as cart.items[0].n=int:3.
    #[arg(required = true, value_name = ASSIGNMENT, value_parser = assignment)]
    pub(crate) values: Vec<(Path, NewValue)>,
    /// Print what would change under the limits below, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

#[derive(Args, Debug)]
pub(crate) struct UnsetOptions {
    /// The session's handle, or the beginning of it.
    #[arg(add = complete::handles())]
    pub(crate) handle: HandlePrefix,
    /// A place in the data, such as cart.coupon.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<Path>,
    /// Print what would change under the limits below, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

#[derive(Args, Debug)]
pub(crate) struct EditOptions {
    /// The session's handle, or the beginning of it.
    #[arg(add = complete::handles())]
    pub(crate) handle: HandlePrefix,
    /// Edit values that look secret, too. The audit log says that you saw them.
    #[arg(long)]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["handles", "user", "condition", "older", "idle", "all"]))]
pub(crate) struct EndOptions {
    /// Handles, or beginnings of them of at least 4 digits.
    #[arg(value_name = "HANDLE", add = complete::handles(), value_parser = handle_to_end,
        conflicts_with_all = ["user", "condition", "older", "idle", "all"])]
    pub(crate) handles: Vec<HandlePrefix>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// All sessions of the store, of each app that shares it.
    #[arg(long, conflicts_with_all = ["user", "condition", "older", "idle"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

/// How many digits of a handle name a session that is to end. Fewer may fit a session by chance that nobody
/// meant: `sessions end ada` names a handle, and no user.
const END_DIGITS_MIN: usize = 4;

fn handle_to_end(text: &str) -> Result<HandlePrefix, String> {
    let handle = text.parse::<HandlePrefix>().map_err(|error| error.to_string())?;
    match text.len() {
        END_DIGITS_MIN.. => Ok(handle),
        _ => Err(format!(
            "the end of a session takes {END_DIGITS_MIN} digits of its handle or more; `ingle sessions list` \
             has them, and --user NAME ends those of a user"
        )),
    }
}

/// How many may end is confirmed, so that a condition that fits too much does no harm.
#[derive(Args, Debug)]
#[command(next_help_heading = "Confirmation")]
pub(crate) struct Confirmation {
    /// Print which sessions would end, and end none.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask. For 10 sessions at most.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do not ask, if it is exactly so many sessions.
    #[arg(long, value_name = "COUNT")]
    pub(crate) confirm: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct WatchOptions {
    /// The session's handle, or the beginning of it. Without one, all sessions.
    #[arg(add = complete::handles())]
    pub(crate) handle: Option<HandlePrefix>,
    /// How often the store is asked.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub(crate) every: Duration,
    /// Stop after this time, with a last look.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// Stop after so many changes.
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct EndUserOptions {
    /// The name that the app logs the user in under.
    #[arg(add = complete::users())]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

#[derive(Args, Debug)]
pub(crate) struct AuditOptions {
    /// No more than so many lines.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Show the hashes of values in JSON, too, which tell a value to whoever guesses it. The audit log says
    /// that you did.
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorOptions {
    /// A page of the app that begins a session, such as https://example.com/.
    pub(crate) url: Option<String>,
    /// Also begin a session in the store, of the size that an app may have, change it, and end it.
    #[arg(long)]
    pub(crate) write: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExportOptions {
    /// Write into this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write values that look secret, too. The audit log says that you did.
    #[arg(long, conflicts_with = "anonymise")]
    pub(crate) reveal: bool,
    /// Replace texts and users by names that tell nothing, to send a session to a developer.
    #[arg(long)]
    pub(crate) anonymise: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsOptions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManOptions {
    /// Write a page for each command into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}
