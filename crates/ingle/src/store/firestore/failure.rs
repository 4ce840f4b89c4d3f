//! What can go wrong with Firestore, in words that say what to do, and what is true afterwards.
//!
//! Decided by codes and by the reasons that Google documents for programs, never by messages.

use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt as _;

use super::{NAME, place::FirestoreConfig};
use crate::{
    id::Key,
    store::{Applied, Error, ErrorKind},
};

/// How long a UUID is as text.
const PLAIN_ID_CHARS: usize = 36;

/// Firestore cannot be used, or a call of it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirestoreError {
    /// A name in the configuration is not one.
    #[error("the configuration {0}")]
    Config(&'static str),
    /// There are no credentials, or they are of no use.
    #[error(
        "there are no usable Google credentials ({0}); on your own machine run `gcloud auth \
         application-default login`, elsewhere attach a service account, or set \
         GOOGLE_APPLICATION_CREDENTIALS to the file of its key"
    )]
    NoCredentials(String),
    /// Google does not accept the credentials.
    #[error(
        "Google does not accept the credentials for project `{project}` ({message}); run `gcloud \
         auth application-default login` again, or give the service account a valid key"
    )]
    Unauthenticated {
        /// The project.
        project: String,
        /// What Google says.
        message: String,
    },
    /// The credentials may not do this.
    #[error(
        "the credentials may not use Firestore in project `{project}` ({message}); run `gcloud \
         projects add-iam-policy-binding {project} --member=serviceAccount:ACCOUNT \
         --role=roles/datastore.user`"
    )]
    Denied {
        /// The project.
        project: String,
        /// What Google says.
        message: String,
    },
    /// The project is not there, or not for these credentials.
    #[error(
        "there is no project `{project}` that these credentials may see; `gcloud projects list` \
         shows those that your own account may see"
    )]
    NoProject {
        /// The project.
        project: String,
    },
    /// The project may not use Firestore yet.
    #[error(
        "the Firestore API is not enabled in project `{project}`; run `gcloud services enable \
         firestore.googleapis.com --project={project}`"
    )]
    ApiDisabled {
        /// The project.
        project: String,
    },
    /// The database is not there.
    #[error(
        "project `{project}` has no Firestore database `{database}`; run `gcloud firestore \
         databases create --project={project} --database='{database}' --location=LOCATION`"
    )]
    NoDatabase {
        /// The project.
        project: String,
        /// The database.
        database: String,
    },
    /// The database cannot do what was asked as it is set up, most often for an index.
    #[error(
        "database `{database}` of project `{project}` is not set up for this ({message}); it must \
         be in native mode, and have the index that `deploy/firestore` defines"
    )]
    NotSetUp {
        /// The project.
        project: String,
        /// The database.
        database: String,
        /// What Google says.
        message: String,
    },
    /// A quota is exhausted.
    #[error(
        "a quota of project `{project}` is exhausted ({message}); the free one begins anew at \
         midnight in California, and `gcloud billing projects link {project} \
         --billing-account=ACCOUNT` ends it"
    )]
    QuotaExhausted {
        /// The project.
        project: String,
        /// What Google says.
        message: String,
    },
    /// Nothing answers where the emulator should be.
    #[error(
        "no Firestore emulator answers at `{host}`, where FIRESTORE_EMULATOR_HOST points \
         ({message}); run `gcloud emulators firestore start --host-port={host}`, or unset the \
         variable to use Google's own Firestore"
    )]
    NoEmulator {
        /// Where it should be.
        host: String,
        /// What happened.
        message: String,
    },
    /// The variable that names the emulator is not usable.
    #[error(
        "FIRESTORE_EMULATOR_HOST is `{host}`, which is no host and port; run `export \
         FIRESTORE_EMULATOR_HOST=127.0.0.1:8080`, or unset it to use Google's own Firestore"
    )]
    BadEmulatorHost {
        /// Where it should be.
        host: String,
    },
    /// Firestore does not answer.
    #[error(
        "Firestore does not answer ({message}); see the network, and `https://status.cloud.google.com`"
    )]
    NoAnswer {
        /// What happened.
        message: String,
    },
    /// Another writer has the document at this moment.
    #[error("another writer has the document ({message})")]
    Contended {
        /// What Google says.
        message: String,
    },
    /// Anything else.
    #[error("Firestore says {code:?}: {message}")]
    Other {
        /// The code of gRPC.
        code: Code,
        /// What Google says.
        message: String,
    },
}

