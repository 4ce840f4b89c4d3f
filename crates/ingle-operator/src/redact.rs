//! What looks secret is hidden: values under names such as `password`, at any depth, also inside of
//! texts that hold JSON (ASVS 5.0 14.2.6).

use ingle::data::Data;
use serde_json::{Value, json};

/// The field of an object that stands for a hidden value: `{"$hidden": "text"}` tells its type alone.
pub const HIDDEN: &str = "$hidden";

/// What stands for a hidden value inside of a text that holds JSON.
const HIDDEN_TEXT: &str = "[hidden]";

/// What the name of a secret has in it, written without anything but letters and digits.
const PARTS: [&str; 34] = [
    "accesskey",
    "apikey",
    "authcode",
    "authorization",
    "backupcode",
    "bearer",
    "cardnumber",
    "clientkey",
    "connectionstring",
    "cookie",
    "credential",
    "creditcard",
    "csrf",
    "encryptionkey",
    "jwt",
    "masterkey",
    "mnemonic",
    "onetimecode",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwort",
    "privatekey",
    "recoverycode",
    "secret",
    "securitycode",
    "seedphrase",
    "sessionid",
    "signingkey",
    "token",
    "verificationcode",
    "verifier",
    "xsrf",
];

/// Names that are secret as a whole.
const NAMES: [&str; 15] = [
    "auth", "cvc", "cvv", "hmac", "iban", "mfa", "nonce", "otp", "pass", "pin", "pw", "pwd",
    "salt", "ssn", "totp",
];

/// How deep texts with JSON in texts with JSON are looked into.
const TEXTS_MAX: usize = 4;

/// Whether a value under this name is likely a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    let letters: String = letters.collect();
    let word = letters.trim_end_matches(|c: char| c.is_ascii_digit());
    let plural = word.strip_suffix('s').unwrap_or(word);
    NAMES.contains(&word)
        || NAMES.contains(&plural)
        || PARTS.iter().any(|part| letters.contains(part))
}

/// Data without what looks secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Redacted {
    /// The data, with marks in the place of what is hidden.
    pub data: Data,
    /// The top-level fields in which something is hidden.
    pub fields: Vec<String>,
}

/// Hides what looks secret.
#[must_use]
pub fn redacted(data: &Data) -> Redacted {
    let mut shown = Redacted { data: Data::new(), fields: Vec::new() };
    for (name, value) in data {
        let value = field(name, value, TEXTS_MAX);
        if value.is_hidden {
            shown.fields.push(name.clone());
        }
        shown.data.insert(name.clone(), value.value);
    }
    shown
}

/// Whether a value has a mark of what is hidden in it, and so must not be stored.
#[must_use]
pub fn holds_hidden(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(HIDDEN_TEXT),
        Value::Array(items) => items.iter().any(holds_hidden),
        Value::Object(fields) => fields.contains_key(HIDDEN) || fields.values().any(holds_hidden),
        _ => false,
    }
}

/// A value as it is shown, and whether anything of it is hidden.
struct Shown {
    value: Value,
    is_hidden: bool,
}

fn field(name: &str, value: &Value, texts: usize) -> Shown {
    if is_secret(name) {
        return Shown { value: json!({ HIDDEN: crate::value::kind(value) }), is_hidden: true };
    }
    within(value, texts)
}

fn within(value: &Value, texts: usize) -> Shown {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| within(item, texts)).collect();
            let is_hidden = items.iter().any(|item| item.is_hidden);
            Shown { value: items.into_iter().map(|item| item.value).collect(), is_hidden }
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name, field(name, value, texts)));
            let fields: Vec<_> = fields.collect();
            let is_hidden = fields.iter().any(|(_, shown)| shown.is_hidden);
            let data: Data =
                fields.into_iter().map(|(name, shown)| (name.clone(), shown.value)).collect();
            Shown { value: data.into(), is_hidden }
        }
        Value::String(text) => match inside_of_text(text, texts).or_else(|| inside_of_urls(text)) {
            Some(text) => Shown { value: text.into(), is_hidden: true },
            None => Shown { value: value.clone(), is_hidden: false },
        },
        other => Shown { value: other.clone(), is_hidden: false },
    }
}

