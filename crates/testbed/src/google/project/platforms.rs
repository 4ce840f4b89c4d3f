//! Cloud Run and App Engine.

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

use serde_json::{Value, json};

use super::{Answer, Call, NOW, PROJECT, Project, error, merge, ok};

impl Project {
    pub(super) fn run(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        let path = path.strip_prefix(["apis", "serving.knative.dev"].as_slice()).unwrap_or(path);
        let at = |name: &str| format!("run/namespaces/{PROJECT}/services/{name}");
        match (call.method, path) {
            ("GET", ["namespaces", _, "services", name]) => {
                let found = self.resources.get(&at(name)).cloned();
                let missing = format!(
                    "Resource '{name}' of kind 'SERVICE' in region 'europe-west1' in project '{PROJECT}' does not exist."
                );
                Some(found.map_or_else(|| error(404, "NOT_FOUND", &missing), ok))
            }
            ("POST" | "PUT", ["namespaces", _, "services", ..]) => {
                let name = call.json["metadata"]["name"].as_str()?;
                let kept = self.resources.get(&at(name));
                let service = ready(call.json.clone(), kept);
                if call.asked("dryRun").is_empty() {
                    self.resources.insert(at(name), service.clone());
                }
                Some(ok(service))
            }
            ("DELETE", ["namespaces", _, "services", name]) => Some(
                self.delete(&at(name))
                    .map_or_else(|refused| refused, |_| ok(json!({ "status": "Success" }))),
            ),
            ("GET", ["namespaces", _, kind, ..])
                if ["revisions", "configurations", "routes"].contains(kind) =>
            {
                Some(ok(
                    json!({ "items": [], "status": { "conditions": [{ "type": "Ready", "status": "True" }] } }),
                ))
            }
            _ => None,
        }
    }

    pub(super) fn engine(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        let kind = |of: &str| format!("google.appengine.v1.{of}");
        let at = |path: &str| format!("appengine/{path}");
        let below = format!("apps/{PROJECT}");
        match (call.method, path) {
            ("GET", [.., "operations", _]) => Some(self.operation(&path.join("/"))),
            ("POST", ["apps"]) => {
                let app = json!({
                    "name": below, "authDomain": "gmail.com", "servingStatus": "SERVING", "databaseType": "CLOUD_FIRESTORE",
                    "codeBucket": format!("staging.{PROJECT}.appspot.com"), "defaultHostname": format!("{PROJECT}.ew.r.appspot.com"),
                    "serviceAccount": format!("{PROJECT}@appspot.gserviceaccount.com"), "gcrDomain": "eu.gcr.io",
                    "featureSettings": { "splitHealthChecks": true, "useContainerOptimizedOs": true },
                });
                let made = self.add(at(&below), call.json.clone(), app);
                Some(match made {
                    Ok(made) => self.done(&below, &kind("Application"), &made, &Value::Null),
                    Err(refused) => refused,
                })
            }
            ("GET", ["apps", _, "services"] | ["apps", _, "services", _, "versions"]) => {
                Some(self.list(path.last()?, &call.name()))
            }
            ("POST", ["apps", _, "services", service, "versions"]) => {
                let id = call.json["id"].as_str()?;
                let name = format!("{below}/services/{service}/versions/{id}");
                let own = json!({ "name": name, "servingStatus": "SERVING", "createTime": NOW, "versionUrl": format!("https://{id}-dot-{PROJECT}.ew.r.appspot.com") });
                let made = match self.add(at(&name), call.json.clone(), own) {
                    Ok(made) => made,
                    Err(refused) => return Some(refused),
                };
                let split = json!({ "allocations": { id: 1 } });
                let whole = json!({ "name": format!("{below}/services/{service}"), "id": service, "split": split });
                self.resources.insert(at(&format!("{below}/services/{service}")), whole);
                let metadata = json!({ "@type": "type.googleapis.com/google.appengine.v1.OperationMetadataV1", "method": "google.appengine.v1.Versions.CreateVersion" });
                // Of what was sent, gcloud takes only this for a version's.
                let short = json!({ "name": name, "id": made["id"], "runtime": made["runtime"], "env": made["env"], "versionUrl": made["versionUrl"] });
                Some(self.done(&below, &kind("Version"), &short, &metadata))
            }
            ("PATCH", ["apps", _, "services", ..]) => {
                let kept = self.resources.get_mut(&call.name())?;
                // A split is set as a whole: versions that it does not name have no traffic.
                if !call.json["split"].is_null() {
                    kept["split"] = Value::Null;
                }
                merge(kept, call.json.clone());
                let of = if path.contains(&"versions") { "Version" } else { "Service" };
                let id = json!({ "id": path.last()? });
                Some(self.done(&below, &kind(of), &id, &Value::Null))
            }
            ("DELETE", ["apps", _, "services", ..]) => Some(match self.delete(&call.name()) {
                Ok(_) => self.done(&below, "google.protobuf.Empty", &json!({}), &Value::Null),
                Err(refused) => refused,
            }),
            ("GET", _) => Some(self.get(&call.name())),
            _ => None,
        }
    }
}

/// What Cloud Run makes of a service. A revision is made where the template differs from the one
/// before.
fn ready(mut service: Value, before: Option<&Value>) -> Value {
    let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let same =
        before.is_some_and(|before| before["spec"]["template"] == service["spec"]["template"]);
    let number =
        before.and_then(|before| before["metadata"]["generation"].as_u64()).unwrap_or_default();
    let number = number + u64::from(!same);
    let url = format!("https://{name}-1.europe-west1.run.app");
    let revision = format!("{name}-{number:05}-abc");
    let conditions = ["Ready", "ConfigurationsReady", "RoutesReady"]
        .map(|kind| json!({ "type": kind, "status": "True", "lastTransitionTime": NOW }));
    merge(
        &mut service,
        json!({
            "metadata": {
                "namespace": PROJECT, "generation": number, "resourceVersion": format!("AAA{number}"), "uid": "1",
                "creationTimestamp": NOW, "labels": { "cloud.googleapis.com/location": "europe-west1" },
            },
            "status": {
                "observedGeneration": number, "url": url, "address": { "url": url }, "conditions": conditions,
                "latestReadyRevisionName": revision, "latestCreatedRevisionName": revision,
                "traffic": [{ "revisionName": revision, "percent": 100, "latestRevision": true }],
            },
        }),
    );
    service
}
