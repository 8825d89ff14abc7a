//! Budgets and parallel places: reserved before, settled after, given back, and settled once after a kill.

use gptoss_govern::{
    Account, Charge, EntryQuery, Event, Journal, JournalError, Key, NotAdmitted, Refusal, RefusalKind,
    Ticket, Used,
};

use super::{NOW, key, rules};

fn tokens(tokens: u64) -> Charge {
    Charge { tokens, micro_usd: 0 }
}

fn used(output: u64) -> Used {
    Used { output, ..Used::default() }
}

fn admit(journal: &Journal, key: &Key, charge: Charge, now: i64) -> Result<Ticket, Refusal> {
    match journal.admit(key, charge, now) {
        Ok(ticket) => Ok(ticket),
        Err(NotAdmitted::Refused(refusal)) => Err(refusal),
        Err(NotAdmitted::Journal(error)) => panic!("{error}"),
    }
}

/// Spent and reserved of the key's first budget.
fn standing(journal: &Journal, key: &Key, now: i64) -> (u64, u64) {
    let spent = &journal.spent(key, now).unwrap()[0];
    (spent.spent, spent.reserved)
}

#[test]
fn a_budget_holds_what_is_spent_and_what_is_reserved() {
    let rules = rules("", &[("a", "max_budget = { tokens = 100 }\nbudget_duration = \"1d\"")]);
    let (journal, a) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    let first = admit(&journal, a, tokens(60), NOW).unwrap();
    let refusal = admit(&journal, a, tokens(41), NOW).unwrap_err();
    assert_eq!((refusal.kind, refusal.retry_after_ms), (RefusalKind::Budget, Some(86_400_000)));
    assert_eq!(
        refusal.what,
        "the key \"a\" has a budget of 100 tokens (1d): 0 tokens are used and 60 tokens reserved, and this request \
         needs up to 41 tokens"
    );
    let second = admit(&journal, a, tokens(40), NOW).unwrap();
    assert_eq!(standing(&journal, a, NOW), (0, 100));
    journal.settle(first, used(10), NOW + 1).unwrap();
    assert_eq!(standing(&journal, a, NOW), (10, 40));
    journal.refund(second, NOW + 2).unwrap();
    assert_eq!(standing(&journal, a, NOW), (10, 0));
    // The next day begins anew, and what was admitted yesterday is yesterday's.
    let late = admit(&journal, a, tokens(90), NOW).unwrap();
    let tomorrow = NOW + 86_400_000;
    assert_eq!(standing(&journal, a, tomorrow), (0, 0));
    journal.settle(late, used(90), tomorrow).unwrap();
    assert_eq!((standing(&journal, a, tomorrow), standing(&journal, a, NOW)), ((0, 0), (100, 0)));
    assert!(admit(&journal, a, tokens(0), NOW).is_err(), "nothing is left, not even of nothing");
    journal.verify().unwrap();
}

#[test]
fn money_is_a_budget_too_and_one_that_never_ends_names_no_moment() {
    let prices = "[prices.m]\ninput = 1\noutput = 1\n";
    let rules = rules(prices, &[("a", "max_budget = { tokens = 1000, usd = 0.5 }")]);
    let (journal, a) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    let ticket = admit(&journal, a, Charge { tokens: 1, micro_usd: 499_999 }, NOW).unwrap();
    let refusal = admit(&journal, a, Charge { tokens: 1, micro_usd: 2 }, NOW).unwrap_err();
    assert_eq!((refusal.kind, refusal.retry_after_ms), (RefusalKind::Budget, None));
    assert!(
        refusal.what.contains("0.500000 USD") && refusal.what.contains("0.499999 USD"),
        "{}",
        refusal.what
    );
    journal.settle(ticket, Used { micro_usd: 7, ..used(1) }, NOW).unwrap();
    let spent: Vec<u64> =
        journal.spent(a, NOW + 1_000_000_000_000).unwrap().iter().map(|spent| spent.spent).collect();
    assert_eq!(spent, [1, 7]);
}