/// The text with what is secret in its JSON hidden, if there is any.
fn inside_of_text(text: &str, texts: usize) -> Option<String> {
    let json = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if !json.starts_with(['{', '[', '"']) {
        return None;
    }
    let Some(texts) = texts.checked_sub(1) else { return Some(HIDDEN_TEXT.to_owned()) };
    let Ok(value) = serde_json::from_str::<Value>(json) else {
        // Another reader may take what this one refuses: two documents, or a number without bounds.
        return names_secret(json).then(|| HIDDEN_TEXT.to_owned());
    };
    let mut shown = within(&value, texts);
    mark_as_texts(&mut shown.value);
    shown.is_hidden.then(|| shown.value.to_string())
}

/// Whether a text that is only like JSON has the name of a secret in it.
fn names_secret(text: &str) -> bool {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once("\\u") {
        plain.push_str(before);
        let code = escape.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        plain.extend(code.and_then(char::from_u32));
        rest = if code.is_some() { escape.get(4..).unwrap_or_default() } else { escape };
    }
    plain.push_str(rest);
    let ends = |c: char| c.is_control() || "\"'\\{}[]:,=".contains(c);
    plain.split(ends).any(is_secret)
}

/// The text with the passwords in its URLs hidden, if there are any: `https://user:password@host`.
fn inside_of_urls(text: &str) -> Option<String> {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, url)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let ends = |c: char| c.is_whitespace() || c.is_control() || "/?#\"'<>\\".contains(c);
        let (authority, _) = url.split_at(url.find(ends).unwrap_or(url.len()));
        let user = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
        rest = match user {
            Some((name, password)) if !password.is_empty() => {
                shown.push_str(&format!("{name}:{HIDDEN_TEXT}"));
                url.get(name.len() + 1 + password.len()..).unwrap_or_default()
            }
            _ => url,
        };
    }
    shown.push_str(rest);
    (shown != text).then_some(shown)
}

