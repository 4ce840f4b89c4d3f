//! What a failure of Firestore means: what is wrong, what to do, and what is true afterwards.
//!
//! Codes and the reasons that Google documents for programs decide, never messages. It knows no
//! session.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt as _;

use super::{fields::USER, identity::Identity, plain};
use crate::store::{
    Applied, Error, ErrorKind, OpenError, OpenErrorKind, Warning,
    floor::{
        platform::Platform,
        provider::NoProvider,
        text::{cause, one_line, root_cause},
        tls::{self, Trust},
    },
};

/// What messages and metrics call this store.
pub(super) const NAME: &str = "firestore";

/// What is wrong, and what to do about it: an [`OpenError`] at the start, and the source of an
/// [`Error`] later.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    kind: OpenErrorKind,
    problem: String,
    help: String,
}

impl Diagnosis {
    fn new(kind: OpenErrorKind, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { kind, problem: problem.into(), help: help.into() }
    }

    /// The same where the store works without what is missing.
    pub(super) fn into_warning(self, about: &'static str) -> Warning {
        Warning::new(about, self.problem, self.help)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problem, help, .. } = self;
        f.write_str(problem)?;
        if help.is_empty() { Ok(()) } else { write!(f, "; {help}") }
    }
}

impl std::error::Error for Diagnosis {}

impl From<Diagnosis> for OpenError {
    fn from(Diagnosis { kind, problem, help }: Diagnosis) -> Self {
        Self::new(NAME, kind, problem, help)
    }
}

const CREDENTIALS_HELP: &str = "on your own machine run `gcloud auth application-default login`, \
                                elsewhere attach a service account, or set \
                                GOOGLE_APPLICATION_CREDENTIALS to the file of its key";

/// A URL that names no collection.
pub(super) fn bad_url(problem: &str) -> OpenError {
    let help =
        "write `firestore://PROJECT/COLLECTION` or `firestore://PROJECT/DATABASE/COLLECTION`";
    OpenError::new(NAME, OpenErrorKind::Config, format!("the URL {problem}"), help)
}

/// A configuration that names no collection.
pub(super) fn bad_config(problem: &str) -> OpenError {
    OpenError::new(NAME, OpenErrorKind::Config, format!("the configuration {problem}"), "")
}

/// FIRESTORE_EMULATOR_HOST, or the configuration, names no host and port.
pub(super) fn bad_emulator(host: &str) -> OpenError {
    let problem =
        format!("the emulator's host is `{}`, which is no host and port", host.escape_debug());
    let help = "run `export FIRESTORE_EMULATOR_HOST=127.0.0.1:8080`, or unset it to use Google's own \
                Firestore";
    OpenError::new(NAME, OpenErrorKind::Config, problem, help)
}

/// The emulator is for tests, and this is none.
pub(super) fn emulator_in_production(host: &str, platform: Platform) -> Warning {
    let problem = format!(
        "FIRESTORE_EMULATOR_HOST is set to `{}` on {}, so the sessions are kept in an emulator and end with it",
        one_line(host),
        platform.name()
    );
    let help = "take the variable out of the app's environment: `unset FIRESTORE_EMULATOR_HOST`";
    Warning::new("emulator", problem, help)
}

/// The program has no cryptography for TLS.
pub(super) fn no_provider(missing: NoProvider) -> OpenError {
    OpenError::new(NAME, OpenErrorKind::Tls, missing.to_string(), NoProvider::HELP)
}

/// TLS cannot be set up.
pub(super) fn no_tls(why: &str) -> OpenError {
    OpenError::new(NAME, OpenErrorKind::Tls, format!("TLS cannot be set up ({why})"), "")
}

/// Something that speaks for Google is not trusted.
fn bad_tls(error: &rustls::Error) -> Diagnosis {
    let help = tls::help(error, &Trust::System, "SSL_CERT_FILE");
    let problem = format!("TLS with Firestore failed ({})", one_line(&error.to_string()));
    let help = help.unwrap_or_else(|| "see what is between this machine and Google".to_owned());
    Diagnosis::new(OpenErrorKind::Tls, problem, help)
}

