//! `gptoss doctor`: every line has a level, and what would fail fails.

use serde_json::Value;

use crate::program::{gptoss, run};

#[test]
fn doctor_looks_at_the_machine_and_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let doctor_with = |host: &str, more: &[(&str, &str)]| {
        let output = gptoss(&["doctor", "--json"])
            .envs([("HOME", home), ("GPTOSS_HOST", host), ("GPTOSS_PORT", "0")])
            .envs(more.iter().copied())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report)
    };
    let doctor = |host: &str| doctor_with(host, &[]);
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
    // A worker of routers, too: who may come, its port and its folder.
    let (code, report) = doctor_with("127.0.0.1", &[("GPTOSS_GRPC", "0.0.0.0:0")]);
    assert_eq!((code, level(&report, "gRPC")), (Some(1), "fail".to_owned()));
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let settings = [("GPTOSS_GRPC", taken.as_str()), ("GPTOSS_GRPC_MODEL_DIR", home)];
    let (_, report) = doctor_with("127.0.0.1", &settings);
    assert_eq!((level(&report, "gRPC"), level(&report, "folder for routers")), ("ok".into(), "ok".into()));
    assert_eq!(level(&report, "gRPC port"), "warn");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let settings = [("GPTOSS_GRPC", "127.0.0.1:0"), ("GPTOSS_GRPC_MODEL_DIR", file.to_str().unwrap())];
    let (_, report) = doctor_with("127.0.0.1", &settings);
    assert_eq!(
        (level(&report, "gRPC port"), level(&report, "folder for routers")),
        ("ok".into(), "fail".into())
    );
    assert!(run(&["doctor"]).stdout.contains("tokens/s of one conversation"));
}
