//! Whatever happens on a connection, nobody is given an answer that was somebody else's.

use std::{
    future::ready,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream as Tcp},
    select,
    time::{sleep, timeout},
};

use super::*;
use crate::common::LONG;

/// What a proxy does to the next question or answer, once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mischief {
    None,
    /// Says this before the answer, as if it came late from another question.
    SayFirst(&'static str),
    /// Says this behind the answer.
    SayBehind(&'static str),
    /// Hands over the question and ends the connection before the answer.
    CutAnswer,
    /// Ends the connection in the middle of the question.
    CutQuestion,
    /// Hands over the answer byte by byte.
    Drip,
}

/// Stands between a store and memcached.
#[derive(Clone)]
struct Proxy {
    address: SocketAddr,
    mischief: Arc<Mutex<Mischief>>,
}

impl Proxy {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Self { address, mischief: Arc::new(Mutex::new(Mischief::None)) };
        let running = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = Tcp::connect(server).await.unwrap();
                tokio::spawn(running.clone().pass(client, server));
            }
        });
        proxy
    }

    fn next(&self, mischief: Mischief) {
        *self.mischief.lock().unwrap() = mischief;
    }

    fn take(&self) -> Mischief {
        std::mem::replace(&mut *self.mischief.lock().unwrap(), Mischief::None)
    }

    /// Hands each question over as a whole, and each answer.
    async fn pass(self, mut client: Tcp, mut server: Tcp) -> Option<()> {
        let mut bytes = vec![0; 256 * 1024];
        loop {
            let read = client.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
            let mischief = self.take();
            let sent = if mischief == Mischief::CutQuestion { read / 2 } else { read };
            server.write_all(&bytes[..sent]).await.ok()?;
            if mischief == Mischief::CutQuestion {
                return None;
            }
            let read = server.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
            match mischief {
                Mischief::CutAnswer => return None,
                Mischief::SayFirst(line) => client.write_all(line.as_bytes()).await.ok()?,
                Mischief::Drip => {
                    for byte in &bytes[..read] {
                        client.write_all(&[*byte]).await.ok()?;
                        sleep(Duration::from_micros(50)).await;
                    }
                    continue;
                }
                _ => {}
            }
            client.write_all(&bytes[..read]).await.ok()?;
            if let Mischief::SayBehind(line) = mischief {
                client.write_all(line.as_bytes()).await.ok()?;
            }
        }
    }
}

async fn scene() -> (Scene, Proxy, Memcached) {
    let [server, ..] = testbed::memcached::shared();
    let proxy = Proxy::before(server).await;
    let scene = Scene::on([proxy.address]);
    let store = scene.store().await;
    (scene, proxy, store)
}

#[tokio::test]
async fn an_answer_to_another_question_is_no_answer() {
    let (scene, proxy, store) = scene().await;
    let base = scene.create(&store, scene.record(1)).await;
    let key = base.record.header.key;
    for line in [
        "EN\r\n",
        "EN O1\r\n",
        "HD c1 O1\r\n",
        "VA 2 c1 O1\r\n{}\r\n",
        "VA 99999999999 c1 O1\r\n",
        "STORED\r\n",
        "\r\n",
        "\n",
        "MN\r\n",
    ] {
        proxy.next(Mischief::SayFirst(line));
        let loaded = store.load(&key, scene.now).await;
        let error = loaded.expect_err("neither nothing nor another's record");
        assert_eq!(said(&error), (ErrorKind::Unavailable, Applied::No), "{line}");
        assert_eq!(scene.found(&store, &key).await, Some(base.clone()), "{line}");
    }
    proxy.next(Mischief::SayFirst("HD c77 O1\r\n"));
    let record = next(&base, 2);
    let error =
        failure(store.commit(Write::Replace { base: &base, record: &record }, scene.now).await);
    assert_eq!(said(&error), (ErrorKind::Unavailable, Applied::Unknown));
    let now_there = scene.found(&store, &key).await.unwrap();
    assert_eq!(now_there.record, record, "it was made, and nobody could say so");
}

