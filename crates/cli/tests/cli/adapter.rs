//! `gptoss adapter`: looked at, checked, merged, written again.

use std::path::Path;

use gptoss_checkpoint::{
    Adapter, AdapterPair, AdapterSite, Checkpoint, FactorDtype, read_adapter, write_adapter,
};
use serde_json::Value;

use crate::program::{run, testdata};

/// An adapter beside attention and experts, of this size.
fn write(folder: &Path, size: f32) {
    write_beside(folder, &Checkpoint::open(Path::new(&testdata("tiny-yarn"))).unwrap(), size);
}

fn write_beside(folder: &Path, base: &Checkpoint, size: f32) {
    let numbers = |len: usize, seed: usize| -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
    };
    let mut pairs = std::collections::BTreeMap::new();
    for layer in 0..2 {
        let experts = (0..4)
            .flat_map(|expert| [AdapterSite::GateUp { layer, expert }, AdapterSite::Down { layer, expert }]);
        for (site, seed) in experts.chain([AdapterSite::Query(layer)]).zip(1..) {
            let [rows, columns] = site.shape(base.config()).unwrap();
            let (a, b) = (numbers(2 * columns, seed), numbers(2 * rows, seed + 50));
            pairs.insert(site, AdapterPair { rank: 2, scale: size, a, b });
        }
    }
    let adapter = Adapter { pairs, ..Adapter::default() };
    write_adapter(folder, &adapter, base.config(), "org/base", FactorDtype::F32).unwrap();
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&run(arguments).ok()).unwrap()
}

#[test]
fn an_adapter_is_looked_at_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0.3);
    let (dir, model) = (folder.path().to_str().unwrap(), testdata("tiny-yarn"));
    let told = run(&["adapter", "inspect", dir, "--model", &model]).ok();
    for line in ["org/base", "rank_major", "experts gate, up", "experts down", "query"] {
        assert!(told.contains(line), "{told}");
    }
    let told = json(&["adapter", "inspect", dir, "--model", &model, "--json"]);
    assert_eq!(told["matrices"], 18);
    assert_eq!(told["sites"].as_array().unwrap().len(), 3);
    assert_eq!(told["sites"][0]["ranks"], serde_json::json!([2]));
    let change = told["sites"][1]["relative_change"].as_f64().unwrap();
    assert!(change > 0.01 && change < 10.0, "{told}");
    let told = run(&["adapter", "check", dir, "--model", &model]).ok();
    assert!(told.contains("every tensor fits"), "{told}");
    run(&["adapter", "check", dir, "--model", "synthetic:tiny"]).fails(1, &["has shape", "lora_A"]);
    run(&["adapter", "check", &model, "--model", &model]).fails(1, &["adapter_model.safetensors"]);
}

#[test]
fn a_layout_that_is_not_known_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0.3);
    let config = folder.path().join("adapter_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let text =
        text.replace("\"lora_B_layout\": \"rank_major\"", "\"x\": 1").replace("org/base", "unsloth/base");
    std::fs::write(&config, text).unwrap();
    let (dir, model) = (folder.path().to_str().unwrap(), testdata("tiny-yarn"));
    run(&["adapter", "check", dir, "--model", &model]).fails(1, &["--lora-b-layout rank-major", "Unsloth"]);
    let told =
        json(&["adapter", "check", dir, "--model", &model, "--json", "--lora-b-layout", "grouped-by-expert"]);
    assert_eq!(told["lora_b_layout"], "grouped_by_expert");
}

