//! A session without what tells whose it is: to be sent to a developer who needs its shape.

use ingle::data::Data;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Replaces texts by names that tell nothing but whether two are the same. Numbers, times, structure and
/// the names of fields stay.
#[derive(Clone, Debug)]
pub struct Anonymiser {
    salt: [u8; 32],
}

impl Anonymiser {
    /// With this salt, which must be random and known to nobody: otherwise a name could be told by trying
    /// texts.
    #[must_use]
    pub fn new(salt: [u8; 32]) -> Self {
        Self { salt }
    }

    /// The name of a text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let hash = Sha256::new().chain_update(self.salt).chain_update(text).finalize();
        let digits = hash.iter().take(4).map(|byte| format!("{byte:02x}"));
        format!("text-{}", digits.collect::<String>())
    }

    /// The data with each text in it replaced.
    #[must_use]
    pub fn data(&self, data: &Data) -> Data {
        data.iter().map(|(name, value)| (name.clone(), self.value(value))).collect()
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => match crate::value::kind(value) {
                "timestamp" | "double" if crate::value::is_valid(value) => value.clone(),
                "bytes" => json!({ "$bytes": "" }),
                "geographical point" => json!({ "$geopoint": [0.0, 0.0] }),
                "reference" => json!({ "$reference": self.text(&value.to_string()) }),
                _ => Value::Object(self.data(fields)),
            },
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_stays_and_the_texts_go() {
        let data = json!({
            "name": "Ada", "again": "Ada", "n": 1, "list": ["Bob", { "mail": "ada@example.com" }],
            "at": { "$timestamp": "2026-05-04T12:30:00Z" }, "bytes": { "$bytes": "QWRh" },
            "inf": { "$double": "-Infinity" }, "when": { "$timestamp": "Ada Lovelace" },
            "big": { "$double": "Ada" }, "hash": { "$bytes": "Ada Lovelace" },
            "unknown": { "$unknown": "Ada" }, "place": { "$geopoint": ["Ada", "Bob"] },
            "where": { "$geopoint": [52.5, 13.4] }, "ref": { "$reference": "users/Ada" },
        });
        let anonymous = Anonymiser::new([7; 32]).data(data.as_object().unwrap());
        let text = Value::Object(anonymous.clone()).to_string();
        for secret in ["Ada", "Bob", "ada@", "QWRh", "52.5"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(anonymous["name"], anonymous["again"]);
        assert_ne!(anonymous["name"], anonymous["list"][0]);
        assert_eq!(anonymous["inf"], data["inf"]);
        assert_eq!((&anonymous["n"], &anonymous["at"]), (&data["n"], &data["at"]));
        assert_ne!(Anonymiser::new([8; 32]).text("Ada"), Anonymiser::new([7; 32]).text("Ada"));
    }
}
