//! Which device computes: the processor, or a card by its name or by what it holds.
//!
//! Entry points: [`choose`] for a command that computes, [`findings`] for `gptoss doctor`. The processor is
//! the default. `auto` takes the first card that runs the kernels, proves its ops and whose memory holds the
//! whole plan, and never a device in software; a card that is named is taken, and an error says what it
//! lacks.

use std::io::{self, Write};

use anyhow::{Context, Result};
use gptoss_checkpoint::Checkpoint;
use gptoss_gpu::prove::class_of;
use gptoss_gpu::{Device, DeviceChoice, DeviceDescription, DeviceKind, Error};
use gptoss_model::{
    BLOCK_TOKENS, KvFormat, LoadOptions, ModelConfig, StoreSizes, Term, card_memory, check_on_card,
};

use crate::args::{ComputeArgs, DeviceArg};
use crate::failure::usage;
use crate::finding::Finding;
use crate::memory_budget::{Needs, human};

/// Of a card's memory, what a plan may take: drivers and screens want the rest. Units: percent.
const SHARE_MAX: u64 = 90;

/// The card that is asked for, opened; `None` is the processor.
///
/// Errors: flags that do not go with a card; what opening it met.
pub fn choose(
    compute: &ComputeArgs,
    checkpoint: &Checkpoint,
    needs: &Needs<'_>,
    kv_format: KvFormat,
) -> Result<Option<Device>> {
    let options = LoadOptions { precision: needs.precision, dense: needs.dense, expert_slots: None };
    let is_taken = || check_on_card(checkpoint, &options, kv_format);
    let named = match &compute.device {
        DeviceArg::Cpu => return Ok(None),
        DeviceArg::Card(_) if compute.memory.is_some() => {
            return Err(usage(
                "--memory is the computer's and --device takes a card's; leave one of them out",
            ));
        }
        DeviceArg::Card(choice) => {
            is_taken().context("cannot compute on a card")?;
            Some(choice.clone())
        }
        DeviceArg::Auto if compute.memory.is_some() || is_taken().is_err() => return Ok(None),
        DeviceArg::Auto => None,
    };
    let bytes = card_bytes(&plan(checkpoint, needs, kv_format)?);
    let device = match named {
        Some(choice) => opened(&choice).context("cannot compute on the device")?,
        None => {
            let holders = those_that_hold(&Device::list().unwrap_or_default(), bytes);
            let Some(device) = first_that_opens(&holders, opened, &mut io::stderr())? else {
                return Ok(None);
            };
            device
        }
    };
    writeln!(io::stderr(), "computing on {}, {} of its memory", device.description(), human(bytes))?;
    Ok(Some(device))
}

/// A device that has passed its probes.
fn opened(choice: &DeviceChoice) -> Result<Device, Error> {
    let device = Device::open(choice)?;
    class_of(&device)?;
    Ok(device)
}

/// The first that `open` opens; why others are passed over is told.
fn first_that_opens<T>(
    devices: &[DeviceDescription],
    open: impl Fn(&DeviceChoice) -> Result<T, Error>,
    told: &mut dyn Write,
) -> Result<Option<T>> {
    for device in devices {
        match open(&DeviceChoice::Index(device.index)) {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => writeln!(told, "warning: passing over vulkan:{}: {error}", device.index)?,
        }
    }
    if !devices.is_empty() {
        writeln!(told, "warning: no card is left that can be used; computing on the processor")?;
    }
    Ok(None)
}

/// The memory plan of a card.
pub fn plan(checkpoint: &Checkpoint, needs: &Needs<'_>, kv_format: KvFormat) -> Result<Vec<Term>> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    let one = StoreSizes { blocks: needs.context.div_ceil(BLOCK_TOKENS), rings: 1, snapshots: 0 };
    let sizes = needs.kv.map_or(one, |kv| kv.sizes);
    Ok(card_memory(&config, &checkpoint.part_bytes(), sizes, needs.context, kv_format, needs.dense))
}

