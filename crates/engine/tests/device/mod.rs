//! The device of tests that know none: the processor, or the card that `GPTOSS_ENGINE_TEST_DEVICE` names as
//! `vulkan:NAME`.
//!
//! The same tests run on either. On a driver in software they run one after the other
//! (`--test-threads=1`): lavapipe's compiler crashed once in tests that ran together.

#![allow(dead_code, reason = "each test program takes what it needs")]

use std::sync::OnceLock;

use gptoss_checkpoint::Checkpoint;
use gptoss_gpu::{Device, DeviceChoice};
use gptoss_kernels::Pool;
use gptoss_model::{DenseMode, LoadOptions, Model, Precision};

/// A checkpoint's model on that device, dense matrices as they are stored.
pub fn load(checkpoint: &Checkpoint, precision: Precision, pool: Pool) -> Model {
    let model = match device() {
        None => Model::load(checkpoint, precision, pool, &mut |_, _| {}),
        Some(device) => {
            let options = LoadOptions { precision, dense: DenseMode::AsStored, expert_slots: None };
            Model::load_on(device, checkpoint, &options, pool, &mut |_, _| {})
        }
    };
    model.expect("loads")
}

/// Of many cases of a kind: each one on the processor, every fourth on a card, since those of CI are in
/// software.
pub fn case_step() -> usize {
    if device().is_some() { 4 } else { 1 }
}

#[expect(clippy::disallowed_methods, reason = "which device is tested is told by the environment")]
fn device() -> Option<&'static Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let opened = || {
        let name = std::env::var("GPTOSS_ENGINE_TEST_DEVICE").ok()?;
        let choice = DeviceChoice::parse(&name).expect("a device");
        Some(Device::open_checked(&choice).expect("a device that was named"))
    };
    DEVICE.get_or_init(opened).as_ref()
}