#[test]
fn a_group_is_charged_beside_its_keys() {
    let group = "[groups.g]\nmax_budget = { tokens = 100 }\nmax_parallel_requests = 2\n";
    let rules = rules(group, &[("a", "group = \"g\""), ("b", "group = \"g\""), ("c", "")]);
    let journal = Journal::open(None, NOW).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| key(&rules, name));
    let first = admit(&journal, a, tokens(70), NOW).unwrap();
    let refusal = admit(&journal, b, tokens(31), NOW).unwrap_err();
    assert!(refusal.what.starts_with("the group \"g\" has a budget"), "{}", refusal.what);
    let second = admit(&journal, b, tokens(30), NOW).unwrap();
    let refusal = admit(&journal, a, tokens(0), NOW).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Parallel);
    assert_eq!(refusal.what, "the group \"g\" has 2 requests open, and may have 2 at a time");
    let third = admit(&journal, c, tokens(1_000), NOW).unwrap();
    journal.settle(first, used(50), NOW).unwrap();
    journal.settle(second, used(20), NOW).unwrap();
    journal.settle(third, used(1), NOW).unwrap();
    assert_eq!(standing(&journal, a, NOW), (70, 0));
    assert_eq!(journal.num_open(Account::Group("g")).unwrap(), 0);
}

#[test]
fn a_place_is_free_again_when_its_request_ends() {
    let rules = rules("", &[("a", "max_parallel_requests = 1"), ("none", "max_parallel_requests = 0")]);
    let (journal, a) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    for _ in 0..3 {
        let ticket = admit(&journal, a, tokens(1), NOW).unwrap();
        assert_eq!(admit(&journal, a, tokens(1), NOW).unwrap_err().kind, RefusalKind::Parallel);
        journal.refund(ticket, NOW).unwrap();
    }
    assert!(admit(&journal, key(&rules, "none"), tokens(1), NOW).is_err());
}

/// A refusal takes nothing, also not of what it found room in before it came to the limit.
#[test]
fn a_request_that_is_refused_takes_nothing() {
    let limits = "rpm_limit = 10\ntpm_limit = 1000\nmax_parallel_requests = 10\nmax_budget = { tokens = 5 }";
    let rules = rules("", &[("a", limits)]);
    let (journal, a) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    for _ in 0..20 {
        assert_eq!(admit(&journal, a, tokens(6), NOW).unwrap_err().kind, RefusalKind::Budget);
    }
    let remaining = journal.remaining(a, NOW).unwrap();
    assert_eq!((remaining.requests.unwrap().left, remaining.tokens.unwrap().left), (10, 1000));
    assert_eq!((journal.num_open(Account::Tenant("a")).unwrap(), journal.head().count), (0, 0));
}

#[test]
fn a_budget_that_is_added_in_the_middle_knows_what_was_used_before() {
    let before = rules("", &[("a", "")]);
    let journal = Journal::open(None, NOW).unwrap();
    let open = admit(&journal, key(&before, "a"), tokens(50), NOW + 5).unwrap();
    let ticket = admit(&journal, key(&before, "a"), tokens(50), NOW + 5).unwrap();
    journal.settle(ticket, used(30), NOW + 6).unwrap();
    let after = rules("", &[("a", "max_budget = { tokens = 100 }\nbudget_duration = \"1d\"")]);
    assert_eq!(standing(&journal, key(&after, "a"), NOW + 7), (30, 50));
    journal.settle(open, used(70), NOW + 8).unwrap();
    assert_eq!(standing(&journal, key(&after, "a"), NOW + 9), (100, 0));
    journal.verify().unwrap();
}