/// There are no credentials, or they give no token.
pub(super) fn no_credentials(why: &str) -> Diagnosis {
    let problem = format!("there are no usable Google credentials ({why})");
    Diagnosis::new(OpenErrorKind::Denied, problem, CREDENTIALS_HELP)
}

/// The credentials gave no token, and may give one later.
pub(super) fn no_token(why: &str) -> Diagnosis {
    Diagnosis { kind: OpenErrorKind::Unreachable, ..no_credentials(why) }
}

/// Whose Firestore it is, for messages.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) project: String,
    pub(super) database: String,
    pub(super) collection: String,
    /// The emulator's host and port, if it is one.
    pub(super) emulator: Option<String>,
    /// Who the app is, once it is known.
    pub(super) identity: OnceLock<Identity>,
}

impl Server {
    /// What a failed first call means for a person.
    pub(super) fn explain_opening(&self, status: &Status) -> Diagnosis {
        // So says the emulator of a document in Datastore mode, where Google says FailedPrecondition.
        if self.emulator.is_some() && status.code() == Code::InvalidArgument {
            return self.not_native(&redacted(status));
        }
        self.explain(status)
    }

    /// What a failed call means for a person.
    pub(super) fn explain(&self, status: &Status) -> Diagnosis {
        if let Some(NotSent(diagnosis)) = cause(status) {
            return diagnosis.clone();
        }
        if let Some(error) = cause(status) {
            return bad_tls(error);
        }
        let message = redacted(status);
        if let (Some(host), true) = (&self.emulator, is_no_answer(status)) {
            let problem = format!("no Firestore emulator answers at `{host}` ({message})");
            let help = format!(
                "run `gcloud emulators firestore start --host-port={host}`, or unset \
                 FIRESTORE_EMULATOR_HOST to use Google's own Firestore"
            );
            return Diagnosis::new(OpenErrorKind::Unreachable, problem, help);
        }
        if reason(status).as_deref() == Some("ACCESS_TOKEN_SCOPE_INSUFFICIENT") {
            return self.no_scope();
        }
        let missing = self.missing(status);
        missing.unwrap_or_else(|| self.refused(status.code(), &message))
    }

    /// The database is of the other kind.
    fn not_native(&self, message: &str) -> Diagnosis {
        let Self { project, database, collection, .. } = self;
        let problem = format!(
            "database `{database}` of project `{project}` is not in native mode ({message})"
        );
        let help = format!(
            "run `gcloud firestore databases create --project={project} --database=sessions \
             --location={} --type=firestore-native`, and write `firestore://{project}/sessions/{collection}`",
            self.location()
        );
        Diagnosis::new(OpenErrorKind::Unsupported, problem, help)
    }

    /// Where a database is best made.
    fn location(&self) -> &str {
        self.identity.get().and_then(|identity| identity.region.as_deref()).unwrap_or("LOCATION")
    }

    /// A sweep's query has no index.
    pub(super) fn no_index_for_sweeps(&self, status: &Status) -> Diagnosis {
        let problem = format!(
            "the index that sweeps need is missing, so expired sessions are left to the TTL policy ({})",
            redacted(status)
        );
        let Self { project, database, collection, .. } = self;
        let help = format!(
            "run `gcloud firestore indexes composite create --project={project} \
             --database='{database}' --collection-group={collection} --query-scope=collection \
             --field-config=field-path=_ingle.shard,order=ascending \
             --field-config=field-path=_ingle_expires,order=ascending`"
        );
        Diagnosis::new(OpenErrorKind::Missing, problem, help)
    }

    /// A list of a user's sessions failed, perhaps because it has no index.
    pub(super) fn list_of_user_failed(&self, status: &Status) -> Error {
        if status.code() != Code::FailedPrecondition {
            return self.read_failed(status);
        }
        let problem = format!(
            "the index that lists of a user's sessions need is missing ({})",
            redacted(status)
        );
        let Self { project, database, collection, .. } = self;
        let help = format!(
            "run `gcloud firestore indexes fields update {USER} --project={project} \
             --database='{database}' --collection-group={collection} --index=order=ascending`"
        );
        let diagnosis = Diagnosis::new(OpenErrorKind::Missing, problem, help);
        Error::new(NAME, ErrorKind::Refused, Applied::No).with_source(diagnosis)
    }

