//! A cluster: which of its servers has which partition, and commands that are sent on to another one.
//!
//! A redirection is a refusal, so the command is sent on; that is no second attempt. Nothing that
//! may have been done is ever sent again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{Cmd, Pipeline, ServerError, Value};
use tokio::time::timeout;

use super::{
    super::{
        error::{self, Cause, Failure},
        names::Partition,
    },
    dial::Address,
    link::Link,
    node::{Node, Settings},
};
use crate::detach;

/// How often a command is sent on. Twice is what a partition on the move can take.
pub(in crate::store) const HOPS_MAX: usize = 4;

/// How long the cluster is not asked again where its records are.
const PAUSE: Duration = Duration::from_millis(100);

/// How long one server of a cluster is asked before the next one is.
pub(in crate::store) const ASK_TIME_MAX: Duration = Duration::from_millis(500);

pub(super) struct Cluster {
    settings: Arc<Settings>,
    /// Those that the configuration names.
    seeds: Vec<Arc<Node>>,
    map: Mutex<Map>,
    asking: AtomicBool,
}

#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    /// Who has which partition.
    owners: Vec<Option<Arc<Node>>>,
    asked: Option<Instant>,
}

impl Cluster {
    pub(super) async fn find(
        settings: &Arc<Settings>,
        seeds: &[Arc<Node>],
        link: &Link,
        seed: &Node,
    ) -> Result<Arc<Self>, Cause> {
        let prefix = settings.config.prefix.clone();
        let database = settings.config.database;
        if database != 0 {
            let message = "a cluster has one, which is 0";
            return Err(error::no_database(&seed.name(), database, message));
        }
        let nodes = seeds.iter().map(|seed| (seed.address.clone(), Arc::clone(seed))).collect();
        let map = Mutex::new(Map { nodes, ..Map::default() });
        let asking = AtomicBool::new(false);
        let settings = Arc::clone(settings);
        let cluster = Arc::new(Self { settings, seeds: seeds.to_vec(), map, asking });
        let answer = link.call(&slots()).await.map_err(|failure| failure.into_cause(&prefix))?;
        match cluster.learn(&answer, seed.address.host()) {
            true => Ok(cluster),
            false => Err(error::not_covered(&seed.name())),
        }
    }

    /// Sends the command that `make` makes for a server's connection.
    pub(super) async fn call(
        self: &Arc<Self>,
        partition: Partition,
        make: impl Fn(&Link) -> Cmd,
    ) -> Result<Value, Failure> {
        let Some(mut node) = self.owner(partition) else {
            self.ask(None);
            let server = self.seeds.first().map_or_else(String::new, |seed| seed.name());
            return Err(Failure::NotSent(error::not_covered(&server)));
        };
        let mut asking = false;
        for _ in 0..HOPS_MAX {
            let link = node.link().await.map_err(|error| {
                self.ask(Some(&node));
                Failure::NotSent(error)
            })?;
            let failure = match send(&link, &make(&link), asking).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(refusal) = failure.refusal() else {
                self.ask(Some(&node));
                return Err(failure);
            };
            let to = |refusal: &ServerError| self.target(refusal, node.address.host());
            (node, asking) = match (refusal.code(), to(refusal)) {
                ("MOVED", Some(to)) => {
                    self.ask(None);
                    (to, false)
                }
                ("ASK", Some(to)) => (to, true),
                (code, _) => {
                    if matches!(code, "READONLY" | "CLUSTERDOWN" | "MOVED") {
                        link.give_up();
                        self.ask(Some(&node));
                    }
                    return Err(failure);
                }
            };
        }
        Err(Failure::NotSent(error::not_now("its partition keeps moving")))
    }

