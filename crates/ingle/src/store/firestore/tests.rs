//! What can be told without a server: values, documents, names, and what a failure means.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use googleapis_tonic_google_firestore_v1::google::{
    firestore::v1::{ArrayValue, Document, MapValue, Value as Typed, value::ValueType},
    r#type::LatLng,
};
use proptest::prelude::*;
use prost_types::Timestamp as Moment;
use serde_json::{Value as Json, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{
    batch,
    codec::{self, Entry},
    config::{FirestoreConfig, Names},
    connect,
    error::{NotSent, Server, no_credentials, no_token},
    identity::Identity,
    plain,
    value::{self, Unwritable, typed},
    write,
};
use crate::{
    clock::Timestamp,
    fuzz::{self, fuzz, spoiled},
    id::Key,
    record::{Epoch, Header, Loaded, Record, User},
    store::{Applied, ErrorKind, Ids, OpenError, OpenErrorKind, mark::Mark, page},
};

fn map(name: &str, value: ValueType) -> ValueType {
    ValueType::MapValue(MapValue { fields: [(name.to_owned(), typed(value))].into() })
}

fn array(values: impl IntoIterator<Item = ValueType>) -> ValueType {
    ValueType::ArrayValue(ArrayValue { values: values.into_iter().map(typed).collect() })
}

fn text(text: &str) -> ValueType {
    ValueType::StringValue(text.to_owned())
}

#[test]
fn each_value_has_one_form_on_either_side() {
    let moment = Moment { seconds: 1_777_897_800, nanos: 500_000_000 };
    let reference = "projects/p/databases/(default)/documents/users/mary";
    for (firestore, expected) in [
        (ValueType::IntegerValue(i64::MIN), json!(i64::MIN)),
        (ValueType::DoubleValue(1.0), json!(1.0)),
        (ValueType::DoubleValue(f64::INFINITY), json!({ "$double": "Infinity" })),
        (ValueType::DoubleValue(f64::NEG_INFINITY), json!({ "$double": "-Infinity" })),
        (ValueType::TimestampValue(moment), json!({ "$timestamp": "2026-05-04T12:30:00.500Z" })),
        (ValueType::BytesValue(b"hi".into()), json!({ "$bytes": "aGk=" })),
        (
            ValueType::GeoPointValue(LatLng { latitude: 52.5, longitude: -13.0 }),
            json!({ "$geopoint": [52.5, -13.0] }),
        ),
        (ValueType::ReferenceValue(reference.to_owned()), json!({ "$reference": reference })),
        // What only looks like one of these.
        (map("$timestamp", text("noon")), json!({ "$timestamp": "noon" })),
        (
            map("$timestamp", text("2026-05-04t12:30:00z")),
            json!({ "$timestamp": "2026-05-04t12:30:00z" }),
        ),
        (map("$bytes", text("aGk")), json!({ "$bytes": "aGk" })),
        (map("$geopoint", array([])), json!({ "$geopoint": [] })),
        (map("$reference", text("users/mary")), json!({ "$reference": "users/mary" })),
        // A map that another program wrote, and that would be taken for one of these.
        (map("$bytes", text("aGk=")), json!({ "$$bytes": "aGk=" })),
        (map("$$bytes", text("aGk=")), json!({ "$$$bytes": "aGk=" })),
        (map("$$bytes", text("aGk")), json!({ "$$bytes": "aGk" })),
        (map("$a", text("b")), json!({ "$a": "b" })),
        (map("$$unknown", ValueType::NullValue(0)), json!({ "$$$unknown": null })),
        // Arrays in arrays, and what only looks like them.
        (array([map("$array", array([text("a")]))]), json!([["a"]])),
        (array([map("$$array", array([text("a")]))]), json!([{ "$array": ["a"] }])),
        (array([map("$$$array", array([]))]), json!([{ "$$array": [] }])),
        (map("$array", array([text("a")])), json!({ "$array": ["a"] })),
        (map("$array", array([map("$array", array([]))])), json!({ "$array": [[]] })),
    ] {
        assert_eq!(value::read(typed(firestore.clone())), expected, "read");
        assert_eq!(value::write("field", &expected), Ok(typed(firestore)), "write {expected}");
    }
    let nan = value::write("field", &json!({ "$double": "NaN" })).unwrap();
    assert!(matches!(nan.value_type, Some(ValueType::DoubleValue(nan)) if nan.is_nan()));
    assert_eq!(value::read(nan), json!({ "$double": "NaN" }));
}

#[test]
fn a_value_of_an_unknown_type_is_never_written() {
    let unknown = value::read(Typed { value_type: None });
    assert_eq!(value::write("field", &json!({ "a": [unknown] })), Err(Unwritable::Unknown));
}

#[test]
fn what_firestore_would_refuse_is_refused_before() {
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    assert!(value::write("field", &deep(20)).is_ok());
    assert_eq!(value::write("field", &deep(21)), Err(Unwritable::TooDeep));
    // Each array in an array is a map more.
    let arrays = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(value::write("field", &arrays(10)).is_ok());
    assert_eq!(value::write("field", &arrays(11)), Err(Unwritable::TooDeep));

    let long = |bytes: usize| json!({ "x".repeat(bytes): 1 });
    assert!(value::write("field", &long(1494)).is_ok());
    assert_eq!(value::write("field", &long(1495)), Err(Unwritable::LongPath));
    assert_eq!(value::write("field", &json!(u64::MAX)), Err(Unwritable::IntegerOutOfRange));
}

fn any_json() -> impl Strategy<Value = Json> {
    let name = prop_oneof![
        Just("$array".to_owned()),
        Just("$$array".to_owned()),
        Just("$$bytes".to_owned()),
        Just("$timestamp".to_owned()),
        Just("$bytes".to_owned()),
        Just("$geopoint".to_owned()),
        Just("$reference".to_owned()),
        Just("$double".to_owned()),
        "[a-z]{1,3}",
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-200.0..200.0).prop_map(Json::from),
        Just(json!("NaN")),
        Just(json!("aGk=")),
        Just(json!("2026-05-04T12:30:00Z")),
        Just(json!("projects/p/databases/d/documents/a/b")),
        ".{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 24, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            prop::collection::btree_map(name.clone(), inner, 0..3)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_typed() -> impl Strategy<Value = ValueType> {
    let tags = ["$array", "$$array", "$$$array", "$bytes", "$$bytes", "$timestamp", "$geopoint"];
    let more = ["$$geopoint", "$unknown", "$$unknown", "$reference", "$double", "$", "$$"];
    let name = prop_oneof![
        prop::sample::select(tags.to_vec()).prop_map(str::to_owned),
        prop::sample::select(more.to_vec()).prop_map(str::to_owned),
        "[a-z]{1,3}",
    ];
    let texts = ["NaN", "aGk=", "2026-05-04T12:30:00Z", "projects/p/databases/d/documents/a/b"];
    let leaf = prop_oneof![
        Just(ValueType::NullValue(0)),
        any::<bool>().prop_map(ValueType::BooleanValue),
        any::<i64>().prop_map(ValueType::IntegerValue),
        any::<f64>()
            .prop_filter("it equals itself", |x| !x.is_nan())
            .prop_map(ValueType::DoubleValue),
        (-62_135_596_800_i64..=253_402_300_799, 0..1_000_000).prop_map(|(seconds, micros)| {
            ValueType::TimestampValue(Moment { seconds, nanos: micros * 1000 })
        }),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(ValueType::BytesValue),
        (-90.0..=90.0, -180.0..=180.0).prop_map(|(latitude, longitude)| {
            ValueType::GeoPointValue(LatLng { latitude, longitude })
        }),
        prop::sample::select(texts.to_vec()).prop_map(text),
        Just(ValueType::ReferenceValue("projects/p/databases/d/documents/a/b c".to_owned())),
    ];
    leaf.prop_recursive(5, 24, 3, move |inner| {
        // Firestore has no array in an array.
        let item =
            inner.clone().prop_filter("no array", |v| !matches!(v, ValueType::ArrayValue(_)));
        let map = |fields: std::collections::BTreeMap<String, ValueType>| {
            let fields = fields.into_iter().map(|(name, value)| (name, typed(value)));
            ValueType::MapValue(MapValue { fields: fields.collect() })
        };
        prop_oneof![
            prop::collection::vec(item, 0..3).prop_map(array),
            prop::collection::btree_map(name.clone(), inner, 0..3).prop_map(map),
        ]
    })
}

proptest! {
    #[test]
    fn every_json_comes_back_as_it_was(json in any_json()) {
        let written = value::write("field", &json).unwrap();
        prop_assert_eq!(value::read(written.clone()), json);
    }

    #[test]
    fn every_value_of_firestores_comes_back_as_it_was(value in any_typed()) {
        let json = value::read(typed(value.clone()));
        prop_assert_eq!(value::write("field", &json), Ok(typed(value)), "{}", json);
    }

    #[test]
    fn no_text_is_bent_into_a_moment(text in "[+-]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,10})?(Z|[+-][0-9]{2}:[0-9]{2})?") {
        let json = json!({ "$timestamp": text });
        prop_assert_eq!(value::read(value::write("field", &json).unwrap()), json);
    }
}

const KEY: Key = Key::from_bytes([7; 32]);

fn record(data: &Json) -> Record {
    let mut header = Header::foreign(KEY, Timestamp::from_millis(5), Epoch::from_bits(9));
    header.counter = 3;
    header.user = Some(User::new("mary", 2, Timestamp::from_millis(7)));
    Record { header, data: data.as_object().unwrap().clone() }
}

fn read(document: Document) -> Loaded {
    read_under(document, &KEY)
}

fn read_under(document: Document, key: &Key) -> Loaded {
    match codec::read(document, key).unwrap() {
        Entry::Record(loaded) => loaded,
        Entry::Mark(mark, _) => panic!("{mark:?}"),
    }
}

fn found(fields: codec::Fields) -> Document {
    let update_time = Some(Moment { seconds: 12, nanos: 345_678_000 });
    let create_time = Some(Moment { seconds: 11, nanos: 1000 });
    Document { name: String::new(), fields, create_time, update_time }
}

#[test]
fn a_replace_names_what_changed_and_nothing_else() {
    let base = record(&json!({ "same": 1, "other": 1, "gone": 1, "a.b`c\\": 1 }));
    let mut next = record(&json!({ "same": 1, "other": 2, "new": 1, "0": 0 }));
    let named = |next: &Record| {
        let (fields, mask) = codec::changed(&base, next).unwrap();
        let (mut paths, mut names) = (mask.field_paths, fields.into_keys().collect::<Vec<_>>());
        paths.sort();
        names.sort();
        (paths.join(" "), names.join(" "))
    };
    let (paths, names) = named(&next);
    let header = "_ingle.counter _ingle.idle_deadline _ingle.ops _ingle_expires";
    assert_eq!(paths, format!("{header} `0` `a.b\\`c\\\\` gone new other"));
    assert_eq!(names, "0 _ingle _ingle_expires new other");
    next.header.user = None;
    let (paths, names) = named(&next);
    let header = "_ingle _ingle_expires _ingle_user";
    assert_eq!(paths, format!("{header} `0` `a.b\\`c\\\\` gone new other"));
    assert_eq!(names, "0 _ingle _ingle_expires new other");
}

#[test]
fn a_document_is_read_as_it_was_written() {
    let record = record(&json!({ "views": 3, "greeting": "Hallo Welt" }));
    let loaded = read(found(codec::whole(&record).unwrap()));
    assert_eq!(*loaded.record, record);
    assert_eq!(loaded.version.0, 12_345_678);
    assert_eq!(codec::moment(loaded.version), Moment { seconds: 12, nanos: 345_678_000 });
}

#[test]
fn a_document_without_a_header_is_data() {
    let fields = [("views".to_owned(), typed(ValueType::IntegerValue(3)))].into();
    let loaded = read(found(fields));
    assert_eq!(Json::Object(loaded.record.data.clone()), json!({ "views": 3 }));
    let header = &loaded.record.header;
    assert!(
        header.is_foreign() && !loaded.record.is_dead(Timestamp::from_millis(9_999_999_999_999))
    );
    assert_eq!((header.key, header.epoch), (KEY, Epoch::from_bits(11_000_001)));
}

#[test]
fn a_damaged_header_is_an_error_that_names_the_place() {
    let place_of = |name: &str, value: Option<ValueType>| {
        let mut fields = codec::whole(&record(&json!({}))).unwrap();
        match fields.get_mut("_ingle").and_then(|header| header.value_type.as_mut()) {
            Some(ValueType::MapValue(map)) => match value {
                Some(value) => _ = map.fields.insert(name.to_owned(), typed(value)),
                None => _ = map.fields.remove(name),
            },
            _ => unreachable!(),
        }
        codec::read(found(fields), &KEY).unwrap_err().to_string()
    };
    for name in [
        "format",
        "key",
        "created",
        "idle_deadline",
        "absolute_deadline",
        "epoch",
        "counter",
        "ops",
    ] {
        for value in [None, Some(ValueType::BooleanValue(true)), Some(text("x"))] {
            let error = place_of(name, value);
            assert!(error.contains(&format!("_ingle.{name}")), "{error}");
        }
    }
    let mut fields = codec::whole(&record(&json!({}))).unwrap();
    fields.insert("_ingle".to_owned(), typed(text("x")));
    assert!(codec::read(found(fields), &KEY).is_err());
}

#[test]
fn names_of_ours_and_records_that_are_too_large_are_refused() {
    assert!(codec::whole(&record(&json!({ "_ingle_x": 1 }))).is_err());
    let arrays = json!({ "a": vec![json!([]); 250_000] });
    assert!(codec::whole(&record(&arrays)).is_err(), "each inner array has a map around it");
    let error = codec::whole(&record(&json!({ "a": "x".repeat(1024 * 1024) }))).unwrap_err();
    assert_eq!(crate::store::Error::from(error).kind(), ErrorKind::TooLarge);
}

fn parsed(url: &str) -> Result<FirestoreConfig, OpenError> {
    FirestoreConfig::parse(&format!("firestore:{url}"))
}

#[test]
fn a_url_names_one_collection() {
    let parts = |url: &str| {
        let FirestoreConfig { project, database, collection, ids, .. } = parsed(url).unwrap();
        ([project, database, collection].join(" "), ids)
    };
    for (url, names, ids) in [
        ("//my-project/sessions", "my-project (default) sessions", Ids::Hashed),
        ("//my-project/sessions\n", "my-project (default) sessions", Ids::Hashed),
        ("//example.com:p/eu/sessions?ids=plain", "example.com:p eu sessions", Ids::Plain),
        ("//p/(default)/sessions?ids=upgrade", "p (default) sessions", Ids::Upgrade),
        ("//p/caf%C3%A9%20visits", "p (default) café visits", Ids::Hashed),
    ] {
        assert_eq!(parts(url), (names.to_owned(), ids), "{url}");
    }
    for wrong in [
        "",
        "//",
        "//p",
        "p/sessions",
        "//p/",
        "//p/c/",
        "///sessions",
        "//p//sessions",
        "//p/d/c/e",
        "//p/..",
        "//p/.",
        "//p/%2e%2E",
        "//p/__x__",
        "//p/a%2Fb",
        "//p/a%00b",
        "//p/a%zz",
        "//p/c?ids=safe",
        "//p/c?ids",
        "//p/c?ids=plain&a=b",
        "//p/c?ids=plain&ids=upgrade",
        "//p/c#x",
        "//p\n/c",
        "//p/c\u{7}x",
        "//pr oject/c",
        "//p/d b/c",
        "//p/(other)/c",
        "//user@p/c",
        "//p,q/c",
    ] {
        let error = parsed(wrong).expect_err(wrong);
        assert_eq!((error.store(), error.kind()), ("firestore", OpenErrorKind::Config));
    }
    assert!(FirestoreConfig::parse("redis://p/c").is_err());
}

#[test]
fn a_configuration_by_hand_is_checked_as_a_url_is() {
    for config in [
        FirestoreConfig::new("p", ".."),
        FirestoreConfig::new("p", "a/b/c"),
        FirestoreConfig::new("p/databases/x", "c"),
        FirestoreConfig { database: "a/b".to_owned(), ..FirestoreConfig::new("p", "c") },
    ] {
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("the configuration"), "{error}");
    }
    assert!(FirestoreConfig::new("p", "c").check().is_ok());
}