    /// Nothing deletes expired sessions but sweeps.
    pub(super) fn no_ttl_policy(&self, field: &str) -> Warning {
        let problem = format!(
            "there is no TTL policy on `{field}`, so each expired session costs a sweep's read and stays as \
             long as no app sweeps"
        );
        let Self { project, database, collection, .. } = self;
        let help = format!(
            "run `gcloud firestore fields ttls update {field} --project={project} \
             --database='{database}' --collection-group={collection} --enable-ttl`"
        );
        Warning::new("ttl", problem, help)
    }

    /// The database is not where this program is.
    pub(super) fn far(&self, location: &str, region: &str) -> Warning {
        let Self { database, .. } = self;
        let problem = format!(
            "database `{database}` is in {location} and this program in {region}, so each load and each \
             commit goes all that way"
        );
        let help = format!(
            "deploy the app near it, on Cloud Run by `gcloud run deploy --region={}`: a database cannot be \
             moved",
            match location {
                "nam5" | "nam7" => "us-central1",
                "eur3" => "europe-west1",
                location => location,
            }
        );
        Warning::new("region", problem, help)
    }

    /// Something that must be made first.
    fn missing(&self, status: &Status) -> Option<Diagnosis> {
        let Self { project, database, .. } = self;
        let (problem, help) = match (status.code(), reason(status).as_deref()) {
            (_, Some("SERVICE_DISABLED")) => (
                format!("the Firestore API is not enabled in project `{project}`"),
                format!(
                    "run `gcloud services enable firestore.googleapis.com --project={project}`"
                ),
            ),
            (_, Some("CONSUMER_INVALID" | "USER_PROJECT_DENIED")) => self.no_project(),
            (Code::NotFound, _) => (
                format!("project `{project}` has no Firestore database `{database}`"),
                format!(
                    "run `gcloud firestore databases create --project={project} \
                     --database='{database}' --location={} --type=firestore-native`",
                    self.location()
                ),
            ),
            _ => return None,
        };
        Some(Diagnosis::new(OpenErrorKind::Missing, problem, help))
    }

    /// The project is not there, or not for these credentials; and which one is.
    fn no_project(&self) -> (String, String) {
        let Self { project, collection, .. } = self;
        let problem = format!("there is no project `{project}` that these credentials may see");
        match self.identity.get().and_then(|identity| identity.project.as_deref()) {
            Some(own) if own != project => (
                format!("{problem}; they belong to project `{own}`"),
                format!("write `firestore://{own}/{collection}` if that one is meant"),
            ),
            _ => (
                problem,
                "run `gcloud projects list`, which shows those that your own account may see"
                    .to_owned(),
            ),
        }
    }

    /// The token of a machine is not for Firestore, whatever its account may do.
    fn no_scope(&self) -> Diagnosis {
        let problem = "the access token is not for Firestore: the machine gives it too few scopes";
        let help = match self.identity.get().and_then(|identity| identity.machine.as_ref()) {
            Some((name, zone)) => format!(
                "stop the machine, run `gcloud compute instances set-service-account {name} \
                 --zone={zone} --scopes=cloud-platform`, and start it"
            ),
            None => "give it the scope `https://www.googleapis.com/auth/cloud-platform`: on Compute Engine by \
                     `gcloud compute instances set-service-account MACHINE --zone=ZONE \
                     --scopes=cloud-platform`, in GKE by a node pool with `--scopes=cloud-platform`"
                .to_owned(),
        };
        Diagnosis::new(OpenErrorKind::Denied, problem, help)
    }

