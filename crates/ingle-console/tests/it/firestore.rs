//! The types that JSON does not have, in a document of Firestore that operators edit.

use std::collections::HashMap;

use googleapis_tonic_google_firestore_v1::google::{
    firestore::v1::{
        ArrayValue, CommitRequest, Document, DocumentMask, ListDocumentsRequest, MapValue, Value,
        Write, firestore_client::FirestoreClient, value::ValueType, write::Operation,
    },
    r#type::LatLng,
};
use ingle::store::{Firestore, FirestoreConfig};
use serde_json::json;
use tonic::transport::Channel;

use crate::scene::Scene;

const DATABASE: &str = "projects/ingle-test/databases/(default)";

/// A collection of which Firestore's own client sees every bit.
struct Collection {
    name: String,
    client: FirestoreClient<Channel>,
}

impl Collection {
    /// The document of the session, which counts views. The audit log has others.
    async fn document(&mut self) -> Document {
        let request = ListDocumentsRequest {
            parent: format!("{DATABASE}/documents"),
            collection_id: self.name.clone(),
            ..ListDocumentsRequest::default()
        };
        let found = self.client.list_documents(request).await.unwrap().into_inner().documents;
        found.into_iter().find(|document| document.fields.contains_key("views")).unwrap()
    }

    /// Sets fields of it, as somebody does in Google's console.
    async fn set(&mut self, fields: HashMap<String, Value>) {
        let name = self.document().await.name;
        let field_paths = fields.keys().cloned().collect();
        let write = Write {
            update_mask: Some(DocumentMask { field_paths }),
            operation: Some(Operation::Update(Document { name, fields, ..Document::default() })),
            ..Write::default()
        };
        let database = DATABASE.to_owned();
        let request = CommitRequest { database, writes: vec![write], ..CommitRequest::default() };
        self.client.commit(request).await.unwrap();
    }
}

fn typed(value: ValueType) -> Value {
    Value { value_type: Some(value) }
}

fn map(fields: &[(&str, ValueType)]) -> ValueType {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), typed(value.clone())));
    ValueType::MapValue(MapValue { fields: fields.collect() })
}

fn list(values: &[ValueType]) -> ValueType {
    let values = values.iter().cloned().map(typed).collect();
    ValueType::ArrayValue(ArrayValue { values })
}

/// One of each type, and those that are easily taken for another.
fn one_of_each() -> HashMap<String, Value> {
    let instant = prost_types::Timestamp { seconds: 1_777_897_800, nanos: 123_456_000 };
    let nested =
        map(&[("integer", ValueType::IntegerValue(1)), ("double", ValueType::DoubleValue(1.0))]);
    let of_all = [
        ("integer", ValueType::IntegerValue(1)),
        ("double", ValueType::DoubleValue(1.0)),
        ("nan", ValueType::DoubleValue(f64::NAN)),
        ("text", ValueType::StringValue("1".to_owned())),
        ("boolean", ValueType::BooleanValue(true)),
        ("null", ValueType::NullValue(0)),
        ("timestamp", ValueType::TimestampValue(instant)),
        ("bytes", ValueType::BytesValue(vec![0, 255, 10])),
        ("geopoint", ValueType::GeoPointValue(LatLng { latitude: 52.5, longitude: -13.0 })),
        ("reference", ValueType::ReferenceValue(format!("{DATABASE}/documents/users/ada"))),
        (
            "map",
            map(&[("inner", nested.clone()), ("$bytes", ValueType::StringValue("x".to_owned()))]),
        ),
        ("list", list(&[ValueType::DoubleValue(2.0), nested, ValueType::TimestampValue(instant)])),
    ];
    of_all.map(|(name, value)| (name.to_owned(), typed(value))).into()
}

/// Two values that are the same, also where they are no number.
fn same(one: &Value, other: &Value) -> bool {
    match (&one.value_type, &other.value_type) {
        (Some(ValueType::DoubleValue(one)), Some(ValueType::DoubleValue(other))) => {
            one.to_bits() == other.to_bits()
        }
        (one, other) => one == other,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_document_of_every_type_only_the_edited_field_differs() {
    let emulator = testbed::firestore::hidane().to_string();
    let name = format!("t{:032x}", fastrand::u128(..));
    let mut config = FirestoreConfig::new("ingle-test", &name);
    config.emulator = Some(emulator.clone());
    let scene = Scene::on(Firestore::open(config).await.unwrap(), None).await;
    let handle = scene.holding(json!({ "greeting": "Hola", "views": 1 })).await;
    let channel = Channel::from_shared(format!("http://{emulator}")).unwrap().connect_lazy();
    let mut collection = Collection { name, client: FirestoreClient::new(channel) };
    collection.set(one_of_each()).await;

    let mut before = collection.document().await.fields;
    for (path, shown, kind, text, field, after) in [
        (
            "greeting",
            json!("Hola"),
            "text",
            "Hello",
            "greeting",
            ValueType::StringValue("Hello".to_owned()),
        ),
        ("integer", json!(1), "double", "1", "integer", ValueType::DoubleValue(1.0)),
        (
            "bytes",
            json!({ "$bytes": "AP8K" }),
            "timestamp",
            "2026-05-04T12:30:00.5Z",
            "bytes",
            ValueType::TimestampValue(prost_types::Timestamp {
                seconds: 1_777_897_800,
                nanos: 500_000_000,
            }),
        ),
    ] {
        let fields =
            [("path", path), ("before", &shown.to_string()), ("kind", kind), ("value", text)];
        let answer = scene.post(&format!("/sessions/{handle}/edit"), &fields).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let now = collection.document().await.fields;
        before.insert(field.to_owned(), typed(after));
        assert_eq!(now.len(), before.len(), "{path}");
        for (name, value) in before.iter().filter(|(name, _)| !name.starts_with("_ingle")) {
            assert!(same(value, &now[name]), "{path}: {name} was {value:?} and is {:?}", now[name]);
        }
    }
}
