//! Stores that break a law, to prove that the suite catches them.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ingle::{
    clock::Timestamp,
    operator::HandlePrefix,
    record::{Key, Loaded, Version},
    store::{
        Applied, Capabilities, CommitError, Cursor, Destroyed, Error, ErrorKind, Info, List,
        Lookup, Memory, Page, Replace, Store, Swept, Transactions, Write,
        conformance::{self, Trial},
    },
};

/// What a store can get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// A create overwrites what is there.
    CreatesOverTheLiving,
    /// A replace looks at no version.
    IgnoresVersions,
    /// A replace of nothing creates, as an upsert does.
    Upserts,
    /// A load returns what is there, trusting that something else removes the dead.
    TrustsExpiry,
    /// A renew removes the old key, and then writes the new one.
    RenewsOldFirst,
    /// A renew writes the new key, and then removes the old one, and promises one step.
    RenewsNewFirst,
    /// The same, where two steps are promised, which is no flaw.
    RenewsNewFirstAsPromised,
    /// A touch writes the deadline that it is given, and the data that it has read.
    TouchesBackward,
    /// To destroy what is not there is an error.
    DestroysOnce,
    /// A list by user ends after its first page.
    ListsOnePage,
    /// A list by user has the users, too, whose names begin alike.
    ListsByPrefix,
    /// Lists by user are promised, and there are none.
    PromisesLists,
    /// No lists by user are promised, and there are none, which is no flaw.
    ListsNothingAsPromised,
    /// No lists by user are promised, and who asks is told that a user has no sessions.
    ListsNobody,
    /// A list by handle has all records.
    ListsEachHandle,
    /// A list by handle ends after its first page.
    ListsOnePageOfHandle,
    /// A list shows what lives by a clock of the store's own.
    ListsByItsOwnClock,
    /// A sweep deletes by a deadline that it has read before.
    SweepsTheLiving,
    /// A destroy and a renew leave nothing under the old key.
    LeavesNoMark,
    /// A destroy of the old key ends the session where a renew has moved it.
    DestroysWhatMoved,
    /// An act is done, and then its line is written.
    ActsFirst,
    /// A line is written, and then its act is done.
    WritesLinesFirst,
    /// An act is done and its line is left as it was.
    LeavesLines,
    /// A line that is not as it was is called a conflict of the act.
    BlamesActs,
}

/// A store in memory with a flaw.
#[derive(Clone)]
struct Broken {
    flaw: Flaw,
    memory: Memory,
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({:?})", self.flaw)
    }
}

/// A time at which no record is dead.
const LONG_AGO: Timestamp = Timestamp::from_millis(0);

impl Broken {
    /// Writes without any condition: at the end of time all that is there is dead.
    async fn overwrite(&self, record: &Arc<ingle::record::Record>) -> Result<Version, CommitError> {
        self.memory.commit(Write::Create { record }, Timestamp::MAX).await
    }

    /// Ends a session so long ago that its mark is dead.
    async fn end(&self, key: &Key) -> Result<Destroyed, Error> {
        self.memory.destroy(key, LONG_AGO).await
    }

    /// Whether a replace of `base` or a renew of it may go ahead.
    async fn check(&self, base: &Loaded, now: Timestamp) -> Result<(), CommitError> {
        match self.memory.load(&base.record.header.key, now).await?.live() {
            None => Err(CommitError::Gone),
            Some(found) if found.version != base.version => Err(CommitError::Conflict(None)),
            Some(_) => Ok(()),
        }
    }
}

/// The time between two steps of what should be one: a round trip to a server nearby.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[async_trait]
impl Store for Broken {
    fn info(&self) -> Info {
        let capabilities = Capabilities::default().in_one_process();
        let capabilities = match self.flaw {
            Flaw::RenewsNewFirstAsPromised => capabilities.renewing_in_two_steps(),
            Flaw::ListsNothingAsPromised | Flaw::ListsNobody => capabilities.without_lists(),
            _ => capabilities,
        };
        Info::new("broken", "nothing").with_capabilities(capabilities)
    }

    async fn load(&self, key: &Key, now: Timestamp) -> Result<Lookup, Error> {
        let now = if self.flaw == Flaw::TrustsExpiry { LONG_AGO } else { now };
        match self.memory.load(key, now).await? {
            Lookup::Moved { .. } | Lookup::Ended if self.flaw == Flaw::LeavesNoMark => {
                Ok(Lookup::Missing)
            }
            found => Ok(found),
        }
    }