    pub(super) fn owner(&self, partition: Partition) -> Option<Arc<Node>> {
        self.map().owners.get(usize::from(partition.0)).cloned().flatten()
    }

    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        let mut masters: Vec<Arc<Node>> = Vec::new();
        for owner in self.map().owners.iter().flatten() {
            if !masters.iter().any(|master| Arc::ptr_eq(master, owner)) {
                masters.push(Arc::clone(owner));
            }
        }
        masters
    }

    /// One partition of each server, and one that no server has, if there is such a one.
    pub(super) fn one_partition_each(&self) -> Vec<Partition> {
        let map = self.map();
        let mut seen: Vec<Option<&Arc<Node>>> = Vec::new();
        let mut partitions = Vec::new();
        for (owner, partition) in map.owners.iter().zip(0..=u8::MAX) {
            let owner = owner.as_ref();
            let is_seen = |other: &Option<&Arc<Node>>| match (other, owner) {
                (Some(other), Some(owner)) => Arc::ptr_eq(other, owner),
                (other, owner) => other.is_none() && owner.is_none(),
            };
            if !seen.iter().any(is_seen) {
                seen.push(owner);
                partitions.push(Partition(partition));
            }
        }
        partitions
    }

    /// The server that a redirection names: `SLOT HOST:PORT`, where no host means the same one.
    fn target(&self, refusal: &ServerError, same: &str) -> Option<Arc<Node>> {
        let (_, address) = refusal.details()?.split_once(' ')?;
        let (host, port) = address.split_whitespace().next()?.rsplit_once(':')?;
        let host = if matches!(host, "" | "?") { same } else { host };
        Some(self.node(&mut self.map(), host, port.parse().ok()?))
    }

    fn node(&self, map: &mut Map, host: &str, port: u16) -> Arc<Node> {
        let address = Address::Tcp(host.to_owned(), port);
        let node = map.nodes.entry(address.clone());
        Arc::clone(node.or_insert_with(|| Node::new(&self.settings, address)))
    }

    /// Asks the cluster anew where its records are, in a task of its own, and not all the time. Who has
    /// failed a call is asked last: it may know less than the others, or what is no longer so.
    fn ask(self: &Arc<Self>, failed: Option<&Arc<Node>>) {
        let recently = self.map().asked.is_some_and(|asked| asked.elapsed() < PAUSE);
        if recently || self.asking.swap(true, Ordering::Relaxed) {
            return;
        }
        let asking = Asking(Arc::clone(self));
        let mut nodes = self.masters();
        nodes.extend(self.seeds.iter().cloned());
        // The others stay in their order.
        nodes.sort_by_key(|node| failed.is_some_and(|failed| Arc::ptr_eq(failed, node)));
        detach::spawn(async move {
            let cluster = &asking.0;
            for node in nodes {
                let answer = async {
                    let link = node.link().await.map_err(Failure::NotSent)?;
                    link.call(&slots()).await
                };
                // One that is silent must not keep the others from being asked.
                if let Ok(Ok(answer)) = timeout(ASK_TIME_MAX, answer).await
                    && cluster.learn(&answer, node.address.host())
                {
                    return;
                }
            }
        });
    }

    /// Takes an answer for what is so from now on. One that names no server for some partition is not taken:
    /// it comes from a server that has not met the others, or has forgotten them.
    fn learn(&self, answer: &Value, asked: &str) -> bool {
        let Value::Array(ranges) = answer else { return false };
        let mut map = self.map();
        let mut owners = vec![None; 256];
        for (from, to, host, port) in ranges.iter().filter_map(range) {
            let host = if matches!(host, "" | "?") { asked } else { host };
            let node = self.node(&mut map, host, port);
            for (owner, partition) in owners.iter_mut().zip(0..=u8::MAX) {
                if (from..=to).contains(&Partition(partition).slot()) {
                    *owner = Some(Arc::clone(&node));
                }
            }
        }
        if owners.iter().any(Option::is_none) {
            return false;
        }
        // Those that left the cluster are closed when nobody uses them any more.
        map.nodes.retain(|_, node| owners.iter().flatten().any(|owner| Arc::ptr_eq(owner, node)));
        map.owners = owners;
        true
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody asks where the records are, until this is dropped.
struct Asking(Arc<Cluster>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.map().asked = Some(Instant::now());
        self.0.asking.store(false, Ordering::Relaxed);
    }
}

async fn send(link: &Link, command: &Cmd, asking: bool) -> Result<Value, Failure> {
    if !asking {
        return link.call(command).await;
    }
    let mut commands = Pipeline::with_capacity(2);
    commands.cmd("ASKING").add_command(command.clone());
    let answers = link.call_all(&commands).await?;
    answers
        .into_iter()
        .last()
        .unwrap_or_else(|| Err(Failure::Lost("there is no answer".to_owned())))
}

fn slots() -> Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    command
}

/// One entry of the answer: the first slot, the last one, and who has them.
fn range(entry: &Value) -> Option<(u16, u16, &str, u16)> {
    let number = |value: Option<&Value>| match value {
        Some(Value::Int(number)) => u16::try_from(*number).ok(),
        _ => None,
    };
    let Value::Array(entry) = entry else { return None };
    let (from, to) = (number(entry.first())?, number(entry.get(1))?);
    let Value::Array(master) = entry.get(2)? else { return None };
    let host = match master.first()? {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        // It does not know its own address, which is the one where it was asked.
        _ => "",
    };
    Some((from, to, host, number(master.get(1))?))
}