#[test]
fn a_document_of_another_collection_has_no_key() {
    let mut config = FirestoreConfig::new("p", "sessions");
    let hashed = Names::of(&config);
    config.ids = Ids::Plain;
    let plain = Names::of(&config);
    let uuid =
        "projects/p/databases/(default)/documents/sessions/11111111-2222-4333-8444-555555555555";
    assert_eq!(hashed.key(&hashed.document(&KEY)), Some(KEY));
    assert_eq!((hashed.mark(&KEY), plain.mark(&KEY)), (None, None), "it takes the record's place");
    assert_eq!(hashed.key(uuid), None, "a plain id is no key of ours");
    let key = plain.key(uuid).unwrap();
    assert!(plain::id(&key).is_some() && plain.document(&key) == uuid);
    let mark = plain.mark(&key).unwrap();
    assert!(mark != uuid && plain.key(&mark).is_none(), "a mark is no session");
    for other in ["", "projects/p/databases/(default)/documents/sessions/a", &format!("{uuid}/x/y")]
    {
        assert_eq!(plain.key(other), None, "{other}");
    }
}

const UNTIL: Timestamp = Timestamp::from_millis(1_777_897_860_000);

#[test]
fn a_mark_is_read_as_it_was_written_and_stays_longer() {
    for moved_to in [None, Some(Key::from_bytes([9; 32]))] {
        let mark = Mark { moved_to, until: UNTIL };
        let fields = codec::mark_fields(&mark, &KEY);
        let expires = fields["_ingle_expires"].value_type.clone();
        let sweep_at = Moment { seconds: 1_777_898_400, nanos: 0 };
        assert_eq!(expires, Some(ValueType::TimestampValue(sweep_at)));
        assert_eq!(fields.len(), 2, "nothing of the session stays: {fields:?}");
        match codec::read(found(fields), &KEY).unwrap() {
            Entry::Mark(read, version) => assert_eq!((read, version.0), (mark, 12_345_678)),
            Entry::Record(loaded) => panic!("{loaded:?}"),
        }
    }
}

