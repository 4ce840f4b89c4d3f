//! The administration of Firestore: databases, indexes, and what is set for fields.

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

use serde_json::{Value, json};

use super::{Answer, Call, NOW, Project, error, merge};

fn kind(of: &str) -> String {
    format!("google.firestore.admin.v1.{of}")
}

fn typed(of: &str) -> Value {
    json!({ "@type": format!("type.googleapis.com/{}", kind(of)) })
}

impl Project {
    pub(super) fn firestore(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Answer> {
        if !self.enabled.contains("firestore.googleapis.com") {
            return Some(error(
                403,
                "PERMISSION_DENIED",
                "SERVICE_DISABLED: Cloud Firestore API has not been used in project 1 before or it is disabled.",
            ));
        }
        match (call.method, path) {
            ("GET", [.., "operations", _]) => Some(self.operation(&path.join("/"))),
            ("GET", ["projects", _, "databases"]) => Some(self.list("databases", &call.name())),
            ("POST", ["projects", _, "databases"]) => {
                let id = call.asked("databaseId");
                let name = format!("{}/{id}", path.join("/"));
                let own = json!({ "name": name, "uid": "1", "createTime": NOW, "etag": "BwYA" });
                let made = self.add(format!("firestore/{name}"), call.json.clone(), own);
                Some(match made {
                    Ok(made) => {
                        self.done(&name, &kind("Database"), &made, &typed("CreateDatabaseMetadata"))
                    }
                    Err(refused) => refused,
                })
            }
            ("DELETE", ["projects", _, "databases", _]) => Some(match self.delete(&call.name()) {
                Ok(deleted) => self.done(
                    &path.join("/"),
                    &kind("Database"),
                    &deleted,
                    &typed("DeleteDatabaseMetadata"),
                ),
                Err(refused) => refused,
            }),
            ("PATCH", ["projects", project, "databases", database, _, _, "fields", _]) => {
                let below = format!("projects/{project}/databases/{database}");
                Some(self.change_field(call, path, &below))
            }
            ("POST", ["projects", project, "databases", database, _, _, "indexes"]) => {
                let below = format!("projects/{project}/databases/{database}");
                Some(self.make_index(call, path, &below))
            }
            ("GET", _) => Some(self.get(&call.name())),
            _ => None,
        }
    }

    /// An index or a TTL policy of one field.
    fn change_field(&mut self, call: &Call<'_>, path: &[&str], below: &str) -> Answer {
        let kept = self.resources.get(&call.name()).cloned();
        let mut field = kept.unwrap_or_else(|| json!({ "name": path.join("/") }));
        let mask = call.asked("updateMask");
        for part in ["indexConfig", "ttlConfig"].into_iter().filter(|part| mask.contains(part)) {
            let mut set = call.json.get(part).cloned().unwrap_or_default();
            if part == "ttlConfig" && set.is_object() {
                set = json!({ "state": "ACTIVE" });
            }
            merge(&mut field, json!({ part: set }));
        }
        self.resources.insert(call.name(), field.clone());
        self.done(below, &kind("Field"), &field, &typed("FieldOperationMetadata"))
    }

    /// An index of several fields, named after these.
    fn make_index(&mut self, call: &Call<'_>, path: &[&str], below: &str) -> Answer {
        let fields = call.json["fields"].as_array().into_iter().flatten();
        let fields: Vec<_> = fields.filter_map(|field| field["fieldPath"].as_str()).collect();
        let name = format!("{}/{}", path.join("/"), fields.join("-"));
        let own = json!({ "name": name, "state": "READY" });
        match self.add(format!("firestore/{name}"), call.json.clone(), own) {
            Ok(made) => self.done(below, &kind("Index"), &made, &typed("IndexOperationMetadata")),
            Err(refused) => refused,
        }
    }
}