#[tokio::test]
async fn what_comes_behind_an_answer_is_never_the_next_one() {
    let (scene, proxy, store) = scene().await;
    let base = scene.create(&store, scene.record(1)).await;
    let key = base.record.header.key;
    for _ in 0..20 {
        proxy.next(Mischief::SayBehind("EN O3\r\n"));
        // It may come together with the answer, while the connection is idle, or before the next
        // answer; whoever reads it is told that something is wrong.
        for _ in 0..2 {
            match store.load(&key, scene.now).await {
                Ok(found) => assert_eq!(found, Lookup::Live(base.clone())),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        }
        assert_eq!(scene.found(&store, &key).await, Some(base.clone()));
    }
}

#[tokio::test]
async fn a_lost_answer_is_a_perhaps_and_a_cut_question_too() {
    let (scene, proxy, store) = scene().await;
    for (mischief, made) in [(Mischief::CutAnswer, true), (Mischief::CutQuestion, false)] {
        let base = scene.create(&store, scene.record(1)).await;
        let key = base.record.header.key;
        let record = next(&base, 2);
        proxy.next(mischief);
        let replace = Write::Replace { base: &base, record: &record };
        let error = failure(store.commit(replace, scene.now).await);
        assert_eq!(said(&error), (ErrorKind::Unavailable, Applied::Unknown), "{mischief:?}");
        let found = scene.found(&store, &key).await.unwrap();
        assert_eq!(n_of(&found), if made { 2 } else { 1 }, "{mischief:?}");
        // The same write again is made once.
        let again = store.commit(replace, scene.now).await;
        assert_eq!(again.is_ok(), !made, "{again:?}");
        let create = scene.record(3).into();
        proxy.next(mischief);
        let create = store.commit(Write::Create { record: &create }, scene.now).await;
        assert_eq!(failure(create).applied(), Applied::Unknown);
        proxy.next(mischief);
        let error = store.load(&key, scene.now).await.unwrap_err();
        assert_eq!(said(&error), (ErrorKind::Unavailable, Applied::No), "{mischief:?}");
    }
}

#[tokio::test]
async fn an_answer_may_come_byte_by_byte() {
    let (scene, proxy, store) = scene().await;
    let base = scene.create(&store, scene.record(1)).await;
    for _ in 0..3 {
        proxy.next(Mischief::Drip);
        let found = scene.found(&store, &base.record.header.key).await;
        assert_eq!(found, Some(base.clone()));
    }
}

/// Loads at once, many of them given up at one wait or another; returns how many were, and how many
/// were answered.
async fn many_loads(scene: &Scene, store: &Memcached, all: &[Loaded], rounds: u64) -> (u32, u32) {
    let (dropped, answered) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let tasks = (0..32u64).map(|task| {
        let (store, all, now) = (store.clone(), all.to_vec(), scene.now);
        let (dropped, answered) = (Arc::clone(&dropped), Arc::clone(&answered));
        tokio::spawn(async move {
            for round in 0..rounds {
                let base = &all[((task * 7 + round) % all.len() as u64) as usize];
                let waits = if round % 3 == 0 { u64::MAX } else { (task + round) % 4 };
                match up_to(waits, store.load(&base.record.header.key, now)).await {
                    Some(Ok(found)) => {
                        assert_eq!(found.live().as_ref(), Some(base), "another's record, or none");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::Unavailable),
                    None => _ = dropped.fetch_add(1, Ordering::Relaxed),
                }
                tokio::task::yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    (dropped.load(Ordering::Relaxed), answered.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_dropped_leave_no_answer_to_others() {
    let server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let store = scene.store().await;
    let mut all = Vec::new();
    for n in 0..16 {
        all.push(scene.create(&store, scene.record(n)).await);
    }
    let (dropped, answered) = many_loads(&scene, &store, &all, 300).await;
    assert!(dropped > 100 && answered > 100, "{dropped} and {answered}");
    // All at once must wait for their turn, and no more connections are made. The server may be slow to
    // notice which of them were closed.
    let mut shell = Shell::new(server.address());
    let few = async {
        while shell.stat("curr_connections") > 64 + 8 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, few).await.expect("the connections of calls that were dropped are closed");
}

#[tokio::test]
async fn a_call_that_is_soon_dropped_closes_no_connection_but_its_own() {
    let server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let store = scene.store().await;
    let key = scene.create(&store, scene.record(1)).await.record.header.key;
    // Two at once have a connection each.
    let found = tokio::join!(scene.found(&store, &key), scene.found(&store, &key));
    assert!(found.0.is_some() && found.1.is_some());
    let mut shell = Shell::new(server.address());
    let made = shell.stat("total_connections");
    select! {
        biased;
        found = store.load(&key, scene.now) => panic!("{found:?}"),
        () = ready(()) => {}
    }
    assert!(scene.found(&store, &key).await.is_some());
    assert_eq!(shell.stat("total_connections"), made, "the other one serves on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_that_come_late_reach_nobody() {
    let server = testbed::memcached::start(&[]);
    let scene = Scene::on([server.address()]);
    let store = scene.store().await;
    let mut all = Vec::new();
    for n in 0..16 {
        all.push(scene.create(&store, scene.record(n)).await);
    }
    for _ in 0..5 {
        server.pause();
        // More than there are connections for; all of them are given up.
        let given_up: Vec<_> = (0..200)
            .map(|n| {
                let (store, now) = (store.clone(), scene.now);
                let key = all[n % all.len()].record.header.key;
                tokio::spawn(async move {
                    timeout(Duration::from_millis(100), store.load(&key, now)).await
                })
            })
            .collect();
        for given_up in given_up {
            // By us, or by the store, where that came first to see how late it is.
            let answer = given_up.await.unwrap();
            assert!(!matches!(answer, Ok(Ok(_))), "{answer:?}");
        }
        server.resume();
        let (_, answered) = many_loads(&scene, &store, &all, 20).await;
        assert!(answered > 100, "{answered}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_that_are_dropped_are_made_once_or_not_at_all() {
    let scene = Scene::shared();
    let store = scene.store().await;
    let first = scene.create(&store, scene.record(0)).await;
    let key = first.record.header.key;
    // Made, and given up on the way.
    let counts: Arc<[AtomicU32; 2]> = Arc::default();
    let tasks = (0..8u64).map(|task| {
        let (store, now, counts) = (store.clone(), scene.now, Arc::clone(&counts));
        tokio::spawn(async move {
            let [made, perhaps] = &*counts;
            let mut round = task;
            while made.load(Ordering::Relaxed) < 50 || perhaps.load(Ordering::Relaxed) < 50 {
                round += 1;
                let base = store.load(&key, now).await.unwrap().live().unwrap();
                let record = next(&base, n_of(&base) + 1);
                let replace = store.commit(Write::Replace { base: &base, record: &record }, now);
                let waits = if round % 5 == 0 { u64::MAX } else { round % 5 - 1 };
                match up_to(waits, replace).await {
                    Some(Ok(_)) => _ = made.fetch_add(1, Ordering::Relaxed),
                    Some(Err(CommitError::Conflict(newer))) => {
                        assert_eq!(newer.unwrap().record.header.key, key);
                    }
                    Some(Err(error)) => panic!("{error:?}"),
                    None => _ = perhaps.fetch_add(1, Ordering::Relaxed),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let [made, perhaps] = counts.each_ref().map(|count| u64::from(count.load(Ordering::Relaxed)));
    let found = n_of(&scene.found(&store, &key).await.unwrap());
    assert!((made..=made + perhaps).contains(&found), "{made} and {perhaps}, but {found}");
}
