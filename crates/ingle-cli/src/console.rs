//! `ingle console`: the console in a browser, for whoever runs this program, or for others who are known
//! by a provider or a proxy.

use std::{fs, io::Write as _, net::SocketAddr, path::PathBuf, str::FromStr, sync::Once};

use clap::{ArgGroup, Args};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use ingle::Sessions;
use ingle_console::{
    Claim, Grant, Iap, Identity, InvalidAccess, NotReady, Oidc, Proxy, Public, PublicUrl, Role,
    RoleTable, Roles,
};
use tokio::{net::TcpListener, select};

use crate::{
    exit::{Failed, say},
    options::PlaceOptions,
    place::variable,
    stop::Stop,
};

/// Where the secret of the client is, if it is in no file. An argument would be seen by every user of the
/// machine.
const SECRET: &str = "INGLE_OIDC_CLIENT_SECRET";

/// Where the console is, and what may be done in it.
#[derive(Args, Debug)]
pub(crate) struct ConsoleOptions {
    /// An address and a port. Port 0 is any that is free. Without a public URL it is a loopback address,
    /// by default 127.0.0.1:0.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Your role, by default editor. A viewer sees sessions, an operator ends them too, and an editor also
    /// edits them and reveals what is hidden. With --public-url: ROLE=NAME, once for each name.
    #[arg(long, value_name = "ROLE[=NAME]", add = roles())]
    role: Vec<Given>,
    #[command(flatten)]
    public: PublicOptions,
}

/// How others reach the console, and how they are known.
#[derive(Args, Debug)]
#[command(
    next_help_heading = "For others",
    group(ArgGroup::new("identity").args(["oidc_issuer", "iap_audience", "proxy_header"])),
)]
struct PublicOptions {
    /// The address that people open, such as https://console.example. TLS ends in front of this program.
    #[arg(long, value_name = "URL", requires = "identity", requires = "listen")]
    public_url: Option<PublicUrl>,
    /// Sign-in by OpenID Connect at this provider, such as https://accounts.google.com. It sends people
    /// back to URL/sign-in/callback.
    #[arg(long, value_name = "URL", requires = "public_url", requires = "oidc_client_id")]
    oidc_issuer: Option<String>,
    /// The id that the provider gave this console.
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    oidc_client_id: Option<String>,
    /// A file that holds the client's secret. Or INGLE_OIDC_CLIENT_SECRET holds the secret itself.
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_client_secret_file: Option<PathBuf>,
    /// A scope to ask for beside openid, email and profile, such as groups.
    #[arg(long, value_name = "SCOPE", requires = "oidc_issuer")]
    oidc_scope: Vec<String>,
    /// The claim that names people. Default their mail address if the provider has checked it, and
    /// otherwise sub:SUBJECT.
    #[arg(long, value_name = "CLAIM", requires = "oidc_issuer")]
    name_claim: Option<String>,
    /// The names of --role are values of this claim, such as groups or /realm_access/roles.
    #[arg(long, value_name = "CLAIM", requires = "identity", conflicts_with = "proxy_header")]
    role_claim: Option<String>,
    /// Sign-in by Google's Identity-Aware Proxy, for this audience: /projects/NUMBER/...
    #[arg(long, value_name = "AUDIENCE", requires = "public_url")]
    iap_audience: Option<String>,
    /// A proxy in front names people in this header, such as X-Auth-Request-Email.
    #[arg(long, value_name = "NAME", requires = "public_url", requires = "proxy_from")]
    proxy_header: Option<String>,
    /// The addresses that the proxy connects from, such as 10.0.0.7 or 10.8.0.0/16. From elsewhere the
    /// header counts for nothing.
    #[arg(long, value_name = "ADDRESS", requires = "proxy_header", value_delimiter = ',')]
    proxy_from: Vec<String>,
}

/// The roles, as they are named here.
const ROLES: [(&str, Role); 3] =
    [("viewer", Role::Viewer), ("operator", Role::Operator), ("editor", Role::Editor)];

/// Offers them to a shell.
fn roles() -> ArgValueCandidates {
    let names = || ROLES.map(|(name, _)| CompletionCandidate::new(name)).into();
    ArgValueCandidates::new(names)
}

/// A role, and whose it is.
#[derive(Clone, Debug)]
struct Given {
    role: Role,
    name: Option<String>,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, name) = match text.split_once('=') {
            Some((role, name)) => (role, Some(name.to_owned())),
            None => (text, None),
        };
        let known = ROLES.into_iter().find(|(known, _)| *known == role);
        let (_, role) = known.ok_or("the roles are viewer, operator and editor")?;
        Ok(Self { role, name })
    }
}

impl ConsoleOptions {
    /// Whether it is for others.
    pub(crate) fn is_public(&self) -> bool {
        self.public.public_url.is_some()
    }

    /// The role of whoever runs this program.
    fn own_role(&self) -> Result<Role, Failed> {
        match &*self.role {
            [] => Ok(Role::Editor),
            [Given { role, name: None }] => Ok(*role),
            _ => Err(Failed::usage(
                "--role takes one role, which is yours; roles of others need --public-url, and one of \
                 --oidc-issuer, --iap-audience and --proxy-header",
            )),
        }
    }

    /// The roles of others.
    fn table(&self) -> Result<RoleTable, Failed> {
        let rows = self.role.iter().map(|given| match &given.name {
            Some(name) => Ok((given.role, name.clone())),
            None => Err(Failed::usage(
                "--role takes ROLE=NAME for those who sign in, such as editor=ada@example.com",
            )),
        });
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        RoleTable::new(rows).map_err(|error| Failed::usage(format!("--role: {error}")))
    }

