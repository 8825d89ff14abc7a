//! Which device computes: the processor, or a card by its name or by what it holds.
//!
//! Entry points: [`choose`] for a command that computes, [`findings`] for `gptoss doctor`. The processor is
//! the default. `auto` takes the first card that runs the kernels and whose memory holds the whole plan, and
//! never a device in software; a card that is named is taken, and an error says what it lacks.

use std::io::{self, Write};

use anyhow::{Context, Result};
use gptoss_checkpoint::Checkpoint;
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
    let is_taken = || check_on_card(checkpoint, &options);
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
    let holder = || first_that_holds(&Device::list().unwrap_or_default(), bytes).map(DeviceChoice::Index);
    let Some(choice) = named.or_else(holder) else { return Ok(None) };
    let device = Device::open(&choice).context("cannot open the device")?;
    writeln!(io::stderr(), "computing on {}, {} of its memory", device.description(), human(bytes))?;
    Ok(Some(device))
}

/// The memory plan of a card.
pub fn plan(checkpoint: &Checkpoint, needs: &Needs<'_>, kv_format: KvFormat) -> Result<Vec<Term>> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    let one = StoreSizes { blocks: needs.context.div_ceil(BLOCK_TOKENS), rings: 1, snapshots: 0 };
    let sizes = needs.kv.map_or(one, |kv| kv.sizes);
    let options = LoadOptions { precision: needs.precision, dense: needs.dense, expert_slots: None };
    Ok(card_memory(&config, &checkpoint.part_bytes(), sizes, needs.context, kv_format, &options))
}

/// What of a plan is the card's. Units: bytes.
fn card_bytes(terms: &[Term]) -> u64 {
    let card = terms.iter().filter(|term| !term.name.starts_with("host: "));
    card.map(|term| term.bytes).sum()
}

/// The number of the first card that holds so much.
fn first_that_holds(devices: &[DeviceDescription], bytes: u64) -> Option<usize> {
    let holds = |device: &&DeviceDescription| {
        let may_compute = device.kind != DeviceKind::Cpu && device.lack().is_none();
        may_compute && device.memory_bytes / 100 * SHARE_MAX >= bytes
    };
    devices.iter().filter(holds).min_by_key(|device| device.kind).map(|device| device.index)
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
        let check = |gigabytes: u64, expected| {
            assert_eq!(first_that_holds(&devices, gigabytes * 1_000_000_000), expected, "{gigabytes}");
        };
        check(14, Some(2));
        check(15, Some(1));
        check(60, None);
    }
}
