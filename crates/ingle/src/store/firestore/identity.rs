//! Who the app is at Google, for messages: its account and its project, and where it runs.
//!
//! Nothing depends on it but words. What is not found out is left out.

use std::{env, fs, path::PathBuf, time::Duration};

use serde_json::Value;
use tokio::time::timeout;

use crate::store::floor::platform::Platform;

/// What is known of the app's credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// The account, as a binding names it: `serviceAccount:…` or `user:…`.
    pub(super) member: Option<String>,
    /// The project that the account or the machine belongs to.
    pub(super) project: Option<String>,
    /// The region that this program runs in.
    pub(super) region: Option<String>,
    /// The machine of Compute Engine, and its zone.
    pub(super) machine: Option<(String, String)>,
}

/// A metadata server answers at once, or there is none.
const METADATA_TIME: Duration = Duration::from_secs(1);

impl Identity {
    /// Looks where Google's client finds its credentials: in a file, or at the metadata server.
    pub(super) async fn find() -> Self {
        match file() {
            Some(path) => fs::read(path)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .map_or_else(Self::default, |file| Self::of_file(&file)),
            None => timeout(METADATA_TIME, Self::of_metadata()).await.unwrap_or_default(),
        }
    }

    /// What a file of credentials says. Its secrets are not looked at.
    fn of_file(file: &Value) -> Self {
        let text = |name: &str| {
            file.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let service = |email: String| format!("serviceAccount:{email}");
        // `…/serviceAccounts/EMAIL:generateAccessToken`
        let impersonated = || {
            let url = text("service_account_impersonation_url")?;
            Some(url.rsplit_once('/')?.1.split(':').next()?.to_owned())
        };
        let own = || match text("type").as_deref() {
            Some("authorized_user") => {
                let account = text("account");
                Some(account.map_or("user:$(gcloud config get account)".to_owned(), |account| {
                    format!("user:{account}")
                }))
            }
            _ => None,
        };
        let member = text("client_email").or_else(impersonated).map(service).or_else(own);
        Self { member, project: text("project_id"), ..Self::default() }
    }

    async fn of_metadata() -> Self {
        let Some(metadata) = Metadata::new() else { return Self::default() };
        let member = metadata.get("instance/service-accounts/default/email").await;
        if member.is_none() {
            return Self::default();
        }
        let zone = metadata.get("instance/zone").await;
        let machine = match Platform::here() {
            // Its instances have names that nobody can name.
            Some(Platform::CloudRun) => None,
            _ => metadata.get("instance/name").await,
        };
        Self {
            member: member.map(|email| format!("serviceAccount:{email}")),
            project: metadata.get("project/project-id").await,
            region: metadata.region().await,
            machine: machine.zip(zone.as_deref().map(last).map(str::to_owned)),
        }
    }
}

/// The region that this program runs in, as far as the metadata server says it.
pub(super) async fn region() -> Option<String> {
    timeout(METADATA_TIME, Metadata::new()?.region()).await.ok().flatten()
}

/// What stands behind the last slash.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The file that Google's client of credentials reads.
fn file() -> Option<PathBuf> {
    if let Some(file) = env::var_os("GOOGLE_APPLICATION_CREDENTIALS") {
        return Some(file.into());
    }
    let home = PathBuf::from(env::var_os("HOME")?);
    Some(home.join(".config/gcloud/application_default_credentials.json"))
        .filter(|file| file.exists())
}

/// The metadata server of a machine.
struct Metadata {
    client: reqwest::Client,
    host: String,
}

impl Metadata {
    fn new() -> Option<Self> {
        let host = env::var("GCE_METADATA_HOST").ok().filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| "metadata.google.internal".to_owned());
        let client = reqwest::Client::builder().no_proxy().timeout(METADATA_TIME).build().ok()?;
        Some(Self { client, host })
    }

    async fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://{}/computeMetadata/v1/{path}", self.host);
        let question = self.client.get(url).header(FLAVOR, "Google");
        let answer = question.send().await.ok()?;
        // Others may answer in its name where there is none.
        let is_google = answer.headers().get(FLAVOR).is_some_and(|flavor| flavor == "Google");
        if !is_google || !answer.status().is_success() {
            return None;
        }
        let text = answer.text().await.ok()?.trim().to_owned();
        Some(text).filter(|text| !text.is_empty())
    }

    async fn region(&self) -> Option<String> {
        if let Some(region) = self.get("instance/region").await {
            return Some(last(&region).to_owned());
        }
        let zone = self.get("instance/zone").await?;
        last(&zone).rsplit_once('-').map(|(region, _)| region.to_owned())
    }
}

const FLAVOR: &str = "metadata-flavor";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_file_names_the_account_that_a_binding_takes() {
        let service =
            json!({ "type": "service_account", "client_email": "a@p.iam", "project_id": "p" });
        let found = Identity::of_file(&service);
        assert_eq!(found.member.as_deref(), Some("serviceAccount:a@p.iam"));
        assert_eq!(found.project.as_deref(), Some("p"));
        let member = |file: Value| Identity::of_file(&file).member;
        let url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/b@p.iam:generateAccessToken";
        let impersonated =
            json!({ "type": "external_account", "service_account_impersonation_url": url });
        assert_eq!(member(impersonated).as_deref(), Some("serviceAccount:b@p.iam"));
        let user = json!({ "type": "authorized_user", "account": "me@example.com" });
        assert_eq!(member(user).as_deref(), Some("user:me@example.com"));
        let user = json!({ "type": "authorized_user", "account": "" });
        assert_eq!(member(user).as_deref(), Some("user:$(gcloud config get account)"));
        assert_eq!(member(json!({ "type": "external_account" })), None);
    }
}