fn mark_as_texts(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mark_as_texts),
        Value::Object(fields) if fields.contains_key(HIDDEN) => *value = HIDDEN_TEXT.into(),
        Value::Object(fields) => fields.values_mut().for_each(mark_as_texts),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Value) -> (Value, Vec<String>) {
        let Value::Object(data) = value else { panic!("the data is an object") };
        let redacted = redacted(&data);
        (Value::Object(redacted.data), redacted.fields)
    }

    #[test]
    fn names_of_secrets_are_told_however_they_are_written() {
        for name in [
            "password",
            "Password",
            "user_password_2",
            "newPassword",
            "API-KEY",
            "api key",
            "apiKeys",
            "access_token",
            "refreshToken",
            "csrfToken",
            "Authorization",
            "credentials",
            "client_secret",
            "PIN",
            "otp",
            "otp2",
            "pins",
            "cvv",
            "set-cookie",
            "code_verifier",
            "private.key",
            "auth",
            "session_id",
            "pw",
            "Passwort",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in
            ["author", "pinned", "spinner", "cart", "views", "compass", "passenger", "", "é"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_hidden_at_any_depth_and_their_types_are_told() {
        let data = json!({
            "password": "x",
            "a": { "b": { "token": 7 } },
            "list": [{ "api_key": ["k"] }, 1],
            "credentials": { "user": "u", "key": "k" },
            "views": 3,
            "pin": null,
        });
        let (data, fields) = shown(data);
        let expected = json!({
            "password": { "$hidden": "text" },
            "a": { "b": { "token": { "$hidden": "integer" } } },
            "list": [{ "api_key": { "$hidden": "list" } }, 1],
            "credentials": { "$hidden": "map" },
            "views": 3,
            "pin": { "$hidden": "null" },
        });
        assert_eq!(data, expected);
        let mut fields = fields;
        fields.sort();
        assert_eq!(fields, ["a", "credentials", "list", "password", "pin"]);
    }

    #[test]
    fn secrets_are_hidden_inside_of_texts_that_hold_json() {
        let text = r#" {"user":"ada","password":"s3cret"}"#;
        let (data, fields) = shown(json!({ "body": text }));
        assert_eq!(data, json!({ "body": r#"{"password":"[hidden]","user":"ada"}"# }).sorted());
        assert_eq!(fields, ["body"]);
        // A text in a text in a text.
        let mut text = json!({ "token": "s3cret" }).to_string();
        for _ in 0..10 {
            assert!(!shown(json!({ "body": text })).0.to_string().contains("s3cret"));
            text = json!({ "inner": text }).to_string();
        }
        // What has no secrets stays as it is, and so does what is no JSON.
        for text in [r#"{ "a" : 1 }"#, "{not json", "password=1", "[1,2", "\"quoted\""] {
            assert_eq!(shown(json!({ "body": text })).0, json!({ "body": text }));
        }
    }

    #[test]
    fn a_text_that_is_only_like_json_is_hidden_as_a_whole_if_it_names_a_secret() {
        let deep = format!(r#"{}{{"pin":"s3cret"}}{}"#, "[".repeat(200), "]".repeat(200));
        for text in [
            r#"{"x":1e999,"password":"s3cret"}"#,
            r#"{"x":"\ud83d","password":"s3cret"}"#,
            r#"{"x":1} {"api key":"s3cret"}"#,
            r#"{"x":1e999,"p\u0061ssword":"s3cret"}"#,
            r#"{"x":1e999,"body":"{\"pw\":\"s3cret\"}"}"#,
            "{token: 's3cret'",
            &deep,
        ] {
            assert_eq!(shown(json!({ "body": text })).0, json!({ "body": HIDDEN_TEXT }), "{text}");
        }
        for text in [r#"{"x":1e999,"name":"Ada"}"#, r#"{"x":"\ud83d"}"#, r#"{"a":1} {"b":"\u"}"#] {
            assert_eq!(shown(json!({ "body": text })).0, json!({ "body": text }));
        }
        let text = "\u{feff}\u{a0}{\"pin\":\"s3cret\"}";
        let expected = json!({ "body": r#"{"pin":"[hidden]"}"# });
        assert_eq!(shown(json!({ "body": text })).0, expected);
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (text, expected) in [
            ("https://ada:s3cret@host/x", "https://ada:[hidden]@host/x"),
            ("redis://:s3@cret@host", "redis://:[hidden]@host"),
            ("see a://b:c@d and e://f:g@h.", "see a://b:[hidden]@d and e://f:[hidden]@h."),
            (r#"["https://ada:s3cret@host"]"#, r#"["https://ada:[hidden]@host"]"#),
            ("https://host:80/a@b", "https://host:80/a@b"),
            ("https://ada@host", "https://ada@host"),
            ("https://ada:@host", "https://ada:@host"),
            ("a: b@c", "a: b@c"),
        ] {
            let (data, fields) = shown(json!({ "link": text }));
            assert_eq!(data, json!({ "link": expected }));
            assert_eq!(!fields.is_empty(), text != expected);
        }
    }

    #[test]
    fn what_is_shown_tells_that_something_is_hidden() {
        for value in [
            json!({ "password": "x" }),
            json!({ "a": [{ "token": 1 }] }),
            json!({ "a": r#"{"token":1}"# }),
        ] {
            assert!(!holds_hidden(&value));
            assert!(holds_hidden(&shown(value).0));
        }
    }

    trait Sorted {
        fn sorted(self) -> Value;
    }

    impl Sorted for Value {
        /// The order of the fields is that of the map, in a text as well.
        fn sorted(self) -> Self {
            let text = self["body"].as_str().unwrap();
            let inner: Self = serde_json::from_str(text).unwrap();
            json!({ "body": inner.to_string() })
        }
    }
}
