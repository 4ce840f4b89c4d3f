//! The app and the tutorial's own, in Python, on one collection: they share their visitors, or the
//! app takes them over.

use std::{collections::BTreeSet, net::SocketAddr};

use ingle::{
    clock::{Clock as _, SystemClock},
    record::Key,
    store::Lookup,
};
use testbed::{
    Server,
    http::{Answer, Browser},
};

use super::{PROJECT, collection, in_collection, load::for_each};
use crate::{crashes, place::Place, process::Process, visits::greeting};

on_each_emulator! {
    both_apps_serve_one_visitor_in_turn
    both_apps_serve_one_visitor_at_once
    the_tutorials_locks_cost_us_time_and_nothing_else
    a_plain_id_is_replaced_at_the_first_visit
    first_visits_at_once_lead_to_one_safe_id
}

/// The two apps on one collection.
struct Both {
    place: Place,
    greetings: Process,
    tutorial: Server,
}

impl Both {
    fn start(emulator: SocketAddr, options: &str) -> Self {
        let collection = collection();
        let place = in_collection(emulator, &collection, options);
        let greetings = Process::start(&place, &[]);
        let tutorial = testbed::tutorial::start(emulator, PROJECT, &collection, 2, 1);
        Self { place, greetings, tutorial }
    }

    /// A browser that has seen the page of the tutorial's app so often.
    async fn visitor_of_the_tutorial(&self, views: u64) -> Browser {
        let mut browser = Browser::new(self.tutorial.address());
        for count in 1..=views {
            assert_eq!(browser.get("/").await.views(), count);
        }
        browser
    }
}

async fn both_apps_serve_one_visitor_in_turn(emulator: SocketAddr) {
    const VIEWS: u64 = 200;
    let both = Both::start(emulator, "?ids=plain");
    let addresses = [both.greetings.address, both.tutorial.address()];
    for begins in addresses {
        let mut browser = Browser::new(begins);
        let first = browser.get("/").await;
        assert_eq!(first.views(), 1);
        let cookie = browser.cookie.clone().expect("a cookie");
        assert!(cookie.starts_with("session_id="), "{cookie}");
        for views in 2..=VIEWS {
            let address = fastrand::choice(addresses).expect("there are two");
            browser = browser.window(address);
            let answer = browser.get("/").await;
            assert_eq!(answer.views(), views, "from {address}");
            assert_eq!(greeting(&answer), greeting(&first));
            assert_eq!(browser.cookie.as_ref(), Some(&cookie));
        }
    }
    assert_eq!(both.place.count().await, Some(2));
}

/// Views of one session through both apps at once, and what each answered.
async fn views_of_both(
    both: &Both,
    browser: &Browser,
    views: usize,
    (views_of_the_tutorial, at_a_time): (usize, usize),
) -> (Vec<Answer>, Vec<Answer>) {
    let view = |address| {
        let browser = browser.window(address);
        move |_| {
            let mut window = browser.window(address);
            async move { window.get("/").await }
        }
    };
    tokio::join!(
        for_each(views, 20, view(both.greetings.address)),
        for_each(views_of_the_tutorial, at_a_time, view(both.tutorial.address())),
    )
}

async fn both_apps_serve_one_visitor_at_once(emulator: SocketAddr) {
    let both = Both::start(emulator, "?ids=plain");
    let browser = both.visitor_of_the_tutorial(1).await;
    let (ours, theirs) = views_of_both(&both, &browser, 400, (20, 1)).await;
    let mut counts: Vec<u64> = ours.iter().map(Answer::views).collect();
    // The tutorial's app may lose a race once too often. What it did not answer, it did not count.
    counts.extend(theirs.iter().filter(|answer| answer.status == 200).map(Answer::views));
    counts.sort_unstable();
    assert_eq!(counts, (2..).take(counts.len()).collect::<Vec<_>>());
    let last = browser.window(both.greetings.address).get("/").await.views();
    assert_eq!(last, counts.len() as u64 + 2);
}