    async fn commit(&self, write: Write<'_>, now: Timestamp) -> Result<Version, CommitError> {
        match (self.flaw, write) {
            (Flaw::CreatesOverTheLiving, Write::Create { record }) => self.overwrite(record).await,
            (Flaw::IgnoresVersions, Write::Replace { base, record }) => {
                let found = self.memory.load(&base.record.header.key, now).await?;
                found.live().ok_or(CommitError::Gone)?;
                pause().await;
                self.overwrite(record).await
            }
            (Flaw::Upserts, Write::Replace { record, .. }) => {
                match self.memory.commit(write, now).await {
                    Err(CommitError::Gone) => self.overwrite(record).await,
                    other => other,
                }
            }
            (Flaw::RenewsOldFirst, Write::Renew { base, record }) => {
                self.check(base, now).await?;
                self.end(&base.record.header.key).await?;
                pause().await;
                self.memory.commit(Write::Create { record }, now).await
            }
            (
                Flaw::RenewsNewFirst | Flaw::RenewsNewFirstAsPromised,
                Write::Renew { base, record },
            ) => {
                self.check(base, now).await?;
                let version = self.memory.commit(Write::Create { record }, now).await?;
                pause().await;
                self.end(&base.record.header.key).await?;
                Ok(version)
            }
            _ => self.memory.commit(write, now).await,
        }
    }

    async fn touch(
        &self,
        key: &Key,
        idle_deadline: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        if self.flaw != Flaw::TouchesBackward {
            return self.memory.touch(key, idle_deadline, now).await;
        }
        let found = self.memory.load(key, now).await?.live();
        pause().await;
        let mut record = Arc::unwrap_or_clone(found.ok_or(CommitError::Gone)?.record);
        record.header.idle_deadline = idle_deadline;
        self.overwrite(&Arc::new(record)).await.map(drop)
    }

    async fn destroy(&self, key: &Key, now: Timestamp) -> Result<Destroyed, Error> {
        match (self.flaw, self.memory.load(key, LONG_AGO).await?) {
            (Flaw::DestroysOnce, found) if found.clone().live().is_none() => {
                Err(Error::new("broken", ErrorKind::Refused, Applied::No))
            }
            (Flaw::DestroysWhatMoved, Lookup::Moved { to }) => self.memory.destroy(&to, now).await,
            _ => self.memory.destroy(key, now).await,
        }
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<Swept, Error> {
        if self.flaw != Flaw::SweepsTheLiving {
            return self.memory.sweep(now, limit).await;
        }
        let all = self.memory.list(None, limit, LONG_AGO).await?;
        pause().await;
        let dead = all.records.iter().filter(|found| found.record.is_dead(now));
        let mut deleted = 0;
        for found in dead {
            let _ = self.end(&found.record.header.key).await;
            deleted += 1;
        }
        Ok(Swept { deleted, more: all.next.is_some() && deleted > 0 })
    }

    async fn ping(&self) -> Result<(), Error> {
        self.memory.ping().await
    }

    fn as_list(&self) -> Option<&dyn List> {
        match self.flaw {
            Flaw::PromisesLists | Flaw::ListsNothingAsPromised => None,
            _ => Some(self),
        }
    }

    fn as_transactions(&self) -> Option<&dyn Transactions> {
        let has_them =
            [Flaw::ActsFirst, Flaw::WritesLinesFirst, Flaw::LeavesLines, Flaw::BlamesActs];
        has_them.contains(&self.flaw).then_some(self)
    }
}

#[async_trait]
impl Transactions for Broken {
    async fn replace_with(
        &self,
        act: Replace<'_>,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Version, CommitError> {
        if self.flaw == Flaw::WritesLinesFirst {
            self.memory.commit(line.into(), now).await?;
            pause().await;
            return self.memory.commit(act.into(), now).await;
        }
        if self.flaw == Flaw::BlamesActs {
            self.check(line.base, now).await?;
            return self.memory.replace_with(act, line, now).await;
        }
        let version = self.memory.commit(act.into(), now).await?;
        pause().await;
        if self.flaw == Flaw::ActsFirst {
            self.memory.commit(line.into(), now).await?;
        }
        Ok(version)
    }

