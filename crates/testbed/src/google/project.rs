//! What is in the fake's one project, and how each API answers for it.
//!
//! A resource is kept under the name of its API and the path that Google has for it, without the
//! version: `firestore/projects/demo/databases/greetings`. Most calls read, make, change or delete the
//! one they name. What an API does beside that is here, call by call, as far as `gcloud` looks at it.

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

use std::collections::{BTreeMap, BTreeSet};

use hyper::{Method, Uri};
use serde_json::{Value, json};

mod firestore;
mod platforms;

/// The id of the project. It has in it what stands for an id in files of ours, so that whoever replaces
/// that twice is seen.
pub const PROJECT: &str = "my-project-123";

const NOW: &str = "2026-01-01T00:00:00.000000Z";

/// Where the logs of builds are, which is no bucket of the project.
const LOGS: &str = "1.cloudbuild-logs.googleusercontent.com";

/// Where the newest build is kept.
const BUILD: &str = "build";

#[derive(Debug, Default)]
pub(super) struct Project {
    resources: BTreeMap<String, Value>,
    /// By their hosts, such as `run.googleapis.com`.
    enabled: BTreeSet<String>,
    /// Long-running operations, all of which are done when they are answered.
    operations: BTreeMap<String, Value>,
    pub(super) refused: Option<String>,
    pub(super) unknown: Vec<String>,
    pub(super) changes: Vec<String>,
}

/// A call, taken apart.
pub(super) struct Call<'a> {
    method: &'a str,
    api: String,
    /// Without the version.
    path: Vec<String>,
    query: BTreeMap<String, String>,
    kind: &'a str,
    raw: &'a [u8],
    json: Value,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    /// Where the rest of an upload goes.
    pub(super) location: Option<String>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        method: &'a Method,
        host: &str,
        uri: &Uri,
        kind: &'a str,
        raw: &'a [u8],
    ) -> Self {
        // A regional host is the API's with the region before it.
        let api = host.strip_suffix(".googleapis.com").unwrap_or(host);
        let api = api.rsplit_once('-').map_or(api, |(_, api)| api).to_owned();
        let mut path: Vec<String> = uri.path().trim_matches('/').split('/').map(decoded).collect();
        let is_version = |part: &String| {
            part.starts_with('v') && part.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
        };
        // Only the first, for names of resources may look like one.
        if let Some(at) = path.iter().position(is_version) {
            path.remove(at);
        }
        let query = uri.query().unwrap_or_default().split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decoded(name), decoded(value)))
        });
        let json = serde_json::from_slice(raw).unwrap_or(Value::Null);
        Self { method: method.as_str(), api, path, query: query.collect(), kind, raw, json }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.api, self.path.join("/"))
    }

    fn asked(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                _ => b'%',
            },
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ok(body: Value) -> Answer {
    Answer { status: 200, body, location: None }
}

fn error(status: u16, name: &str, message: &str) -> Answer {
    let body = json!({ "error": { "code": status, "status": name, "message": message } });
    Answer { status, body, location: None }
}

impl Project {
    pub(super) fn contents(&self) -> Value {
        json!(self.resources)
    }

    pub(super) fn put(&mut self, name: &str, resource: Value) {
        self.resources.insert(name.to_owned(), resource);
    }

    pub(super) fn answer(&mut self, call: &Call<'_>) -> Answer {
        let named = format!("{} {}", call.method, call.name());
        if self.refused.as_ref().is_some_and(|refused| [&call.api, &named].contains(&refused)) {
            return error(403, "PERMISSION_DENIED", "The caller does not have permission");
        }
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let known = match call.api.as_str() {
            "serviceusage" => self.services(call, &path),
            "cloudresourcemanager" => self.projects(call, &path),
            "iam" => self.accounts(call, &path),
            "firestore" => self.firestore(call, &path),
            "storage" => self.storage(call, &path),
            "artifactregistry" => self.images(call, &path),
            "cloudbuild" => self.builds(call, &path),
            "run" => self.run(call, &path),
            "appengine" => self.engine(call, &path),
            "logging" => self.logs(call, &path),
            _ => None,
        };
        let Some(answer) = known else {
            self.unknown.push(named);
            return error(404, "NOT_FOUND", "the fake does not know this call");
        };
        let reads = call.method == "GET"
            || named.ends_with("list")
            || named.ends_with("IamPolicy") && !named.ends_with("setIamPolicy");
        if !reads && answer.status == 200 {
            self.changes.push(named);
        }
        answer
    }

