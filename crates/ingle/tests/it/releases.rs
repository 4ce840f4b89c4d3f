//! Types that change between releases: each recipe of the guide, in the whole data and in a field, and
//! what becomes of data that fits no more.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ingle::{Error, Limits, OnWrongType, SessionLayer, data::Data, store::Memory};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::left::{holding, holding_with, left, visit};

fn anew(layer: SessionLayer) -> SessionLayer {
    layer.on_wrong_type(OnWrongType::BeginAnew)
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<Item>,
    coupon: String,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    sku: String,
    #[serde(default = "one")]
    quantity: u32,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Shop {
    cart: Cart,
    visits: u32,
}

#[tokio::test]
async fn a_field_can_be_added_at_every_level() {
    let after = left(json!({"cart": {"items": [{"sku": "A"}]}}), |shop: &mut Shop| {
        assert_eq!(shop.cart.items[0].quantity, 1);
        shop.visits += 1;
    })
    .await;
    assert_eq!(after, json!({"cart": {"items": [{"sku": "A"}]}, "visits": 1}));
    let after = left(after, |shop: &mut Shop| shop.cart.items[0].quantity = 2).await;
    let cart = json!({"items": [{"sku": "A", "quantity": 2}], "coupon": ""});
    assert_eq!(after, json!({"cart": cart, "visits": 1}));
}

#[tokio::test]
async fn a_field_that_is_no_longer_in_the_type_stays_until_it_is_removed() {
    let stored = json!({"cart": {"items": [], "coupon": "", "gift": true}, "visits": 1, "old": 1});
    let after = left(stored, |shop: &mut Shop| {
        shop.visits += 1;
        shop.cart.coupon = "X".into();
    })
    .await;
    let cart = json!({"items": [], "coupon": "X", "gift": true});
    assert_eq!(after, json!({"cart": cart, "visits": 2, "old": 1}));
    let (sessions, cookie) = holding(&after).await;
    let session = visit(&sessions, &cookie);
    session.remove("old").unwrap();
    session.commit().await.unwrap();
    assert_eq!(session.get::<Value>("old").await.unwrap(), None);
}

/// The release before a rename, the one in between, and the one after it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Before {
    name: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Between {
    #[serde(rename = "name", alias = "full_name")]
    full_name: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct After {
    #[serde(alias = "name", alias = "nick")]
    full_name: String,
}

#[tokio::test]
async fn a_renamed_field_is_understood_by_two_releases_at_a_time() {
    let (sessions, cookie) = holding(&json!({"x": 1})).await;
    let see = async |expected: &str, new: bool| {
        let session = visit(&sessions, &cookie);
        if new {
            assert_eq!(session.data::<After>().await.unwrap().full_name, expected);
        } else {
            assert_eq!(session.data::<Before>().await.unwrap().name, expected);
        }
        assert_eq!(session.data::<Between>().await.unwrap().full_name, expected);
    };
    let session = visit(&sessions, &cookie);
    session.update(|person: &mut Before| person.name = "Ada".into()).await.unwrap();
    see("Ada", false).await;
    session.update(|person: &mut Between| person.full_name = "Bea".into()).await.unwrap();
    see("Bea", false).await;
    see("Bea", true).await;
    session.update(|person: &mut After| person.full_name = "Cy".into()).await.unwrap();
    see("Cy", true).await;
    session.update(|person: &mut Between| person.full_name = "Di".into()).await.unwrap();
    see("Di", true).await;
}

#[tokio::test]
async fn of_a_field_under_two_names_the_present_one_counts() {
    // An old instance still writes the old name, or an edit the new one.
    for stored in
        [json!({"name": "Ada", "full_name": "Bob"}), json!({"full_name": "Bob", "name": ""})]
    {
        let (sessions, cookie) = holding(&stored).await;
        let session = visit(&sessions, &cookie);
        assert_eq!(session.data::<After>().await.unwrap().full_name, "Bob");
        let after = left(stored.clone(), |person: &mut After| person.full_name.push('!')).await;
        assert_eq!(after, json!({"full_name": "Bob!"}));
        let people = json!({"people": [stored, {"name": "Cy"}]});
        let (sessions, cookie) = holding(&people).await;
        let session = visit(&sessions, &cookie);
        let people: Vec<After> = session.get("people").await.unwrap().unwrap();
        assert_eq!((&*people[0].full_name, &*people[1].full_name), ("Bob", "Cy"));
        let names = session.field("people").update(|people: &mut Vec<After>| {
            people.swap(0, 1);
            people.iter().map(|one| one.full_name.clone()).collect::<Vec<_>>()
        });
        assert_eq!(names.await.unwrap(), ["Cy", "Bob"]);
        let people: Vec<After> = session.get("people").await.unwrap().unwrap();
        assert_eq!((&*people[0].full_name, &*people[1].full_name), ("Cy", "Bob"));
    }
    let (sessions, cookie) = holding(&json!({"name": "Ada"})).await;
    let session = visit(&sessions, &cookie);
    session.insert("full_name", "Bob").unwrap();
    assert_eq!(session.data::<After>().await.unwrap().full_name, "Bob");
    session.update(|person: &mut After| person.full_name.push('!')).await.unwrap();
    assert_eq!(visit(&sessions, &cookie).data::<After>().await.unwrap().full_name, "Bob!");
}

/// A price that was whole once, and has a currency now.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "AnyPrice")]
struct Price {
    cents: i64,
    currency: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyPrice {
    Now { cents: i64, currency: String },
    Whole { amount: i64 },
    Bare(i64),
}

impl From<AnyPrice> for Price {
    fn from(price: AnyPrice) -> Self {
        match price {
            AnyPrice::Now { cents, currency } => Self { cents, currency },
            AnyPrice::Whole { amount } | AnyPrice::Bare(amount) => {
                Self { cents: amount * 100, currency: "EUR".into() }
            }
        }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Priced {
    price: Price,
    others: Vec<Price>,
}

#[tokio::test]
async fn a_type_can_read_its_older_forms() {
    for price in [json!(3), json!({"amount": 3}), json!({"cents": 300, "currency": "EUR"})] {
        let stored = json!({"price": price, "others": [price, price]});
        let after = left(stored, |priced: &mut Priced| {
            assert_eq!(priced.price.cents, 300);
            priced.price.cents += 1;
            priced.others[1].cents += 2;
        })
        .await;
        assert_eq!(
            (&after["price"]["cents"], &after["price"]["currency"]),
            (&json!(301), &json!("EUR"))
        );
        assert_eq!(after["others"][1], json!({"cents": 302, "currency": "EUR"}));
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
enum State {
    #[default]
    New,
    #[serde(alias = "Paused", alias = "Held")]
    Waiting,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    state: State,
    n: u8,
}

#[tokio::test]
async fn a_variant_can_be_renamed_or_removed() {
    for (stored, read) in [("New", "New"), ("Held", "Waiting"), ("Archived", "Unknown")] {
        let after = left(json!({"state": stored, "n": 1}), |order: &mut Order| order.n += 1).await;
        assert_eq!(after, json!({"state": stored, "n": 2}), "what was not changed stays");
        let (sessions, cookie) = holding(&after).await;
        let order: Order = visit(&sessions, &cookie).data().await.unwrap();
        assert_eq!(format!("{:?}", order.state), read);
        let after = left(after, |order: &mut Order| order.state = State::New).await;
        assert_eq!(after, json!({"state": "New", "n": 2}));
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Login {
    user: String,
    visits: u32,
    /// What other releases store here.
    #[serde(flatten)]
    rest: Data,
}

#[tokio::test]
async fn a_value_can_take_along_what_its_type_does_not_know() {
    let stored = json!({"user": "ada", "visits": 1, "role": "admin"});
    for replace in [false, true] {
        let (sessions, cookie) = holding(&json!({"login": stored})).await;
        let session = visit(&sessions, &cookie);
        let change = move |login: &mut Option<Login>| match login {
            Some(login) if !replace => login.visits += 1,
            login => *login = Some(Login { user: "bob".into(), ..Login::default() }),
        };
        session.field("login").update(change).await.unwrap();
        let login: Value = session.get("login").await.unwrap().unwrap();
        let expected = match replace {
            false => json!({"user": "ada", "visits": 2, "role": "admin"}),
            true => json!({"user": "bob", "visits": 0}),
        };
        assert_eq!(login, expected);
    }
}

/// What comes and goes, in each of the ways that serde writes it.
mod values {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub(super) struct User {
        pub(super) user: String,
        #[serde(default)]
        pub(super) locale: String,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) enum Variant {
        #[default]
        Nobody,
        User(User),
        Named {
            user: String,
        },
        Pair(User, u8),
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    pub(super) struct All {
        pub(super) option: Option<User>,
        pub(super) boxed: Option<Box<User>>,
        pub(super) map: BTreeMap<String, User>,
        pub(super) list: Vec<User>,
        pub(super) array: Option<[User; 1]>,
        pub(super) newtype: Variant,
        pub(super) fields: Variant,
        pub(super) tuple: Variant,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    pub(super) struct Flat {
        n: u8,
        #[serde(flatten)]
        pub(super) all: All,
    }

    pub(super) fn replace(all: &mut All) {
        // The same locale as before: what else is there is still another user's.
        let bob = || User { user: "bob".into(), locale: "en".into() };
        *all = All {
            option: Some(bob()),
            boxed: Some(Box::new(bob())),
            map: BTreeMap::from([("me".to_owned(), bob())]),
            list: vec![bob()],
            array: Some([bob()]),
            newtype: Variant::User(bob()),
            fields: Variant::Named { user: "bob".into() },
            tuple: Variant::Pair(bob(), 1),
        };
    }
}

#[tokio::test]
async fn nobody_inherits_what_the_type_does_not_know() {
    let ada = json!({"user": "ada", "locale": "en", "role": "admin"});
    let stored = json!({
        "option": ada, "boxed": ada, "map": {"me": ada}, "list": [ada], "array": [ada],
        "newtype": {"User": ada}, "fields": {"Named": ada}, "tuple": {"Pair": [ada, 1]}, "role": "app's",
    });
    for after in [
        left(stored.clone(), values::replace).await,
        left(stored.clone(), |flat: &mut values::Flat| values::replace(&mut flat.all)).await,
    ] {
        assert_eq!(after["role"], "app's");
        let text = after.to_string();
        assert!(text.contains("bob") && !text.contains("ada") && !text.contains("admin"), "{text}");
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Account {
    #[default]
    Nobody,
    Guest {
        since: u32,
    },
    User {
        user: String,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Visitor {
    account: Account,
}

#[tokio::test]
async fn another_variant_inherits_nothing_where_the_enum_has_no_level_of_its_own() {
    let stored = json!({"account": {"kind": "Guest", "since": 1, "discount": 10}});
    let after = left(stored.clone(), |visitor: &mut Visitor| {
        visitor.account = Account::User { user: "bob".into() };
    })
    .await;
    assert_eq!(after, json!({"account": {"kind": "User", "user": "bob"}}));
    // It may be another guest.
    let after = left(stored.clone(), |visitor: &mut Visitor| {
        visitor.account = Account::Guest { since: 2 };
    })
    .await;
    assert_eq!(after, json!({"account": {"kind": "Guest", "since": 2}}));
    // In two steps, too.
    let after = left(stored, |visitor: &mut Visitor| visitor.account = Account::Nobody).await;
    let after = left(after, |visitor: &mut Visitor| {
        visitor.account = Account::Guest { since: 1 };
    })
    .await;
    assert_eq!(after, json!({"account": {"kind": "Guest", "since": 1}}));
}

#[tokio::test]
async fn data_that_fits_no_more_is_an_error_that_the_app_can_end() {
    let (sessions, cookie) = holding(&json!({"cart": "an old form", "visits": 3})).await;
    let session = visit(&sessions, &cookie);
    for error in [
        session.data::<Shop>().await.err(),
        session.update(|shop: &mut Shop| shop.visits += 1).await.err(),
        session.get::<Cart>("cart").await.err(),
        session.field("cart").update(|cart: &mut Cart| cart.items.clear()).await.err(),
    ] {
        let Some(Error::WrongType(error)) = error else { panic!("{error:?}") };
        assert_eq!(error.path, "cart");
    }
    session.remove("cart").unwrap();
    session.update(|shop: &mut Shop| shop.visits += 1).await.unwrap();
    assert_eq!(session.data::<Shop>().await.unwrap(), Shop { visits: 4, ..Shop::default() });
}

#[tokio::test]
async fn data_that_fits_no_more_begins_anew_and_the_rest_is_kept() {
    let stored = json!({"cart": {"items": "an old form", "gift": true}, "visits": 3});
    let (sessions, cookie) = holding_with(&stored, anew).await;
    let session = visit(&sessions, &cookie);
    let fresh = Shop { visits: 3, ..Shop::default() };
    assert_eq!(session.data::<Shop>().await.unwrap(), fresh);
    assert_eq!(session.get::<Cart>("cart").await.unwrap(), None);
    // A change of something else leaves it to instances that can read it.
    session.update(|shop: &mut Shop| shop.visits += 1).await.unwrap();
    assert_eq!(session.get("cart").await.unwrap(), Some(stored["cart"].clone()));
    // Nothing of it is in the new one.
    session.update(|shop: &mut Shop| shop.cart.coupon = "X".into()).await.unwrap();
    let cart = json!({"items": [], "coupon": "X"});
    assert_eq!(session.get("cart").await.unwrap(), Some(cart));
    assert_eq!(session.get("other").await.unwrap(), Some("app's".to_owned()));

    let (sessions, cookie) = holding_with(&stored, anew).await;
    let session = visit(&sessions, &cookie);
    session.field("cart").update(|cart: &mut Cart| cart.coupon = "X".into()).await.unwrap();
    assert_eq!(session.get("cart").await.unwrap(), Some(json!({"items": [], "coupon": "X"})));
    session.insert("n", "text").unwrap();
    session.insert("list", 1).unwrap();
    session.commit().await.unwrap();
    session.increment("n", 2).unwrap();
    session.push("list", "a").unwrap();
    session.commit().await.unwrap();
    assert_eq!(session.get::<i64>("n").await.unwrap(), Some(2));
    assert_eq!(session.get::<Vec<String>>("list").await.unwrap(), Some(vec!["a".into()]));
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    n: u8,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Flattened {
    name: String,
    #[serde(flatten)]
    order: Order,
}

#[tokio::test]
async fn what_begins_anew_is_one_field_also_where_serde_does_not_name_it() {
    let (sessions, cookie) = holding_with(&json!({"n": 3, "removed": 1}), anew).await;
    let session = visit(&sessions, &cookie);
    session.update(|strict: &mut Strict| strict.n += 1).await.unwrap();
    assert_eq!(session.data::<Strict>().await.unwrap().n, 4);
    assert_eq!(session.get("removed").await.unwrap(), Some(1));

    let stored = json!({"name": "Ada", "state": 5, "n": 3});
    let (sessions, cookie) = holding_with(&stored, anew).await;
    let session = visit(&sessions, &cookie);
    let flattened = Flattened { name: "Ada".into(), order: Order { state: State::New, n: 4 } };
    session.update(|flattened: &mut Flattened| flattened.order.n += 1).await.unwrap();
    assert_eq!(session.data::<Flattened>().await.unwrap(), flattened);
    assert_eq!(session.get("state").await.unwrap(), Some(5));
}

#[tokio::test]
async fn messages_that_fit_no_more_are_dropped_or_an_error() {
    for begins_anew in [false, true] {
        let set = if begins_anew { anew } else { |layer| layer };
        let (sessions, cookie) = holding_with(&json!({}), set).await;
        let session = visit(&sessions, &cookie);
        session.push_flash(json!({"text": "old"})).unwrap();
        session.push_flash("new").unwrap();
        session.commit().await.unwrap();
        let taken = visit(&sessions, &cookie).take_flashes::<String>().await;
        if begins_anew {
            assert_eq!(taken.unwrap(), ["new"]);
        } else {
            assert!(matches!(taken, Err(Error::WrongType(_))), "{taken:?}");
            let all: Vec<Value> = visit(&sessions, &cookie).take_flashes().await.unwrap();
            assert_eq!(all.len(), 2, "they are kept until they are taken");
        }
        assert!(visit(&sessions, &cookie).take_flashes::<Value>().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn messages_that_nobody_takes_keep_no_request_from_storing() {
    let limits = Limits { bytes_max: 4000, fields_max: 3, ..Limits::default() };
    let (sessions, cookie) = holding_with(&json!({"n": 0}), |layer| layer.limits(limits)).await;
    for n in 1..=200 {
        let session = visit(&sessions, &cookie);
        session.push_flash(format!("{n} {}", "x".repeat(n))).unwrap();
        session.increment("n", 1).unwrap();
        session.commit().await.unwrap();
    }
    // There is room for the app's own fields, as if there were no messages.
    let session = visit(&sessions, &cookie);
    session.insert("large", "x".repeat(3900)).unwrap();
    session.push_flash("last").unwrap();
    session.commit().await.unwrap();
    assert_eq!(session.get("n").await.unwrap(), Some(200));
    let messages: Vec<String> = visit(&sessions, &cookie).take_flashes().await.unwrap();
    assert_eq!(messages, ["last"]);
}

#[tokio::test]
async fn the_newest_messages_are_kept() {
    let (sessions, cookie) = holding(&json!({})).await;
    for n in 0..100 {
        let session = visit(&sessions, &cookie);
        session.push_flash(n).unwrap();
        session.commit().await.unwrap();
    }
    let messages: Vec<i32> = visit(&sessions, &cookie).take_flashes().await.unwrap();
    assert_eq!(messages, (68..100).collect::<Vec<_>>());
}

#[test]
fn a_depth_that_cannot_be_read_back_is_refused_when_it_is_set() {
    let set = |depth_max| {
        let limits = Limits { depth_max, ..Limits::default() };
        catch_unwind(AssertUnwindSafe(|| SessionLayer::new(Memory::new()).limits(limits))).is_ok()
    };
    assert!(set(Limits::DEPTH_MAX));
    assert!(!set(Limits::DEPTH_MAX + 1));
    assert!(!set(usize::MAX));
}
