//! A broken history for each invariant, made by hand, and one that keeps all of them.

use super::*;
use crate::histories::history::Moment;

const DONE: Outcome = Outcome::Done;

fn op(act: Act, outcome: Outcome, from: u64, to: u64) -> Op {
    let moment = |order| Moment { order, time: order };
    let (began, ended) = (moment(from), moment(to));
    Op { process: 0, session: 1, id: 1, act, outcome, began, ended, is_last: false }
}

fn append(token: &str, outcome: Outcome, from: u64, to: u64) -> Op {
    op(Act::Append(token.to_owned()), outcome, from, to)
}

/// A read of tokens with a space between them.
fn read(tokens: &str, from: u64, to: u64) -> Op {
    let list = tokens.split_whitespace().map(str::to_owned).collect();
    op(Act::Read, Outcome::Read(Seen { list, views: 0 }), from, to)
}

fn view(outcome: Outcome, from: u64, to: u64) -> Op {
    op(Act::View, outcome, from, to)
}

fn read_views(views: u64, from: u64, to: u64) -> Op {
    op(Act::Read, Outcome::Read(Seen { list: Vec::new(), views }), from, to)
}

fn last(op: Op) -> Op {
    Op { is_last: true, ..op }
}

#[track_caller]
fn is_broken(ops: &[Op], begins: &str, ends: &str) {
    let broken = check(ops);
    let fits = |line: &String| line.starts_with(begins) && line.ends_with(ends);
    assert!(broken.iter().any(fits), "{broken:?}");
}

#[test]
fn a_history_that_keeps_all_is_not_broken() {
    let ops = [
        view(Outcome::Viewed(1), 0, 1),
        append("a", DONE, 2, 9),
        append("b", DONE, 3, 8),
        // Nobody knows of these; one was made late, the other never.
        append("c", Outcome::Unknown, 4, 5),
        append("d", Outcome::Unknown, 6, 7),
        view(Outcome::Unknown, 10, 11),
        append("e", Outcome::Refused, 12, 13),
        Op {
            outcome: Outcome::Read(Seen { list: vec!["b".into(), "a".into()], views: 1 }),
            ..read("", 14, 15)
        },
        append("f", DONE, 16, 17),
        op(Act::Renew, DONE, 20, 23),
        append("g", Outcome::Interrupted, 21, 22),
        append("h", Outcome::Anonymous, 24, 25),
        Op { id: 2, ..view(Outcome::Viewed(3), 26, 27) },
        Op {
            id: 2,
            outcome: Outcome::Read(Seen {
                list: ["b", "a", "f", "c"].map(str::to_owned).to_vec(),
                views: 3,
            }),
            ..last(read("", 28, 29))
        },
        last(op(Act::Read, Outcome::Anonymous, 30, 31)),
    ];
    assert_eq!(check(&ops), Vec::<String>::new());
}

#[test]
fn i1_an_acknowledged_token_that_is_missing_at_the_end() {
    let ops = [append("a", DONE, 0, 1), append("b", DONE, 2, 3), last(read("a", 4, 5))];
    is_broken(&ops, "I1", "token b was acknowledged and is missing");
}

#[test]
fn i1_a_whole_session_that_is_missing_at_the_end() {
    let ops = [append("a", DONE, 0, 1), last(op(Act::Read, Outcome::Anonymous, 2, 3))];
    is_broken(&ops, "I1", "nobody had ended id 1, and it was no session's");
}

#[test]
fn i1_a_view_that_is_missing_at_the_end() {
    let ops = [view(Outcome::Viewed(1), 0, 1), last(read_views(0, 2, 3))];
    is_broken(&ops, "I1", "0 views are counted of 1 acknowledged");
}

#[test]
fn i2_a_token_that_is_there_twice() {
    let ops = [append("a", DONE, 0, 1), read("a a", 2, 3)];
    is_broken(&ops, "I2", "token a is there twice");
}

#[test]
fn i2_a_view_that_two_were_told() {
    let ops = [view(Outcome::Viewed(1), 0, 2), view(Outcome::Viewed(1), 1, 3)];
    is_broken(&ops, "I2", "two requests were told that theirs is view 1");
}