    fn get(&self, name: &str) -> Answer {
        let found = self.resources.get(name);
        found.map_or_else(
            || error(404, "NOT_FOUND", &format!("Resource {name} was not found.")),
            |resource| ok(resource.clone()),
        )
    }

    fn add(&mut self, name: String, mut resource: Value, extra: Value) -> Result<Value, Answer> {
        if self.resources.contains_key(&name) {
            return Err(error(409, "ALREADY_EXISTS", "Resource already exists."));
        }
        merge(&mut resource, extra);
        self.resources.insert(name, resource.clone());
        Ok(resource)
    }

    /// Those directly below a name.
    fn list(&self, field: &str, name: &str) -> Answer {
        let prefix = format!("{name}/");
        let below = |(other, _): &(&String, &Value)| {
            other.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'))
        };
        let found: Vec<_> = self.resources.iter().filter(below).map(|(_, found)| found).collect();
        ok(json!({ field: found }))
    }

    /// Deletes it with all that is below it.
    fn delete(&mut self, name: &str) -> Result<Value, Answer> {
        let Some(deleted) = self.resources.remove(name) else {
            return Err(self.get(name));
        };
        let prefix = format!("{name}/");
        self.resources.retain(|other, _| !other.starts_with(&prefix));
        Ok(deleted)
    }

    /// An operation that is done, with the type of what came of it.
    fn done(&mut self, below: &str, kind: &str, response: &Value, metadata: &Value) -> Answer {
        let name = format!("{below}/operations/{}", self.operations.len());
        let mut typed = json!({ "@type": format!("type.googleapis.com/{kind}") });
        merge(&mut typed, response.clone());
        let mut operation = json!({ "name": name, "done": true, "response": typed });
        if !metadata.is_null() {
            merge(&mut operation, json!({ "metadata": metadata }));
        }
        self.operations.insert(name, operation.clone());
        ok(operation)
    }

    fn operation(&self, name: &str) -> Answer {
        let found = self.operations.get(name);
        found
            .map_or_else(|| error(404, "NOT_FOUND", "no such operation"), |found| ok(found.clone()))
    }

    fn services(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        match (call.method, path) {
            ("POST", ["projects", _, "services:batchEnable"]) => {
                let ids = call.json["serviceIds"].as_array().into_iter().flatten();
                self.enabled.extend(ids.filter_map(|id| id.as_str().map(str::to_owned)));
            }
            ("POST", ["projects", _, "services", service]) if service.ends_with(":enable") => {
                self.enabled.insert(service.trim_end_matches(":enable").to_owned());
            }
            ("GET", ["projects", _, "services", service]) => {
                let state = if self.enabled.contains(*service) { "ENABLED" } else { "DISABLED" };
                let name = format!("projects/1/services/{service}");
                return Some(ok(json!({ "name": name, "state": state })));
            }
            _ => return None,
        }
        Some(self.done("operations", "google.protobuf.Empty", &json!({}), &Value::Null))
    }

    fn projects(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        let policy = "cloudresourcemanager/policy";
        match (call.method, path) {
            ("GET", ["projects", PROJECT]) => Some(ok(json!({
                "projectId": PROJECT, "projectNumber": "1", "lifecycleState": "ACTIVE", "name": PROJECT,
            }))),
            ("DELETE", ["projects", PROJECT]) => {
                self.resources.clear();
                Some(ok(json!({})))
            }
            ("POST", ["projects", read]) if read.ends_with(":getIamPolicy") => {
                let kept = self.resources.get(policy).cloned();
                Some(ok(kept.unwrap_or_else(|| json!({ "etag": "BwYA", "version": 1 }))))
            }
            ("POST", ["projects", write]) if write.ends_with(":setIamPolicy") => {
                let set = call.json["policy"].clone();
                // A project in which nobody has a role is as one that was never touched.
                if set["bindings"].as_array().is_none_or(Vec::is_empty) {
                    self.resources.remove(policy);
                } else {
                    self.resources.insert(policy.to_owned(), set.clone());
                }
                Some(ok(set))
            }
            _ => None,
        }
    }