/// Where nothing says the layout, rows do.
#[test]
fn both_layouts_are_measured_on_rows() {
    let folder = tempfile::tempdir().unwrap();
    let base = Checkpoint::synthetic(gptoss_checkpoint::Preset::Tiny, 0, None).unwrap();
    let (adapter, rows) = (folder.path().join("adapter"), folder.path().join("rows.jsonl"));
    write_beside(&adapter, &base, 0.5);
    let config = adapter.join("adapter_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let text =
        text.replace("\"lora_B_layout\": \"rank_major\"", "\"x\": 1").replace("org/base", "unsloth/base");
    std::fs::write(&config, text).unwrap();
    std::fs::write(&rows, "{\"prompt\": \"one and two\", \"completion\": \"three\"}\n").unwrap();
    let [dir, data] = [&adapter, &rows].map(|path| path.to_str().unwrap());
    let arguments = ["adapter", "check", dir, "--model", "synthetic:tiny", "--data", data, "--json"];
    let ran = run(&arguments);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["lora_b_layout"], Value::Null);
    let tuned = told["data"]["tuned"].as_array().unwrap();
    assert_eq!(tuned.len(), 2);
    assert_ne!(tuned[0]["loss"], tuned[1]["loss"]);
    assert_ne!(told["data"]["base_loss"], tuned[0]["loss"]);
    ran.fails(1, &["nothing says how B is laid out", "--lora-b-layout"]);
    // Of pairs the better answers count.
    std::fs::write(&rows, "{\"prompt\": \"one and two\", \"chosen\": \"three\", \"rejected\": \"four\"}\n")
        .unwrap();
    let of_pairs: Value = serde_json::from_str(&run(&arguments).stdout).unwrap();
    assert_eq!(of_pairs["data"]["base_loss"], told["data"]["base_loss"]);
}

#[test]
fn an_export_is_the_same_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    write(&from, 0.3);
    let model = testdata("tiny-yarn");
    let [dir, out] = [&from, &to].map(|path| path.to_str().unwrap());
    let arguments = ["adapter", "export", dir, "--model", &model, "--out", out];
    let told = run(&arguments).ok();
    assert!(told.contains("18 matrices") && told.contains("off by 0"), "{told}");
    let base = Checkpoint::open(Path::new(&model)).unwrap();
    let read = |folder: &Path| read_adapter(folder, &base, None).unwrap();
    assert_eq!(read(&from).adapter, read(&to).adapter);
    assert_eq!(read(&to).base_model.as_deref(), Some("org/base"));
    run(&arguments).fails(1, &["exists already"]);
    let half = folder.path().join("half");
    let arguments = [&arguments[..5], &["--out", half.to_str().unwrap(), "--dtype", "bf16"]].concat();
    run(&arguments).ok();
    let sizes = [&to, &half].map(|folder| folder.join("adapter_model.safetensors").metadata().unwrap().len());
    assert!(sizes[1] * 3 < sizes[0] * 2, "{sizes:?}");
}

#[test]
fn a_merge_opens_and_one_that_lost_the_tuning_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [large, small] = [("large", 0.3), ("small", 1e-4)].map(|(name, size)| {
        let path = folder.path().join(name);
        write(&path, size);
        path.to_str().unwrap().to_owned()
    });
    let model = testdata("tiny-yarn");
    let merge = |dir: &str, format: &str, out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        let out = out.to_str().unwrap();
        run(&[&["adapter", "merge", dir, "--model", &model, "--format", format, "--out", out], more].concat())
    };
    let told = merge(&large, "bf16", "bf16", &[]).ok();
    assert!(told.contains("opened again") && told.contains("layers.1.mlp.experts.down_proj"), "{told}");
    let bf16 = folder.path().join("bf16");
    let merged = Checkpoint::open(&bf16).unwrap();
    assert_eq!(merged.expert_format(), gptoss_checkpoint::ExpertFormat::Bf16);
    // There is no grid in it to go by.
    let again =
        ["adapter", "merge", &large, "--model", bf16.to_str().unwrap(), "--out", "x", "--format", "mxfp4"];
    run(&again).fails(2, &["--format bf16"]);

    let told: Value = serde_json::from_str(&merge(&large, "mxfp4", "mxfp4", &["--json"]).ok()).unwrap();
    assert_eq!(told["written"], true);
    assert!(told["all"]["kept"].as_f64().unwrap() > 0.9, "{told}");
    Checkpoint::open(&folder.path().join("mxfp4")).unwrap();

    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = names();
    merge(&small, "mxfp4", "lost", &[]).fails(1, &["of the tuning is left", "--format bf16"]);
    assert_eq!(names(), before, "nothing is left");
    merge(&small, "mxfp4", "lost", &["--force"]).ok();
    Checkpoint::open(&folder.path().join("lost")).unwrap();
    merge(&small, "mxfp4", "lost", &[]).fails(1, &["exists already"]);
}