    fn roles(&self) -> Result<Roles, Failed> {
        let table = self.table()?;
        Ok(match &self.public.role_claim {
            Some(claim) => Roles::ByClaim { claim: named(claim, "--role-claim")?, table },
            None => Roles::ByName(table),
        })
    }

    /// How others are known: the parser has let one way through.
    async fn identity(&self, sessions: &Sessions) -> Result<Identity, Failed> {
        let PublicOptions { oidc_issuer, iap_audience, proxy_header, proxy_from, .. } =
            &self.public;
        if let Some(issuer) = oidc_issuer {
            let client = self.client(issuer)?;
            // Who mistyped it sees it now, and not when somebody signs in.
            match client.check(sessions.now()).await {
                Ok(()) => {}
                Err(NotReady::OtherIssuer(own)) => {
                    return Err(Failed::usage(format!(
                        "--oidc-issuer: the provider calls itself {own}, and nobody can sign in by another name; \
                         write --oidc-issuer {own}"
                    )));
                }
                Err(error) => say(&format!(
                    "ingle: warning: the provider {issuer} does not answer as it should: {error}; nobody can \
                     sign in until it does"
                )),
            }
            return Ok(client.into());
        }
        if let Some(audience) = iap_audience {
            return Ok(Iap::new(audience, self.roles()?).map_err(wrong("--iap-audience"))?.into());
        }
        let header = proxy_header.as_deref().unwrap_or_default();
        let proxy = Proxy::new(header, proxy_from, self.table()?);
        Ok(proxy.map_err(wrong("--proxy-header and --proxy-from"))?.into())
    }

    fn client(&self, issuer: &str) -> Result<Oidc, Failed> {
        let options = &self.public;
        let id = options.oidc_client_id.clone().unwrap_or_default();
        let mut client = Oidc::new(issuer, id, self.roles()?).map_err(wrong("--oidc-issuer"))?;
        let secret = match &options.oidc_client_secret_file {
            Some(file) => Some(fs::read_to_string(file).map_err(|error| {
                Failed::usage(format!("--oidc-client-secret-file {file:?}: {error}"))
            })?),
            None => variable(SECRET),
        };
        if let Some(secret) = secret {
            if secret.trim().is_empty() {
                return Err(Failed::usage(
                    "the client's secret is empty; put it into its file".to_owned(),
                ));
            }
            client = client.client_secret(secret.trim());
        }
        for scope in &options.oidc_scope {
            client = client.scope(scope);
        }
        if let Some(claim) = &options.name_claim {
            client = client.name_claim(named(claim, "--name-claim")?);
        }
        Ok(client)
    }
}

fn named(claim: &str, option: &'static str) -> Result<Claim, Failed> {
    Claim::new(claim).map_err(wrong(option))
}

fn wrong(option: &'static str) -> impl Fn(InvalidAccess) -> Failed {
    move |error| Failed::usage(format!("{option}: {error}"))
}

/// Serves until Ctrl-C.
pub(crate) async fn run(place: &PlaceOptions, options: ConsoleOptions) -> Result<(), Failed> {
    if !place.knows_use() {
        return Err(Failed::usage(
            "how long does the app let a session live without use? Name it by --idle-time, such as \
             --idle-time 30m; without it the console cannot tell when a session was last used",
        ));
    }
    let sessions = place.layer(place.open().await?)?.sessions();
    if !sessions.store_info().capabilities.lists_by_user {
        return Err(Failed::refused("this store cannot list its sessions, so there is no console"));
    }
    let stop = Stop::listen();
    match &options.public.public_url {
        Some(url) => serve_others(sessions, url, &options, &stop).await,
        None => serve_own(place, sessions, &options, &stop).await,
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failed> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| Failed::other(format!("could not listen on {address}: {error}")))
}

/// An address on stdout signs in whoever opens it first.
async fn serve_own(
    place: &PlaceOptions,
    sessions: Sessions,
    options: &ConsoleOptions,
    stop: &Stop,
) -> Result<(), Failed> {
    let role = options.own_role()?;
    let address = options.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = listen(address).await?;
    let (name, from) = place.who();
    let grant = Grant::new(name, role).at(from);
    let told = Once::new();
    let announce = move |address: &str| {
        told.call_once(|| {
            say(
                "ingle: open this address in a browser of this machine; it signs in once, for 10 minutes. \
                 Ctrl-C ends the console",
            );
        });
        print(address);
    };
    select! {
        served = ingle_console::serve(listener, sessions, grant, announce) => {
            served.map_err(|error| Failed::usage(format!("--listen {address}: {error}")))
        }
        () = stop.asked() => Ok(()),
    }
}

/// The public URL is on stdout once it listens.
async fn serve_others(
    sessions: Sessions,
    url: &PublicUrl,
    options: &ConsoleOptions,
    stop: &Stop,
) -> Result<(), Failed> {
    let identity = options.identity(&sessions).await?;
    let public = Public::new(url.clone(), identity).map_err(wrong("--public-url"))?;
    // The parser asks for it beside a public URL.
    let Some(address) = options.listen else { return Err(Failed::usage("--listen is missing")) };
    let listener = listen(address).await?;
    let bound = listener.local_addr().unwrap_or(address);
    say(&format!("ingle: the console listens on {bound}, for what ends TLS. Ctrl-C ends it"));
    print(&url.to_string());
    select! {
        served = ingle_console::serve_public(listener, sessions, public) => {
            served.map_err(|error| Failed::other(format!("the console ended: {error}")))
        }
        () = stop.asked() => Ok(()),
    }
}

fn print(line: &str) {
    // A closed stdout has no reader.
    let _ = writeln!(std::io::stdout(), "{line}");
}
