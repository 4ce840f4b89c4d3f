//! What the store asks its servers through: one server, or a cluster.
//!
//! It knows no record. A call is sent once; `cluster.rs` says why one that is sent on is no exception.

use std::{collections::BTreeMap, slice, sync::Arc};

use redis::{Cmd, Pipeline, Value};

use self::{
    cluster::Cluster,
    dial::Address,
    link::Link,
    listen::Ends,
    node::{Node, Settings},
    pipeline::refused,
    tls::Tls,
};
use super::{
    config::RedisConfig,
    error::{self, Cause, Failure},
    last_writes::LastWrites,
    names::{Names, Partition},
    scripts::{
        Script,
        swap::{self, Swap},
    },
};
use crate::{
    detach,
    store::{Error, OpenError, floor::pulse::Pulse},
};

pub(super) mod check;
mod cluster;
mod dial;
mod frame;
mod greet;
mod link;
mod listen;
mod node;
mod pipeline;
pub(super) mod server;
mod tls;

#[cfg(test)]
pub(super) use self::{
    cluster::{ASK_TIME_MAX, HOPS_MAX},
    dial::STEP_TIME_MAX,
    link::SILENCE_MAX,
    node::PAUSE,
    pipeline::{BATCH, CALL_TIME_MAX, CALLS_WAITING},
};

/// The servers, and how the keys on them are named.
pub(super) struct Client {
    pub(super) names: Names,
    pub(super) last_writes: LastWrites,
    servers: Servers,
}

enum Servers {
    One(Arc<Node>),
    Cluster(Arc<Cluster>),
}

impl Client {
    /// Connects to the first server of a configuration that answers, and finds out what it is part of.
    pub(super) async fn open(config: &RedisConfig) -> Result<Self, OpenError> {
        let tls = Tls::of(config).await?;
        let settings = Arc::new(Settings { config: config.clone(), tls, pulse: Pulse::start() });
        let servers = Servers::find(&settings).await?;
        let names = Names::new(&config.prefix);
        Ok(Self { names, last_writes: LastWrites::default(), servers })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    /// What a failure is for a caller of the store.
    pub(super) fn error(&self, failure: Failure) -> Error {
        failure.into_error(self.names.prefix())
    }

    /// Sends a command about one partition and returns its answer.
    pub(super) async fn call(&self, partition: Partition, command: &Cmd) -> Result<Value, Failure> {
        match &self.servers {
            Servers::One(node) => {
                let link = link_of(node).await?;
                let answer = link.call(command).await;
                answer.inspect_err(|failure| leave_replica(&link, failure))
            }
            Servers::Cluster(cluster) => {
                Box::pin(cluster.call(partition, |_| command.clone())).await
            }
        }
    }

    /// Runs a script. That a server does not have it yet is proof that nothing happened.
    pub(super) async fn run(
        &self,
        partition: Partition,
        script: &Script,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        match self.call(partition, command).await {
            Err(Failure::Refused(refusal)) if refusal.code() == "NOSCRIPT" => {
                let whole = script.with_text(command);
                Box::pin(self.call(partition, &whole)).await
            }
            answer => answer,
        }
    }

    /// Makes a swap. Answers `OK` if it is done, else what there is, or nothing if that is not known.
    ///
    /// The server that it comes to decides how it is made. On one server it goes together with those that are
    /// made at the same time.
    pub(super) async fn swap(&self, partition: Partition, swap: Swap) -> Result<Value, Failure> {
        match &self.servers {
            Servers::One(node) => {
                let link = link_of(node).await?;
                let answer = link.swap(swap).await;
                answer.inspect_err(|failure| leave_replica(&link, failure))
            }
            Servers::Cluster(cluster) => Box::pin(swap_alone(cluster, partition, swap)).await,
        }
    }

    /// Sends commands about several partitions and returns their answers in the same order, with one
    /// round trip to each server. A server refuses each for itself.
    pub(super) async fn call_all(
        &self,
        commands: Vec<(Partition, Cmd)>,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let mut answers: Vec<Option<Value>> = commands.iter().map(|_| None).collect();
        for master in self.servers.masters() {
            let theirs = |partition| {
                self.servers.owner(partition).is_some_and(|node| Arc::ptr_eq(&node, &master))
            };
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
            let link = link_of(&master).await?;
            for (place, answer) in places.into_iter().zip(link.call_all(&batch).await?) {
                if let (Some(place), Ok(answer)) = (answers.get_mut(place), answer) {
                    *place = Some(answer);
                }
            }
        }
        let mut all = Vec::with_capacity(answers.len());
        for (answer, (partition, command)) in answers.into_iter().zip(&commands) {
            all.push(match answer {
                Some(answer) => Ok(answer),
                // Refused: it has moved, or the refusal is to be told.
                None => match self.call(*partition, command).await {
                    Err(failure) if !matches!(failure, Failure::Refused(_)) => return Err(failure),
                    answer => answer,
                },
            });
        }
        Ok(all)
    }

    /// Sends a command whose answer nobody needs, without making its caller wait.
    pub(super) fn tell(&self, partition: Partition, command: Cmd) {
        if let Some(node) = self.servers.owner(partition) {
            detach::spawn(async move {
                if let Ok(link) = node.link().await {
                    link.tell(&command);
                }
            });
        }
    }

    /// Begins to listen at one of the servers: in a cluster, each passes on what any is told. None if
    /// this user may not.
    pub(super) async fn listen(&self) -> Result<Option<Ends>, Failure> {
        let mut why = error::not_now("no server is known");
        for node in self.servers.masters() {
            match Ends::listen(&node, &self.names).await {
                Ok(ends) => return Ok(ends),
                Err(cause) => why = cause,
            }
        }
        Err(Failure::NotSent(why))
    }

    /// What the servers are, as far as it is known, and how they commit.
    pub(super) fn describe(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for link in self.servers.masters().iter().filter_map(|node| node.any_link()) {
            if let Some(server) = link.server() {
                let way = if link.has_ifeq() { "`SET … IFEQ`" } else { "a script" };
                *kinds.entry(format!("{server}, each commit is {way}")).or_default() += 1;
            }
        }
        let kind = |(kind, count): (&String, &usize)| match (&self.servers, count) {
            (Servers::One(_), _) => kind.clone(),
            (Servers::Cluster(_), 1) => format!("1 server of a cluster: {kind}"),
            (Servers::Cluster(_), count) => format!("{count} servers of a cluster: {kind}"),
        };
        kinds.iter().map(kind).collect::<Vec<_>>().join("; ")
    }

    /// Every server that has records.
    pub(super) fn masters(&self) -> Vec<Master> {
        self.servers.masters().into_iter().map(Master).collect()
    }

    /// The server that has a partition, if it is known.
    pub(super) fn master_of(&self, partition: Partition) -> Option<Master> {
        self.servers.owner(partition).map(Master)
    }

    /// One partition of each server that has records, and one that no server has, if there is such a one.
    pub(super) fn one_partition_each(&self) -> Vec<Partition> {
        match &self.servers {
            Servers::One(_) => vec![Partition(0)],
            Servers::Cluster(cluster) => cluster.one_partition_each(),
        }
    }
}

/// A server that has records.
pub(super) struct Master(Arc<Node>);

impl Master {
    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        self.0.name()
    }

