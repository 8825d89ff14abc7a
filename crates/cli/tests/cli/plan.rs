//! `plan`: the example of the documents, what flags change of it, and what is said of wrong files. How long
//! steps take is from a file, so every number is the same each time.

use std::fs;

use serde_json::Value;

use crate::program::run;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/plan/");

fn example() -> String {
    format!("{DOCS}example.toml")
}

fn costs() -> String {
    format!("{DOCS}costs.json")
}

fn planned(args: &[&str]) -> Value {
    serde_json::from_str(&run(&[&["plan", "--json"][..], args].concat()).ok()).unwrap()
}

#[test]
fn the_example_is_three_scenarios() {
    let text = run(&["plan", "--scenario", &example()]).ok();
    let json = run(&["plan", "--scenario", &example(), "--json"]);
    let json: Value = serde_json::from_str(&json.ok()).unwrap();
    let scenarios = json["scenarios"].as_array().unwrap();
    let names: Vec<_> = scenarios.iter().map(|it| it["scenario"].as_str().unwrap()).collect();
    assert_eq!(names, ["chat", "failures", "recorded"]);
    assert!(names.iter().all(|name| text.contains(&format!("{name}: demo, "))), "{text}");
    assert!(text.contains("1800 requests, ") && text.contains("conversations of 3 turns a second"), "{text}");

    let found = |plan: &Value, workers: &Value| -> Value {
        let tried = plan["tried"].as_array().unwrap();
        tried.iter().find(|it| &it["workers"] == workers).expect("it was tried").clone()
    };
    for plan in &scenarios[..2] {
        let needed = plan["workers_needed"].as_u64().unwrap();
        let is_kept = |workers: u64| {
            let slo = found(plan, &workers.into())["slo"].clone();
            slo.as_array().unwrap().iter().all(|bound| {
                let (late, of) = (bound["late"].as_u64().unwrap(), bound["requests"].as_u64().unwrap());
                assert_eq!(bound["kept"], late * 100 <= of, "{bound}");
                late * 100 <= of
            })
        };
        assert!(needed > 1 && is_kept(needed) && !is_kept(needed - 1), "{needed}");
    }
    // The prompts of later turns are found.
    assert!(found(&scenarios[0], &scenarios[0]["workers_needed"])["cached_share"].as_f64().unwrap() > 0.3);
    let failures = &scenarios[1];
    let needed = failures["workers_needed"].as_u64().unwrap();
    assert_eq!(failures["machines_needed"], needed.div_ceil(2));
    assert!(text.contains(&format!("{needed} servers on {} machines keep E2EL 3000 ms", needed.div_ceil(2))));
    let tried = scenarios[2]["tried"].as_array().unwrap();
    assert_eq!(tried.iter().map(|it| it["completed"].as_u64().unwrap()).collect::<Vec<_>>(), [60, 60]);
    assert!(tried[0]["p99_ttft_ms"].as_f64() > tried[1]["p99_ttft_ms"].as_f64());
}

#[test]
fn flags_win_and_the_same_plan_is_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plan.svg");
    let chat = |more: &[&str]| {
        let only = ["plan", "--scenario", &example(), "--only", "chat", "--workers", "2"];
        run(&[&only[..], more].concat()).ok()
    };
    let drawn = chat(&["--requests", "50", "--plot", plot.to_str().unwrap()]);
    assert!(drawn.contains("chat: demo, 150 requests"), "{drawn}");
    assert!(fs::read_to_string(&plot).unwrap().contains("2 servers"));
    assert_eq!(drawn, chat(&["--requests", "50"]));
    assert_ne!(drawn, chat(&["--requests", "50", "--seed", "1"]));
    let trace = format!("{DOCS}requests.jsonl");
    assert!(chat(&["--trace", &trace]).contains("chat: demo, 60 requests"));
    // Without a file the same words are flags, and the object is the plan itself.
    let traffic = ["--costs", &costs(), "--rate", "40", "--requests", "300", "--prompt-tokens", "100"];
    let plan = planned(&[&traffic[..], &["--turns", "2", "--think", "1s", "--workers", "1,2"]].concat());
    assert_eq!((&plan["requests"], &plan["scenario"]), (&600.into(), &Value::Null));
    assert_eq!(plan["tried"].as_array().unwrap().len(), 2);
}

/// Requests that all come at 0 had a rate of 1e308, and an answer of one token no time between tokens.
#[test]
fn a_recording_of_requests_at_once_is_planned() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("at-once.jsonl");
    fs::write(&file, "{\"at\": 0, \"prompt_tokens\": 30, \"output_tokens\": 1}\n".repeat(20)).unwrap();
    let args = ["--costs", &costs(), "--trace", file.to_str().unwrap(), "--slo", "ttft=10s,itl=1s"];
    let plan = planned(&args);
    assert_eq!((&plan["request_rate"], &plan["workers_needed"]), (&Value::Null, &1.into()));
    assert_eq!(plan["tried"][0]["slo"][1]["requests"], 0);
    let text = run(&[&["plan"][..], &args].concat()).ok();
    assert!(text.contains("20 requests, all at once") && text.contains("1 server keeps TTFT"), "{text}");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    let example = fs::read_to_string(example()).unwrap();
    fs::copy(costs(), folder.path().join("costs.json")).unwrap();
    let fails = |from: &str, to: &str, facts: &[&str]| {
        let text = example.replacen(from, to, 1);
        assert_ne!(text, example, "{from} is in it");
        fs::write(&file, text).unwrap();
        run(&["plan", "--scenario", file.to_str().unwrap()]).fails(1, facts);
    };
    fails("turns = 3", "turnes = 3", &["scenario.toml", "line 11", "unknown field `turnes`"]);
    fails("rate = 30", "rate = \"fast\"", &["line 9", "`fast` is not a rate"]);
    fails("prefixes = 20", "", &["line 7, scenario `chat`", "`prefixes` and `prefix_tokens`"]);
    fails("name = \"failures\"", "name = \"chat\"", &["two scenarios have the name `chat`"]);
    fails("per_machine = 2", "per_machine = 3", &["scenario `failures`", "--per-machine 3"]);
    // The recording is not beside this copy.
    fails("rate = 30", "rate = 7", &["scenario `recorded`", "requests.jsonl"]);

    let path = file.to_str().unwrap();
    run(&["plan", "--scenario", path, "--only", "none"]).fails(1, &["`none`", "chat, failures, recorded"]);
    run(&["plan", "--scenario", path, "--plot", "x.svg"]).fails(2, &["--only"]);
    run(&["plan"]).fails(2, &["--costs"]);
    let large = folder.path().join("large.json");
    let text = fs::read_to_string(costs()).unwrap();
    let blocks: Value = serde_json::from_str(&text).unwrap();
    let text = text.replace(&format!("\"blocks\": {}", blocks["blocks"]), "\"blocks\": 18446744073709551615");
    fs::write(&large, text).unwrap();
    let facts = ["large.json", "`blocks` is 18446744073709551615", "from 1 to 4194304"];
    run(&["plan", "--costs", large.to_str().unwrap()]).fails(1, &facts);
    let never =
        run(&["plan", "--costs", &costs(), "--rate", "500", "--slo", "ttft=1ms", "--workers-max", "2"]);
    assert_eq!(never.code, 1, "{}", never.stderr);
    assert!(never.stdout.contains("2 servers are not enough to keep TTFT 1 ms"), "{}", never.stdout);
}
