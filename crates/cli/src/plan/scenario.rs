//! What is simulated: a load, a fleet and bounds, from flags or from a file of scenarios.
//!
//! Entry point: [`scenarios`]. The tables of a file have the names and forms of the flags
//! ([`TrafficArgs`], [`FleetArgs`]), and a flag wins over all scenarios. What a file names otherwise is
//! refused with its line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use toml::Spanned;

use crate::args::{FleetArgs, Objective, PlanArgs, RequestTime, TrafficArgs, scenario_times};
use crate::failure::usage;
use crate::input::Source;

/// Most scenarios of a file.
const SCENARIOS_MAX: usize = 1000;
/// Longest name of a scenario. Units: characters.
const NAME_CHARS_MAX: usize = 100;

/// A load, a fleet and bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name; None where flags alone say what it is.
    pub name: Option<String>,
    /// Where errors say it is.
    pub place: Option<String>,
    /// The file of what steps cost.
    pub costs: PathBuf,
    /// What comes.
    pub traffic: TrafficArgs,
    /// Who answers.
    pub fleet: FleetArgs,
    /// What is to be kept.
    pub slo: Vec<Objective>,
}

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What steps cost, for scenarios that do not say it.
    costs: Option<PathBuf>,
    #[serde(default)]
    scenario: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    costs: Option<PathBuf>,
    #[serde(default)]
    traffic: TrafficArgs,
    #[serde(default)]
    fleet: FleetArgs,
    #[serde(default)]
    slo: Slo,
}

/// What 99 of 100 requests must keep.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Slo {
    #[serde(deserialize_with = "scenario_times")]
    ttft: Option<Duration>,
    #[serde(deserialize_with = "scenario_times", alias = "itl")]
    tpot: Option<Duration>,
    #[serde(deserialize_with = "scenario_times")]
    e2e: Option<Duration>,
}

impl Slo {
    fn objectives(&self) -> Vec<Objective> {
        let bounds =
            [(RequestTime::Ttft, self.ttft), (RequestTime::Tpot, self.tpot), (RequestTime::E2e, self.e2e)];
        bounds.into_iter().filter_map(|(of, most)| Some(Objective { of, most: most? })).collect()
    }
}

