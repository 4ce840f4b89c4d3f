//! Which server a command goes to: the only one, or the one in a cluster that has its partition.
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
    advance::Advance,
    failure::{Failure, RedisError},
    link::Link,
    node::{Node, Settings},
    place::Partition,
};
use crate::detach;

/// How often a command is sent on. Twice is what a partition on the move can take.
const HOPS_MAX: usize = 4;

/// How long the cluster is not asked again where its records are.
const PAUSE: Duration = Duration::from_millis(100);

/// How long one server of a cluster is asked before the next one is.
const ASK_TIME_MAX: Duration = Duration::from_millis(500);

/// A cluster's number of slots.
const SLOTS: u16 = 16384;

#[derive(Clone)]
pub(super) enum Servers {
    One(Arc<Node>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Finds out what the servers of a configuration are, by the first that answers.
    pub(super) async fn find(settings: Settings) -> Result<Self, RedisError> {
        let settings = Arc::new(settings);
        let named = &settings.config.servers;
        let seeds: Vec<_> =
            named.iter().map(|(host, port)| Node::new(&settings, host, *port)).collect();
        let mut why = RedisError::Config("names no server");
        for seed in &seeds {
            match seed.link().await {
                Ok(link) if link.server.is_cluster => {
                    return Ok(Self::Cluster(Cluster::find(settings, &seeds, &link, seed).await?));
                }
                Ok(_) if seeds.len() > 1 => {
                    return Err(RedisError::NoCluster { server: seed.name() });
                }
                Ok(_) => return Ok(Self::One(Arc::clone(seed))),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends a command about one partition and returns its answer.
    pub(super) async fn call(&self, partition: Partition, command: &Cmd) -> Result<Value, Failure> {
        match self {
            Self::One(node) => {
                let link = link_of(node).await?;
                let answer = link.call(command).await;
                answer.inspect_err(|failure| leave_replica(&link, failure))
            }
            Self::Cluster(cluster) => Box::pin(cluster.call(partition, command)).await,
        }
    }

    /// Sends commands about several partitions and returns their answers in the same order, with one
    /// round trip to each server.
    pub(super) async fn call_all(
        &self,
        commands: Vec<(Partition, Cmd)>,
    ) -> Result<Vec<Value>, Failure> {
        let mut answers: Vec<Option<Value>> = commands.iter().map(|_| None).collect();
        for master in self.masters() {
            let theirs =
                |partition| self.owner(partition).is_some_and(|node| Arc::ptr_eq(&node, &master));
            let (mut places, mut batch) = (Vec::new(), Pipeline::new());
            for (place, (partition, command)) in commands.iter().enumerate() {
                if theirs(*partition) {
                    places.push(place);
                    batch.add_command(command.clone());
                }
            }
            if places.is_empty() {
                continue;
            }
            let link = master.link().await.map_err(Failure::NotSent)?;
            for (place, answer) in places.into_iter().zip(link.call_all(&batch).await?) {
                if let (Some(place), Ok(answer)) = (answers.get_mut(place), answer) {
                    *place = Some(answer);
                }
            }
        }
        let mut all = Vec::with_capacity(answers.len());
        for (answer, (partition, command)) in answers.into_iter().zip(&commands) {
            all.push(match answer {
                Some(answer) => answer,
                // Refused: it has moved, or the refusal is to be told.
                None => self.call(*partition, command).await?,
            });
        }
        Ok(all)
    }

    /// Sends a command whose answer nobody needs, without making its caller wait.
    pub(super) fn tell(&self, partition: Partition, mut command: Cmd) {
        if let Some(node) = self.owner(partition) {
            detach::spawn(async move {
                if let Ok(link) = node.link().await {
                    link.tell(&mut command).await;
                }
            });
        }
    }

    fn owner(&self, partition: Partition) -> Option<Arc<Node>> {
        match self {
            Self::One(node) => Some(Arc::clone(node)),
            Self::Cluster(cluster) => cluster.owner(partition),
        }
    }

    /// Every server that has records.
    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) => vec![Arc::clone(node)],
            Self::Cluster(cluster) => cluster.masters(),
        }
    }
}

/// Makes an advance on the only server, and returns what there is if it is not done.
pub(super) fn advance(
    link: &Link,
    advance: Advance,
) -> impl Future<Output = Result<Value, Failure>> {
    let answer = link.advance(advance);
    async move { answer.await.inspect_err(|failure| leave_replica(link, failure)) }
}

/// The connection with a server, made if there is none.
pub(super) async fn link_of(node: &Arc<Node>) -> Result<Arc<Link>, Failure> {
    match node.open_link() {
        Some(link) => Ok(link),
        // As with all that is rarely taken.
        None => Box::pin(node.link()).await.map_err(Failure::NotSent),
    }
}

/// A server that became a replica is of no use. Who asks next may find the master under its name.
fn leave_replica(link: &Link, failure: &Failure) {
    if refused(failure).is_some_and(|refusal| refusal.code() == "READONLY") {
        link.give_up();
    }
}

fn refused(failure: &Failure) -> Option<&ServerError> {
    match failure {
        Failure::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

pub(super) struct Cluster {
    settings: Arc<Settings>,
    /// Those that the configuration names.
    seeds: Vec<Arc<Node>>,
    map: Mutex<Map>,
    asking: AtomicBool,
}

#[derive(Default)]
struct Map {
    nodes: HashMap<(String, u16), Arc<Node>>,
    /// Who has which partition.
    owners: Vec<Option<Arc<Node>>>,
    asked: Option<Instant>,
}

impl Cluster {
    async fn find(
        settings: Arc<Settings>,
        seeds: &[Arc<Node>],
        link: &Link,
        seed: &Node,
    ) -> Result<Arc<Self>, RedisError> {
        let prefix = settings.config.prefix.clone();
        let database = settings.config.database;
        if database != 0 {
            let message = "a cluster has one, which is 0".to_owned();
            return Err(RedisError::NoDatabase { server: seed.name(), database, message });
        }
        let nodes = seeds.iter().map(|seed| (seed.place(), Arc::clone(seed))).collect();
        let map = Mutex::new(Map { nodes, ..Map::default() });
        let asking = AtomicBool::new(false);
        let cluster = Arc::new(Self { settings, seeds: seeds.to_vec(), map, asking });
        let answer = link.call(&slots()).await.map_err(|failure| failure.explained(&prefix))?;
        cluster.learn(&answer, &seed.host);
        if cluster.map().owners.iter().any(Option::is_none) {
            return Err(RedisError::NotCovered { server: seed.name() });
        }
        Ok(cluster)
    }

    async fn call(self: &Arc<Self>, partition: Partition, command: &Cmd) -> Result<Value, Failure> {
        let Some(mut node) = self.owner(partition) else {
            self.ask();
            let server = self.seeds.first().map_or_else(String::new, |seed| seed.name());
            return Err(Failure::NotSent(RedisError::NotCovered { server }));
        };
        let mut asking = false;
        for _ in 0..HOPS_MAX {
            let link = node.link().await.map_err(|error| {
                self.ask();
                Failure::NotSent(error)
            })?;
            let failure = match send(&link, command, asking).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(refusal) = refused(&failure) else {
                self.ask();
                return Err(failure);
            };
            let to = |refusal: &ServerError| self.target(refusal, &node.host);
            (node, asking) = match (refusal.code(), to(refusal)) {
                ("MOVED", Some(to)) => {
                    self.ask();
                    (to, false)
                }
                ("ASK", Some(to)) => (to, true),
                (code, _) => {
                    if matches!(code, "READONLY" | "CLUSTERDOWN" | "MOVED") {
                        link.give_up();
                        self.ask();
                    }
                    return Err(failure);
                }
            };
        }
        let message = "its partition keeps moving".to_owned();
        Err(Failure::NotSent(RedisError::NotNow { message }))
    }

    fn owner(&self, partition: Partition) -> Option<Arc<Node>> {
        self.map().owners.get(usize::from(partition.0)).cloned().flatten()
    }

    fn masters(&self) -> Vec<Arc<Node>> {
        let mut masters: Vec<Arc<Node>> = Vec::new();
        for owner in self.map().owners.iter().flatten() {
            if !masters.iter().any(|master| Arc::ptr_eq(master, owner)) {
                masters.push(Arc::clone(owner));
            }
        }
        masters
    }

    /// The server that a redirection names: `SLOT HOST:PORT`, where no host means the same one.
    fn target(&self, refusal: &ServerError, same: &str) -> Option<Arc<Node>> {
        let (_, address) = refusal.details()?.split_once(' ')?;
        let (host, port) = address.split_whitespace().next()?.rsplit_once(':')?;
        let host = if matches!(host, "" | "?") { same } else { host };
        Some(self.node(&mut self.map(), host, port.parse().ok()?))
    }

    fn node(&self, map: &mut Map, host: &str, port: u16) -> Arc<Node> {
        let node = map.nodes.entry((host.to_owned(), port));
        Arc::clone(node.or_insert_with(|| Node::new(&self.settings, host, port)))
    }

    /// Asks the cluster anew where its records are, in a task of its own, and not all the time.
    fn ask(self: &Arc<Self>) {
        let recently = self.map().asked.is_some_and(|asked| asked.elapsed() < PAUSE);
        if recently || self.asking.swap(true, Ordering::Relaxed) {
            return;
        }
        let asking = Asking(Arc::clone(self));
        detach::spawn(async move {
            let cluster = &asking.0;
            for node in cluster.masters().iter().chain(&cluster.seeds) {
                let answer = async {
                    let link = node.link().await.map_err(Failure::NotSent)?;
                    link.call(&slots()).await
                };
                // One that is silent must not keep the others from being asked.
                if let Ok(Ok(answer)) = timeout(ASK_TIME_MAX, answer).await {
                    cluster.learn(&answer, &node.host);
                    return;
                }
            }
        });
    }

    fn learn(&self, answer: &Value, asked: &str) {
        let mut map = self.map();
        let mut owners = vec![None; 256];
        let Value::Array(ranges) = answer else { return };
        for (from, to, host, port) in ranges.iter().filter_map(range) {
            let host = if matches!(host, "" | "?") { asked } else { host };
            let node = self.node(&mut map, host, port);
            for (owner, partition) in owners.iter_mut().zip(0..=u8::MAX) {
                if (from..=to).contains(&slot(Partition(partition))) {
                    *owner = Some(Arc::clone(&node));
                }
            }
        }
        // Those that left the cluster are closed when nobody uses them any more.
        map.nodes.retain(|_, node| owners.iter().flatten().any(|owner| Arc::ptr_eq(owner, node)));
        map.owners = owners;
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

/// The slot of a partition's keys: CRC16, as XMODEM has it, of what stands between the braces.
pub(super) fn slot(partition: Partition) -> u16 {
    let tag = format!("{:02x}", partition.0);
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let carry = if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            (crc << 1) ^ carry
        })
    });
    crc % SLOTS
}