#[test]
fn i3_a_refused_token_that_is_there() {
    for outcome in [Outcome::Refused, Outcome::Interrupted, Outcome::Anonymous] {
        let ops = [append("a", outcome, 0, 1), read("a", 2, 3)];
        is_broken(&ops, "I3", "token a is there and was refused");
    }
}

#[test]
fn i3_a_refused_view_that_is_counted() {
    let ops =
        [view(Outcome::Viewed(1), 0, 1), view(Outcome::Refused, 2, 3), last(read_views(2, 4, 5))];
    is_broken(&ops, "I3", "2 views are counted, and 1 can have been made");
}

#[test]
fn i3_a_view_of_which_nobody_knows_that_is_counted_twice() {
    let ops = [view(Outcome::Unknown, 0, 1), last(read_views(2, 4, 5))];
    is_broken(&ops, "I3", "2 views are counted, and 1 can have been made");
}

#[test]
fn i4_tokens_that_stand_in_another_order_than_they_were_appended() {
    let ops = [append("a", DONE, 0, 1), append("b", DONE, 2, 3), read("b a", 4, 5)];
    is_broken(&ops, "I4", "and stands after it");
    // Those of which nobody knows may come later, and never earlier.
    let unknown = append("b", Outcome::Unknown, 2, 3);
    let ops = [append("a", DONE, 0, 1), unknown, append("c", DONE, 4, 5), read("b a c", 6, 7)];
    is_broken(&ops, "I4", "and stands after it");
}

#[test]
fn i4_views_that_were_told_in_another_order_than_they_were_made() {
    let ops = [view(Outcome::Viewed(2), 0, 1), view(Outcome::Viewed(1), 2, 3)];
    is_broken(&ops, "I4", "began");
}

#[test]
fn i5_a_read_that_misses_what_was_acknowledged_before_it_began() {
    let ops = [append("a", DONE, 0, 1), read("", 2, 3), last(read("a", 4, 5))];
    is_broken(&ops, "I5", "token a was acknowledged and is missing");
}

#[test]
fn i5_a_read_that_is_no_beginning_of_a_later_one() {
    let (a, b) = (append("a", DONE, 0, 10), append("b", DONE, 1, 10));
    is_broken(&[a, b, read("b", 2, 3), read("a b", 11, 12)], "I5", "no beginning of a later one");
}

#[test]
fn i5_a_read_that_goes_back_behind_another() {
    let ops = [append("a", Outcome::Unknown, 0, 1), read("a", 2, 3), read("", 4, 5)];
    is_broken(&ops, "I5", "a read knows less than one that ended before it began");
}

#[test]
fn i5_a_read_that_knows_what_is_yet_to_come() {
    let ops = [read("a", 0, 1), append("a", DONE, 2, 3)];
    is_broken(&ops, "I5", "a read knows a token that was sent after it ended");
}

#[test]
fn i5_a_read_that_misses_a_view() {
    let ops = [view(Outcome::Viewed(1), 0, 1), read_views(0, 2, 3)];
    is_broken(&ops, "I5", "0 views are counted of 1 acknowledged");
}

#[test]
fn i5_a_session_that_is_gone_though_nobody_ended_it() {
    for outcome in [Outcome::Anonymous, Outcome::Interrupted] {
        is_broken(
            &[append("a", outcome, 0, 1)],
            "I5",
            "nobody had ended id 1, and it was no session's",
        );
    }
}

#[test]
fn i6_an_id_that_lives_on_after_it_was_renewed_or_logged_out() {
    for act in [Act::Renew, Act::Logout] {
        let read = read("a", 4, 5);
        is_broken(&[op(act.clone(), DONE, 2, 3), read], "I6", "id 1 is dead, and Read was served");
        let view = view(Outcome::Viewed(1), 4, 5);
        is_broken(&[op(act, DONE, 2, 3), view], "I6", "id 1 is dead, and View was served");
    }
}

#[test]
fn i7_a_token_of_another_session() {
    let other = Op { session: 2, ..append("a", DONE, 0, 1) };
    is_broken(&[other, read("a", 2, 3)], "I7", "token a was never sent to it");
}

