//! Sign-ins that somebody has begun at the provider: the browser keeps them, in a cookie of their own.
//!
//! Whoever begins one is nobody yet, so it costs this process no memory and no session: nobody can use up what
//! others need to sign in. Each entry of the cookie is signed by a key of this process. The nonce and the
//! verifier of PKCE are made of its name and the key, so that no cookie holds them. What was used for a
//! sign-in is remembered here until it would expire.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ingle::clock::Timestamp;
use sha2::Sha256;

use crate::{
    access::{InvalidAccess, PublicUrl},
    cursor::random_text,
    operators::{Within, cookie_name},
};

/// How long somebody may take at the provider.
const TIME: Duration = Duration::from_secs(10 * 60);

/// How long the cookie gets. Browsers keep 4096 bytes, and the oldest sign-ins make room for new ones.
const COOKIE_BYTES_MAX: usize = 3000;

/// The cookie, beside that of the session.
const NAME: &str = "console-begun";

/// What stands between the entries of the cookie, and between the parts of an entry.
const ENTRIES: char = '~';
const PARTS: char = '.';

/// A sign-in that was begun here, by the browser that sends it.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    /// The `state`: 128 random bits.
    pub(super) state: String,
    /// Where it leads.
    pub(super) then: Within,
    ends: Timestamp,
}

/// What the provider has to say again, and what proves to it who has asked.
pub(super) struct Secrets {
    pub(super) nonce: String,
    pub(super) verifier: String,
}

/// What knows the sign-ins that were begun here.
pub(super) struct Begins {
    mac: Hmac<Sha256>,
    used: Mutex<HashMap<String, Timestamp>>,
}

impl Begins {
    pub(super) fn new() -> Result<Self, InvalidAccess> {
        let mut key = [0; 64];
        getrandom::fill(&mut key).map_err(|error| InvalidAccess::new(error.to_string()))?;
        Ok(Self { mac: Hmac::new(&key.into()), used: Mutex::default() })
    }

    /// Begins one, beside those of other tabs. Returns it with the cookie to set.
    pub(super) fn begin(
        &self,
        url: &PublicUrl,
        headers: &HeaderMap,
        then: Within,
        now: Timestamp,
    ) -> Result<(Begun, String), getrandom::Error> {
        let begun = Begun { state: random_text()?, then, ends: now.after(TIME) };
        let mut all = self.all(url, headers, now);
        all.insert(0, begun.clone());
        Ok((begun, self.cookie(url, &all)))
    }

    /// The sign-in of this `state`, if this browser has begun it and it was not used, with the cookie to set.
    pub(super) fn take(
        &self,
        url: &PublicUrl,
        headers: &HeaderMap,
        state: &str,
        now: Timestamp,
    ) -> Option<(Begun, String)> {
        let mut all = self.all(url, headers, now);
        let at = all.iter().position(|begun| begun.state == state)?;
        let begun = all.remove(at);
        let is_used = self.used.lock().unwrap_or_else(PoisonError::into_inner).contains_key(state);
        (!is_used).then(|| (begun, self.cookie(url, &all)))
    }

