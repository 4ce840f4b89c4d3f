//! What a type does not know never moves to another owner.

use std::collections::BTreeMap;

use serde::Serializer;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    #[default]
    Anon,
    User {
        user: String,
    },
    Admin {
        user: String,
    },
    Known(Login),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    #[default]
    Anon,
    User {
        user: String,
    },
    Admin {
        user: String,
    },
    Known(Login),
    Pair(Login, u8),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    User { user: String, n: u8 },
    Known(Login),
    Anon {},
}

impl Default for Untagged {
    fn default() -> Self {
        Self::Anon {}
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Login {
    user: String,
}

fn login(user: &str) -> Login {
    Login { user: user.into() }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Holds<T> {
    inner: T,
    #[serde(default)]
    n: u8,
}

/// Whether an inner value that changes step by step takes nothing along.
fn takes_nothing<T>(stored: &Value, steps: &[T])
where
    T: Serialize + DeserializeOwned + Default + Clone + PartialEq + std::fmt::Debug,
{
    let mut stored = json!({"inner": stored, "other": 1});
    // What changes beside it takes nothing away.
    let kept = left::<Holds<T>>(&stored, |holds| holds.n += 1);
    assert_eq!(kept["inner"], stored["inner"]);
    for step in steps {
        stored = left::<Holds<T>>(&stored, |holds| holds.inner = step.clone());
        assert_eq!(stored["inner"], json!(step));
        assert_eq!(stored["other"], 1);
    }
    // The enum is the field itself.
    let mut stored = data(kept);
    for step in steps {
        let change = |inner: &mut T| {
            *inner = step.clone();
            Ok::<_, ()>(())
        };
        let updated = update::<T, _, _, Unfit>(Place::Field("inner"), &stored, &rules(), change);
        stored = patched(&stored, updated.unwrap().1);
        assert_eq!(stored["inner"], json!(step));
    }
}

#[test]
fn another_variant_takes_nothing_along_however_serde_writes_it() {
    let bob = || "bob".to_owned();
    let stored = json!({"kind": "User", "user": "ada", "role": "admin"});
    for step in [
        Tagged::User { user: bob() },
        Tagged::Admin { user: "ada".into() },
        Tagged::Known(login("ada")),
    ] {
        takes_nothing(&stored, &[step]);
    }
    takes_nothing(&stored, &[Tagged::Anon, Tagged::User { user: bob() }]);

    let ada = json!({"user": "ada", "role": "admin"});
    let stored = json!({"kind": "User", "content": ada, "note": 1});
    for step in [
        Adjacent::User { user: bob() },
        Adjacent::Admin { user: "ada".into() },
        Adjacent::Known(login("ada")),
        Adjacent::Pair(login("ada"), 1),
    ] {
        takes_nothing(&stored, &[step]);
    }
    takes_nothing(&stored, &[Adjacent::Anon, Adjacent::User { user: bob() }]);

    let stored = json!({"user": "ada", "n": 1, "role": "admin"});
    let steps = [Untagged::Anon {}, Untagged::User { user: bob(), n: 1 }];
    takes_nothing(&stored, &steps);
    takes_nothing(&stored, &[Untagged::Known(login("ada"))]);
    takes_nothing(&json!({"Ok": ada}), &[Held(Err(login("ada")))]);
}

impl Default for Held {
    fn default() -> Self {
        Self(Ok(Login::default()))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Held(Result<Login, Login>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Visitor {
    id: u8,
    #[serde(flatten)]
    login: Option<Named>,
    #[serde(default)]
    address: Address,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Named {
    user: String,
    locale: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Address {
    city: String,
}

#[test]
fn a_flattened_option_takes_nothing_along() {
    let bob = || Some(Named { user: "bob".into(), locale: "en".into() });
    let stored = json!({
        "id": 1, "user": "ada", "locale": "en", "role": "admin", "address": {"city": "X", "zip": 1},
    });
    let holds = json!({"inner": stored, "n": 0});
    let after = left::<Holds<Visitor>>(&holds, |holds| holds.inner.login = bob());
    let address = json!({"city": "X", "zip": 1});
    let expected = json!({"id": 1, "user": "bob", "locale": "en", "address": address});
    assert_eq!(after["inner"], expected);
    let after = left::<Holds<Visitor>>(&holds, |holds| holds.inner.login = None);
    assert_eq!(after["inner"], json!({"id": 1, "address": address}));
    // What the visitor has always is the visitor's.
    let after = left::<Holds<Visitor>>(&holds, |holds| {
        holds.inner.id = 2;
        holds.inner.address.city = "Y".into();
    });
    let expected = json!({
        "id": 2, "user": "ada", "locale": "en", "role": "admin", "address": {"city": "Y", "zip": 1},
    });
    assert_eq!(after["inner"], expected);
    // A field is no other than a struct in it. The data itself is shared with others.
    let [whole, field] = both::<Visitor>(&stored, |visitor| visitor.login = bob());
    assert_eq!(field.unwrap().get("role"), None);
    assert_eq!(whole.unwrap()["role"], "admin");
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state")]
enum Order {
    #[default]
    New,
    Paid {
        by: Login,
        n: u8,
    },
    Sent {
        by: Login,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Two { by: Login, n: u8 },
    One { by: Login },
    Neither {},
}

impl Default for Either {
    fn default() -> Self {
        Self::Neither {}
    }
}

#[test]
fn what_is_in_another_variant_of_the_whole_data_is_another_one() {
    let ada = json!({"user": "ada", "role": "admin"});
    let stored = json!({"state": "Paid", "by": ada, "n": 1, "theme": "dark"});
    let by = || login("ada");
    for order in [Order::Sent { by: by() }, Order::Paid { by: by(), n: 2 }] {
        let [whole, field] = both::<Order>(&stored, |view| *view = order.clone());
        let (mut expected, field) = (json!(order), field.unwrap());
        assert_eq!(field, expected);
        expected["theme"] = json!("dark");
        assert_eq!(whole.unwrap(), expected);
    }
    let stored = json!({"by": ada, "n": 1, "theme": "dark"});
    let [whole, field] = both::<Either>(&stored, |view| *view = Either::One { by: by() });
    assert_eq!(field.unwrap(), json!({"by": {"user": "ada"}}));
    assert_eq!(whole.unwrap(), json!({"by": {"user": "ada"}, "theme": "dark"}));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FlatProfile {
    #[serde(default)]
    id: u8,
    #[serde(flatten)]
    profile: Option<Profile>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    login: Login,
}

#[test]
fn what_is_in_another_flattened_option_is_another_one() {
    let stored = json!({"id": 1, "name": "Ada", "login": {"user": "x", "role": "admin"}});
    let holds = json!({"inner": stored, "n": 0});
    let after = left::<Holds<FlatProfile>>(&holds, |holds| {
        holds.inner.profile = Some(Profile { name: "Bob".into(), login: login("x") });
    });
    assert_eq!(after["inner"], json!({"id": 1, "name": "Bob", "login": {"user": "x"}}));
    let after = left::<Holds<FlatProfile>>(&holds, |holds| holds.inner.id = 2);
    assert_eq!(after["inner"]["login"]["role"], "admin");
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FlatEnums {
    id: u8,
    #[serde(flatten)]
    tagged: Tagged,
    #[serde(flatten)]
    plain: Plain,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Plain {
    #[default]
    New,
    By(Login),
    To {
        user: String,
    },
}

#[test]
fn a_flattened_enum_takes_nothing_along() {
    let stored = json!({"inner": {
        "id": 1, "kind": "User", "user": "ada", "role": "admin", "By": {"user": "ada", "role": "admin"},
    }});
    let changes: [fn(&mut FlatEnums); 5] = [
        |flat| flat.tagged = Tagged::User { user: "bob".into() },
        |flat| flat.tagged = Tagged::Admin { user: "ada".into() },
        |flat| flat.tagged = Tagged::Anon,
        |flat| flat.plain = Plain::By(login("bob")),
        |flat| flat.plain = Plain::To { user: "ada".into() },
    ];
    for change in changes {
        let after = left::<Holds<FlatEnums>>(&stored, |holds| change(&mut holds.inner));
        assert_eq!(after["inner"].get("role"), None, "{after}");
        let by = &after["inner"]["By"];
        assert!(by.get("role").is_none() || by["user"] == "ada", "{after}");
    }
    let after = left::<Holds<FlatEnums>>(&stored, |holds| holds.inner.id = 2);
    assert_eq!(after["inner"]["role"], "admin");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct WithDefaults {
    users: Vec<Role>,
    by_name: BTreeMap<String, Role>,
    maybe: Option<Role>,
    nested: Role,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Role {
    user: String,
    role: String,
}

impl Default for WithDefaults {
    fn default() -> Self {
        let root = Role { user: "root".into(), role: "admin".into() };
        Self {
            users: vec![root.clone()],
            by_name: BTreeMap::from([("me".into(), root.clone())]),
            maybe: Some(root.clone()),
            nested: root,
        }
    }
}

#[test]
fn what_comes_and_goes_takes_nothing_of_a_default() {
    let ada = json!({"user": "ada"});
    for (stored, path) in [
        (json!({"users": [ada]}), "users[0]"),
        (json!({"by_name": {"me": ada}}), "by_name.me"),
        (json!({"maybe": ada}), "maybe"),
    ] {
        let error = from_data::<WithDefaults>(&data(stored.clone())).unwrap_err();
        assert_eq!((&*error.path, &*error.message), (path, "missing field `role`"));
        assert!(from_field::<WithDefaults>("field", &stored).is_err());
    }
    let view: WithDefaults = from_data(&data(json!({"nested": ada}))).unwrap();
    assert_eq!(view.nested.role, "admin");
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shop {
    cart: Vec<Login>,
}

/// What becomes of a cart: its users, each with its price if it has one.
fn cart(stored: &str, change: fn(&mut Vec<Login>)) -> String {
    let item = |text: &str| {
        let (user, price) = text.split_at(1);
        match price.parse::<u8>() {
            Ok(price) => json!({"user": user, "price": price}),
            Err(_) => json!({"user": user}),
        }
    };
    let stored: Vec<Value> = stored.split(' ').map(item).collect();
    let after = left::<Shop>(&json!({ "cart": stored }), |shop| change(&mut shop.cart));
    let items = after["cart"].as_array().unwrap().iter().map(|item| {
        let price = item.get("price").map_or_else(String::new, Value::to_string);
        format!("{}{price}", item["user"].as_str().unwrap())
    });
    items.collect::<Vec<_>>().join(" ")
}

#[test]
fn items_that_look_alike_keep_their_own_where_it_is_certain() {
    type Case = (&'static str, fn(&mut Vec<Login>), &'static str);
    let cases: [Case; 16] = [
        ("A1 A2 B3", |cart| cart.rotate_left(1), "A B3 A"),
        ("A1 A2 B3", |cart| cart.reverse(), "B3 A A"),
        ("A1 A2 B3", |cart| drop(cart.remove(0)), "A B3"),
        ("A1 A2 B3", |cart| drop(cart.remove(2)), "A1 A2"),
        ("A1 A2 B3", |cart| cart.push(login("N")), "A1 A2 B3 N"),
        ("A1 A2 B3", |cart| cart.insert(0, login("N")), "N A1 A2 B3"),
        ("A1 A2 B3", |cart| cart.insert(1, login("N")), "A1 N A2 B3"),
        ("A1 A2 B3", |cart| cart.push(login("A")), "A A B3 A"),
        ("A1 A2 B3", |cart| cart.truncate(1), "A"),
        ("A1 A2 B3 C4", |cart| cart.swap(2, 3), "A1 A2 C4 B3"),
        ("A1 A2 B3 C4", |cart| cart.swap(0, 3), "C4 A B3 A"),
        ("A1 A1 B3", |cart| cart.reverse(), "B3 A1 A1"),
        ("A1 A1 B3", |cart| drop(cart.remove(0)), "A1 B3"),
        ("A1 A B3", |cart| cart.reverse(), "B3 A A"),
        ("A1 B3 A2", |cart| drop(cart.remove(1)), "A1 A2"),
        ("A1", |cart| cart.push(login("A")), "A A"),
    ];
    for (stored, change, expected) in cases {
        assert_eq!(cart(stored, change), expected, "{stored}");
    }
    let remove_and_push = |cart: &mut Vec<Login>| {
        cart.remove(0);
        cart.push(login("A"));
    };
    assert_eq!(cart("A1 A2 B3", remove_and_push), "A B3 A");
}

/// Writes an `Option` without saying that it is one.
mod plain {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        login: &Option<Login>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match login {
            Some(login) => login.serialize(to),
            None => to.serialize_unit(),
        }
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Login>, D::Error> {
        Option::deserialize(from)
    }
}

#[test]
fn an_option_that_is_written_by_hand_takes_nothing_along() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Account {
        #[serde(with = "plain")]
        login: Option<Login>,
        views: u8,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Filled {
        #[serde(with = "plain")]
        login: Option<Login>,
        views: u8,
    }
    impl Default for Filled {
        fn default() -> Self {
            Self { login: Some(Login::default()), views: 0 }
        }
    }
    let stored = json!({"login": {"user": "ada", "role": "admin"}, "views": 1});
    let replaced = json!({"login": {"user": "bob"}, "views": 1});
    let bob = || Some(login("bob"));
    assert_eq!(left::<Account>(&stored, |account| account.login = bob()), replaced);
    assert_eq!(left::<Filled>(&stored, |account| account.login = bob()), replaced);
    let after = left::<Account>(&stored, |account| account.views = 2);
    assert_eq!(after["login"], stored["login"]);
    let after = left::<Filled>(&stored, |account| account.views = 2);
    assert_eq!(after["login"], stored["login"]);
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sale {
    who: Who,
    known: Known,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Who {
    Id { user: u64 },
    Name { user: String },
}

impl Default for Who {
    fn default() -> Self {
        Self::Name { user: String::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Known {
    Login(Login),
    Number(u8),
}

impl Default for Known {
    fn default() -> Self {
        Self::Login(Login::default())
    }
}

#[test]
fn an_untagged_enum_takes_nothing_along_if_it_says_that_it_is_one() {
    let known = json!({"user": "ada", "role": "admin"});
    let stored = json!({"who": {"user": 5, "role": "admin"}, "known": known});
    let after = left::<Sale>(&stored, |sale| sale.who = Who::Name { user: "bob".into() });
    assert_eq!(after, json!({"who": {"user": "bob"}, "known": known}));
    // serde writes `Known::Login` as the struct alone, and reads it as it would a struct with `from`.
    let after = left::<Sale>(&stored, |sale| sale.known = Known::Login(login("bob")));
    assert_eq!(after["known"], json!({"user": "bob", "role": "admin"}));
    let after = left::<Sale>(&stored, |sale| sale.known = Known::Number(1));
    assert_eq!(after["known"], 1);
}

/// A struct that another one writes, by reference.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Written {
    kind: String,
    login: Login,
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            kind: &'a str,
            login: &'a Login,
        }
        Written { kind: &self.kind, login: &self.login }.serialize(to)
    }
}

/// The same by hand, which looks like an enum with a `tag`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct ByHand {
    kind: String,
    login: Login,
}

impl Serialize for ByHand {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = to.serialize_struct("ByHand", 2)?;
        object.serialize_field("kind", self.kind.as_str())?;
        object.serialize_field("login", &self.login)?;
        object.end()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Envelope {
    One(Written),
    Other(Written),
}

impl Default for Envelope {
    fn default() -> Self {
        Self::One(Written::default())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct HoldsWritten {
    plain: Written,
    by_hand: ByHand,
    either: Envelope,
}

#[test]
fn a_struct_that_begins_with_a_text_is_one_and_in_a_variant_it_comes_and_goes() {
    let stored = || json!({"kind": "x", "login": {"user": "ada", "role": "admin"}, "x": 1});
    let all = json!({"plain": stored(), "by_hand": stored(), "either": {"One": stored()}});
    let after = left::<HoldsWritten>(&all, |holds| {
        holds.plain.login.user = "bob".into();
        holds.by_hand.login.user = "bob".into();
    });
    let mut expected = all.clone();
    expected["plain"]["login"]["user"] = json!("bob");
    expected["by_hand"]["login"]["user"] = json!("bob");
    assert_eq!(after, expected);
    let written = |user: &str| Written { kind: "x".into(), login: login(user) };
    for either in [Envelope::Other(written("ada")), Envelope::One(written("bob"))] {
        let after = left::<HoldsWritten>(&all, |holds| holds.either = either.clone());
        assert_eq!(after["either"], json!(either));
    }
}
