//! What the commits of one layer share.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    begin_limit::BeginLimit,
    cache::RecordCache,
    client::Client,
    events::{EventKind, Events, Refusal},
    failure::Failure,
    policy::Policy,
    watch::Watches,
};
use crate::{
    id::{IdScheme, Key, NoRandomness, SessionId},
    meter::activity::Recent,
    record::Loaded,
    store::{Lookup, Store},
};

/// How often a new id is generated for a store that accepts one in 256. The chance that none of so
/// many is accepted is one in 10^27. Then the store refuses the last one.
const IDS_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) policy: Policy,
    pub(crate) ids: Arc<dyn IdScheme>,
    pub(crate) client: Client,
    pub(crate) cache: RecordCache,
    pub(crate) watches: Watches,
    pub(crate) events: Events,
    begin_limit: Option<BeginLimit>,
}

impl Context {
    pub(crate) fn new(store: Arc<dyn Store>, policy: Policy, ids: Arc<dyn IdScheme>) -> Self {
        let recent = Arc::new(Recent::new(policy.now()));
        let clock = Arc::clone(&policy.clock);
        let events = Events::new(policy.on_event.clone(), Arc::clone(&clock), Arc::clone(&recent));
        let client = Client::new(store, clock, recent);
        let begin_limit = policy.new_sessions_per_second.map(BeginLimit::new);
        Self {
            policy,
            ids,
            client,
            cache: RecordCache::new(),
            watches: Watches::default(),
            events,
            begin_limit,
        }
    }

    /// Whether one more session may begin now; counts it if so.
    pub(crate) fn may_begin(&self) -> bool {
        let may = self.begin_limit.as_ref().is_none_or(|limit| limit.admit(self.policy.now()));
        if !may {
            self.client.meter.new_session_refused();
            self.events.tell_of_none(EventKind::Refused(Refusal::TooManyNewSessions));
        }
        may
    }

    /// A new id to which the store can move the session under `from` in one step.
    pub(crate) fn id_to_renew(&self, from: &Key) -> Result<SessionId, NoRandomness> {
        let mut id = self.ids.generate()?;
        for _ in 0..IDS_MAX {
            if self.client.can_renew(from, &id.key()) {
                break;
            }
            id = self.ids.generate()?;
        }
        Ok(id)
    }

    /// The record under `key`, which must exist.
    pub(crate) async fn load_live(&self, key: &Key, deadline: Instant) -> Result<Loaded, Failure> {
        match self.client.load(key, deadline).await? {
            Lookup::Live(loaded) => Ok(loaded),
            absent => Err(Failure::of_absence(&absent)),
        }
    }

    /// Tells that there is no record under `key`: either its session has expired, or it never was.
    pub(crate) fn tell_missing(&self, key: &Key) {
        let known = self.cache.remove(key);
        match known.filter(|known| known.record.is_dead(self.policy.now())) {
            Some(Loaded { record, .. }) => {
                let user = record.header.user.as_ref().map(|user| &*user.name);
                self.events.tell(*key, user, EventKind::Expired);
            }
            None => self.events.tell(*key, None, EventKind::Refused(Refusal::UnknownId)),
        }
    }

    /// The cached record, if it is still live as far as this process knows.
    pub(crate) fn cached(&self, key: &Key) -> Option<Loaded> {
        self.cache.get(key).filter(|cached| !cached.record.is_dead(self.policy.now()))
    }
}
