//! Buckets of what was used.

use super::*;
use crate::journal::Journal;
use crate::journal::charge::Charge;
use crate::journal::entry::{Entry, Event, Used};
use crate::rules::Rules;

/// 2026-11-30 00:00 UTC.
const DAY: i64 = 1_795_996_800_000;

fn journal() -> Journal {
    let key = |name: &str| {
        let hash = crate::digest::Digest::of(name).to_hex();
        format!("[[keys]]\nname = \"{name}\"\nid = \"id{name}\"\nhash = \"sha256:{hash}\"\n")
    };
    let rules = Rules::parse(&(key("a") + &key("b"))).unwrap();
    let journal = Journal::open(None, DAY).unwrap();
    let requests =
        [("a", "m", 0, 10), ("a", "n", 1_000, 20), ("b", "m", 60_000, 30), ("a", "m", 7_200_000, 40)];
    for (name, model, at, input) in requests {
        let ticket = journal
            .admit(rules.identify(name, 0).unwrap(), Charge { tokens: 100, micro_usd: 9 }, DAY + at)
            .unwrap();
        let used = Used { input, cached: 1, output: 2, micro_usd: 3, ..Used::default() };
        let entry = Entry { model: model.into(), used, ..Entry::new(Event::Request) };
        // It ends in the next hour, and is of the bucket that it began in.
        journal.settle_and_record(ticket, entry, DAY + at + 3_600_000).unwrap();
    }
    journal.record(Entry::new(Event::ServerStarted), DAY).unwrap();
    journal
}

fn query<'a>(width: Width, group_by: &'a [Grouping]) -> UsageQuery<'a> {
    let (start_ms, end_ms) = (DAY + 5, DAY + 3 * 3_600_000);
    UsageQuery { start_ms, end_ms, width, group_by, keys: &[], models: &[], projects: &[], limit: 1_000 }
}

#[test]
fn buckets_are_aligned_and_sum_what_was_admitted_in_them() {
    let journal = journal();
    let check = |query: UsageQuery<'_>, expect: &[&[(u64, u64)]]| {
        let usage = journal.usage(&query).unwrap();
        let results =
            |bucket: &Bucket| bucket.results.iter().map(|row| (row.requests, row.input)).collect::<Vec<_>>();
        let found: Vec<Vec<(u64, u64)>> = usage.buckets.iter().map(results).collect();
        assert_eq!(found, expect);
        assert!(usage.buckets.iter().all(|bucket| bucket.start_ms % query.width.ms() == 0));
    };
    check(query(Width::Hour, &[]), &[&[(3, 60)], &[], &[(1, 40)]]);
    check(query(Width::Day, &[]), &[&[(4, 100)]]);
    check(query(Width::Day, &[Grouping::Model]), &[&[(3, 80), (1, 20)]]);
    check(query(Width::Day, &[Grouping::Project, Grouping::Model]), &[&[(2, 50), (1, 30), (1, 20)]]);
    check(UsageQuery { keys: &["idb"], ..query(Width::Day, &[]) }, &[&[(1, 30)]]);
    check(UsageQuery { models: &["m"], projects: &["a"], ..query(Width::Day, &[]) }, &[&[(2, 50)]]);
    check(UsageQuery { end_ms: DAY, start_ms: DAY + 1, ..query(Width::Day, &[]) }, &[]);
}

#[test]
fn names_are_told_where_they_were_asked_for_and_pages_go_on() {
    let journal = journal();
    let usage = journal.usage(&query(Width::Hour, &[Grouping::Key, Grouping::Model])).unwrap();
    let row = &usage.buckets[0].results[0];
    assert_eq!(
        (row.key.as_deref(), row.model.as_deref(), row.project.as_deref()),
        (Some("ida"), Some("m"), None)
    );
    assert_eq!((row.cached, row.output, row.charged_tokens, row.micro_usd), (1, 2, 12, 3));
    let first = journal.usage(&UsageQuery { limit: 2, ..query(Width::Hour, &[]) }).unwrap();
    assert_eq!((first.buckets.len(), first.next_ms), (2, Some(DAY + 2 * 3_600_000)));
    let next = UsageQuery { start_ms: first.next_ms.unwrap(), limit: 2, ..query(Width::Hour, &[]) };
    let second = journal.usage(&next).unwrap();
    assert_eq!((second.buckets.len(), second.next_ms, second.buckets[0].results.len()), (1, None, 1));
}
