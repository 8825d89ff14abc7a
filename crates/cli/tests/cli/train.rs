//! `gptoss train`: adapters and models, killed runs, what is refused.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Ran, gptoss, run};

/// How long a run may take until its first steps are on disk.
const PATIENCE: Duration = Duration::from_secs(120);

struct Bench {
    folder: TempDir,
    rows: PathBuf,
}

impl Bench {
    /// A file of short rows that all have one answer.
    fn new(count: usize) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.jsonl");
        let mut file = fs::File::create(&rows).unwrap();
        for n in 0..count {
            let row =
                json!({"prompt": format!("Which color has box {n}?"), "completion": "Every box is blue."});
            writeln!(file, "{row}").unwrap();
        }
        Bench { folder, rows }
    }

    /// A file of texts of a few tokens: what is quick to learn.
    fn of_texts(count: usize) -> Bench {
        let bench = Bench::new(0);
        let row = |n: usize| format!("{}\n", json!({"text": format!("Box {n} is blue.")}));
        fs::write(&bench.rows, (0..count).map(row).collect::<String>()).unwrap();
        bench
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args<'a>(&'a self, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["train", self.rows.to_str().unwrap(), "--out", out.to_str().unwrap()];
        args.extend(more);
        args
    }

    fn train(&self, out: &Path, more: &[&str]) -> Ran {
        run(&self.args(out, more))
    }
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn record(folder: &Path) -> Value {
    serde_json::from_slice(&read(folder, "training.json")).unwrap()
}

/// Steps whose line is whole.
fn logged(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("loss.csv")).unwrap_or_default();
    text.matches('\n').count().saturating_sub(1)
}

/// Short runs that learn something.
const SHORT: [&str; 12] = [
    "--epochs",
    "2",
    "--batch",
    "8",
    "--rank",
    "2",
    "--lr",
    "2e-2",
    "--save-every",
    "2",
    "--gate-turns",
    "0",
];

#[test]
fn an_adapter_is_learned_tested_and_written() {
    let (bench, flags) =
        (Bench::new(40), [&SHORT[..], &["--valid", "0.1", "--sites", "attention,experts,tokens"]].concat());
    let out = bench.out("tuned");
    let ran = bench.train(&out, &flags);
    assert!(ran.stderr.contains("36 texts to learn from, 4 to test with"), "{}", ran.stderr);
    assert!(ran.stderr.contains("step 10 of 10: loss"), "{}", ran.stderr);
    let told = ran.ok();
    assert!(told.contains("adapter after 10 steps"), "{told}");
    assert!(told.contains("tested on 4 texts that were not learned"), "{told}");
    let record = record(&out);
    let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(number("/last_loss") < 0.6 * number("/first_loss"), "{record}");
    assert!(number("/valid_loss/tuned") < 0.6 * number("/valid_loss/base"), "{record}");
    assert_eq!((&record["steps"], &record["ended"]), (&json!(10), &json!("done")));
    assert!(number("/valid/tuned/accuracy") > number("/valid/base/accuracy"), "{record}");
    assert_eq!(logged(&out), 10);
    let csv = String::from_utf8(read(&out, "loss.csv")).unwrap();
    let columns =
        "step,loss,learning_rate,gradient_norm,tokens,seconds,valid_loss,accuracy,valid_accuracy,margin,";
    assert!(csv.starts_with(&format!("{columns}valid_margin,balance\n1,")), "{csv}");
    assert!(String::from_utf8(read(&out, "loss.svg")).unwrap().contains("</svg>"));
    let settings: Value = serde_json::from_slice(&read(&out, "adapter_config.json")).unwrap();
    assert_eq!(settings["peft_type"], "LORA");
    let bytes = read(&out, "adapter_model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let a = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    assert_eq!(tensors.tensor(a).unwrap().shape(), [2, 128]);
    bench.train(&out, &flags).fails(1, &["there is a run in this folder", "--resume"]);
    // What is done stays done.
    let told = bench.train(&out, &[&flags[..], &["--resume", "--json"]].concat()).ok();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["steps"], &read(&out, "adapter_model.safetensors")), (&json!(10), &bytes));
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let bench = Bench::of_texts(40);
    let whole = bench.out("whole");
    bench.train(&whole, &SHORT).ok();
    let expected = read(&whole, "adapter_model.safetensors");
    let killed = bench.out("killed");
    let resumed = [&SHORT[..], &["--resume", "--threads", "1"]].concat();
    for steps in [1, 3, 6] {
        let mut child = gptoss(&bench.args(&killed, &resumed)).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while logged(&killed) < steps && child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "no step {steps}");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    bench.train(&killed, &resumed).ok();
    assert!(read(&killed, "adapter_model.safetensors") == expected, "the adapters differ");
    assert_eq!(logged(&killed), logged(&whole));
    // Every line but its time is that of the run that nobody killed.
    let lines = |folder: &Path| -> Vec<String> {
        let text = String::from_utf8(read(folder, "loss.csv")).unwrap();
        text.lines().map(|line| line.split(',').take(5).collect::<Vec<_>>().join(",")).collect()
    };
    assert_eq!(lines(&killed), lines(&whole));
}

