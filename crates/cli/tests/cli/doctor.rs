//! `gptoss doctor`: every line has a level, and what would fail fails.

use serde_json::Value;

use crate::program::{gptoss, run};

#[test]
fn doctor_looks_at_the_machine_and_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let doctor = |host: &str| {
        let output = gptoss(&["doctor", "--json"])
            .envs([("HOME", home), ("GPTOSS_HOST", host), ("GPTOSS_PORT", "0")])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report)
    };
    let level = |report: &Value, about: &str| {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["about"] == about);
        found.unwrap_or_else(|| panic!("{about} in {report}"))["level"].as_str().unwrap().to_owned()
    };
    let (code, report) = doctor("127.0.0.1");
    assert_eq!(code, Some(0), "{report}");
    for about in [
        "processor",
        "threads",
        "memory",
        "bandwidth",
        "open files",
        "cells",
        "python",
        "device",
        "settings",
        "model",
    ] {
        assert_ne!(level(&report, about), "fail", "{about}");
    }
    assert_eq!(level(&report, "address"), "ok");
    // The disk may be too small for a model.
    assert_ne!(level(&report, "model cache"), "fail");
    let (code, report) = doctor("0.0.0.0");
    assert_eq!((code, level(&report, "address")), (Some(1), "fail".to_owned()));
    assert!(run(&["doctor"]).stdout.contains("tokens/s of one conversation"));
}
