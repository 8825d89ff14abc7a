//! Prompts that a server keeps on disk, on the processor and on a card.
//!
//! Devices are those of `crates/gpu/tests/devices`; where there is none the test says that it is skipped.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::devices::{one_at_a_time, opened};
use crate::program::{ended, gptoss_with_drivers};
use crate::serve::Server;

/// What a prompt took from the folder, and the answer to it. The server has written what it keeps when this
/// returns.
fn cached(mut command: Command) -> (u64, Value) {
    command.args(["--context", "512", "--dense", "bf16"]);
    let mut server = Server::of(command);
    let text = "What is 17 + 58? ".repeat(34);
    let answer = server.post(
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": text}], "max_tokens": 4, "temperature": 0}),
    );
    kill_process(Pid::from_child(&server.child), Signal::TERM).expect("it runs");
    assert!(ended(&mut server.child).success(), "{answer}");
    let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a number");
    (cached, answer["choices"].clone())
}

/// Keys and values of one device are not another's: their bits need not be the same.
#[test]
fn what_is_kept_is_the_devices_own() {
    let _alone = one_at_a_time();
    for device in opened(1) {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().to_str().expect("a UTF-8 path");
        let name = format!("vulkan:{}", device.description().index);
        let on = |device: &str| {
            let mut command = gptoss_with_drivers(&["serve", "--port", "0", "--quiet", "--kv-disk", folder]);
            command.args(["--device", device]);
            cached(command)
        };
        let (first, _) = on("cpu");
        let (other, expected) = on(&name);
        let (again, found) = on(&name);
        assert!(first == 0 && other == 0 && again > 256, "{first}, {other}, {again}");
        assert_eq!(found, expected);
    }
}
