//! Commands on a card: the devices in software that `GPTOSS_GPU_TEST_DEVICES` names.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::program::{gptoss_with_drivers, run};

/// The devices, as `--device` names them.
fn devices() -> Vec<String> {
    let names = crate::devices::names().unwrap_or_default();
    let devices: Vec<String> =
        names.split(',').filter(|name| !name.is_empty()).map(|name| format!("vulkan:{name}")).collect();
    if devices.is_empty() {
        eprintln!("SKIPPED: GPTOSS_GPU_TEST_DEVICES names no devices");
    }
    devices
}

/// With the drivers of this machine.
fn on_card(args: &[&str]) -> Output {
    gptoss_with_drivers(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_proof_is_a_line_that_can_be_sent_in() {
    for device in devices() {
        let output = on_card(&["doctor", "--prove", "--json", "--device", &device]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{report} {}", text(&output.stderr));
        assert_eq!((&report["proved"], &report["failed"]), (&true.into(), &json!([])));
        assert_eq!(report["passed"], report["cases"]);
        let line = report["line"].as_str().unwrap();
        let name = report["device"].as_str().unwrap();
        assert!(
            line.starts_with(&format!("proved: {name} (software")) && line.contains("-split, "),
            "{line}"
        );
    }
    run(&["doctor", "--device", "vulkan"]).fails(2, &["--prove"]);
    run(&["doctor", "--prove", "--device", "cpu"]).fails(2, &["vulkan:N"]);
}

#[test]
fn bench_on_a_card_has_its_ceiling_and_goes_on_after_a_case_that_fails() {
    let Some(device) = devices().into_iter().next() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.jsonl");
    let args = ["bench", "--model", "synthetic:tiny", "--device", &device, "--repeat", "1", "--decode", "2"];
    // The second has more keys than a buffer of this device.
    let more = ["--case", "0:2000:2,0:131000:8,8:0:1", "--rows", rows.to_str().unwrap(), "--json"];
    let output = on_card(&[&args[..], &more].concat());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("depth 131000, batch 8, decode 2, run 1 of 1: failed"), "{told}");
    let printed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let kept = fs::read_to_string(rows).unwrap();
    let kept: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed, kept);
    assert_eq!(kept.iter().map(|row| row["depth_tokens"].as_u64().unwrap()).collect::<Vec<_>>(), [2000, 0]);
    for row in kept {
        let positive =
            ["decode_tokens_per_second", "decode_share_of_ceiling", "read_bandwidth_bytes_per_second"];
        for name in positive.into_iter().chain(["dispatch_seconds"]) {
            assert!(row[name].as_f64().is_some_and(|value| value > 0.0), "{name} in {row}");
        }
        assert!(row["prefill_ceiling_tokens_per_second"].is_null(), "{row}");
        assert!(row["device_class"].as_str().unwrap().ends_with("-split"), "{row}");
    }
}

#[test]
fn answers_of_a_card_name_its_class() {
    let Some(device) = devices().into_iter().next() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.jsonl");
    let body = json!({"prompt": "Hi", "max_tokens": 2});
    let line = json!({"custom_id": "q", "method": "POST", "url": "/v1/completions", "body": body});
    fs::write(&file, format!("{line}\n")).unwrap();
    let args = ["batch", file.to_str().unwrap(), "--model", "synthetic:tiny", "--device", &device];
    let output = on_card(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result = fs::read_to_string(folder.path().join("in.output.jsonl")).unwrap();
    let result: Value = serde_json::from_str(&result).unwrap();
    let fingerprint = result["response"]["body"]["system_fingerprint"].as_str().unwrap();
    let class = fingerprint.split_once("-vulkan-").unwrap().1;
    assert!(class.len() == 14 && class.ends_with("-split"), "{fingerprint}");
}

/// The script of `cargo xtask gpu` with two questions: parts end as they say, and a part that fails does not
/// stop the next.
#[test]
fn a_run_on_a_machine_with_a_card_keeps_what_each_part_found() {
    let Some(device) = devices().into_iter().next() else { return };
    let folder = tempfile::tempdir().unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/card");
    let requests = fs::read_to_string(scripts.join("requests.jsonl")).unwrap();
    let few: String = requests.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(folder.path().join("requests.jsonl"), few).unwrap();
    fs::write(folder.path().join("commit"), "abc\n").unwrap();
    fs::copy(scripts.join("run.sh"), folder.path().join("run.sh")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gptoss"), folder.path().join("gptoss")).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new("bash");
        command.arg(folder.path().join("run.sh")).args(["--device", &device]).args(args);
        command.output().unwrap()
    };
    let output = run(&["--preset", "no-such", "prove", "20b", "equality"]);
    let (told, log) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told} {log}");
    assert!(
        told.contains("of 2 answers, ") && told.contains("2 are the same alone and together"),
        "{told} {log}"
    );
    let parts = fs::read_to_string(folder.path().join("results/parts.jsonl")).unwrap();
    let parts: Vec<Value> = parts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended =
        |part: usize| [&parts[part]["part"], &parts[part]["ended"]].map(|text| text.as_str().unwrap());
    assert_eq!((ended(0), ended(1)), (["prove", "passed"], ["20b", "failed"]), "{told} {log}");
    assert_eq!(parts[2]["part"], "equality");
}
