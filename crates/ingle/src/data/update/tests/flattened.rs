//! Of what serde writes as one object, the type says whose a field is.

use std::collections::BTreeMap;

use serde::Serializer;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Holds<T> {
    inner: T,
    #[serde(default)]
    n: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Login {
    user: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Address {
    city: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    login: Login,
}

fn login(user: &str) -> Login {
    Login { user: user.into() }
}

fn admin(user: &str) -> Value {
    json!({"user": user, "role": "admin"})
}

/// What becomes of an object that is the data, a field, and a field's field. What no type knows at the
/// top of the data stays, so it is left out there.
fn everywhere<T>(stored: &Value, unknown: &[&str], change: impl Fn(&mut T)) -> Value
where
    T: Serialize + DeserializeOwned + Default + Clone + PartialEq + std::fmt::Debug,
{
    let holds = json!({ "inner": stored });
    let inner = left::<Holds<T>>(&holds, |holds| change(&mut holds.inner))["inner"].clone();
    let [mut whole, field] = both::<T>(stored, change).map(Result::unwrap);
    assert_eq!(field, inner);
    for name in unknown {
        assert_eq!(whole[*name], stored[*name]);
        set(whole.as_object_mut().unwrap(), name, field.get(*name).cloned());
    }
    assert_eq!(whole, field);
    field
}

/// What the default fills is an `Option` all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Filled<T> {
    #[serde(flatten)]
    inner: Option<T>,
    id: u8,
    address: Address,
}

impl<T: Default> Default for Filled<T> {
    fn default() -> Self {
        Self { inner: Some(T::default()), id: 0, address: Address::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OnlyOption<T> {
    #[serde(flatten)]
    inner: Option<T>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Lax {
    user: String,
    n: u8,
}

#[test]
fn a_flattened_option_takes_nothing_along_whatever_the_default_has() {
    let address = json!({"city": "X", "zip": 1});
    let stored = json!({"user": "ada", "role": "admin", "id": 1, "address": address});
    let after = everywhere::<Filled<Login>>(&stored, &["role"], |view| {
        view.inner = Some(login("bob"));
    });
    assert_eq!(after, json!({"user": "bob", "id": 1, "address": address}));
    let lax = Lax { user: "bob".into(), n: 0 };
    let after = everywhere::<Filled<Lax>>(&stored, &["role"], |view| {
        view.inner = Some(lax.clone());
    });
    assert_eq!(after, json!({"user": "bob", "n": 0, "id": 1, "address": address}));
    let after = everywhere::<Filled<Login>>(&stored, &[], |view| {
        view.id = 2;
        view.address.city = "Y".into();
    });
    let address = json!({"city": "Y", "zip": 1});
    assert_eq!(after, json!({"user": "ada", "role": "admin", "id": 2, "address": address}));
}

#[test]
fn what_is_in_a_flattened_option_does_not_stay_for_the_next_one() {
    let ada = json!({"name": "Ada", "login": admin("x")});
    let bob = Profile { name: "Bob".into(), login: login("x") };
    let expected = json!({"name": "Bob", "login": {"user": "x"}});
    let after = everywhere::<OnlyOption<Profile>>(&ada, &[], |view| {
        view.inner = Some(bob.clone());
    });
    assert_eq!(after, expected);
    let mut filled = ada.clone();
    (filled["id"], filled["address"]) = (json!(1), json!({"city": "X", "zip": 1}));
    let after = everywhere::<Filled<Profile>>(&filled, &[], |view| view.inner = Some(bob.clone()));
    assert_eq!((&after["name"], &after["login"]), (&expected["name"], &expected["login"]));
    assert_eq!(after["address"]["zip"], 1);
    let after = everywhere::<Filled<Profile>>(&filled, &[], |view| view.id = 2);
    assert_eq!(after["login"], ada["login"]);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    Anon,
    User(Login),
    Admin(Login),
    Named { user: String },
}

impl Default for Adjacent {
    fn default() -> Self {
        Self::User(Login::default())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Plain {
    Anon,
    User(Login),
    Named { user: String },
}

impl Default for Plain {
    fn default() -> Self {
        Self::User(Login::default())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Two { by: Login, n: u8 },
    One { by: Login },
    Anon {},
}

impl Default for Untagged {
    fn default() -> Self {
        Self::One { by: Login::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    #[default]
    Anon,
    User {
        user: String,
        by: Login,
    },
    Admin {
        user: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Flat<T> {
    id: u8,
    #[serde(flatten)]
    inner: T,
    n_visits: u8,
    address: Address,
}

/// Whether a flattened enum that changes takes nothing along, and all stays where another field changes,
/// before it or behind it. Of the enum is what is stored in `own`, and perhaps `x`.
fn flat_takes_nothing<T>(enum_fields: &Value, own: &str, steps: &[T])
where
    T: Serialize + DeserializeOwned + Default + Clone + PartialEq + std::fmt::Debug,
{
    let mut stored = json!({"id": 1, "n_visits": 1, "address": {"city": "X", "zip": 1}, "x": 1});
    stored.as_object_mut().unwrap().extend(enum_fields.as_object().unwrap().clone());
    for step in steps {
        let after = everywhere::<Flat<T>>(&stored, &["x"], |flat| flat.inner = step.clone());
        let address = Address { city: "X".into() };
        let flat = Flat { id: 1, inner: step.clone(), n_visits: 1, address };
        let mut expected = json!(flat);
        expected["address"]["zip"] = json!(1);
        assert_eq!(after, expected);
    }
    let changes: [fn(&mut Flat<T>); 3] =
        [|flat| flat.id = 2, |flat| flat.n_visits = 2, |flat| flat.address.city = "Y".into()];
    for change in changes {
        let after = everywhere::<Flat<T>>(&stored, &[], change);
        assert_eq!((&after[own], &after["x"]), (&stored[own], &json!(1)));
        assert_eq!(after["address"]["zip"], 1);
    }
}

#[test]
fn a_flattened_enum_takes_nothing_along_whatever_the_default_has() {
    let (bob, ada) = (|| login("bob"), || login("ada"));
    flat_takes_nothing(
        &json!({"kind": "User", "content": admin("ada")}),
        "content",
        &[
            Adjacent::User(bob()),
            Adjacent::Admin(ada()),
            Adjacent::Named { user: "ada".into() },
            Adjacent::Anon,
        ],
    );
    flat_takes_nothing(
        &json!({"User": admin("ada")}),
        "User",
        &[Plain::User(bob()), Plain::Named { user: "ada".into() }, Plain::Anon],
    );
    flat_takes_nothing(
        &json!({"by": admin("ada"), "n": 1}),
        "by",
        &[
            Untagged::One { by: ada() },
            Untagged::Two { by: bob(), n: 1 },
            Untagged::Two { by: ada(), n: 2 },
        ],
    );
    flat_takes_nothing(
        &json!({"kind": "User", "user": "ada", "by": admin("ada")}),
        "by",
        &[
            Tagged::User { user: "bob".into(), by: ada() },
            Tagged::Admin { user: "ada".into() },
            Tagged::Anon,
        ],
    );
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FlatStructs {
    id: u8,
    #[serde(flatten)]
    profile: Profile,
    #[serde(skip_serializing_if = "Option::is_none")]
    font: Option<String>,
    #[serde(flatten)]
    lax: Lax,
}

#[test]
fn a_flattened_struct_is_a_place_and_so_is_what_holds_it() {
    let stored = json!({
        "id": 1, "name": "Ada", "login": admin("ada"), "font": "serif", "user": "x", "n": 1, "x": 1,
    });
    let changes: [fn(&mut FlatStructs); 6] = [
        |view| view.id = 2,
        |view| view.profile.name = "Bob".into(),
        |view| view.profile.login.user = "bob".into(),
        |view| view.font = None,
        |view| view.font = Some("sans".into()),
        |view| view.lax.user = "y".into(),
    ];
    for change in changes {
        let after = everywhere::<FlatStructs>(&stored, &[], change);
        assert_eq!((&after["x"], &after["login"]["role"]), (&json!(1), &json!("admin")));
    }
}

/// A map that writes its names as a struct does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Users(BTreeMap<String, Login>);

impl Default for Users {
    fn default() -> Self {
        Self(BTreeMap::from([("me".into(), Login::default())]))
    }
}

impl Serialize for Users {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = to.serialize_map(None)?;
        for (name, user) in &self.0 {
            map.serialize_entry(name.as_str(), user)?;
        }
        map.end()
    }
}

#[test]
fn the_entries_of_a_map_written_by_hand_are_each_for_themselves() {
    let (me, you) = (admin("ada"), json!({"user": "cy", "x": 1}));
    let stored = json!({"me": me, "you": you});
    let bob = json!({"user": "bob"});
    for (name, expected) in [
        ("me", json!({"me": bob, "you": you})),
        ("you", json!({"me": me, "you": bob})),
        ("new", json!({"me": me, "you": you, "new": bob})),
    ] {
        let insert = |users: &mut Users| drop(users.0.insert(name.into(), login("bob")));
        assert_eq!(everywhere::<Users>(&stored, &[], insert), expected);
    }
    let after = everywhere::<Users>(&stored, &[], |users| drop(users.0.remove("you")));
    assert_eq!(after, json!({ "me": me }));
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
struct TaggedStruct {
    name: String,
    login: Login,
}

#[test]
fn a_struct_with_a_tag_is_a_struct() {
    let stored = json!({"type": "TaggedStruct", "name": "n", "login": admin("ada"), "x": 1});
    let after = everywhere::<TaggedStruct>(&stored, &[], |view| view.name = "m".into());
    let expected = json!({"type": "TaggedStruct", "name": "m", "login": admin("ada"), "x": 1});
    assert_eq!(after, expected);
}

#[test]
fn what_nothing_tells_apart_goes() {
    // An own field right behind an enum that has no content now may be the content of another variant.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Behind {
        #[serde(flatten)]
        inner: Adjacent,
        address: Address,
        last: Address,
    }
    let address = json!({"city": "X", "zip": 1});
    let stored = json!({"kind": "Anon", "address": address, "last": address, "x": 1});
    let after = everywhere::<Behind>(&stored, &["x"], |view| view.address.city = "Y".into());
    assert_eq!(after, json!({"kind": "Anon", "address": {"city": "Y"}, "last": address}));
    let after = everywhere::<Behind>(&stored, &[], |view| view.last.city = "Y".into());
    assert_eq!((&after["last"]["zip"], &after["x"]), (&json!(1), &json!(1)));
    // So may the fields of a struct that is flattened behind an enum with a `tag`.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct BehindTag {
        #[serde(flatten)]
        inner: Tagged,
        #[serde(flatten)]
        profile: Profile,
    }
    let stored = json!({"kind": "Anon", "name": "Ada", "login": admin("ada"), "x": 1});
    let rename = |view: &mut BehindTag| view.profile.name = "Bob".into();
    let after = everywhere::<BehindTag>(&stored, &["x"], rename);
    assert_eq!(after, json!({"kind": "Anon", "name": "Bob", "login": {"user": "ada"}}));
}
