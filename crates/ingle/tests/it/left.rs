//! What the closure left is what the next read gives, whatever the type knows of what is stored.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use ingle::{Error, Reason, Session, SessionLayer, testing::TestSessions};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::common::layer;

/// A session that holds this, and sees it as each request does.
pub(crate) async fn holding(stored: &Value) -> (TestSessions, String) {
    holding_with(stored, |layer| layer).await
}

/// The same with the app's own settings.
pub(crate) async fn holding_with(
    stored: &Value,
    set: impl FnOnce(SessionLayer) -> SessionLayer,
) -> (TestSessions, String) {
    let sessions = TestSessions::with(set);
    let cookie = sessions
        .cookie(async |session| {
            for (name, value) in stored.as_object().unwrap() {
                session.insert(name, value)?;
            }
            session.insert("other", "app's")
        })
        .await;
    (sessions, cookie)
}

pub(crate) fn visit(sessions: &TestSessions, cookie: &str) -> Session {
    sessions.layer().door().begin([cookie.as_bytes()]).session().clone()
}

/// What is stored after an update of the whole data, which must be what the closure left. The same for
/// an update of a field that holds all of it.
pub(crate) async fn left<T>(stored: Value, change: fn(&mut T)) -> Value
where
    T: Serialize + DeserializeOwned + Default + Send + 'static,
{
    let (sessions, cookie) = holding(&stored).await;
    let update = move |view: &mut T| {
        change(view);
        json!(view)
    };
    let left = visit(&sessions, &cookie).update(update).await.unwrap();
    let read: T = visit(&sessions, &cookie).data().await.unwrap();
    assert_eq!(json!(read), left, "the data");
    let mut data: Value = visit(&sessions, &cookie).data().await.unwrap();
    assert_eq!(data.as_object_mut().unwrap().remove("other"), Some(json!("app's")));

    let (sessions, cookie) = holding(&json!({ "field": stored })).await;
    let left = visit(&sessions, &cookie).field("field").update(update).await.unwrap();
    let read: Option<T> = visit(&sessions, &cookie).get("field").await.unwrap();
    assert_eq!(json!(read), left, "a field");
    let field: Option<Value> = visit(&sessions, &cookie).get("field").await.unwrap();
    assert!(field.is_some());
    data
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    sku: String,
}

fn item(sku: &str) -> Item {
    Item { sku: sku.to_owned() }
}

#[derive(Default, Serialize, Deserialize)]
struct Shop {
    cart: Vec<Item>,
}