    fn accounts(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        let at = |email: &str| format!("iam/projects/{PROJECT}/serviceAccounts/{email}");
        match (call.method, path) {
            ("GET", ["projects", _, "serviceAccounts"]) => {
                Some(self.list("accounts", &call.name()))
            }
            ("POST", ["projects", _, "serviceAccounts"]) => {
                let id = call.json["accountId"].as_str()?;
                let email = format!("{id}@{PROJECT}.iam.gserviceaccount.com");
                let name = format!("projects/{PROJECT}/serviceAccounts/{email}");
                let own = json!({ "name": name, "email": email, "uniqueId": "1" });
                let account = call.json["serviceAccount"].clone();
                Some(self.add(at(&email), account, own).map_or_else(|refused| refused, ok))
            }
            ("GET", ["projects", _, "serviceAccounts", email]) => Some(self.get(&at(email))),
            ("DELETE", ["projects", _, "serviceAccounts", email]) => {
                Some(self.delete(&at(email)).map_or_else(|refused| refused, |_| ok(json!({}))))
            }
            _ => None,
        }
    }

    fn storage(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        let bucket = |name: &str| format!("storage/storage/b/{name}");
        match (call.method, path) {
            ("GET", ["storage", "b"]) => Some(self.list("items", "storage/storage/b")),
            ("POST", ["storage", "b"]) => {
                let name = call.json["name"].as_str()?.to_owned();
                let own = json!({ "kind": "storage#bucket", "id": name, "metageneration": "1", "etag": "BwYA", "projectNumber": "1", "storageClass": "STANDARD" });
                Some(
                    self.add(bucket(&name), call.json.clone(), own)
                        .map_or_else(|refused| refused, ok),
                )
            }
            ("PATCH", ["storage", "b", name]) => {
                let kept = self.resources.get_mut(&bucket(name))?;
                merge(kept, call.json.clone());
                Some(ok(kept.clone()))
            }
            // The log of a build, for those who wait for it.
            ("GET", [LOGS, _]) => Some(ok(json!("built"))),
            ("GET", ["storage", "b", name, "storageLayout"]) => {
                Some(ok(json!({ "bucket": name, "location": "EUROPE-WEST1" })))
            }
            ("GET", ["storage", "b", _, "managedFolders" | "folders"]) => {
                Some(ok(json!({ "items": [] })))
            }
            ("GET", ["storage", "b", _, "o"]) => Some(self.list("items", &call.name())),
            ("GET", ["storage", "b", ..]) => Some(self.get(&call.name())),
            ("DELETE", ["storage", "b", ..]) => Some(
                self.delete(&call.name())
                    .map_or_else(|refused| refused, |_| Answer { status: 204, ..ok(Value::Null) }),
            ),
            ("POST" | "PUT", [.., "upload", "storage", "b", name, "o"]) => self.upload(call, name),
            _ => None,
        }
    }

    /// The one-go way, whose body has the metadata and then the object, or the one in two calls.
    fn upload(&mut self, call: &Call<'_>, bucket: &str) -> Option<Answer> {
        let name =
            Some(call.asked("name")).filter(|name| !name.is_empty()).or(call.json["name"].as_str());
        let name = name.unwrap_or("source").to_owned();
        if call.method == "POST" && call.asked("uploadType") == "resumable" {
            let location = format!(
                "https://storage.googleapis.com/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={name}&upload_id=1"
            );
            return Some(Answer { location: Some(location), ..ok(json!({})) });
        }
        let boundary =
            call.kind.split("boundary=").nth(1).map(|text| text.trim_matches(['\'', '"']));
        let sent =
            boundary.and_then(|boundary| part(call.raw, boundary.as_bytes())).unwrap_or(call.raw);
        let object = json!({
            "kind": "storage#object", "bucket": bucket, "name": name, "generation": "1", "metageneration": "1",
            "size": sent.len().to_string(), "id": format!("{bucket}/{name}/1"),
        });
        self.resources.insert(format!("storage/storage/b/{bucket}/o/{name}"), object.clone());
        Some(ok(object))
    }