    /// Any other failure, by its code.
    fn refused(&self, code: Code, message: &str) -> Diagnosis {
        let Self { project, .. } = self;
        let (kind, problem, help) = match code {
            Code::Unauthenticated => (
                OpenErrorKind::Denied,
                format!(
                    "Google does not accept the credentials for project `{project}` ({message})"
                ),
                "run `gcloud auth application-default login` again, or give the service account a \
                 valid key"
                    .to_owned(),
            ),
            Code::PermissionDenied => (
                OpenErrorKind::Denied,
                format!("the credentials may not use Firestore in project `{project}` ({message})"),
                format!(
                    "run `gcloud projects add-iam-policy-binding {project} --condition=None \
                     --member={} --role=roles/datastore.user`",
                    self.member()
                ),
            ),
            Code::FailedPrecondition => return self.not_native(message),
            Code::ResourceExhausted => (
                OpenErrorKind::Failed,
                format!("a quota of project `{project}` is exhausted ({message})"),
                format!(
                    "the free one begins anew at midnight in California, and `gcloud billing \
                     projects link {project} --billing-account=ACCOUNT_ID` ends it"
                ),
            ),
            Code::Aborted => (
                OpenErrorKind::Failed,
                format!("another writer has the document ({message})"),
                String::new(),
            ),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => (
                OpenErrorKind::Unreachable,
                format!("Firestore does not answer ({message})"),
                "see the network, and `https://status.cloud.google.com`".to_owned(),
            ),
            code => {
                let problem = format!("Firestore says {code:?}: {message}");
                (OpenErrorKind::Failed, problem, String::new())
            }
        };
        Diagnosis::new(kind, problem, help)
    }

    /// The account, as a binding names it.
    fn member(&self) -> &str {
        let member = self.identity.get().and_then(|identity| identity.member.as_deref());
        member.unwrap_or("serviceAccount:ACCOUNT")
    }

    /// A read that failed.
    pub(super) fn read_failed(&self, status: &Status) -> Error {
        Error::new(NAME, kind(status), Applied::No).with_source(self.explain(status))
    }

    /// A commit that failed.
    pub(super) fn commit_failed(&self, status: &Status) -> Error {
        Error::new(NAME, kind(status), applied(status)).with_source(self.explain(status))
    }

    /// Others kept changing the document, as far as Firestore's last answer tells.
    pub(super) fn contended(&self, status: &Status) -> Error {
        Error::new(NAME, ErrorKind::Contended, Applied::No).with_source(self.explain(status))
    }
}

/// What a caller does about a failed call.
pub(super) fn kind(status: &Status) -> ErrorKind {
    match status.code() {
        Code::Aborted => ErrorKind::Contended,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => ErrorKind::Refused,
        _ => ErrorKind::Unavailable,
    }
}

/// Whether a commit that failed may have been made. These codes are proof that it was not, and so is
/// a call that was never sent. Other answers may come from what stands before the database.
pub(super) fn applied(status: &Status) -> Applied {
    match status.code() {
        Code::Aborted | Code::FailedPrecondition | Code::AlreadyExists => Applied::No,
        _ if was_never_sent(status) => Applied::No,
        _ => Applied::Unknown,
    }
}

/// Whether this is what one hears where no Firestore is: nothing, or something else than Firestore.
fn is_no_answer(status: &Status) -> bool {
    let nothing =
        matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
    nothing || matches!(status.code(), Code::Unimplemented | Code::Unknown)
}

/// Whether there was no connection that the call could have been sent on.
fn was_never_sent(status: &Status) -> bool {
    cause::<ConnectError>(status).is_some() || cause::<NotSent>(status).is_some()
}

/// A call ended before anything of it was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotSent(pub(super) Diagnosis);

impl From<NotSent> for Status {
    fn from(not_sent: NotSent) -> Self {
        let mut status = Self::unavailable(not_sent.to_string());
        status.set_source(Arc::new(not_sent));
        status
    }
}

/// The reason that Google gives for programs (<https://google.aip.dev/193>).
fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// A message without the names of documents: such a name holds a key, and with plain ids a secret.
fn redacted(status: &Status) -> String {
    if was_never_sent(status) {
        return root_cause(status);
    }
    let mut message = String::new();
    let mut rest = status.message();
    while let Some((before, after)) = rest.split_once("/documents/") {
        message.push_str(before);
        message.push_str("/documents/…");
        let end = after.find(|c: char| c.is_whitespace() || "\"'`)>,;".contains(c));
        rest = end.and_then(|end| after.get(end..)).unwrap_or_default();
    }
    message.push_str(rest);
    let mut line = one_line(&plain::without_ids(&message));
    if line.is_empty() {
        line = status.code().description().to_owned();
    }
    line
}