#[tokio::test]
async fn an_item_keeps_what_is_its_own_and_takes_nothing_of_another() {
    type Change = (&'static str, fn(&mut Vec<Item>), &'static str);
    let changes: [Change; 14] = [
        ("sort", |cart| cart.sort_by(|a, b| a.sku.cmp(&b.sku)), "A1 B2 C3"),
        (
            "remove and push",
            |cart| {
                cart.remove(0);
                cart.push(item("N"));
            },
            "A1 B2 N",
        ),
        ("reverse", |cart| cart.reverse(), "B2 A1 C3"),
        ("swap", |cart| cart.swap(0, 1), "A1 C3 B2"),
        ("rotate", |cart| cart.rotate_left(1), "A1 B2 C3"),
        (
            "insert and pop",
            |cart| {
                cart.insert(0, item("N"));
                cart.pop();
            },
            "N C3 A1",
        ),
        ("a new list", |cart| *cart = vec![item("N"), item("A")], "N A1"),
        ("other items", |cart| *cart = vec![item("X"), item("Y"), item("Z")], "X Y Z"),
        ("one in the place of another", |cart| cart[1] = item("N"), "C3 N B2"),
        ("push", |cart| cart.push(item("N")), "C3 A1 B2 N"),
        ("retain", |cart| cart.retain(|item| item.sku != "A"), "C3 B2"),
        ("truncate", |cart| cart.truncate(1), "C3"),
        ("clear", Vec::clear, ""),
        // Which of the two is the old one is not certain.
        ("a second one of a kind", |cart| cart.push(item("A")), "C3 A B2 A"),
    ];
    let stored = json!({"cart": [
        {"sku": "C", "price": 3}, {"sku": "A", "price": 1}, {"sku": "B", "price": 2},
    ]});
    for (what, change, expected) in changes {
        let (sessions, cookie) = holding(&stored).await;
        let session = visit(&sessions, &cookie);
        session.update(move |shop: &mut Shop| change(&mut shop.cart)).await.unwrap();
        let whole: Value = session.get("cart").await.unwrap().unwrap();
        let (sessions, cookie) = holding(&stored).await;
        let session = visit(&sessions, &cookie);
        session.field("cart").update(change).await.unwrap();
        let field: Value = session.get("cart").await.unwrap().unwrap();
        for cart in [whole, field] {
            let items = cart.as_array().unwrap().iter().map(|item| {
                let price = item.get("price").map_or_else(String::new, Value::to_string);
                format!("{}{price}", item["sku"].as_str().unwrap())
            });
            assert_eq!(items.collect::<Vec<_>>().join(" "), expected, "{what}");
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    login: Option<Login>,
}

#[derive(Default, Serialize, Deserialize)]
struct Login {
    user: String,
}

#[tokio::test]
async fn another_login_does_not_inherit_a_role() {
    let stored = json!({"login": {"user": "ada", "role": "admin"}});
    let after = left::<Account>(stored, |account| {
        account.login = Some(Login { user: "bob".into() });
    })
    .await;
    assert_eq!(after, json!({"login": {"user": "bob"}}));
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Renamed {
    #[serde(alias = "name")]
    full_name: String,
    age: u8,
}

#[tokio::test]
async fn a_field_with_an_alias_is_stored_under_one_name() {
    let after =
        left::<Renamed>(json!({"name": "Ada", "x": 1}), |person| person.full_name = "Bob".into())
            .await;
    assert_eq!(after, json!({"full_name": "Bob", "age": 0, "x": 1}));
}

#[derive(Default, Serialize, Deserialize)]
struct Grown {
    #[serde(alias = "name")]
    full_name: String,
    age: u8,
}

#[tokio::test]
async fn a_field_with_an_alias_beside_a_new_field() {
    let after = left::<Grown>(json!({"name": "Ada", "x": 1}), |person| person.age = 36).await;
    assert_eq!(after, json!({"full_name": "Ada", "age": 36, "x": 1}));
}

#[derive(Default, Serialize, Deserialize)]
struct People {
    boss: Renamed,
    all: Vec<Renamed>,
}

#[tokio::test]
async fn nested_fields_and_items_with_an_alias() {
    let after = left::<People>(
        json!({"boss": {"name": "Ada", "x": 1}, "all": [{"name": "Bea", "x": 2}, {"name": "Cy"}]}),
        |people| {
            people.boss.full_name = "Bob".into();
            people.all[0].full_name = "Di".into();
        },
    )
    .await;
    assert_eq!(
        after,
        json!({"boss": {"full_name": "Bob", "age": 0, "x": 1}, "all": [{"full_name": "Di", "age": 0}, {"name": "Cy"}]})
    );
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct RenamedShop {
    #[serde(alias = "cart")]
    items: Vec<Item>,
    n: u8,
}

#[tokio::test]
async fn a_list_with_a_new_name_keeps_what_is_in_it() {
    let stored = json!({"cart": [{"sku": "C", "price": 3}, {"sku": "A", "price": 1}]});
    let after = left::<RenamedShop>(stored.clone(), |shop| shop.n += 1).await;
    assert_eq!(after, json!({"items": stored["cart"], "n": 1}));
    let after = left::<RenamedShop>(after, |shop| shop.items.reverse()).await;
    assert_eq!(after["items"], json!([stored["cart"][1], stored["cart"][0]]));
}

/// A form's token, another one each time.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Form {
    token: u32,
    sent: bool,
}

impl Default for Form {
    fn default() -> Self {
        static TOKENS: AtomicU32 = AtomicU32::new(1);
        Self { token: TOKENS.fetch_add(1, Ordering::Relaxed), sent: false }
    }
}

#[tokio::test]
async fn a_token_that_was_only_looked_at_is_the_same_for_the_next_request() {
    for stored in [json!({}), json!({"sent": true}), json!({"form": {"sent": true}})] {
        let (sessions, cookie) = holding(&stored).await;
        let token = visit(&sessions, &cookie).update(|form: &mut Form| form.token).await.unwrap();
        let next: Form = visit(&sessions, &cookie).data().await.unwrap();
        assert_eq!(next.token, token);
        let field = visit(&sessions, &cookie);
        let token = field.field("form").update(|form: &mut Form| form.token).await.unwrap();
        let next: Option<Form> = visit(&sessions, &cookie).get("form").await.unwrap();
        assert_eq!(next.unwrap().token, token);
    }
    let sessions = TestSessions::new();
    let cookie = sessions
        .cookie(async |session| session.update(|form: &mut Form| form.token).await.map(drop));
    let next: Form = visit(&sessions, &cookie.await).data().await.unwrap();
    assert!(!next.sent);
}

#[derive(Default, Serialize, Deserialize)]
#[serde(from = "Versions")]
struct Current {
    full_name: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Versions {
    V1 { name: String },
    V2 { full_name: String },
}

impl From<Versions> for Current {
    fn from(versions: Versions) -> Self {
        let (Versions::V1 { name: full_name } | Versions::V2 { full_name }) = versions;
        Self { full_name }
    }
}

#[tokio::test]
async fn a_change_of_a_type_that_reads_older_versions_is_seen() {
    let after =
        left::<Current>(json!({"name": "Ada", "x": 1}), |person| person.full_name = "Bob".into())
            .await;
    assert_eq!(after, json!({"full_name": "Bob", "x": 1}));
}

#[derive(Default, Debug, Serialize, Deserialize)]
#[serde(from = "Old")]
struct OneWay {
    full_name: String,
}

#[derive(Deserialize)]
struct Old {
    name: String,
}

impl From<Old> for OneWay {
    fn from(old: Old) -> Self {
        Self { full_name: old.name }
    }
}

#[tokio::test]
async fn a_change_that_no_read_would_show_is_refused() {
    let (sessions, cookie) = holding(&json!({"name": "Ada"})).await;
    let session = visit(&sessions, &cookie);
    let refused = session.update(|person: &mut OneWay| person.full_name = "Bob".into()).await;
    let Err(Error::InvalidValue(error)) = refused else { panic!("{refused:?}") };
    assert_eq!((error.path.as_str(), error.reason), ("", Reason::NotReadBack));
    let read: OneWay = visit(&sessions, &cookie).data().await.unwrap();
    assert_eq!(read.full_name, "Ada");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Prefs {
    theme: Option<String>,
    #[serde(default)]
    size: u32,
    lang: String,
}

impl Default for Prefs {
    fn default() -> Self {
        Self { theme: Some("dark".into()), size: 12, lang: "en".into() }
    }
}

#[tokio::test]
async fn a_missing_field_is_the_default_whatever_else_is_stored() {
    let whole = json!({"theme": null, "size": 3, "lang": "de"});
    for stored in [
        json!({}),
        json!({"lang": "de"}),
        json!({"size": 3}),
        json!({"theme": null}),
        json!({"x": 1}),
        json!({"lang": "de", "size": 3}),
        whole,
    ] {
        let expected = Prefs {
            theme: if stored.get("theme").is_some() { None } else { Some("dark".into()) },
            size: if stored.get("size").is_some() { 3 } else { 12 },
            lang: if stored.get("lang").is_some() { "de".into() } else { "en".into() },
        };
        let (sessions, cookie) = holding(&stored).await;
        let session = visit(&sessions, &cookie);
        assert_eq!(session.data::<Prefs>().await.unwrap(), expected, "{stored}");
        let (sessions, cookie) = holding(&json!({ "field": stored })).await;
        let session = visit(&sessions, &cookie);
        let seen = session.field("field").update(|prefs: &mut Prefs| json!(prefs)).await.unwrap();
        assert_eq!(seen, json!(expected), "{stored}");
    }
}

#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    n: u8,
    other: String,
}

#[tokio::test]
async fn a_type_that_denies_unknown_fields_sees_no_flash_message() {
    let (sessions, cookie) = holding(&json!({"n": 1})).await;
    let session = visit(&sessions, &cookie);
    session.push_flash("saved").unwrap();
    assert_eq!(session.data::<Strict>().await.unwrap().n, 1);
    session.commit().await.unwrap();
    let session = visit(&sessions, &cookie);
    session.update(|strict: &mut Strict| strict.n += 1).await.unwrap();
    assert_eq!(visit(&sessions, &cookie).data::<Strict>().await.unwrap().n, 2);
    let _: BTreeMap<String, Value> = session.data().await.unwrap();
}

/// Two processes: the second commits something after the first one has seen the session.
async fn run_again<T>(stored: Value, theirs: fn(&mut Value), change: fn(&mut T)) -> (usize, Value)
where
    T: Serialize + DeserializeOwned + Default + Send + 'static,
{
    let (sessions, cookie) = holding(&stored).await;
    let other = layer(sessions.store().clone()).clock(Arc::new(sessions.clock().clone()));
    // Now it knows the record.
    visit(&sessions, &cookie).field("mine").update(|mine: &mut u8| *mine += 1).await.unwrap();
    let elsewhere = other.door().begin([cookie.as_bytes()]);
    elsewhere.session().update(theirs).await.unwrap();

    let session = visit(&sessions, &cookie);
    session.push("list", "an edit").unwrap();
    let mut runs = 0;
    let left = session.update(move |view: &mut T| {
        runs += 1;
        change(view);
        (runs, json!(view))
    });
    let (runs, left) = left.await.unwrap();
    assert_eq!(json!(visit(&sessions, &cookie).data::<T>().await.unwrap()), left);
    let data: Value = visit(&sessions, &cookie).data().await.unwrap();
    assert_eq!(data["list"], json!(["an edit"]));
    (runs, data)
}

#[tokio::test]
async fn a_change_that_runs_again_on_newer_data_obeys_the_same_law() {
    let cart = json!({"cart": [{"sku": "C", "price": 3}, {"sku": "A", "price": 1}]});
    let sort = |data: &mut Value| data["cart"].as_array_mut().unwrap().reverse();
    let push = |shop: &mut Shop| shop.cart.insert(0, item("N"));
    let (runs, data) = run_again(cart, sort, push).await;
    let expected = json!([{"sku": "N"}, {"sku": "A", "price": 1}, {"sku": "C", "price": 3}]);
    assert_eq!((runs, &data["cart"]), (2, &expected));

    let rename = |data: &mut Value| data["full_name"] = json!("Bob");
    let shout = |person: &mut Renamed| person.full_name.push('!');
    let (runs, data) = run_again(json!({"name": "Ada"}), rename, shout).await;
    assert_eq!((runs, data.get("name"), &data["full_name"]), (2, None, &json!("Bob!")));

    let log_in = |data: &mut Value| data["login"] = json!({"user": "cy", "role": "admin"});
    let replace = |account: &mut Account| account.login = Some(Login { user: "bob".into() });
    let stored = json!({"login": {"user": "ada", "role": "user"}});
    let (runs, data) = run_again(stored, log_in, replace).await;
    assert_eq!((runs, &data["login"]), (2, &json!({"user": "bob"})));
}
