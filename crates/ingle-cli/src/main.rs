//! The command `ingle`: what operators, scripts and CI do with sessions, on any store.
//!
//! What is asked for goes to stdout, and all else to stderr. `options.rs` says what can be asked,
//! `exit.rs` what the exit codes mean, and each command has a file.

use std::process::ExitCode;

mod audit;
mod complete;
mod console;
mod cost;
mod doctor;
mod end;
mod exit;
mod export;
mod json;
mod list;
mod manual;
mod new_value;
mod options;
mod out;
mod place;
mod select;
mod set;
mod show;
mod stats;
mod stop;
mod sweep;
mod table;
mod users;
mod watch;
mod web;

use exit::Failed;
use options::{Command, Options, SessionsCommand, UsersCommand};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    complete::answer();
    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => return exit::of_arguments(error),
    };
    log_to_stderr(&options.command);
    // Where the program has another one, it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(options));
            // What a store still has to say to its server.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            done
        }
        Err(error) => Err(Failed::other(format!("could not begin: {error}"))),
    };
    exit::code(done)
}

async fn run(options: Options) -> Result<(), Failed> {
    let Options { place, format, command } = options;
    let mut out = out::Out::new(&format);
    match command {
        Command::Sessions { command } => match command {
            SessionsCommand::List(options) => list::run(&place, &mut out, options).await,
            SessionsCommand::Show(options) => show::run(&place, &mut out, options).await,
            SessionsCommand::Set(options) => set::set(&place, &mut out, options).await,
            SessionsCommand::Unset(options) => set::unset(&place, &mut out, options).await,
            SessionsCommand::Edit(options) => set::edit(&place, &mut out, options).await,
            SessionsCommand::End(options) => end::run(&place, &mut out, options).await,
            SessionsCommand::Watch(options) => watch::run(&place, &mut out, options).await,
        },
        Command::Users { command } => match command {
            UsersCommand::List(options) => users::list(&place, &mut out, options).await,
            UsersCommand::End(options) => users::end(&place, &mut out, options).await,
        },
        Command::Console(options) => console::run(&place, *options).await,
        Command::Doctor(options) => doctor::run(&place, &mut out, options).await,
        Command::Cost(options) => cost::run(&place, &mut out, *options).await,
        Command::Audit(options) => audit::run(&place, &mut out, options).await,
        Command::Sweep(_) => sweep::sweep(&place, &mut out).await,
        Command::Stats(_) => stats::run(&place, &mut out).await,
        Command::Export(options) => export::run(&place, out, options).await,
        Command::Migrate(_) => sweep::migrate(&place, &mut out).await,
        Command::Completions(options) => manual::completions(&mut out, &options),
        Command::Man(options) => manual::man(&mut out, &options),
    }
}

/// What the library has to say, if somebody asks for it. A console that others reach always says who was
/// let in and who was not.
fn log_to_stderr(command: &Command) {
    let is_public = matches!(command, Command::Console(options) if options.is_public());
    let filter = match std::env::var_os("RUST_LOG") {
        Some(_) => EnvFilter::from_default_env(),
        None if is_public => EnvFilter::new("warn,ingle_console=info"),
        None => return,
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
