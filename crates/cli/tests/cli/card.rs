//! A card that fails under the program, and a machine without any.
//!
//! Devices are those of `crates/gpu/tests/devices`, through the loader with faults beside it, which the
//! program finds in front of the system's; where there is none the tests say that they are skipped.

use std::process::Command;
use std::time::{Duration, Instant};

use gptoss_gpu::DeviceDescription;
use gptoss_gpu::prove::TABLE;
use serde_json::{Value, json};

use crate::devices::{one_at_a_time, opened};
use crate::faults::Faults;
use crate::program::{Ran, gptoss, gptoss_with_drivers};
use crate::serve::Server;

/// How long a server may take to be ready again.
const PATIENCE: Duration = Duration::from_secs(180);

fn with_faults(name: &str, test: impl Fn(&Faults, &DeviceDescription)) {
    let _alone = one_at_a_time();
    for device in opened(1) {
        let Some(faults) = Faults::new(name) else {
            return eprintln!("SKIPPED: no Vulkan loader in /usr/lib");
        };
        test(&faults, faults.open(&device).expect("opens").description());
        faults.clear();
    }
}

/// The program on a device that can fail.
fn on_card(faults: &Faults, device: &DeviceDescription, args: &[&str]) -> Command {
    let mut command = gptoss_with_drivers(args);
    command.arg("--device").arg(format!("vulkan:{}", device.index));
    command.env("LD_LIBRARY_PATH", faults.folder());
    command
}

fn ran(mut command: Command) -> Ran {
    command.output().expect("the binary starts and ends").into()
}

#[test]
fn a_card_that_fails_ends_the_program_with_the_reason() {
    with_faults("run", |faults, device| {
        let run =
            || ran(on_card(faults, device, &["run", "--seed", "1", "--max-tokens", "8", "What is 2 + 3?"]));
        let expected = run().ok();
        let name = &device.name;
        // The probes come first, with that of the arithmetic; the demo's weights are there 96 copies later.
        let probes = 1 + TABLE.iter().filter(|case| case.at_start).count();
        for (fault, well, facts) in [
            (
                "submit lost",
                4,
                ["cannot compute on the device", "was lost while starting a case of the proof"],
            ),
            ("submit lost", probes + 4, ["was lost while starting an upload", "the system's log"]),
            ("allocate full", 30, ["has no room left while making room for", "bytes are held on it"]),
            ("wait hang", probes + 100, ["did not finish", " s and was given up"]),
            ("submit lost", probes + 100, ["the device failed: ", "was lost while"]),
        ] {
            faults.set(&format!("{fault} {well}"));
            run().fails(1, &[&[name.as_str()], &facts[..]].concat());
        }
        faults.clear();
        assert_eq!(run().ok(), expected);
    });
}

/// The status and the body of an answer.
fn answer(server: &Server, method: &str, path: &str, body: &str) -> (String, String) {
    let answer = server.ask(method, path, "content-type: application/json\r\n", body).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).expect("a status").to_owned(), body.to_owned())
}

fn is_ready(server: &Server) -> bool {
    let (status, body) = answer(server, "GET", "/ready", "");
    assert!(matches!((status.as_str(), body.contains("failing")), ("200", false) | ("503", true)), "{body}");
    status == "200"
}

fn wait_until_ready(server: &Server) {
    let begun = Instant::now();
    while !is_ready(server) {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_ends_every_turn_once_when_its_card_fails_and_loads_the_model_again() {
    with_faults("serve", |faults, device| {
        let command = on_card(faults, device, &["serve", "--port", "0", "--quiet", "--context", "512"]);
        let server = Server::of(command);
        let ask = |stream: bool| {
            let messages = json!([{"role": "user", "content": "What is 27 + 58?"}]);
            let body = json!({"messages": messages, "seed": 1, "max_tokens": 12, "stream": stream});
            answer(&server, "POST", "/v1/chat/completions", &body.to_string())
        };
        let said = || {
            let (status, body) = ask(false);
            assert_eq!(status, "200", "{body}");
            serde_json::from_str::<Value>(&body).expect("JSON")["choices"].clone()
        };
        let expected = said();
        for fault in ["submit lost 2", "wait hang 1"] {
            faults.set(fault);
            let (status, body) = ask(false);
            faults.clear();
            let error: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!((status.as_str(), &error["error"]["type"]), ("500", &json!("server_error")), "{body}");
            let message = error["error"]["message"].as_str().expect("words");
            assert!(message.contains("the device failed") && message.contains(&device.name), "{body}");
            assert_eq!(answer(&server, "GET", "/health", "").0, "200");
            wait_until_ready(&server);
            assert_eq!(said(), expected, "{fault}");
        }
        faults.set("submit lost 4");
        let (_, stream) = ask(true);
        faults.clear();
        assert_eq!(stream.matches("the device failed").count(), 1, "{stream}");
        wait_until_ready(&server);
        assert_eq!(said(), expected);
        let metrics = answer(&server, "GET", "/metrics", "").1;
        assert!(metrics.contains("engine_device_losses_total 3"), "{metrics}");
        // A card that does not come back: whoever asks is told, and /ready says so.
        faults.set("submit lost 0\nopen full 0");
        assert_eq!(ask(false).0, "500");
        for _ in 0..2 {
            let (status, body) = ask(false);
            assert!(
                status == "500" && body.contains("opening it failed") && body.contains("start"),
                "{body}"
            );
        }
        assert!(!is_ready(&server));
        assert_eq!(answer(&server, "GET", "/health", "").0, "200");
    });
}

/// The library that every card is reached through is not one.
#[test]
fn a_machine_without_a_loader_computes_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("libvulkan.so.1"), "").expect("writes");
    let run = |args: &[&str]| {
        let mut command = gptoss(args);
        command.env("LD_LIBRARY_PATH", folder.path());
        ran(command)
    };
    let say = ["run", "--seed", "1", "--max-tokens", "8", "What is 2 + 3?"];
    let expected = run(&say).ok();
    assert_eq!(run(&[&say[..], &["--device", "auto"]].concat()).ok(), expected);
    assert!(run(&["doctor"]).stdout.contains("the processor; no card is found through Vulkan"));
    let refused = run(&[&say[..], &["--device", "vulkan"]].concat());
    refused.fails(1, &["no Vulkan loader on this machine", "libvulkan1", "use the CPU"]);
    if cfg!(not(feature = "cuda")) {
        let refused = run(&[&say[..], &["--device", "cuda"]].concat());
        refused.fails(1, &["built without kernels for CUDA", "cargo xtask cuda"]);
    }
    let plan = run(&["inspect", "gpt-oss-20b", "--gpu-memory", "16GB"]).ok();
    assert!(plan.contains("KV cache: table of blocks"), "{plan}");
}