    async fn destroy_with(
        &self,
        key: &Key,
        line: Replace<'_>,
        now: Timestamp,
    ) -> Result<Destroyed, Error> {
        if self.flaw == Flaw::WritesLinesFirst {
            let _ = self.memory.commit(line.into(), now).await;
        }
        self.memory.destroy(key, now).await
    }
}

#[async_trait]
impl List for Broken {
    async fn list(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let is_of_another_time = self.flaw == Flaw::ListsByItsOwnClock && now.as_millis() == 0;
        let now = if is_of_another_time { Timestamp::MAX } else { now };
        self.memory.list(after, limit, now).await
    }

    async fn list_by_user(
        &self,
        user: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let mut page = self.memory.list_by_user(user, after, limit, now).await?;
        match self.flaw {
            Flaw::ListsOnePage => page.next = None,
            Flaw::ListsNobody => page = Page::default(),
            Flaw::ListsByPrefix => {
                page = self.memory.list(after, limit, now).await?;
                page.records.retain(|found| {
                    let user_of = found.record.header.user.as_ref();
                    user_of.is_some_and(|user_of| user_of.name.starts_with(user))
                });
            }
            _ => {}
        }
        Ok(page)
    }

    async fn list_by_handle(
        &self,
        prefix: &HandlePrefix,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        match self.flaw {
            Flaw::ListsEachHandle => self.memory.list(after, limit, now).await,
            Flaw::ListsOnePageOfHandle => {
                let page = self.memory.list_by_handle(prefix, after, limit, now).await?;
                Ok(Page { next: None, ..page })
            }
            _ => self.memory.list_by_handle(prefix, after, limit, now).await,
        }
    }
}

fn run<L: Future<Output = ()>>(flaw: Flaw, law: impl FnOnce(Trial) -> L) {
    let open = |_| async move { Broken { flaw, memory: Memory::new() } };
    conformance::run("it::broken", open, law);
}

/// Checks that the suite's `law` fails on a store with `flaw`, and says which law it is about.
fn check<L: Future<Output = ()>>(flaw: Flaw, law: impl FnOnce(Trial) -> L) {
    let ended = catch_unwind(AssertUnwindSafe(|| run(flaw, law)));
    let panic = ended.expect_err("the suite did not see the flaw");
    let message = match panic.downcast_ref::<String>() {
        Some(message) => message,
        None => *panic.downcast_ref::<&str>().expect("a panic with a message"),
    };
    assert!(message.contains("law "), "{flaw:?} was seen, but this does not say how: {message}");
}

#[test]
fn a_create_over_a_live_record_is_caught() {
    check(Flaw::CreatesOverTheLiving, conformance::law_3_a_create_on_a_live_key_changes_nothing);
    check(Flaw::CreatesOverTheLiving, conformance::law_3_of_racing_creates_one_wins);
}

#[test]
fn a_store_that_ignores_versions_is_caught() {
    check(Flaw::IgnoresVersions, conformance::law_4_a_stale_replace_changes_nothing);
    check(Flaw::IgnoresVersions, conformance::law_4_a_version_of_an_earlier_life_is_stale);
    check(Flaw::IgnoresVersions, conformance::law_4_of_racing_replaces_one_wins);
    check(Flaw::IgnoresVersions, conformance::law_11_tasks_lose_no_increment);
}

#[test]
fn an_upsert_is_caught() {
    check(Flaw::Upserts, conformance::law_5_nothing_else_creates);
    check(Flaw::Upserts, conformance::law_5_nothing_revives_what_was_destroyed);
    check(Flaw::Upserts, conformance::law_5_nothing_revives_what_expired);
    check(Flaw::Upserts, conformance::law_5_nothing_stays_behind_a_renew);
    check(Flaw::Upserts, conformance::law_5_a_race_with_a_destroy_revives_nothing);
}

#[test]
fn a_store_that_trusts_its_expiry_is_caught() {
    check(Flaw::TrustsExpiry, conformance::law_2_an_idle_deadline_ends_a_record);
    check(Flaw::TrustsExpiry, conformance::law_2_an_absolute_deadline_ends_a_record);
}

#[test]
fn a_renew_in_two_steps_is_caught_in_either_order() {
    check(Flaw::RenewsOldFirst, conformance::law_6_readers_never_find_both_or_neither);
    check(Flaw::RenewsNewFirst, conformance::law_6_readers_never_find_both_or_neither);
}

#[test]
fn a_touch_that_goes_back_or_too_far_is_caught() {
    check(Flaw::TouchesBackward, conformance::law_8_a_touch_never_moves_the_deadline_back);
    check(Flaw::TouchesBackward, conformance::law_8_a_touch_never_passes_the_absolute_deadline);
    check(Flaw::TouchesBackward, conformance::law_8_touches_take_no_change_back);
}

#[test]
fn a_destroy_with_a_condition_is_caught() {
    check(Flaw::DestroysOnce, conformance::law_7_destroying_what_is_not_there_is_success);
}

#[test]
fn lists_that_lack_or_add_something_are_caught() {
    check(Flaw::ListsOnePage, conformance::law_10_each_user_has_exactly_their_live_sessions);
    check(Flaw::ListsEachHandle, conformance::law_10_a_handle_finds_its_record_and_no_other);
    check(Flaw::ListsEachHandle, conformance::law_10_a_shortened_handle_finds_all_that_begin_so);
    check(
        Flaw::ListsOnePageOfHandle,
        conformance::law_10_a_shortened_handle_finds_all_that_begin_so,
    );
    check(
        Flaw::ListsByItsOwnClock,
        conformance::law_2_a_list_shows_what_lives_at_the_callers_instant,
    );
    check(Flaw::ListsByPrefix, conformance::law_10_a_name_is_only_a_name);
    check(Flaw::ListsNobody, conformance::law_10_a_store_lists_by_user_or_says_that_it_does_not);
    check(Flaw::PromisesLists, conformance::law_10_a_store_lists_by_user_or_says_that_it_does_not);
}

#[test]
fn a_store_without_marks_is_caught() {
    check(Flaw::LeavesNoMark, conformance::law_12_a_renew_leaves_a_mark);
    check(Flaw::LeavesNoMark, conformance::law_12_a_destroy_leaves_a_mark);
    check(Flaw::LeavesNoMark, conformance::law_12_a_race_leaves_the_mark_of_the_first);
    check(Flaw::DestroysWhatMoved, conformance::law_12_a_destroy_says_where_a_record_went);
}

#[test]
fn an_act_and_a_line_in_two_steps_are_caught_in_either_order() {
    for flaw in [Flaw::ActsFirst, Flaw::WritesLinesFirst] {
        check(flaw, conformance::law_13_an_act_without_its_line_is_not_done);
        check(flaw, conformance::law_13_readers_never_find_one_without_the_other);
    }
    let line_stays = conformance::law_13_an_act_that_is_not_done_leaves_its_line_as_it_was;
    check(Flaw::WritesLinesFirst, line_stays);
    check(Flaw::WritesLinesFirst, conformance::law_13_of_racing_acts_one_is_made_and_has_its_line);
}

#[test]
fn a_line_that_is_lost_or_blamed_on_the_act_is_caught() {
    check(Flaw::LeavesLines, conformance::law_13_an_act_and_its_line_are_both_stored);
    check(Flaw::LeavesLines, conformance::law_13_a_race_with_an_end_leaves_both_lines_right);
    check(Flaw::LeavesLines, conformance::law_13_a_call_that_is_sent_again_is_made_once);
    check(Flaw::BlamesActs, conformance::law_13_an_act_without_its_line_is_not_done);
}

#[test]
fn a_sweep_that_looks_before_it_deletes_is_caught() {
    check(Flaw::SweepsTheLiving, conformance::law_2_a_sweep_spares_who_took_a_dead_records_place);
}

#[test]
fn a_weaker_promise_that_is_kept_is_no_flaw() {
    run(Flaw::RenewsNewFirstAsPromised, conformance::law_6_readers_never_find_both_or_neither);
    run(
        Flaw::ListsNothingAsPromised,
        conformance::law_10_a_store_lists_by_user_or_says_that_it_does_not,
    );
    run(Flaw::ListsNothingAsPromised, conformance::law_10_a_name_is_only_a_name);
    run(
        Flaw::ListsNothingAsPromised,
        conformance::law_10_each_user_has_exactly_their_live_sessions,
    );
}
