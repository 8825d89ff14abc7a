//! Which devices are tested, in every room with tests on cards.
//!
//! `GPTOSS_GPU_TEST_DEVICES` names them, as parts of their names with commas between; each must be there.
//! Without it they are the software devices that the loader finds, and where there is none a line says so.
//! The loader itself is told by `VK_DRIVER_FILES` where drivers are.

#![expect(clippy::disallowed_methods, reason = "which devices are tested is told by the environment")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use gptoss_gpu::{Device, DeviceChoice, DeviceKind, Error, Way};

/// What names the devices that must be there, if anything does.
pub fn names() -> Option<String> {
    std::env::var("GPTOSS_GPU_TEST_DEVICES").ok()
}

/// Those to be tested, opened; of named ones the first `most`.
pub fn opened(most: usize) -> Vec<Device> {
    let choices: Vec<DeviceChoice> = match names() {
        Some(names) => names
            .split(',')
            .take(most)
            .map(|name| DeviceChoice::Name(Way::Vulkan, name.trim().to_owned()))
            .collect(),
        None => software(),
    };
    if choices.is_empty() {
        eprintln!("SKIPPED: no software device of Vulkan on this machine");
    }
    choices.iter().map(|choice| Device::open_checked(choice).expect("a device that was named")).collect()
}

fn software() -> Vec<DeviceChoice> {
    let devices = match Device::list(Way::Vulkan) {
        Ok(devices) => devices,
        Err(Error::NoLoader { .. } | Error::NoDevice) => Vec::new(),
        Err(error) => panic!("{error}"),
    };
    let fit = devices.into_iter().filter(|device| device.kind == DeviceKind::Cpu && device.lack().is_none());
    fit.map(|device| device.choice()).collect()
}

/// Held by a test while it uses a device: lavapipe's compiler (LLVM 15) crashed once in tests that ran
/// together.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static DEVICES: Mutex<()> = Mutex::new(());
    DEVICES.lock().unwrap_or_else(PoisonError::into_inner)
}