/// Two transactions of the tutorial's app that meet wait for each other's locks until Firestore ends
/// one, and everybody waits for them.
async fn the_tutorials_locks_cost_us_time_and_nothing_else(emulator: SocketAddr) {
    let both = Both::start(emulator, "?ids=plain");
    let browser = both.visitor_of_the_tutorial(1).await;
    let (ours, theirs) = views_of_both(&both, &browser, 100, (12, 2)).await;
    let mut counts: Vec<u64> = ours.iter().map(Answer::views).collect();
    counts.extend(theirs.iter().filter(|answer| answer.status == 200).map(Answer::views));
    counts.sort_unstable();
    assert_eq!(counts, (2..).take(counts.len()).collect::<Vec<_>>());
    let mut window = browser.window(both.greetings.address);
    assert_eq!(crashes::views(&mut window).await, counts.len() as u64 + 1);
}

/// What the store holds under a plain id.
async fn look_up(place: &Place, browser: &Browser) -> Lookup {
    let store = (place.open)(place).await;
    let cookie = browser.cookie.as_ref().expect("a cookie");
    let id = cookie.strip_prefix("session_id=").expect("the tutorial's cookie");
    let key = Key::of_plain_id(id).expect("a plain id");
    store.load(&key, SystemClock.now()).await.expect("the store answers")
}

async fn a_plain_id_is_replaced_at_the_first_visit(emulator: SocketAddr) {
    let both = Both::start(emulator, "?ids=upgrade");
    let mut browser = both.visitor_of_the_tutorial(3).await;
    let mut old = browser.window(both.greetings.address);
    assert!(matches!(look_up(&both.place, &old).await, Lookup::Live(_)));

    browser = browser.window(both.greetings.address);
    let answer = browser.get("/").await;
    assert_eq!(answer.views(), 4);
    let mut cookies = answer.all("set-cookie");
    cookies.sort_unstable();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    let age = cookies[0].split("; Max-Age=").nth(1).and_then(|age| age.parse::<u64>().ok());
    // What is left of the 365 days that began with the first commit.
    assert!(cookies[0].starts_with("id="), "{cookies:?}");
    assert!(age.is_some_and(|age| (31_530_000..=31_536_000).contains(&age)), "{cookies:?}");
    assert_eq!(cookies[1], "session_id=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let new = browser.cookie.clone().expect("a cookie");
    assert_eq!(new.len(), "id=".len() + 43, "one cookie is left, with a safe id");

    // Who still has the old id learns that the session has moved, and not where to.
    assert!(matches!(look_up(&both.place, &old).await, Lookup::Moved { .. }));
    for target in ["/lab/data", "/"] {
        let answer = old.get(target).await;
        assert_eq!((answer.status, answer.set_cookie()), (409, None), "{answer:?}");
    }
    assert_eq!(both.place.count().await, Some(1));
    assert_eq!(browser.get("/").await.views(), 5);
}

async fn first_visits_at_once_lead_to_one_safe_id(emulator: SocketAddr) {
    const VISITS: usize = 16;
    let both = Both::start(emulator, "?ids=upgrade");
    let other = Process::start(&both.place, &[]);
    let old = both.visitor_of_the_tutorial(3).await;
    let visit = |number: usize| {
        let address = [both.greetings.address, other.address][number % 2];
        let mut window = old.window(address);
        async move { (window.get("/").await, window) }
    };
    let (mut counts, mut cookies) = (Vec::new(), BTreeSet::new());
    for (answer, window) in for_each(VISITS, VISITS, visit).await {
        if answer.status == 409 {
            assert_eq!(window.cookie, old.cookie, "{answer:?}");
        } else {
            counts.push(answer.views());
            // One whose session moved before its own end has no news for the browser.
            cookies.extend(window.cookie.filter(|cookie| cookie.starts_with("id=")));
        }
    }
    counts.sort_unstable();
    assert_eq!(counts, (4..).take(counts.len()).collect::<Vec<_>>());
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    let mut browser = Browser::new(other.address);
    browser.cookie = cookies.pop_first();
    assert_eq!(browser.get("/").await.views(), 4 + counts.len() as u64);
    assert!(matches!(look_up(&both.place, &old).await, Lookup::Moved { .. }));
    assert_eq!(both.place.count().await, Some(1));
}