/// What of a plan is the card's. Units: bytes.
fn card_bytes(terms: &[Term]) -> u64 {
    let card = terms.iter().filter(|term| !term.name.starts_with("host: "));
    card.map(|term| term.bytes).sum()
}

/// The cards that hold so much, the best kind first.
fn those_that_hold(devices: &[DeviceDescription], bytes: u64) -> Vec<DeviceDescription> {
    let holds = |device: &&DeviceDescription| {
        let may_compute = device.kind != DeviceKind::Cpu && device.lack().is_none();
        may_compute && device.memory_bytes / 100 * SHARE_MAX >= bytes
    };
    let mut holders: Vec<_> = devices.iter().filter(holds).cloned().collect();
    holders.sort_by_key(|device| device.kind);
    holders
}

/// What `gptoss doctor` says of cards.
pub fn findings() -> Vec<Finding> {
    match Device::list() {
        Ok(devices) => devices.iter().map(|device| Finding::ok("device", device.to_string())).collect(),
        // Nothing is missing on a machine without a card.
        Err(Error::NoLoader { .. } | Error::NoDevice) => {
            vec![Finding::ok("device", "the processor; no card is found through Vulkan")]
        }
        Err(error) => vec![Finding::warn("device", error.to_string(), "the processor computes without it")],
    }
}

#[cfg(test)]
mod tests {
    use gptoss_gpu::Limits;

    use super::*;

    #[test]
    fn a_card_that_holds_the_plan_is_taken_and_software_never() {
        let limits = Limits {
            storage_range_bytes: 1 << 27,
            allocation_bytes: 1 << 30,
            num_allocations: 4096,
            storage_alignment_bytes: 64,
            shared_bytes: 1 << 15,
            workgroup_invocations: 256,
            storage_buffers: 16,
            num_workgroups: [65_535; 3],
        };
        let device = |index, kind, gigabytes: u64| DeviceDescription {
            index,
            name: "a device".to_owned(),
            kind,
            memory_bytes: gigabytes * 1_000_000_000,
            driver: String::new(),
            vulkan: [1, 3, 0],
            limits,
        };
        let devices = [
            device(0, DeviceKind::Cpu, 500),
            device(1, DeviceKind::Integrated, 60),
            device(2, DeviceKind::Discrete, 16),
            DeviceDescription { vulkan: [1, 2, 0], ..device(3, DeviceKind::Discrete, 100) },
        ];
        let holders = |gigabytes: u64| those_that_hold(&devices, gigabytes * 1_000_000_000);
        let check = |gigabytes: u64, expected: &[usize]| {
            let found: Vec<usize> = holders(gigabytes).iter().map(|device| device.index).collect();
            assert_eq!(found, expected, "{gigabytes}");
        };
        check(14, &[2, 1]);
        check(15, &[1]);
        check(60, &[]);
        // One whose compiler breaks an op is passed over with a word.
        let opened = |broken: &[usize]| {
            let open = |choice: &DeviceChoice| match choice {
                DeviceChoice::Index(index) if broken.contains(index) => Err(Error::Wrong {
                    device: "a device".to_owned(),
                    index: *index,
                    driver: "a driver".to_owned(),
                    kernel: "gemv_bf16_f32_1".to_owned(),
                }),
                choice => Ok(choice.clone()),
            };
            let mut told = Vec::new();
            let found = first_that_opens(&holders(14), open, &mut told).unwrap();
            (found, String::from_utf8(told).unwrap())
        };
        assert_eq!(opened(&[]), (Some(DeviceChoice::Index(2)), String::new()));
        let (found, told) = opened(&[2]);
        assert_eq!(found, Some(DeviceChoice::Index(1)));
        assert!(told.contains("passing over vulkan:2: a device computes gemv_bf16_f32_1 wrongly"), "{told}");
        let (found, told) = opened(&[1, 2]);
        assert!(found.is_none() && told.contains("computing on the processor"), "{told}");
    }
}