#[test]
fn what_was_open_at_a_kill_is_charged_once_at_its_reservation() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules("", &[("a", "max_budget = { tokens = 100 }")]);
    let a = key(&rules, "a");
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    let ticket = admit(&journal, a, tokens(60), NOW).unwrap();
    let settled = admit(&journal, a, tokens(20), NOW).unwrap();
    journal.settle(settled, used(5), NOW).unwrap();
    assert!(matches!(Journal::open(Some(folder.path()), NOW), Err(JournalError::InUse { .. })));
    drop(journal);
    let id = ticket.id();
    for opened in 1..4 {
        let journal = Journal::open(Some(folder.path()), NOW + opened).unwrap();
        assert_eq!(standing(&journal, a, NOW), (65, 0), "opening {opened}");
        let lost =
            journal.entries(&EntryQuery { events: &[Event::RequestLost], ..EntryQuery::default() }).unwrap();
        let found: Vec<_> =
            lost.iter().map(|entry| (entry.ticket, entry.charged_tokens, entry.at_ms)).collect();
        assert_eq!(found, [(Some(id), 60, NOW + 1)]);
        assert_eq!(journal.num_open(Account::Tenant("a")).unwrap(), 0);
        journal.verify().unwrap();
    }
    // Whoever held the ticket cannot end it a second time.
    let journal = Journal::open(Some(folder.path()), NOW + 9).unwrap();
    assert!(matches!(journal.settle(ticket, used(1), NOW), Err(JournalError::NoTicket { .. })));
    assert_eq!(standing(&journal, a, NOW), (65, 0));
}

/// Reloaded rules may give a key another group; the request that was admitted before is its old group's.
#[test]
fn a_request_is_settled_with_those_who_reserved_it() {
    let groups = "[groups.g]\nmax_budget = { tokens = 100 }\n[groups.h]\nmax_budget = { tokens = 100 }\n";
    let before = rules(groups, &[("a", "group = \"g\"")]);
    let after = rules(groups, &[("a", "group = \"h\"")]);
    let journal = Journal::open(None, NOW).unwrap();
    let ticket = admit(&journal, key(&before, "a"), tokens(60), NOW).unwrap();
    assert_eq!(standing(&journal, key(&after, "a"), NOW), (0, 0));
    journal.settle(ticket, used(40), NOW).unwrap();
    assert_eq!(standing(&journal, key(&before, "a"), NOW), (40, 0));
    assert_eq!(standing(&journal, key(&after, "a"), NOW), (0, 0));
}

/// The tokens of a request are known after it was let in, and once more at each of its turns.
#[test]
fn what_is_reserved_grows_and_ends_as_one() {
    let rules = rules("", &[("a", "rpm_limit = 1\ntpm_limit = 80\nmax_budget = { tokens = 100 }")]);
    let (journal, key) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    let ticket = admit(&journal, key, Charge::default(), NOW).unwrap();
    journal.extend(&ticket, key, tokens(30), NOW).unwrap();
    journal.extend(&ticket, key, tokens(40), NOW).unwrap();
    assert_eq!(standing(&journal, key, NOW), (0, 70));
    let kind = |more: u64| match journal.extend(&ticket, key, tokens(more), NOW) {
        Err(NotAdmitted::Refused(refusal)) => refusal.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!((kind(20), kind(31)), (RefusalKind::Tokens, RefusalKind::Tokens));
    assert_eq!(standing(&journal, key, NOW), (0, 70), "what is refused changes nothing");
    assert_eq!(journal.remaining(key, NOW).unwrap().tokens.unwrap().left, 10);
    journal.settle(ticket, used(25), NOW).unwrap();
    assert_eq!(standing(&journal, key, NOW), (25, 0));
    assert_eq!(journal.remaining(key, NOW).unwrap().tokens.unwrap().left, 55);
}

/// Requests that were let in before a period ended are charged to it, and so are held to it when they turn
/// out to need more after its end.
#[test]
fn what_grows_after_a_period_is_held_to_the_one_it_began_in() {
    let rules = rules("", &[("a", "max_budget = { tokens = 100 }\nbudget_duration = \"30s\"")]);
    let (journal, key) = (Journal::open(None, NOW).unwrap(), key(&rules, "a"));
    let tickets: Vec<_> = (0..5).map(|_| admit(&journal, key, Charge::default(), NOW).unwrap()).collect();
    let after = NOW + 31_000;
    let reserved =
        tickets.iter().filter(|ticket| journal.extend(ticket, key, tokens(90), after).is_ok()).count();
    assert_eq!(reserved, 1);
    assert_eq!(standing(&journal, key, NOW), (0, 90));
    assert_eq!(standing(&journal, key, after), (0, 0));
}
