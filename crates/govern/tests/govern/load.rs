//! Many tenants' requests by many threads: no budget is ever over, and all are exact after settling.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use gptoss_govern::{Charge, Journal, NotAdmitted, RefusalKind, Rules, Used};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{NOW, key, rules};

const TENANTS: usize = 200;
const GROUPS: usize = 10;
const THREADS: u64 = 50;
/// Requests that each thread tries.
const REQUESTS: usize = 80;
/// The most that one request reserves. Units: tokens.
const CHARGE_MAX: u64 = 1_000;

fn tenant(index: usize) -> String {
    format!("tenant-{index}")
}

fn many() -> Rules {
    let mut groups = String::from("[prices.m]\ninput = 1\noutput = 1\n");
    for group in 0..GROUPS {
        groups += &format!("[groups.g{group}]\nmax_budget = {{ tokens = {} }}\n", 60_000 + 1_000 * group);
    }
    let names: Vec<String> = (0..TENANTS).map(tenant).collect();
    let more: Vec<String> = (0..TENANTS)
        .map(|index| {
            let (tokens, usd) = (3_000 + 37 * index, 0.004 + 0.000_01 * index as f64);
            format!(
                "group = \"g{}\"\nmax_budget = {{ tokens = {tokens}, usd = {usd:.6} }}\nmax_parallel_requests = 4",
                index % GROUPS
            )
        })
        .collect();
    let keys: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(more.iter().map(String::as_str)).collect();
    rules(&groups, &keys)
}

/// What a tenant used, as its threads counted it.
type Told = Mutex<HashMap<String, (u64, u64)>>;

/// One thread's day. Gives how many requests ran, and how many a budget refused.
fn day(seed: u64, journal: &Journal, rules: &Rules, clock: &AtomicI64, told: &Told) -> (usize, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut ran, mut refused) = (0, 0);
    for _ in 0..REQUESTS {
        let name = tenant(random.random_range(0..TENANTS));
        let key = key(rules, &name);
        let now = clock.fetch_add(1, Ordering::Relaxed);
        let tokens = random.random_range(1..=CHARGE_MAX);
        let ticket = match journal.admit(key, Charge { tokens, micro_usd: 2 * tokens }, now) {
            Ok(ticket) => ticket,
            Err(NotAdmitted::Refused(refusal)) => {
                refused += usize::from(refusal.kind == RefusalKind::Budget);
                continue;
            }
            Err(NotAdmitted::Journal(error)) => panic!("{error}"),
        };
        for spent in journal.spent(key, now).unwrap() {
            let gone = spent.spent + spent.reserved;
            assert!(gone <= spent.budget.amount.value(), "{spent:?}");
        }
        if random.random_bool(0.1) {
            journal.refund(ticket, now).unwrap();
            continue;
        }
        let input = random.random_range(0..=tokens);
        let used = Used {
            input,
            output: random.random_range(0..=tokens - input),
            micro_usd: tokens,
            ..Used::default()
        };
        journal.settle(ticket, used, now).unwrap();
        let mut told = told.lock().unwrap();
        let entry = told.entry(name).or_default();
        *entry = (entry.0 + used.input + used.output, entry.1 + tokens);
        ran += 1;
    }
    (ran, refused)
}

#[test]
fn two_hundred_tenants_by_fifty_threads_keep_to_their_budgets() {
    let (rules, journal) = (many(), Journal::open(None, NOW).unwrap());
    let (clock, told) = (AtomicI64::new(NOW), Told::default());
    let days = thread::scope(|scope| {
        let (journal, rules, clock, told) = (&journal, &rules, &clock, &told);
        let threads: Vec<_> =
            (0..THREADS).map(|seed| scope.spawn(move || day(seed, journal, rules, clock, told))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let (ran, refused) = days.into_iter().fold((0, 0), |sum, day| (sum.0 + day.0, sum.1 + day.1));
    assert!(ran > 1_000 && refused > 100, "both happened: {ran} ran, {refused} were refused");
    let told = told.into_inner().unwrap();
    let mut groups = HashMap::<String, u64>::new();
    for index in 0..TENANTS {
        let name = tenant(index);
        let (tokens, micro_usd) = told.get(&name).copied().unwrap_or_default();
        let spent = journal.spent(key(&rules, &name), NOW).unwrap();
        let found: Vec<(u64, u64)> = spent.iter().map(|spent| (spent.spent, spent.reserved)).collect();
        assert_eq!(found[..2], [(tokens, 0), (micro_usd, 0)], "{name}");
        *groups.entry(spent[2].account.clone()).or_default() += tokens;
        let is_whole = index + GROUPS >= TENANTS;
        assert!(!is_whole || groups[&spent[2].account] == found[2].0, "{:?}", spent[2]);
    }
    let summary = journal.verify().unwrap();
    assert!(summary.num_entries as usize >= ran);
}
