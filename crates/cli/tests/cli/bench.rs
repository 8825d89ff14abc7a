//! `bench`: what it prints and what it refuses. How fast anything is, is no test.

use crate::program::{run, testdata};
use serde_json::Value;

#[test]
fn every_case_is_an_object_with_its_ceilings() {
    let model = testdata("tiny");
    let args = ["bench", "--model", &model, "--prefill", "0,8", "--decode", "2", "--depth", "0,64"];
    let output = run(&[&args[..], &["--repeat", "2", "--threads", "1", "--json"]].concat()).ok();
    let cases: Vec<Value> = serde_json::from_str(&output).unwrap();
    let sizes = |case: &Value| ["prefill_tokens", "depth_tokens"].map(|name| case[name].as_u64().unwrap());
    assert_eq!(cases.iter().map(sizes).collect::<Vec<_>>(), [[0, 0], [0, 64], [8, 0], [8, 64]]);
    for case in &cases {
        assert_eq!(case["prefill_tokens_per_second"].is_null(), case["prefill_tokens"] == 0, "{case}");
        let positive = [
            "decode_tokens_per_second",
            "decode_ceiling_tokens_per_second",
            "prefill_ceiling_tokens_per_second",
            "read_bandwidth_bytes_per_second",
            "dense_tile_macs_per_second",
            "expert_tile_macs_per_second",
            "bytes_per_token",
            "first_token_seconds",
        ];
        for name in positive {
            assert!(case[name].as_f64().is_some_and(|value| value > 0.0), "{name} in {case}");
        }
        if cfg!(target_os = "linux") {
            assert!(case["peak_resident_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{case}");
        }
        assert_eq!((&case["repeats"], &case["threads"], &case["batch"]), (&2.into(), &1.into(), &1.into()));
    }
    // Keys and values of 64 more positions, in the layers that see them.
    let kv = |case: &Value| case["kv_bytes_per_token"].as_u64().unwrap();
    assert!(kv(&cases[1]) > kv(&cases[0]));
}

#[test]
fn sequences_share_the_reading_of_weights() {
    let model = testdata("tiny");
    let args = ["bench", "--model", &model, "--prefill", "4", "--decode", "2", "--batch", "1,3", "--json"];
    let cases: Vec<Value> = serde_json::from_str(&run(&args).ok()).unwrap();
    assert_eq!(cases.iter().map(|case| case["batch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3]);
    let bytes = |case: &Value| case["bytes_per_token"].as_f64().unwrap();
    assert!(bytes(&cases[1]) < bytes(&cases[0]));
}

#[test]
fn a_table_and_a_record() {
    let args = ["bench", "--prefill", "4", "--decode", "1", "--repeat", "1"];
    let table = run(&args).ok();
    assert!(table.contains("demo: ") && table.contains("too small for these ceilings"), "{table}");
    let record = run(&[&args[..], &["--csv"]].concat()).ok();
    let fields: Vec<usize> = record.lines().map(|line| line.matches(',').count()).collect();
    assert!(record.starts_with("model,date,") && fields.len() == 2, "{record}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let refused = |args: &[&str], facts: &[&str]| {
        run(&[&["bench"], args].concat()).fails(2, facts);
    };
    refused(&["--prefill", "0", "--decode", "0"], &["measures nothing"]);
    refused(&["--depth", "131072"], &["positions", "demo"]);
}
