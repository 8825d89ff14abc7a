//! Requests and tokens a minute.

use gptoss_govern::{Charge, Journal, Key, Left, NotAdmitted, RefusalKind, Used};

use super::{NOW, key, rules};

fn tokens(tokens: u64) -> Charge {
    Charge { tokens, micro_usd: 0 }
}

/// Admits and ends a request; or the kind and the wait.
fn ask(
    journal: &Journal,
    key: &Key,
    charge: u64,
    used: u64,
    now: i64,
) -> Result<(), (RefusalKind, Option<u64>)> {
    match journal.admit(key, tokens(charge), now) {
        Ok(ticket) => {
            journal.settle(ticket, Used { output: used, ..Used::default() }, now).unwrap();
            Ok(())
        }
        Err(NotAdmitted::Refused(refusal)) => Err((refusal.kind, refusal.retry_after_ms)),
        Err(NotAdmitted::Journal(error)) => panic!("{error}"),
    }
}

#[test]
fn a_minutes_worth_may_be_taken_at_once_and_then_as_it_flows_in() {
    let rules = rules("", &[("a", "rpm_limit = 7")]);
    let (journal, a) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    for _ in 0..7 {
        ask(&journal, a, 0, 0, NOW).unwrap();
    }
    let Err((RefusalKind::Requests, Some(wait))) = ask(&journal, a, 0, 0, NOW) else { panic!() };
    assert_eq!(wait, 8_572, "a seventh of a minute");
    assert!(ask(&journal, a, 0, 0, NOW + wait as i64 - 1).is_err(), "what is refused takes nothing");
    ask(&journal, a, 0, 0, NOW + wait as i64).unwrap();
    // Each of ten minutes gives seven.
    let passed =
        (1..=600).filter(|second| ask(&journal, a, 0, 0, NOW + 60_000 + second * 1_000).is_ok()).count();
    assert!((70..=77).contains(&passed), "{passed}");
}

#[test]
fn tokens_are_taken_as_reserved_and_corrected_as_used() {
    let rules = rules("", &[("a", "tpm_limit = 600")]);
    let (journal, a) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    let left = |now: i64| journal.remaining(a, now).unwrap().tokens.unwrap();
    let ticket = journal.admit(a, tokens(500), NOW).unwrap();
    assert_eq!(left(NOW), Left { limit: 600, left: 100, reset_ms: 50_000 });
    assert_eq!(ask(&journal, a, 101, 0, NOW), Err((RefusalKind::Tokens, Some(100))));
    journal.settle(ticket, Used { input: 40, cached: 40, output: 10, ..Used::default() }, NOW).unwrap();
    assert_eq!(left(NOW), Left { limit: 600, left: 550, reset_ms: 5_000 });
    let ticket = journal.admit(a, tokens(550), NOW).unwrap();
    journal.refund(ticket, NOW).unwrap();
    assert_eq!(left(NOW).left, 550, "a refund gives all of it back");
    // Used beyond what was reserved: a debt, of a minute at most.
    ask(&journal, a, 1, 5_000, NOW).unwrap();
    assert_eq!(left(NOW), Left { limit: 600, left: 0, reset_ms: 60_000 });
    assert_eq!(ask(&journal, a, 601, 0, NOW), Err((RefusalKind::Tokens, None)), "more than a minute's worth");
    assert_eq!(left(NOW + 1_000_000).left, 600);
}

#[test]
fn the_lesser_of_key_and_group_is_left() {
    let group = "[groups.g]\nrpm_limit = 2\n";
    let rules = rules(
        group,
        &[("a", "group = \"g\"\nrpm_limit = 5"), ("b", "group = \"g\"\nrpm_limit = 1"), ("c", "")],
    );
    let journal = Journal::open(None, NOW).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| key(&rules, name));
    let left = |key: &Key| journal.remaining(key, NOW).unwrap().requests.map(|left| (left.limit, left.left));
    assert_eq!([left(a), left(b), left(c)], [Some((2, 2)), Some((1, 1)), None]);
    ask(&journal, a, 0, 0, NOW).unwrap();
    assert_eq!([left(a), left(b)], [Some((2, 1)), Some((1, 1))]);
    ask(&journal, b, 0, 0, NOW).unwrap();
    assert_eq!(ask(&journal, a, 0, 0, NOW), Err((RefusalKind::Requests, Some(30_000))));
}

/// A clock that was put back by a day locked everybody out for a day.
#[test]
fn a_clock_that_is_put_back_costs_a_minute_at_most() {
    let rules = rules("", &[("a", "rpm_limit = 1")]);
    let (journal, a) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    ask(&journal, a, 0, 0, NOW).unwrap();
    let before = NOW - 86_400_000;
    assert_eq!(ask(&journal, a, 0, 0, before), Err((RefusalKind::Requests, Some(60_000))));
    assert_eq!(journal.remaining(a, before).unwrap().requests.unwrap().reset_ms, 60_000);
}

#[test]
fn rates_go_on_after_the_journal_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules("", &[("a", "rpm_limit = 1")]);
    let a = key(&rules, "a");
    ask(&Journal::open(Some(folder.path()), NOW).unwrap(), a, 0, 0, NOW).unwrap();
    assert!(ask(&Journal::open(Some(folder.path()), NOW).unwrap(), a, 0, 0, NOW + 1).is_err());
}
