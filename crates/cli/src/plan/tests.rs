//! Plans as a whole: the search for the fewest, and costs that a stranger has written.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;

use super::costs::tests::costs;
use super::*;
use crate::args::{FleetArgs, TrafficArgs};
use crate::load::draw::{self, Purpose};

#[test]
fn the_fewest_are_found_between_powers_of_two() {
    let check = |needed: usize, most: usize, expect: Fewest| {
        let mut tries = 0;
        let found = fewest(most, &mut |workers| {
            tries += 1;
            Ok(workers >= needed)
        });
        assert_eq!(found.unwrap(), expect);
        assert!(tries <= 21, "{needed}: {tries}");
    };
    check(1, 1024, Fewest::Found(1));
    check(2, 1024, Fewest::Found(2));
    check(13, 1024, Fewest::Found(13));
    check(1000, 1000, Fewest::Found(1000));
    check(1001, 1000, Fewest::MoreThan(1000));
}

fn scenario(fleet: FleetArgs, slo: &[&str]) -> Scenario {
    Scenario {
        name: None,
        place: None,
        costs: "costs.json".into(),
        traffic: TrafficArgs::default(),
        fleet,
        slo: slo.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn asks(count: u32) -> Vec<Ask> {
    let traffic = TrafficArgs { requests: Some(count), rate: Some(60.0), ..TrafficArgs::default() };
    traffic::traffic(&traffic).unwrap()
}

/// Where more than one of a hundred answers is cut, no number of servers is enough, however fast the others
/// are; without failures some are.
#[test]
fn servers_that_cut_too_many_are_never_enough() {
    let mtbf = Some(Duration::from_secs(5));
    let mttr = Some(Duration::from_millis(100));
    let found = |mtbf| {
        let fleet = FleetArgs { workers_max: Some(8), mtbf, mttr, ..FleetArgs::default() };
        try_all(&scenario(fleet, &["e2e=10s"]), &costs(), &asks(600)).unwrap()
    };
    let (tried, fewest) = found(mtbf);
    assert_eq!(fewest, Some(Fewest::MoreThan(8)));
    let last = tried.last().unwrap();
    let (e2e, cut) = (last.e2e.unwrap().p99, last.failures[1]);
    assert!(e2e < 10_000.0 && cut > 6, "{e2e} {cut}");
    assert!(matches!(found(None).1, Some(Fewest::Found(_))));
}

#[test]
fn more_servers_than_there_is_room_for_are_refused() {
    let fleet = FleetArgs { workers: vec![100_000], ..FleetArgs::default() };
    let large = Costs { blocks: 1 << 22, ..costs() };
    let error = try_all(&scenario(fleet, &[]), &large, &asks(1)).unwrap_err().to_string();
    assert!(error.contains("100000 servers") && error.contains("--workers"), "{error}");
}

/// Numbers that a file may hold in the place of another.
const ODD: [&str; 16] = [
    "0",
    "-1",
    "1",
    "3.5",
    "1e-300",
    "5e-324",
    "86400",
    "1e9",
    "1e308",
    "4194304",
    "65536",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "[1, 2]",
];

/// The file with some numbers changed for odd ones and some bytes for others.
fn mutated(text: &str, random: &mut StdRng) -> String {
    let mut text = text.to_owned();
    for _ in 0..random.random_range(1..4) {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let starts: Vec<usize> = (1..text.len())
            .filter(|&at| text[at..].starts_with(is_number) && !text[..at].ends_with(is_number))
            .collect();
        let start = starts[random.random_range(0..starts.len())];
        let end = start + text[start..].find(|c| !is_number(c)).unwrap_or(0);
        text.replace_range(start..end, ODD[random.random_range(0..ODD.len())]);
        if random.random_range(0..8) == 0 {
            let at = random.random_range(0..text.len());
            text.replace_range(at..=at, ["", "9", "-", "\"", "]", "e"][random.random_range(0..6)]);
        }
    }
    text
}

/// Whatever a file of costs holds, it is refused with a reason or a day is simulated; nothing panics,
/// overflows or takes memory without bounds. With the bounds taken away it aborts. One seed: it cannot flake.
#[test]
fn whatever_costs_hold_they_are_refused_or_simulated() {
    let file = Costs { slowdowns: vec![1.0, 1.25], token_seconds: 1e-5, ..costs() };
    let text = serde_json::to_string(&file).unwrap();
    let mut random = draw::random(5, Purpose::Request, 0, 0);
    let (mut refused, mut simulated) = (0, 0);
    let fleet = FleetArgs { per_machine: Some(2), workers: vec![2], ..FleetArgs::default() };
    let (scenario, asks) = (scenario(fleet, &["ttft=1s"]), asks(12));
    for _ in 0..3000 {
        let text = mutated(&text, &mut random);
        let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
        match Costs::parse(value) {
            Err(error) => {
                refused += 1;
                assert!(!format!("{error:#}").is_empty());
            }
            Ok(costs) => {
                simulated += 1;
                let (tried, _) = try_all(&scenario, &costs, &asks).unwrap();
                let failed: usize = tried[0].failures.iter().sum();
                assert_eq!(tried[0].completed + failed, 12, "{text}");
            }
        }
    }
    assert!(refused > 500 && simulated > 200, "{refused} {simulated}");
}
