//! `inspect`: the published numbers, the sum of named terms, the chart; and that looking at 120b costs
//! nothing.

use crate::program::{run, testdata};
use serde_json::Value;

fn inspect(args: &[&str]) -> Value {
    let args: Vec<&str> = ["inspect", "--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&run(&args).ok()).unwrap()
}

fn check(model: &str, total: u64, active: u64) {
    let report = inspect(&[model]);
    let parameters = &report["parameters"];
    assert_eq!((&parameters["total"], &parameters["active"]), (&total.into(), &active.into()), "{model}");
    let sum = |key: &str| {
        parameters["parts"].as_array().unwrap().iter().map(|p| p[key].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((sum("total"), sum("active")), (total, active));
    let memory = &report["memory"];
    let terms = memory["terms"].as_array().unwrap().iter().map(|term| term["bytes"].as_u64().unwrap());
    assert_eq!(terms.sum::<u64>(), memory["total_bytes"].as_u64().unwrap());
}

#[test]
fn parameters_are_the_published_ones() {
    check("gpt-oss-120b", 116_829_156_672, 5_132_849_472);
    check("synthetic:gpt-oss-20b@5", 20_914_757_184, 3_608_307_264);
    let billions =
        |model: &str, key: &str| inspect(&[model])["parameters"][key].as_u64().unwrap() as f64 / 1e9;
    assert_eq!(format!("{:.2}", billions("gpt-oss-15b", "total")), "14.99");
    assert_eq!(format!("{:.1}", billions("gpt-oss-90b", "total")), "90.0");
    assert_eq!(format!("{:.1}", billions("gpt-oss-90b", "active")), "16.7");
}

#[test]
fn what_fits_depends_on_the_context() {
    let fits = |args: &[&str], size: &str| inspect(args)["fits"][size].as_bool().unwrap();
    assert!(fits(&["gpt-oss-20b", "--context", "4096"], "16 GB"));
    assert!(!fits(&["gpt-oss-120b"], "24 GB"));
    assert!(fits(&["gpt-oss-120b"], "80 GB"));
    let bytes = |context: &str| {
        inspect(&["gpt-oss-20b", "--context", context])["memory"]["total_bytes"].as_u64().unwrap()
    };
    assert!(bytes("131072") > bytes("4096") + 3_000_000_000);
}

/// A preset is in no file, and the question of everybody with 8 GB was answered with an error.
#[test]
fn a_preset_is_planned_into_a_budget() {
    let report = inspect(&["gpt-oss-20b", "--memory", "8GiB", "--context", "4096"]);
    let terms = report["memory"]["terms"].as_array().unwrap();
    let names: Vec<&str> = terms.iter().map(|term| term["name"].as_str().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("experts in memory: ")), "{names:?}");
    assert!(report["memory"]["total_bytes"].as_u64().unwrap() <= 8 << 30);
    run(&["inspect", "gpt-oss-20b", "--memory", "1GiB"]).fails(1, &["--memory of 1.1 GB", "is the least"]);
    let said = run(&["inspect", "--memory", "50MB"]).fails(1, &["the demo", "inside this program"]);
    assert!(!said.contains("synth"), "{said}");
}

/// A card sold with 16 GB has 16 GiB, of which a driver keeps some; 16 GB of 10^9 is the safe side, and so it
/// is with 80. All experts are on the card, with keys and values of every position in bf16.
#[test]
fn the_released_models_fit_their_cards() {
    let check = |args: &[&str], size: &str, experts: u64, full_layers: u64, positions: u64| {
        let report = inspect(&[args, &["--gpu-memory", size]].concat());
        let memory = &report["memory"];
        let term = |name: &str| {
            let terms = memory["terms"].as_array().unwrap().iter();
            let bytes = terms.filter(|term| term["name"].as_str().unwrap().starts_with(name));
            bytes.map(|term| term["bytes"].as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!(report["fits"][size.replace("GB", " GB")], true, "{memory}");
        assert!(term("weights: experts") >= experts, "{memory}");
        assert!(term("KV cache: full layers") >= full_layers * positions * 2 * 8 * 64 * 2, "{memory}");
    };
    let small = ["gpt-oss-20b", "--dense", "q8", "--context", "131072"];
    check(&small, "16GB", 10_150_000_000, 12, 131_072);
    let many = ["gpt-oss-120b", "--dense", "bf16", "--context", "16384", "--max-sequences", "16"];
    check(&[&many[..], &["--kv-memory", "10.5GB"]].concat(), "80GB", 60_900_000_000, 18, 16 * 16_384);
}

#[test]
fn model_is_a_flag_here_too() {
    assert_eq!(inspect(&["--model", "gpt-oss-20b"]), inspect(&["gpt-oss-20b"]));
    run(&["inspect", "demo", "--model", "demo"]).fails(2, &["--model"]);
}

#[test]
fn the_demo_is_called_a_demo() {
    let report = inspect(&[]);
    assert_eq!(report["demo"], true);
    assert!(report["stored"].as_str().unwrap().contains("demo"));
    assert!(run(&["inspect"]).ok().contains("the embedded demo model"));
}

#[test]
fn a_folder_is_inspected_by_its_config() {
    let report = inspect(&[&testdata("tiny")]);
    assert_eq!(report["config"]["num_local_experts"], 8);
    assert_eq!(report["config"]["vocab_size"], 512);
    assert_eq!(report["demo"], false);
}

#[test]
fn a_gguf_file_is_inspected_by_its_metadata() {
    let (gguf, folder) = (inspect(&[&testdata("tiny-yarn-bf16.gguf")]), inspect(&[&testdata("tiny-yarn")]));
    assert_eq!(gguf["parameters"], folder["parameters"]);
    assert!(gguf["stored"].as_str().unwrap().contains("GGUF"), "{}", gguf["stored"]);
}

/// Its dense matrices are Q8_0, 34 bytes for 32 numbers; they were counted as bf16.
#[test]
fn the_weights_of_a_gguf_file_are_as_large_as_they_are() {
    let terms =
        |name: &str, dense: &str| inspect(&[&testdata(name), "--dense", dense])["memory"]["terms"].clone();
    let bytes = |terms: &Value, name: &str| {
        let term = terms.as_array().unwrap().iter().find(|term| term["name"] == name).unwrap();
        term["bytes"].as_u64().unwrap()
    };
    let (q8_0, bf16) = (terms("tiny-yarn-q8_0.gguf", "bf16"), terms("tiny-yarn", "bf16"));
    assert_eq!(bytes(&q8_0, "weights: embedding"), 320 * 64 / 32 * 34);
    assert_eq!(bytes(&bf16, "weights: embedding"), 320 * 64 * 2);
    assert_eq!(bytes(&q8_0, "KV cache: full layers"), bytes(&bf16, "KV cache: full layers"));
    assert_eq!(bytes(&terms("tiny-yarn", "q8"), "weights: embedding"), 320 * 64 / 32 * 34);
}

#[test]
fn the_chart_shows_all_four_and_the_inspected_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chart.svg");
    run(&["inspect", "gpt-oss-20b", "--svg", file.to_str().unwrap()]).ok();
    let svg = std::fs::read_to_string(&file).unwrap();
    for name in ["gpt-oss-20b", "gpt-oss-120b", "gpt-oss-15b", "gpt-oss-90b"] {
        assert_eq!(svg.matches(name).count(), 1, "{name}");
    }
    run(&["inspect", "--svg", file.to_str().unwrap()]).ok();
    assert!(std::fs::read_to_string(&file).unwrap().contains("the demo model"));
    run(&["inspect", "--svg", "/no/such/folder/x.svg"]).fails(1, &["/no/such/folder/x.svg"]);
    // The name is looked at before the model.
    let name = folder.path().to_str().unwrap();
    run(&["inspect", "/no/such/model", "--svg", name]).fails(1, &[name, "is a folder"]);
}
