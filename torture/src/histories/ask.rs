//! One request about one session, and what its answer means.

use std::time::Duration;

use serde_json::Value;
use testbed::http::{Answer, Browser, NoAnswer};
use tokio::time::timeout;

use super::history::{Act, Outcome, Seen};

/// No request takes so long, unless it is never answered.
const PATIENCE: Duration = Duration::from_secs(15);

/// The field that tokens are appended to.
const FIELD: &str = "list";

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) outcome: Outcome,
    /// The cookie that the answer gives.
    pub(crate) begun: Option<String>,
}

impl Asked {
    /// Whether the app did its work, be it to say that a session has ended.
    pub(crate) fn was_served(&self) -> bool {
        self.outcome != Outcome::Refused && self.is_known()
    }

    /// Whether it is known what was done.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.outcome, Outcome::Unknown | Outcome::Strange(_))
    }
}

/// Asks a process of the app. Who asks says with which cookie.
pub(crate) async fn ask(browser: &mut Browser, cookie: Option<&str>, act: &Act) -> Asked {
    let (method, target) = match act {
        Act::Append(token) => ("GET", format!("/lab/push/{FIELD}?value={token}")),
        Act::Read => ("GET", "/lab/data".to_owned()),
        Act::View => ("GET", "/".to_owned()),
        Act::Renew => ("GET", "/lab/renew".to_owned()),
        Act::Logout => ("POST", "/logout".to_owned()),
        Act::Ticket(user) => ("POST", format!("/lab/ticket/{user}")),
        Act::Login(user) => ("POST", format!("/lab/login/{user}")),
        Act::Look(_) => ("GET", "/lab/user".to_owned()),
        Act::EndAll(_) => ("POST", "/lab/end-all".to_owned()),
    };
    browser.cookie = cookie.map(str::to_owned);
    match timeout(PATIENCE, browser.try_send(method, &target)).await {
        Ok(Ok(answer)) => {
            let outcome = outcome(act, cookie.is_some(), &answer);
            Asked { outcome, begun: answer.begun().map(str::to_owned) }
        }
        Ok(Err(NoAnswer::NotSent(_))) => Asked { outcome: Outcome::Refused, begun: None },
        Ok(Err(NoAnswer::Broken(_))) | Err(_) => Asked { outcome: Outcome::Unknown, begun: None },
    }
}

/// What an answer means.
fn outcome(act: &Act, has_cookie: bool, answer: &Answer) -> Outcome {
    let begins = has_cookie && answer.begun().is_some();
    match (answer.status, act) {
        (200..300, Act::Append(_) | Act::View) if begins => Outcome::Anonymous,
        (200..300, Act::Append(_) | Act::Logout | Act::EndAll(_)) => Outcome::Done,
        (200..300, Act::Ticket(_)) if answer.begun().is_some() => Outcome::Done,
        (200..300, Act::Renew | Act::Login(_)) if begins => Outcome::Done,
        (200..300, Act::Renew) => Outcome::Anonymous,
        (200..300, Act::View) => answer.shown().map_or_else(|| strange(answer), Outcome::Viewed),
        (200..300, Act::Read) => read(&answer.body).unwrap_or_else(|| strange(answer)),
        (200..300, Act::Look(user)) if answer.body == user.to_string() => Outcome::Done,
        (200..300, Act::Look(_)) if answer.body.is_empty() => Outcome::Anonymous,
        (401, Act::EndAll(_)) => Outcome::Anonymous,
        (409, _) => Outcome::Interrupted,
        // With the time for another try it says that nothing was done.
        (503, _) if answer.says_retry() => Outcome::Refused,
        (503, _) => Outcome::Unknown,
        _ => strange(answer),
    }
}

/// No answer of an app that works.
fn strange(answer: &Answer) -> Outcome {
    Outcome::Strange(format!("{} {}", answer.status, answer.body.trim_end()))
}

/// A session holds something from its beginning, so what holds nothing is none.
fn read(body: &str) -> Option<Outcome> {
    let Value::Object(data) = serde_json::from_str(body).ok()? else { return None };
    if data.is_empty() {
        return Some(Outcome::Anonymous);
    }
    let views = data.get("views").map_or(Some(0), Value::as_u64)?;
    let list = match data.get(FIELD) {
        None => Vec::new(),
        Some(list) => {
            let tokens = list.as_array()?.iter().map(|token| token.as_str().map(str::to_owned));
            tokens.collect::<Option<_>>()?
        }
    };
    Some(Outcome::Read(Seen { list, views }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(status, body)
    }

    fn with(mut answer: Answer, name: &'static str, value: &'static str) -> Answer {
        answer.headers.insert(name, value.parse().unwrap());
        answer
    }

    #[test]
    fn what_was_surely_not_done_is_told_from_what_nobody_knows() {
        let push = Act::Append("1-1".to_owned());
        let later = with(answer(503, ""), "retry-after", "1");
        assert_eq!(outcome(&push, true, &later), Outcome::Refused);
        assert_eq!(outcome(&push, true, &answer(503, "")), Outcome::Unknown);
        assert_eq!(outcome(&push, true, &answer(409, "")), Outcome::Interrupted);
        assert_eq!(outcome(&push, true, &answer(204, "")), Outcome::Done);
        let strange = Outcome::Strange("500 no".to_owned());
        assert_eq!(outcome(&push, true, &answer(500, "no\n")), strange);
    }

    #[test]
    fn a_new_session_in_the_place_of_an_old_one_is_seen() {
        let begun = with(answer(200, "<body>1 views for"), "set-cookie", "id=x; Path=/");
        assert_eq!(outcome(&Act::View, true, &begun), Outcome::Anonymous);
        assert_eq!(outcome(&Act::View, false, &begun), Outcome::Viewed(1));
        assert_eq!(outcome(&Act::Renew, true, &begun), Outcome::Done);
        assert_eq!(outcome(&Act::Renew, true, &answer(204, "")), Outcome::Anonymous);
    }

    #[test]
    fn another_user_is_a_strange_answer() {
        let look = |body| outcome(&Act::Look(1), true, &answer(200, body));
        assert_eq!(look("1"), Outcome::Done);
        assert_eq!(look(""), Outcome::Anonymous);
        assert_eq!(look("2"), Outcome::Strange("200 2".to_owned()));
        assert_eq!(outcome(&Act::EndAll(1), true, &answer(401, "")), Outcome::Anonymous);
    }

    #[test]
    fn what_a_session_holds_is_read() {
        let data = r#"{"greeting":"Hola Mundo","list":["1-1","2-1"],"views":3}"#;
        let list = vec!["1-1".to_owned(), "2-1".to_owned()];
        let seen = Outcome::Read(Seen { list, views: 3 });
        assert_eq!(outcome(&Act::Read, true, &answer(200, data)), seen);
        assert_eq!(outcome(&Act::Read, true, &answer(200, "{}")), Outcome::Anonymous);
        let odd = outcome(&Act::Read, true, &answer(200, r#"{"list":[1]}"#));
        assert!(matches!(odd, Outcome::Strange(_)));
    }
}