    /// What a person begins a command to it with.
    pub(super) fn command_line(&self) -> String {
        self.0.command_line()
    }

    /// Sends a command that is about no partition.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        link_of(&self.0).await?.call(command).await
    }
}

impl Servers {
    /// Finds out what the servers of a configuration are, by the first that says it.
    async fn find(settings: &Arc<Settings>) -> Result<Self, Cause> {
        let config = &settings.config;
        let socket = config.socket.iter().map(|path| Address::Unix(path.clone()));
        let hosts = config.servers.iter().map(|(host, port)| Address::Tcp(host.clone(), *port));
        let seeds: Vec<_> =
            socket.chain(hosts).map(|address| Node::new(settings, address)).collect();
        let mut why = None;
        for seed in &seeds {
            match seed.link().await {
                Ok(_) if seed.is_cluster() && config.socket.is_some() => {
                    return Err(error::socket_of_cluster(&seed.name()));
                }
                Ok(link) if seed.is_cluster() => {
                    match Cluster::find(settings, &seeds, &link, seed).await {
                        Ok(cluster) => return Ok(Self::Cluster(cluster)),
                        Err(error) => why = Some(error),
                    }
                }
                Ok(_) if seeds.len() > 1 => return Err(error::no_cluster(&seed.name())),
                Ok(_) => return Ok(Self::One(Arc::clone(seed))),
                Err(error) => why = Some(error),
            }
        }
        Err(why.unwrap_or_else(|| error::not_now("no server is named")))
    }

    fn owner(&self, partition: Partition) -> Option<Arc<Node>> {
        match self {
            Self::One(node) => Some(Arc::clone(node)),
            Self::Cluster(cluster) => cluster.owner(partition),
        }
    }

    fn masters(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) => vec![Arc::clone(node)],
            Self::Cluster(cluster) => cluster.masters(),
        }
    }
}

/// What one call is about is on one server of a cluster only where it has one partition.
async fn swap_alone(
    cluster: &Arc<Cluster>,
    partition: Partition,
    swap: Swap,
) -> Result<Value, Failure> {
    let one = slice::from_ref(&swap);
    let by_script = |link: &Link| if link.has_ifeq() { swap.native() } else { swap::call(one) };
    let answer = match cluster.call(partition, by_script).await {
        Err(Failure::Refused(refusal)) if refusal.code() == "NOSCRIPT" => {
            let with_text = |link: &Link| match link.has_ifeq() {
                true => swap.native(),
                false => swap::script().with_text(&swap::call(one)),
            };
            cluster.call(partition, with_text).await?
        }
        answer => answer?,
    };
    match answer {
        answer @ (Value::Okay | Value::Nil) => Ok(answer),
        answer => {
            let answers = swap::answers(answer, 1).and_then(|answers| answers.into_iter().next());
            refused(answers.ok_or_else(|| Failure::Lost("the answer makes no sense".to_owned()))?)
        }
    }
}

/// The connection with a server, made if there is none.
async fn link_of(node: &Arc<Node>) -> Result<Arc<Link>, Failure> {
    match node.open_link() {
        Some(link) => Ok(link),
        // As with all that is rarely taken.
        None => Box::pin(node.link()).await.map_err(Failure::NotSent),
    }
}

/// A server that became a replica is of no use. Who asks next may find the master under its name.
fn leave_replica(link: &Link, failure: &Failure) {
    if failure.refusal().is_some_and(|refusal| refusal.code() == "READONLY") {
        link.give_up();
    }
}