/// What the flags say, or every scenario of the files with what the flags say otherwise.
///
/// Errors: a usage error where the flags leave something open; a file that cannot be read, holds something
/// else, or has no scenario of the name that is looked for.
pub fn scenarios(args: &PlanArgs) -> Result<Vec<Scenario>> {
    let mut flags = args.fleet.clone();
    flags.max_sequences = args.engine.max_sequences.map(u32::from);
    if args.scenario.is_empty() {
        let Some(costs) = args.costs.clone() else {
            return Err(usage("plan needs --costs FILE.json, --scenario FILE.toml or --measure MODEL"));
        };
        let (traffic, slo) = (args.traffic.clone(), args.slo.clone());
        return Ok(vec![Scenario { name: None, place: None, costs, traffic, fleet: flags, slo }]);
    }
    let mut all: Vec<Scenario> = Vec::new();
    for file in &args.scenario {
        let text = Source::from_argument(Some(file)).read_text()?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let found =
            parse(&text, folder, args.costs.as_deref()).with_context(|| file.display().to_string())?;
        all.extend(found.into_iter().map(|scenario| {
            let place = scenario.place.map(|place| format!("{}, {place}", file.display()));
            Scenario { place, ..scenario }
        }));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = all.iter().filter_map(|it| it.name.as_ref()).find(|name| !names.insert(*name)) {
        bail!("two scenarios have the name `{twice}`: each needs its own");
    }
    if let Some(only) = &args.only {
        let names: Vec<&str> = all.iter().filter_map(|it| it.name.as_deref()).collect();
        ensure!(names.contains(&only.as_str()), "no scenario is `{only}`: there are {}", names.join(", "));
        all.retain(|it| it.name.as_ref() == Some(only));
    }
    for scenario in &mut all {
        scenario.traffic = args.traffic.over(&scenario.traffic);
        scenario.fleet = flags.over(&scenario.fleet);
        if !args.slo.is_empty() {
            scenario.slo.clone_from(&args.slo);
        }
    }
    Ok(all)
}

/// The scenarios of a file; other files that it names are in `folder`.
fn parse(text: &str, folder: &Path, costs: Option<&Path>) -> Result<Vec<Scenario>> {
    let file: File = toml::from_str(text)?;
    let count = file.scenario.len();
    ensure!(
        (1..=SCENARIOS_MAX).contains(&count),
        "it has {count} scenarios: write [[scenario]] and a name for each, from 1 to {SCENARIOS_MAX}"
    );
    let scenario = |table: Table| {
        let line = 1 + text[..table.name.span().start.min(text.len())].matches('\n').count();
        let name = table.name.into_inner();
        let place = format!("line {line}, scenario `{name}`");
        let chars = name.chars().count();
        ensure!(
            (1..=NAME_CHARS_MAX).contains(&chars),
            "line {line}: a name has from 1 to {NAME_CHARS_MAX} characters"
        );
        let named = table.costs.as_ref().or(file.costs.as_ref()).map(|file| folder.join(file));
        let costs = costs.map(Path::to_owned).or(named);
        let costs = costs.with_context(|| {
            format!("{place}: what do steps cost? Write costs = \"FILE.json\", or give --costs")
        })?;
        let trace = table.traffic.trace.map(|file| folder.join(file));
        let traffic = TrafficArgs { trace, ..table.traffic };
        let slo = table.slo.objectives();
        Ok(Scenario { name: Some(name), place: Some(place), costs, traffic, fleet: table.fleet, slo })
    };
    file.scenario.into_iter().map(scenario).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{ArrivalsArg, BegunArg, Lengths, RouterArg};

    const FILE: &str = r#"
        costs = "costs.json"

        [[scenario]]
        name = "chat"
        [scenario.traffic]
        rate = 20
        prompt_tokens = "lognormal:900~700"
        output_tokens = 300
        prefixes = 50
        prefix_tokens = "100..400"
        prefix_share = 0.8
        turns = 3
        think = "15s"
        seed = 7
        [scenario.fleet]
        workers = [2, 4]
        router = "prefix-aware"
        mtbf = "6h"
        mttr = 300
        begun = "migrate"
        max_sequences = 16
        per_machine = 2
        [scenario.slo]
        ttft = "2s"
        itl = "80ms"

        [[scenario]]
        name = "recorded"
        costs = "other.json"
        traffic.trace = "requests.jsonl"
        fleet = { workers = "1,2", workers_max = 9 }
    "#;

    fn read(text: &str) -> Result<Vec<Scenario>> {
        parse(text, Path::new("there"), None)
    }

    #[test]
    fn a_file_has_the_names_and_forms_of_the_flags() {
        let found = read(FILE).unwrap();
        let [chat, recorded] = &found[..] else { panic!("two scenarios: {found:?}") };
        let traffic = TrafficArgs {
            rate: Some(20.0),
            prompt_tokens: Some(Lengths::LogNormal(900.0, 700.0)),
            output_tokens: Some(Lengths::Fixed(300)),
            prefixes: Some(50),
            prefix_tokens: Some(Lengths::Uniform(100, 400)),
            prefix_share: Some(0.8),
            turns: Some(3),
            think: Some(Duration::from_secs(15)),
            seed: Some(7),
            ..TrafficArgs::default()
        };
        let fleet = FleetArgs {
            workers: vec![2, 4],
            router: Some(RouterArg::PrefixAware),
            mtbf: Some(Duration::from_secs(6 * 3600)),
            mttr: Some(Duration::from_secs(300)),
            begun: Some(BegunArg::Migrate),
            max_sequences: Some(16),
            per_machine: Some(2),
            ..FleetArgs::default()
        };
        assert_eq!((&chat.traffic, &chat.fleet), (&traffic, &fleet));
        assert_eq!(chat.slo, ["ttft=2s", "itl=80ms"].map(|text| text.parse().unwrap()));
        assert_eq!(chat.place.as_deref(), Some("line 5, scenario `chat`"));
        assert_eq!(chat.costs, Path::new("there/costs.json"));
        assert_eq!(recorded.traffic.trace.as_deref(), Some(Path::new("there/requests.jsonl")));
        assert_eq!((&recorded.fleet.workers, recorded.fleet.workers_max), (&vec![1, 2], Some(9)));
        assert_eq!(recorded.costs, Path::new("there/other.json"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let check = |from: &str, to: &str, facts: &[&str]| {
            let text = FILE.replacen(from, to, 1);
            assert_ne!(text, FILE, "{from} is in it");
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(facts.iter().all(|fact| error.contains(fact)), "{facts:?} in {error}");
        };
        check("rate = 20", "rat = 20", &["line 7", "unknown field `rat`", "`rate`"]);
        check("rate = 20", "rate = 0", &["line 7", "`0` is not a rate"]);
        check("rate = 20", "rate = true", &["line 7", "a number or a text"]);
        check("= 300\n", "= 0\n", &["line 9", "`0` is not a length"]);
        check("turns = 3", "turns = 101", &["line 13", "`101`", "from 1 to 100"]);
        check("prefix_share = 0.8", "prefix_share = 80", &["line 12", "from 0 to 1"]);
        check("workers = [2, 4]", "workers = [0]", &["line 17", "from 1 to 100000"]);
        check("workers = [2, 4]", "workers = -1", &["line 17", "`-1`"]);
        check("\"prefix-aware\"", "\"best\"", &["line 18", "unknown variant `best`", "least-load"]);
        check("ttft = \"2s\"", "ttft = \"soon\"", &["line 25", "`soon` is not a time"]);
        check("ttft = \"2s\"", "ttfb = \"2s\"", &["line 25", "unknown field `ttfb`"]);
        check("name = \"recorded\"", "nam = 1", &["line 29", "unknown field `nam`"]);
        check("costs = \"costs.json\"", "", &["line 5, scenario `chat`", "--costs"]);
        check("[scenario.slo]", "[scenario.bounds]", &["line 24", "unknown field `bounds`"]);
        check("costs = \"costs.json\"", "cost = 1", &["line 2", "unknown field `cost`"]);
        assert!(format!("{:#}", read("costs = \"x\"").unwrap_err()).contains("[[scenario]]"));
        assert!(format!("{:#}", read("x").unwrap_err()).contains("line 1"));
    }

    #[test]
    fn flags_win_over_a_file() {
        let chat = &read(FILE).unwrap()[0].traffic;
        let check = |flags: TrafficArgs, expect: TrafficArgs| assert_eq!(flags.over(chat), expect);
        check(TrafficArgs::default(), chat.clone());
        check(
            TrafficArgs { rate: Some(3.0), seed: Some(1), ..TrafficArgs::default() },
            TrafficArgs { rate: Some(3.0), seed: Some(1), ..chat.clone() },
        );
        // A recording in place of what was drawn, and the other way round.
        let trace = TrafficArgs { trace: Some("x".into()), ..TrafficArgs::default() };
        check(trace.clone(), TrafficArgs { seed: chat.seed, ..trace.clone() });
        let flags = TrafficArgs { rate: Some(3.0), ..TrafficArgs::default() };
        assert_eq!(flags.over(&trace), flags);
        // One kind of arrivals drops the other.
        let bursts = TrafficArgs { burstiness: Some(2.0), ..TrafficArgs::default() };
        let even = TrafficArgs { arrivals: Some(ArrivalsArg::Constant), ..TrafficArgs::default() };
        assert_eq!((even.over(&bursts), bursts.over(&even)), (even, bursts));
        let fleet = FleetArgs { workers: vec![7], router: Some(RouterArg::Random), ..FleetArgs::default() };
        let file = &read(FILE).unwrap()[0].fleet;
        assert_eq!(fleet.over(file), FleetArgs { workers: vec![7], router: fleet.router, ..file.clone() });
    }
}
