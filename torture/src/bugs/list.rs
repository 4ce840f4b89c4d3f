//! The bugs, and the tests that are asked first whether they see them.

/// A program of tests of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    /// The tests from outside, `crates/ingle/tests/it`.
    Outside,
    /// The tests beside the code, in `crates/ingle/src`.
    Beside,
}

impl Program {
    pub(super) const ALL: [Self; 2] = [Self::Outside, Self::Beside];

    /// What Cargo calls its target.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Outside => "it",
            Self::Beside => "ingle",
        }
    }
}

/// A bug, which is the patch of its name below `torture/bugs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bug {
    /// What `INGLE_PLANTED` calls it.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Where it is planted.
    pub(super) place: &'static str,
    /// The quickest tests that should see it, in this program, by parts of their names.
    pub(super) program: Program,
    pub(super) tests: &'static [&'static str],
}

pub(super) const BUGS: [Bug; 25] = [
    Bug {
        name: "b1",
        what: "no version check",
        place: "memory store",
        program: Program::Outside,
        tests: &["memory::law_4_"],
    },
    Bug {
        name: "b2",
        what: "upsert on save",
        place: "SQLite store",
        program: Program::Outside,
        tests: &["sqlite::law_5_"],
    },
    Bug {
        name: "b3",
        what: "acknowledged before the fsync",
        place: "SQLite store",
        program: Program::Beside,
        tests: &["no_commit_is_acknowledged_that_was_not_synced"],
    },
    Bug {
        name: "b4",
        what: "retry without op",
        place: "commit protocol",
        program: Program::Outside,
        tests: &["crashes::no_update_is_lost_or_doubled_at_any_step"],
    },
    Bug {
        name: "b5",
        what: "ring of ops ignored",
        place: "commit protocol",
        program: Program::Outside,
        tests: &["crashes::no_update_is_lost_or_doubled_at_any_step"],
    },
    Bug {
        name: "b6",
        what: "renew ends the old id after the response",
        place: "session",
        program: Program::Outside,
        tests: &["flow::renewing_keeps_the_data_and_kills_the_old_id"],
    },
    Bug {
        name: "b7",
        what: "touch writes the whole record",
        place: "session",
        program: Program::Outside,
        tests: &["reads::a_touch_undoes_no_change"],
    },
    Bug {
        name: "b8",
        what: "expiry trusted to the store",
        place: "memory store",
        program: Program::Outside,
        tests: &["memory::law_2_"],
    },
    Bug {
        name: "b9",
        what: "read from a cache that is 1 s stale",
        place: "session",
        program: Program::Outside,
        tests: &["reads::a_read_is_never_stale"],
    },
    Bug {
        name: "b10",
        what: "connection reused after a timeout",
        place: "memcached store",
        program: Program::Outside,
        tests: &["memcached::wire::an_answer_to_another_question_is_no_answer"],
    },
    Bug {
        name: "b11",
        what: "first duplicate cookie wins",
        place: "cookie",
        program: Program::Beside,
        tests: &["cookie::tests::"],
    },
    Bug {
        name: "b12",
        what: "Vary only on write",
        place: "door",
        program: Program::Outside,
        tests: &["flow::where_nothing_is_stored_there_is_no_record_and_no_cookie"],
    },
    Bug {
        name: "b13",
        what: "CSRF only on POST",
        place: "same-origin layer",
        program: Program::Outside,
        tests: &["same_origin::exactly_the_cells_of_the_guide_s_table_pass"],
    },
    Bug {
        name: "b14",
        what: "delete marks it in this process's cache only",
        place: "commit protocol",
        program: Program::Outside,
        tests: &["races::a_logout_in_the_middle_is_final"],
    },
    Bug {
        name: "b15",
        what: "a ticket read and then removed in two commits",
        place: "session",
        program: Program::Outside,
        tests: &["tickets::of_fifty_at_once_exactly_one_redeems"],
    },
    Bug {
        name: "b16",
        what: "generation read once",
        place: "login",
        program: Program::Outside,
        tests: &["users::interleaved::a_login_and_an_end_of_all"],
    },
    Bug {
        name: "b17",
        what: "limit by counting the sessions that are there",
        place: "limit per user",
        program: Program::Outside,
        tests: &["users::interleaved::two_logins_take_one_place"],
    },
    Bug {
        name: "b18",
        what: "renew without a look at the generation",
        place: "session",
        program: Program::Outside,
        tests: &["users::interleaved::a_renew_that_the_list"],
    },
    Bug {
        name: "b19",
        what: "all sessions ended before the generation moves",
        place: "end of all",
        program: Program::Outside,
        tests: &["users::interleaved::a_login_and_an_end_of_all"],
    },
    Bug {
        name: "b20",
        what: "a touch moves the absolute deadline",
        place: "memory store",
        program: Program::Outside,
        tests: &["users::every_store::memory::only_a_proof_moves"],
    },
    Bug {
        name: "b21",
        what: "another user's data stays at a login",
        place: "login",
        program: Program::Outside,
        tests: &["users::every_store::memory::nothing_of_one_user"],
    },
    Bug {
        name: "b22",
        what: "the ticket of a login is not believed",
        place: "login",
        program: Program::Outside,
        tests: &["users::every_store::memory::a_ticket_from_before"],
    },
    Bug {
        name: "b23",
        what: "`ended` looks before it registers",
        place: "wait for an end",
        program: Program::Outside,
        tests: &["users::an_end_while_the_wait_begins"],
    },
    Bug {
        name: "b24",
        what: "events told as they come, in no order",
        place: "events",
        program: Program::Outside,
        tests: &["events::"],
    },
    Bug {
        name: "b25",
        what: "what ended before the connection to listen on was made is not looked for",
        place: "wait for an end",
        program: Program::Outside,
        tests: &["users::listening::a_connection_that_breaks"],
    },
];