    fn images(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        let kind = "google.devtools.artifactregistry.v1.Repository";
        match (call.method, path) {
            ("GET", [.., "operations", _]) => Some(self.operation(&path.join("/"))),
            ("POST", ["projects", _, "locations", _, "repositories"]) => {
                let name = format!("{}/{}", path.join("/"), call.asked("repositoryId"));
                let made = self.add(
                    format!("artifactregistry/{name}"),
                    call.json.clone(),
                    json!({ "name": name }),
                );
                let below = path.get(..4)?.join("/");
                Some(match made {
                    Ok(made) => self.done(&below, kind, &made, &Value::Null),
                    Err(refused) => refused,
                })
            }
            ("GET", [.., "dockerImages"]) => Some(self.list("dockerImages", &call.name())),
            ("GET", ["projects", _, "locations", _, "repositories", _]) => {
                Some(self.get(&call.name()))
            }
            ("DELETE", ["projects", _, "locations", _, "repositories", _]) => {
                let below = path.get(..4)?.join("/");
                Some(match self.delete(&call.name()) {
                    Ok(_) => self.done(&below, "google.protobuf.Empty", &json!({}), &Value::Null),
                    Err(refused) => refused,
                })
            }
            _ => None,
        }
    }

    /// A build that has succeeded: its images are in the repositories that their names say.
    fn builds(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        match (call.method, path) {
            ("POST", [.., "builds"]) => {
                let own = json!({
                    "id": "1", "projectId": PROJECT, "status": "SUCCESS", "createTime": NOW,
                    "name": "projects/1/locations/global/builds/1", "logsBucket": format!("gs://{LOGS}"),
                });
                let mut build = call.json.clone();
                merge(&mut build, own);
                for image in call.json["images"].as_array().into_iter().flatten() {
                    let image = substituted(image.as_str()?, &call.json["substitutions"]);
                    self.push(&image)?;
                }
                self.operations.insert(BUILD.to_owned(), build.clone());
                let kind = "google.devtools.cloudbuild.v1";
                let metadata = json!({
                    "@type": format!("type.googleapis.com/{kind}.BuildOperationMetadata"),
                    "build": build,
                });
                Some(self.done("build", &format!("{kind}.Build"), &build, &metadata))
            }
            ("GET", [.., "builds", _]) => Some(self.operation(BUILD)),
            ("GET", [.., "defaultServiceAccount"]) => {
                let email = "1-compute@developer.gserviceaccount.com";
                Some(ok(json!({ "serviceAccountEmail": email })))
            }
            _ => None,
        }
    }

    /// Puts an image into its repository.
    fn push(&mut self, image: &str) -> Option<()> {
        let (location, rest) = image.split_once("-docker.pkg.dev/")?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [project, repository, tagged] = parts.try_into().ok()?;
        let (package, tag) = tagged.split_once(':')?;
        let below = format!("projects/{project}/locations/{location}/repositories/{repository}");
        let digest = format!("{package}@sha256:{}", tag.repeat(4));
        let name = format!("{below}/dockerImages/{digest}");
        let uri = format!("{location}-docker.pkg.dev/{project}/{repository}/{digest}");
        let pushed = json!({
            "name": name, "uri": uri, "tags": [tag], "uploadTime": NOW, "updateTime": NOW,
        });
        self.resources.insert(format!("artifactregistry/{name}"), pushed);
        Some(())
    }

    fn logs(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        (call.method == "POST" && path == ["entries:list"]).then(|| {
            let name = format!("projects/{PROJECT}/logs/run.googleapis.com%2Fstdout");
            let resource = json!({ "type": "cloud_run_revision", "labels": { "service_name": "greetings" } });
            ok(json!({ "entries": [{
                "logName": name, "resource": resource, "timestamp": NOW, "insertId": "1", "textPayload": "GET / 200 in 3 ms",
            }] }))
        })
    }
}

/// The second part of a body in parts, which is the object of an upload.
fn part<'a>(body: &'a [u8], boundary: &[u8]) -> Option<&'a [u8]> {
    let find = |body: &[u8], what: &[u8]| body.windows(what.len()).position(|found| found == what);
    let after = |body: &'a [u8], what: &[u8]| body.get(find(body, what)? + what.len()..);
    let second = after(after(body, boundary)?, boundary)?;
    let start = after(second, b"\n\n")
        .into_iter()
        .chain(after(second, b"\r\n\r\n"))
        .max_by_key(|rest| rest.len())?;
    let end = find(start, boundary)?;
    let content = start.get(..end)?.strip_suffix(b"--")?;
    let content = content.strip_suffix(b"\n")?;
    Some(content.strip_suffix(b"\r").unwrap_or(content))
}

/// A text of a build with what it was told to put in.
fn substituted(text: &str, by: &Value) -> String {
    let pairs = by.as_object().into_iter().flatten();
    pairs.fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${name}"), value.as_str().unwrap_or_default())
    })
}

/// Writes one object into another; null takes a field away.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                if value.is_null() {
                    into.remove(&name);
                } else {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}