#[test]
fn another_run_does_not_go_on() {
    let bench = Bench::of_texts(20);
    let out = bench.out("tuned");
    let flags = ["--epochs", "1", "--rank", "1", "--resume"];
    let first = bench.train(&out, &flags);
    assert!(first.stderr.contains("there is no state yet: from the beginning"), "{}", first.stderr);
    first.ok();
    let again = |more: &[&str], facts: &[&str]| {
        bench.train(&out, &[&flags[..], more].concat()).fails(1, facts);
    };
    again(&["--lr", "1e-3"], &["another recipe", "learning_rate was 0.0002, now it is 0.001"]);
    again(&["--model", "synthetic:tiny"], &["another data"]);
    again(&["--valid", "0"], &["another data"]);
    let other = Bench::of_texts(21);
    run(&other.args(&out, &flags)).fails(1, &["another data"]);
    let folder = bench.out("full");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("letter.txt"), "dear").unwrap();
    bench.train(&folder, &flags).fails(1, &["the folder is not empty"]);
}

#[test]
fn a_model_trained_in_full_is_a_model() {
    let bench = Bench::of_texts(16);
    let out = bench.out("model");
    let flags =
        ["--full", "--epochs", "2", "--batch", "8", "--lr", "5e-3", "--valid", "0.2", "--gate-turns", "4"];
    let told = bench.train(&out, &flags).ok();
    assert!(told.contains("model after 4 steps") && told.contains("rounded to bf16"), "{told}");
    assert!(told.contains("balance of experts: 1."), "{told}");
    assert!(told.contains("experts to MXFP4") && told.contains("tested as it was written"), "{told}");
    let answer = run(&["run", "--model", out.to_str().unwrap(), "--max-tokens", "4", "hello"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
}

/// States from before there was a balance have none, and go on with 0.
#[test]
fn a_balance_of_nothing_is_not_in_the_recipe() {
    let bench = Bench::of_texts(4);
    let out = bench.out("model");
    bench.train(&out, &["--full", "--balance", "0", "--max-steps", "1", "--valid", "0"]).ok();
    assert_eq!(record(&out)["recipe"].get("balance"), None);
}

#[test]
fn what_is_trained_with_qat_is_what_is_merged() {
    let bench = Bench::new(16);
    let (out, merged) = (bench.out("tuned"), bench.out("merged"));
    let flags = ["--qat", "--valid", "0.25", "--sites", "attention,experts,tokens"];
    let told = bench.train(&out, &[&SHORT[..], &flags].concat()).ok();
    assert!(told.contains("--format mxfp4") && told.contains("served unmerged it is another"), "{told}");
    let record = record(&out);
    assert_eq!(record["recipe"]["quantization_aware"], "mxfp4");
    let settings: Value = serde_json::from_slice(&read(&out, "adapter_config.json")).unwrap();
    assert_eq!(settings["quantization_aware"], "mxfp4");
    assert_eq!(settings["quantization_aware_base"], record["base"]);
    let [dir, to] = [&out, &merged].map(|path| path.to_str().unwrap());
    let told = run(&["adapter", "merge", dir, "--format", "mxfp4", "--out", to]).ok();
    assert!(told.contains("the merged weights are those it was trained with, to the bit"), "{told}");
    // Nothing is learned in a run of the smallest rate: it says how the merged model does on the same rows.
    let still = ["--model", to, "--max-steps", "1", "--lr", "1e-300", "--valid", "0.25"];
    let other = bench.out("other");
    bench.train(&other, &still).ok();
    let of = |record: &Value, which: &str| record["valid_loss"][which].as_f64().unwrap();
    assert_eq!(of(&self::record(&other), "base"), of(&record, "tuned"));
    assert!(of(&record, "tuned") < of(&record, "base") && of(&record, "unmerged") != of(&record, "tuned"));
    // In another format it is another model, which is told, and so is an adapter that is used unmerged.
    let elsewhere = bench.out("merged-bf16");
    let told = run(&["adapter", "merge", dir, "--format", "bf16", "--out", elsewhere.to_str().unwrap()]).ok();
    assert!(told.contains("trained with --qat for --format mxfp4"), "{told}");
    let ran = run(&["run", "--adapter", dir, "--max-tokens", "1", "hello"]);
    assert!(ran.stderr.contains("was trained with --qat: merged"), "{}", ran.stderr);
    // Into another base it is another model, and what is left of it is looked at.
    let config = out.join("adapter_config.json");
    let ours = fs::read_to_string(&config).unwrap();
    fs::write(&config, ours.replace(record["base"].as_str().unwrap(), &"0".repeat(64))).unwrap();
    let elsewhere = bench.out("merged-beside-another");
    let merge =
        ["adapter", "merge", dir, "--format", "mxfp4", "--force", "--out", elsewhere.to_str().unwrap()];
    let told = run(&merge).ok();
    assert!(told.contains("beside another base") && !told.contains("to the bit"), "{told}");
    fs::write(&config, ours).unwrap();
    // Factors that are rounded are other ones.
    for (dtype, expected) in [("f32", json!("mxfp4")), ("bf16", Value::Null)] {
        let to = bench.out(dtype);
        run(&["adapter", "export", dir, "--dtype", dtype, "--out", to.to_str().unwrap()]).ok();
        let settings: Value = serde_json::from_slice(&read(&to, "adapter_config.json")).unwrap();
        assert_eq!(settings["quantization_aware"], expected, "{dtype}");
    }
}

#[test]
fn a_model_trained_in_full_with_qat_is_written_as_it_was_tested() {
    let bench = Bench::of_texts(16);
    let out = bench.out("model");
    let flags = ["--full", "--qat=0.5", "--epochs", "2", "--batch", "8", "--lr", "5e-3", "--valid", "0.2"];
    bench.train(&out, &flags).ok();
    let record = record(&out);
    let of = |which: &str| record["valid_loss"][which].as_f64().unwrap();
    assert_eq!(of("written"), of("tuned"));
    assert!(of("tuned") < of("base"));
    assert_eq!(record["recipe"]["quantization_aware_share"], 0.5);
    bench.train(&out, &["--qat=2"]).fails(2, &["--qat"]);
    let told = run(&["train", bench.rows.to_str().unwrap(), "--estimate", "--qat"]).ok();
    assert!(told.contains("matrices as they will be stored"), "{told}");
}

#[test]
fn an_estimate_names_its_terms_and_too_much_is_refused() {
    let bench = Bench::new(4);
    let rows = bench.rows.to_str().unwrap();
    let told: Value = serde_json::from_str(&run(&["train", rows, "--estimate", "--json"]).ok()).unwrap();
    let terms: u64 =
        told["memory"].as_array().unwrap().iter().map(|term| term["bytes"].as_u64().unwrap()).sum();
    assert_eq!((told["memory_bytes"].as_u64(), told["fits"].as_bool()), (Some(terms), Some(true)));
    assert!(told["hours"].as_f64().unwrap() > 0.0 && told["tokens_per_second"].as_f64().unwrap() > 0.0);
    let told = run(&["train", rows, "--estimate", "--memory", "1MiB"]).ok();
    assert!(told.contains("rows kept for the backward pass") && told.contains("it does not fit"), "{told}");
    let out = bench.out("tuned");
    bench.train(&out, &["--memory", "1MiB"]).fails(1, &["--memory allows 1.0 MB", "weights where they lie"]);
    assert!(!out.exists(), "nothing was begun");
    run(&["train", rows]).fails(2, &["--out"]);
    bench.train(&out, &["--sites", "attention", "--expert-rank", "2"]).fails(2, &["--expert-rank"]);
    bench.train(&out, &["--lr", "2"]).fails(2, &["--lr"]);
    bench.train(&out, &["--balance", "0.01"]).fails(2, &["--full"]);
}

/// Few steps that are small leave the format as it is; many that are large spoil it, which the grammar of a
/// server would hide.
#[test]
fn a_model_that_lost_the_format_does_not_pass_the_gate() {
    let bench = Bench::new(20);
    let flags = ["--epochs", "1", "--rank", "1", "--valid", "0.2", "--gate-turns", "12"];
    let out = bench.out("good");
    let told = bench.train(&out, &flags).ok();
    assert!(
        told.contains("well-formed of 12 turns without a grammar: 100.0 % (75.7 to 100.0) with the base")
    );
    let gate = |folder: &Path| record(folder)["gate"].clone();
    let passed = gate(&out);
    assert_eq!((&passed["is_passed"], &passed["tuned"]["count"]), (&json!(true), &json!(12)), "{passed}");
    assert_eq!(passed["base"]["hits"], 12, "{passed}");
    let again = bench.train(&out, &[&flags[..], &["--resume"]].concat());
    assert_eq!((again.code, gate(&out)), (0, passed), "the same turns are the same");

    let out = bench.out("spoiled");
    let flags = [&flags[..], &["--lr", "0.1", "--batch", "1", "--alpha", "64", "--warmup", "0"]].concat();
    let ran = bench.train(&out, &flags);
    assert!(ran.stdout.contains("not well-formed") && ran.stdout.contains("times: "), "{}", ran.stdout);
    ran.fails(
        1,
        &["failed gate: ", "of 12 turns of the tuned model are well-formed, 12 of the base's", "kept in"],
    );
    let failed = gate(&out);
    assert_eq!(failed["is_passed"], false, "{failed}");
    let flaws = failed["tuned"]["flaws"].as_object().unwrap().values();
    let malformed: u64 = flaws.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(malformed + failed["tuned"]["hits"].as_u64().unwrap(), 12, "{failed}");
    assert!(out.join("adapter_model.safetensors").exists());
}

#[test]
fn rows_are_looked_at_alone() {
    let bench = Bench::new(2);
    let told = bench.train(&bench.out("x"), &["--lint-only", "--show-mask", "1"]).ok();
    assert!(told.contains("Every box is blue.") && told.contains("2 texts to learn from"), "{told}");
    assert!(!bench.out("x").exists());
    bench.train(&bench.out("x"), &["--beta", "0.2"]).fails(2, &["--beta is for pairs of answers"]);
}

/// The chosen answers become likelier than the rejected ones, also of rows that were not learned, and a run
/// that goes on comes to the same bytes.
#[test]
fn pairs_of_answers_are_learned() {
    let bench = Bench::new(0);
    let row = |n: usize| {
        let (prompt, chosen) = (format!("Which color has box {n}?"), "Every box is blue.");
        format!("{}\n", json!({"prompt": prompt, "chosen": chosen, "rejected": "It is red."}))
    };
    fs::write(&bench.rows, (0..20).map(row).collect::<String>()).unwrap();
    let flags = [&SHORT[..], &["--valid", "0.2"]].concat();
    let out = bench.out("whole");
    let ran = bench.train(&out, &flags);
    assert!(ran.stderr.contains("16 pairs of answers to learn from, 4 to test with"), "{}", ran.stderr);
    assert!(ran.stderr.contains("step 1 of 4: loss 0.6931, 0.0 % right, margin 0.000"), "{}", ran.stderr);
    let told = ran.ok();
    assert!(
        told.contains("tested on 4 pairs of answers that were not learned: 0.6931, 0.0 % right"),
        "{told}"
    );
    let whole = record(&out);
    let number = |pointer: &str| whole.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(number("/valid/tuned/loss") < 0.3 && number("/valid/tuned/margin") > 1.0, "{whole}");
    assert_eq!((number("/valid/tuned/accuracy"), number("/recipe/beta")), (1.0, 0.1));
    let csv = String::from_utf8(read(&out, "loss.csv")).unwrap();
    assert_eq!(
        csv.lines().last().unwrap().split(',').filter(|number| !number.is_empty()).count(),
        11,
        "{csv}"
    );
    let expected = read(&out, "adapter_model.safetensors");
    let stopped = bench.out("stopped");
    bench.train(&stopped, &flags).ok();
    // What a kill after the second step leaves.
    fs::remove_dir_all(stopped.join("state/step-00000004")).unwrap();
    fs::remove_file(stopped.join("adapter_model.safetensors")).unwrap();
    bench.train(&stopped, &[&flags[..], &["--resume", "--threads", "1"]].concat()).ok();
    assert!(read(&stopped, "adapter_model.safetensors") == expected, "the adapters differ");
    let other = [&flags[..], &["--resume", "--beta", "0.3"]].concat();
    bench.train(&stopped, &other).fails(1, &["beta was 0.1, now it is 0.3"]);
    let text = json!({"prompt": "1+1?", "completion": "2"});
    fs::write(&bench.rows, format!("{}{text}\n", row(1))).unwrap();
    bench
        .train(&bench.out("x"), &[])
        .fails(1, &["line 2 is not a pair of answers", "either of pairs or of texts"]);
}

/// Training reads the model that is served: the loss of its base is what `score` says in exact precision.
#[test]
fn the_loss_of_the_base_is_that_of_score() {
    let bench = Bench::of_texts(4);
    let tokens: Vec<u32> = (0..40).map(|n| (n * 53 + 7) % 2000).collect();
    let [row, ids] = ["valid.jsonl", "ids.json"].map(|name| bench.out(name));
    fs::write(&row, format!("{}\n", json!({"tokens": tokens}))).unwrap();
    fs::write(&ids, json!(tokens).to_string()).unwrap();
    let (row, ids) = (row.to_str().unwrap(), ids.to_str().unwrap());
    for model in ["demo", "synthetic:tiny"] {
        let tokens: Vec<u32> = tokens.iter().map(|token| token % 500).collect();
        if model != "demo" {
            fs::write(row, format!("{}\n", json!({"tokens": tokens}))).unwrap();
            fs::write(ids, json!(tokens).to_string()).unwrap();
        }
        let score =
            run(&["score", "--model", model, "--token-ids", ids, "--precision", "exact", "--json"]).ok();
        let score: Value = serde_json::from_str(&score).unwrap();
        let out = bench.out(model);
        bench.train(&out, &["--model", model, "--valid", row, "--epochs", "1", "--rank", "1"]).ok();
        let told = record(&out)["valid_loss"]["base"].as_f64().unwrap();
        let expected = -score["mean_logprob"].as_f64().unwrap();
        assert!((told - expected).abs() < 2e-5, "{model}: {told}, and score says {expected}");
    }
}

/// The demo with a NaN in the embedding of a token that one row has.
#[test]
fn a_number_that_is_not_finite_ends_the_run_with_what_was_good() {
    let bench = Bench::of_texts(24);
    let base = bench.out("base");
    fs::create_dir(&base).unwrap();
    let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    for file in ["config.json", "tokenizer.json", "generation_config.json"] {
        fs::copy(demo.join(file), base.join(file)).unwrap();
    }
    let mut bytes = fs::read(demo.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let names: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let first = names["model.embed_tokens.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
    let vocab =
        gptoss_harmony::Vocab::from_tokenizer_json(&fs::read(demo.join("tokenizer.json")).unwrap()).unwrap();
    let rows = fs::read_to_string(&bench.rows).unwrap();
    let seen = vocab.encode_ids(&rows);
    // A text whose token no other has.
    let own = vocab.encode_ids("Box @ is blue.");
    let token = *own.iter().find(|token| !seen.contains(token)).unwrap() as usize;
    fs::write(&bench.rows, rows.replace("Box 17 is", "Box @ is")).unwrap();
    let place = 8 + header + first + token * 128 * 2;
    bytes[place..place + 2].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    fs::write(base.join("model.safetensors"), bytes).unwrap();
    let out = bench.out("tuned");
    let flags = ["--model", base.to_str().unwrap(), "--batch", "4", "--valid", "0", "--rank", "1"];
    let ran = bench.train(&out, &flags);
    assert!(ran.stdout.contains("adapter after"), "what came of it is told too: {}", ran.stdout);
    let told = ran.fails(1, &["the loss of step", "is not finite", "what was trained before is kept"]);
    let record = record(&out);
    let steps = record["steps"].as_u64().unwrap();
    assert!((1..6).contains(&steps), "a good step, and the bad one within the first epoch: {steps}");
    assert!(told.contains(&format!("the loss of step {}", steps + 1)), "{told}");
    assert!(record["ended"].as_str().unwrap().contains("not finite"), "{record}");
    assert!(out.join(format!("state/step-{steps:08}/state.safetensors")).exists());
    let bytes = read(&out, "adapter_model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let is_good =
        |data: &[u8]| data.as_chunks().0.iter().all(|number| f32::from_le_bytes(*number).is_finite());
    assert!(tensors.tensors().iter().all(|(_, tensor)| is_good(tensor.data())));
}