#[test]
fn a_damaged_mark_is_an_error_that_names_the_place() {
    let mark = Mark { moved_to: Some(KEY), until: UNTIL };
    for name in ["mark", "moved_to", "until"] {
        let mut fields = codec::mark_fields(&mark, &KEY);
        match fields.get_mut("_ingle").and_then(|header| header.value_type.as_mut()) {
            Some(ValueType::MapValue(map)) => {
                map.fields.insert(name.to_owned(), typed(ValueType::BooleanValue(true)))
            }
            _ => unreachable!(),
        };
        let error = codec::read(found(fields), &KEY).unwrap_err().to_string();
        assert!(error.contains(&format!("_ingle.{name}")), "{error}");
    }
}

fn server() -> Server {
    Server {
        project: "shop".to_owned(),
        database: "(default)".to_owned(),
        collection: "sessions".to_owned(),
        emulator: None,
        identity: OnceLock::new(),
    }
}

fn with_reason(code: Code, reason: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "googleapis.com", std::collections::HashMap::new());
    Status::with_error_details(code, "says Google", details)
}

#[test]
fn each_failure_is_one_line_with_the_command_that_mends_it() {
    for (status, command) in [
        (
            with_reason(Code::PermissionDenied, "SERVICE_DISABLED"),
            "gcloud services enable firestore.googleapis.com --project=shop",
        ),
        (with_reason(Code::PermissionDenied, "CONSUMER_INVALID"), "gcloud projects list"),
        (Status::permission_denied("no"), "gcloud projects add-iam-policy-binding shop"),
        (Status::unauthenticated("no"), "gcloud auth application-default login"),
        (
            Status::not_found("no"),
            "gcloud firestore databases create --project=shop --database='(default)'",
        ),
        (Status::resource_exhausted("no"), "gcloud billing projects link shop"),
        (
            Status::failed_precondition("no"),
            "gcloud firestore databases create --project=shop --database=sessions --location=LOCATION",
        ),
        (
            with_reason(Code::PermissionDenied, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
            "gcloud compute instances set-service-account",
        ),
        (NotSent(no_credentials("no")).into(), "gcloud auth application-default login"),
        (not_trusted(), "SSL_CERT_FILE=FILE"),
    ] {
        let diagnosis = server().explain(&status);
        let error = OpenError::from(diagnosis.clone());
        assert!(error.help().contains(command), "{error}");
        for line in [diagnosis.to_string(), error.to_string()] {
            assert!(line.contains(command), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
    // An error that names no cause still says something.
    let line = server().explain(&Status::new(Code::Internal, "")).to_string();
    assert!(line.ends_with("Internal error"), "{line}");
}

/// What a call ends with where no authority that is trusted vouches for the server.
fn not_trusted() -> Status {
    let problem = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let mut status = Status::unavailable("no");
    status.set_source(Arc::new(io::Error::other(problem)));
    status
}

#[test]
fn a_command_names_the_account_the_project_and_the_place_that_are_known() {
    let server = server();
    let identity = Identity {
        member: Some("serviceAccount:app@shop.iam".to_owned()),
        project: Some("other".to_owned()),
        region: Some("us-west1".to_owned()),
        machine: Some(("vm".to_owned(), "us-west1-a".to_owned())),
    };
    server.identity.set(identity).unwrap();
    for (status, command) in [
        (Status::permission_denied("no"), "--member=serviceAccount:app@shop.iam"),
        (Status::not_found("no"), "--location=us-west1"),
        (
            with_reason(Code::PermissionDenied, "CONSUMER_INVALID"),
            "they belong to project `other`; write `firestore://other/sessions`",
        ),
        (
            with_reason(Code::PermissionDenied, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
            "set-service-account vm --zone=us-west1-a",
        ),
    ] {
        let line = server.explain(&status).to_string();
        assert!(line.contains(command), "{line}");
    }
    let line = server.no_index_for_sweeps(&Status::failed_precondition("no")).to_string();
    assert!(line.contains("--database='(default)' --collection-group=sessions"), "{line}");
}

#[test]
fn a_program_can_tell_what_to_wait_for_from_what_to_mend() {
    for (status, kind) in [
        (with_reason(Code::PermissionDenied, "SERVICE_DISABLED"), OpenErrorKind::Missing),
        (Status::not_found("no"), OpenErrorKind::Missing),
        (Status::permission_denied("no"), OpenErrorKind::Denied),
        (Status::unauthenticated("no"), OpenErrorKind::Denied),
        (Status::failed_precondition("no"), OpenErrorKind::Unsupported),
        (Status::unavailable("no"), OpenErrorKind::Unreachable),
        (Status::deadline_exceeded("no"), OpenErrorKind::Unreachable),
        (NotSent(no_token("no")).into(), OpenErrorKind::Unreachable),
        (not_trusted(), OpenErrorKind::Tls),
        (Status::internal("no"), OpenErrorKind::Failed),
    ] {
        assert_eq!(OpenError::from(server().explain(&status)).kind(), kind, "{status}");
    }
}

#[test]
fn only_proof_says_that_a_commit_was_not_made() {
    for code in (0..17).map(Code::from_i32) {
        let error = server().commit_failed(&Status::new(code, "x"));
        let proof = matches!(code, Code::Aborted | Code::FailedPrecondition | Code::AlreadyExists);
        let expected = if proof { Applied::No } else { Applied::Unknown };
        assert_eq!(error.applied(), expected, "{code:?}");
        assert_eq!(server().read_failed(&Status::new(code, "x")).applied(), Applied::No);
    }
    let not_sent = NotSent(no_credentials("x"));
    assert_eq!(server().commit_failed(&not_sent.into()).applied(), Applied::No);
}

#[test]
fn no_message_carries_the_name_of_a_document() {
    let name = "projects/p/databases/d/documents/sessions/11111111-2222-4333-8444-555555555555";
    let key = plain::key(plain::parse("11111111-2222-4333-8444-555555555555").unwrap());
    for message in [
        format!("Document already exists: {name}"),
        "entity already exists: EntityRef{path=/sessions/11111111-2222-4333-8444-555555555555}"
            .into(),
        "no entity: Element { name: \"11111111-2222-4333-8444-555555555555\" }".into(),
        format!("no entity: Element {{ name: \"{}\" }}", plain::mark_id(&key).unwrap()),
        format!("Document \"{name}\" not found.\nBecause of ({name})"),
        name.to_owned(),
    ] {
        for code in [Code::Internal, Code::AlreadyExists, Code::Aborted, Code::Unavailable] {
            let error = server().commit_failed(&Status::new(code, &message));
            let line = format!("{error}: {} {error:?}", error.cause());
            assert!(!line.contains("11111111"), "{line}");
        }
    }
}

#[test]
fn fuzz_a_document() {
    use prost::Message as _;
    fuzz("a document of Firestore", |u| {
        let record = fuzz::record(u)?;
        let key = record.header.key;
        let moment = Some(Moment { seconds: 1_777_897_800, nanos: 0 });
        let Ok(fields) = codec::whole(&record) else { return Ok(()) };
        let whole =
            Document { name: String::new(), fields, create_time: moment, update_time: moment };
        let Ok(Entry::Record(read)) = codec::read(whole.clone(), &key) else {
            panic!("a record was written")
        };
        assert_eq!(read.record.data, record.data);
        assert_eq!(read.record.header.ops, record.header.ops);
        let mark = Document {
            fields: codec::mark_fields(&Mark { moved_to: Some(KEY), until: UNTIL }, &key),
            ..whole.clone()
        };
        // As bytes, of which some are others: what decodes is any document that there can be.
        let valid = [whole.encode_to_vec(), mark.encode_to_vec()];
        let valid = valid.each_ref().map(Vec::as_slice);
        let bytes = spoiled(u, &valid, &["_ingle", "mark", "moved", "\u{8}", "\u{12}"])?;
        let Ok(document) = Document::decode(bytes.as_slice()) else { return Ok(()) };
        match codec::read(document, &key) {
            Ok(Entry::Record(read)) => {
                if let Ok(fields) = codec::whole(&read.record) {
                    let again = Document { fields, ..whole };
                    assert_eq!(read_under(again, &key).record.data, read.record.data);
                }
            }
            Ok(Entry::Mark(mark, _)) => {
                let again = Document { fields: codec::mark_fields(&mark, &key), ..whole };
                match codec::read(again, &key) {
                    Ok(Entry::Mark(again, _)) => assert_eq!(again, mark),
                    other => panic!("{other:?}"),
                }
            }
            Err(error) => fuzz::tells_no_secret(&error),
        }
        Ok(())
    });
}

#[test]
fn fuzz_urls_of_firestore() {
    let valid = ["//project/sessions", "//p.example:p/database/c?ids=plain", "//p/c?ids=upgrade"];
    let words = ["/", "?", "#", "%", "..", ".", "__a__", "\0", "é", "ids=", "(default)", "//"];
    fuzz("URLs of Firestore", |u| {
        let rest = fuzz::spoiled_text(u, &valid, &words)?;
        if let Ok(config) = parsed(&rest) {
            let name = Names::of(&config).document(&Key::from_bytes([1; 32]));
            // Three names and the words between them, and none leads elsewhere.
            assert_eq!(name.split('/').count(), 7, "{rest:?}: {name}");
            assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")), "{name}");
        }
        Ok(())
    });
}

#[test]
fn the_page_says_the_bounds_of_the_code() {
    let page = include_str!("../../../docs/firestore.md");
    let own = [
        ("connections of one process", connect::CONNECTIONS.to_string()),
        ("calls on one connection", connect::CALLS_PER_CONNECTION.to_string()),
        ("one call", page::time(connect::CALL_TIME_MAX)),
        ("a connection", page::time(connect::CONNECT_TIME_MAX)),
        ("a token of Google", page::time(connect::TOKEN_TIME_MAX)),
        (
            "the wait for the answer to a batch, unless `batch_timeout` says more or less",
            page::time(FirestoreConfig::new("project", "sessions").batch_timeout),
        ),
        ("commits in one batch", batch::MAX_BATCH.to_string()),
        (
            "calls without an answer on one connection, one after the other",
            connect::UNANSWERED_MAX.to_string(),
        ),
        ("the pause between pings of a connection", page::time(connect::PING_EVERY)),
        ("the answer to a ping", page::time(connect::PING_TIME_MAX)),
        ("looks of one write at a document that others change", write::LOOKS_MAX.to_string()),
    ];
    page::check(page, &own);
    let rest = format!("the connection rests for {} |", page::time(connect::REST));
    assert!(page.contains(&rest), "{rest}");
}