/// A session of user 7: its ticket is there at 10, and its login under id 2 is done at 20. Another session
/// of the user, which may have ended, asks for an end of all. Then the first one is asked whose it is.
fn of_a_user(
    end: Outcome,
    (from, to): (u64, u64),
    look: Outcome,
    (began, ended): (u64, u64),
) -> Vec<Op> {
    let other = |act, outcome, from, to| Op { session: 2, id: 3, ..op(act, outcome, from, to) };
    vec![
        op(Act::Ticket(7), DONE, 8, 10),
        op(Act::Login(7), DONE, 16, 20),
        other(Act::Logout, Outcome::Unknown, 0, 1),
        other(Act::EndAll(7), end, from, to),
        Op { id: 2, ..op(Act::Look(7), look, began, ended) },
    ]
}

#[test]
fn i9_a_session_that_an_end_of_all_has_left_alive() {
    // An end between the ticket and the login counts as one after both.
    for moment in [(22, 24), (12, 14), (14, 22)] {
        let ops = of_a_user(DONE, moment, DONE, (30, 31));
        is_broken(&ops, "I9", "Look(7) was served after an end of all had returned");
    }
    for (end, moment, look) in [
        // The ticket may be newer than the end.
        (DONE, (9, 14), (30, 31)),
        // It was looked up before the end had returned.
        (DONE, (22, 32), (30, 31)),
        (Outcome::Refused, (22, 24), (30, 31)),
        (Outcome::Unknown, (22, 24), (30, 31)),
        (Outcome::Anonymous, (22, 24), (30, 31)),
    ] {
        let ops = of_a_user(end, moment, DONE, look);
        assert_eq!(check(&ops), Vec::<String>::new(), "{ops:?}");
    }
}

#[test]
fn i14_a_session_of_a_user_that_nobody_has_ended() {
    for (end, moment) in [
        (DONE, (2, 4)),
        (Outcome::Refused, (2, 4)),
        (DONE, (32, 34)),
        (Outcome::Unknown, (32, 34)),
        (Outcome::Anonymous, (22, 24)),
    ] {
        let ops = of_a_user(end, moment, Outcome::Anonymous, (30, 31));
        is_broken(&ops, "I14", "nobody had ended id 2, and it was no session's");
    }
    for (end, moment) in [
        (DONE, (22, 24)),
        (DONE, (2, 9)),
        (Outcome::Refused, (22, 24)),
        (Outcome::Interrupted, (22, 24)),
        (Outcome::Unknown, (2, 4)),
        (Outcome::Unknown, (30, 40)),
    ] {
        let ops = of_a_user(end, moment, Outcome::Anonymous, (30, 31));
        assert_eq!(check(&ops), Vec::<String>::new(), "{ops:?}");
    }
    // An end of which nobody knows is over when the next one is.
    let next = Op { session: 4, id: 4, ..op(Act::EndAll(7), DONE, 5, 7) };
    let mut ops = of_a_user(Outcome::Unknown, (2, 4), Outcome::Anonymous, (30, 31));
    ops.push(next);
    is_broken(&ops, "I14", "nobody had ended id 2, and it was no session's");
}

#[test]
fn i15_an_id_that_a_login_has_left() {
    let ops = [op(Act::Ticket(7), DONE, 0, 1), op(Act::Login(7), DONE, 2, 3), read("", 4, 5)];
    is_broken(&ops, "I15", "id 1 is dead, and Read was served");
}

#[test]
fn an_answer_of_no_app_that_works() {
    let strange = Outcome::Strange("500 no".to_owned());
    is_broken(&[view(strange, 0, 1)], "answer", "View was answered with \"500 no\"");
}

#[test]
fn a_long_history_that_keeps_all_is_not_broken() {
    let mut ops = Vec::new();
    for session in 0..100 {
        let mut list = Vec::new();
        for n in 0..100 {
            let token = n.to_string();
            ops.push(Op { session, ..append(&token, DONE, 4 * n, 4 * n + 1) });
            list.push(token);
            let seen = Seen { list: list.clone(), views: 0 };
            let read = op(Act::Read, Outcome::Read(seen), 4 * n + 2, 4 * n + 3);
            ops.push(Op { session, ..read });
        }
    }
    assert_eq!(check(&ops), Vec::<String>::new());
}