/// Whose Firestore it is, for messages.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) config: FirestoreConfig,
    /// The emulator's host and port, if it is one.
    pub(super) emulator: Option<String>,
}

impl Server {
    /// What a failed call means for a person.
    pub(super) fn explain(&self, status: &Status) -> FirestoreError {
        let FirestoreConfig { project, database, .. } = self.config.clone();
        let message = redacted(status);
        if let Some(NotSent(error)) = cause(status) {
            return error.clone();
        }
        if let (Some(host), true) = (&self.emulator, is_no_answer(status)) {
            return FirestoreError::NoEmulator { host: host.clone(), message };
        }
        match (status.code(), reason(status).as_deref()) {
            (_, Some("SERVICE_DISABLED")) => FirestoreError::ApiDisabled { project },
            (_, Some("CONSUMER_INVALID" | "USER_PROJECT_DENIED")) => {
                FirestoreError::NoProject { project }
            }
            (Code::Unauthenticated, _) => FirestoreError::Unauthenticated { project, message },
            (Code::PermissionDenied, _) => FirestoreError::Denied { project, message },
            (Code::NotFound, _) => FirestoreError::NoDatabase { project, database },
            (Code::FailedPrecondition, _) => {
                FirestoreError::NotSetUp { project, database, message }
            }
            (Code::ResourceExhausted, _) => FirestoreError::QuotaExhausted { project, message },
            (Code::Aborted, _) => FirestoreError::Contended { message },
            (Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled, _) => {
                FirestoreError::NoAnswer { message }
            }
            (code, _) => FirestoreError::Other { code, message },
        }
    }

    /// A read that failed.
    pub(super) fn read_failed(&self, status: &Status) -> Error {
        Error::new(NAME, kind(status), Applied::No).with_source(self.explain(status))
    }

    /// A commit that failed.
    pub(super) fn commit_failed(&self, status: &Status) -> Error {
        Error::new(NAME, kind(status), happened(status)).with_source(self.explain(status))
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

/// Whether a commit that failed may have been made. These answers, and that nothing was sent, are
/// proof that it was not; whatever else Google says may come from what stands before the database.
pub(super) fn happened(status: &Status) -> Applied {
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

/// The cause of this type, if there is one.
fn cause<E: std::error::Error + 'static>(status: &Status) -> Option<&E> {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// A call ended before anything of it was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotSent(pub(super) FirestoreError);

impl From<NotSent> for Status {
    fn from(not_sent: NotSent) -> Self {
        let mut status = Self::unavailable(not_sent.to_string());
        status.set_source(std::sync::Arc::new(not_sent));
        status
    }
}

/// The reason that Google gives for programs (<https://google.aip.dev/193>).
fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// A text without anything that may be a plain id: servers name documents in many ways.
fn without_plain_ids(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let may_be_id = rest.get(..PLAIN_ID_CHARS).map(str::to_ascii_lowercase);
        if may_be_id.is_some_and(|id| id.parse::<Key>().is_ok()) {
            shown.push('…');
            rest = rest.get(PLAIN_ID_CHARS..).unwrap_or_default();
        } else {
            shown.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    shown
}

/// The innermost cause, which says most, in one line.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    one_line(&root.to_string())
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A message without the names of documents: such a name has a key, and with plain ids a secret.
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
    let mut line = without_plain_ids(&one_line(&message));
    if line.is_empty() {
        line = status.code().description().to_owned();
    }
    line
}