    /// Uses it, once the provider has said who somebody is. False if a copy of the cookie was faster. What
    /// anybody can send is not remembered, so nobody can fill the memory.
    pub(super) fn use_up(&self, begun: &Begun, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, ends| now < *ends);
        used.insert(begun.state.clone(), begun.ends).is_none()
    }

    pub(super) fn secrets(&self, begun: &Begun) -> Secrets {
        let of = |purpose| {
            URL_SAFE_NO_PAD.encode(self.signed(purpose, &begun.state).finalize().into_bytes())
        };
        Secrets { nonce: of("nonce"), verifier: of("verifier") }
    }

    fn signed(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let mac = self.mac.clone();
        mac.chain_update(purpose).chain_update([0]).chain_update(text)
    }

    /// Those of the request that were begun here and are still good, the newest first.
    fn all(&self, url: &PublicUrl, headers: &HeaderMap, now: Timestamp) -> Vec<Begun> {
        let own = cookie_name(url, NAME);
        // Other cookies may hold any bytes.
        let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        let cookies = lines.flat_map(|line| line.split(|byte| *byte == b';'));
        let cookies = cookies.filter_map(|one| str::from_utf8(one).ok()?.split_once('='));
        let values = cookies.filter(|(name, _)| name.trim() == own).map(|(_, value)| value.trim());
        let begun = values.flat_map(|value| value.split(ENTRIES)).filter_map(|one| self.read(one));
        begun.filter(|begun| now < begun.ends).collect()
    }

    fn read(&self, entry: &str) -> Option<Begun> {
        let (text, mac) = entry.rsplit_once(PARTS)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.signed("begun", text).verify_slice(&mac).ok()?;
        let mut parts = text.split(PARTS);
        let (state, ends, then) = (parts.next()?, parts.next()?, parts.next()?);
        let then = String::from_utf8(URL_SAFE_NO_PAD.decode(then).ok()?).ok()?;
        let ends = Timestamp::from_millis(ends.parse().ok()?);
        Some(Begun { state: state.to_owned(), then: Within::read(&then), ends })
    }

    fn entry(&self, begun: &Begun) -> String {
        let then = URL_SAFE_NO_PAD.encode(begun.then.unless_home());
        let text = format!("{}{PARTS}{}{PARTS}{then}", begun.state, begun.ends.as_millis());
        let mac = URL_SAFE_NO_PAD.encode(self.signed("begun", &text).finalize().into_bytes());
        format!("{text}{PARTS}{mac}")
    }

    /// The cookie of these. It has to come along when the provider sends somebody back, so it is `Lax`.
    fn cookie(&self, url: &PublicUrl, all: &[Begun]) -> String {
        let mut value = String::new();
        for entry in all.iter().map(|begun| self.entry(begun)) {
            if value.len() + entry.len() >= COOKIE_BYTES_MAX {
                break;
            }
            if !value.is_empty() {
                value.push(ENTRIES);
            }
            value.push_str(&entry);
        }
        let name = cookie_name(url, NAME);
        let seconds = if value.is_empty() { 0 } else { TIME.as_secs() };
        let secure = if url.is_https() { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn url() -> PublicUrl {
        "https://console.example".parse().unwrap()
    }

    /// What a browser sends that has these cookies.
    fn sent(cookies: &[&str]) -> HeaderMap {
        let pairs = cookies.iter().map(|cookie| cookie.split(';').next().unwrap());
        let line = pairs.collect::<Vec<_>>().join("; ");
        HeaderMap::from_iter([(header::COOKIE, line.try_into().unwrap())])
    }

    fn begin(begins: &Begins, headers: &HeaderMap, then: &str) -> (Begun, String) {
        begins.begin(&url(), headers, Within::read(then), NOW).unwrap()
    }

    fn finds(begins: &Begins, headers: &HeaderMap, begun: &Begun, now: Timestamp) -> bool {
        begins.take(&url(), headers, &begun.state, now).is_some()
    }

    #[test]
    fn a_cookie_that_was_changed_or_is_of_another_process_counts_for_nothing() {
        let begins = Begins::new().unwrap();
        let (begun, cookie) = begin(&begins, &HeaderMap::new(), "/audit");
        assert!(cookie.starts_with("__Host-console-begun=") && cookie.ends_with("; Secure"));
        assert!(finds(&begins, &sent(&["a=b", &cookie, "c"]), &begun, NOW));
        let line = [b"a=\xe9; ", cookie.split(';').next().unwrap().as_bytes()].concat();
        let bytes = HeaderValue::from_bytes(&line).unwrap();
        assert!(finds(&begins, &HeaderMap::from_iter([(header::COOKIE, bytes)]), &begun, NOW));
        assert!(!finds(&Begins::new().unwrap(), &sent(&[&cookie]), &begun, NOW));
        let ends = NOW.after(TIME);
        assert!(!finds(&begins, &sent(&[&cookie]), &begun, ends));
        let (early, late) = (ends.as_millis().to_string(), "9999999999999");
        let longer = cookie.replace(&early, late);
        assert!(!finds(&begins, &sent(&[&longer]), &begun, ends) && longer != cookie);
        let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
        for at in 0..value.len() {
            let (mut changed, other) =
                (value.to_owned(), if &value[at..=at] == "A" { "B" } else { "A" });
            changed.replace_range(at..=at, other);
            let headers = sent(&[&format!("{name}={changed}")]);
            assert!(!finds(&begins, &headers, &begun, NOW), "{changed}");
        }
    }

    #[test]
    fn the_newest_sign_ins_fit_into_the_cookie_and_lead_where_they_were_begun() {
        let begins = Begins::new().unwrap();
        let (mut headers, mut all) = (HeaderMap::new(), Vec::new());
        let long = format!("/sessions?q={}", "a".repeat(900));
        for n in 0..20 {
            let (begun, cookie) = begin(&begins, &headers, &format!("{long}{n}"));
            assert!(cookie.len() < 4000, "{}", cookie.len());
            headers = sent(&[&cookie]);
            all.push(begun);
        }
        let kept: Vec<_> = all.iter().map(|begun| finds(&begins, &headers, begun, NOW)).collect();
        assert!(kept.is_sorted() && kept[18..] == [true, true] && !kept[0], "{kept:?}");
        let (begun, cookie) = begins.take(&url(), &headers, &all[19].state, NOW).unwrap();
        assert_eq!(begun.then.unless_home(), format!("{long}19"));
        assert!(finds(&begins, &sent(&[&cookie]), &all[18], NOW));
        assert!(!finds(&begins, &sent(&[&cookie]), &all[19], NOW));
    }

    #[test]
    fn of_two_copies_of_a_cookie_one_signs_in_and_no_two_sign_ins_share_a_secret() {
        let begins = Begins::new().unwrap();
        let (begun, cookie) = begin(&begins, &HeaderMap::new(), "");
        let (other, _) = begin(&begins, &HeaderMap::new(), "");
        assert!(begins.use_up(&begun, NOW) && !begins.use_up(&begun, NOW));
        assert!(!finds(&begins, &sent(&[&cookie]), &begun, NOW));
        assert!(begins.use_up(&other, NOW));
        let mut secrets = [&begun, &other]
            .map(|begun| begins.secrets(begun))
            .map(|one| [one.nonce, one.verifier])
            .concat();
        assert!(secrets.iter().all(|secret| secret.len() == 43 && !cookie.contains(secret)));
        secrets.sort();
        secrets.dedup();
        assert_eq!(secrets.len(), 4);
        // What has expired needs no place.
        assert!(begins.use_up(&begun, NOW.after(TIME)));
        assert_eq!(begins.used.lock().unwrap().len(), 1);
    }
}
