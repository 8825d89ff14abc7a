//! Which device computes: the processor, or a card by its name or by what it holds.
//!
//! Entry points: [`find`] and [`choose`] for a command that computes, [`findings`] for `gptoss doctor`. The
//! processor is the default. `auto` takes the first card that runs the kernels, proves its ops and whose
//! memory holds the whole plan, else the first that holds everything but some experts, and never a device in
//! software; a card that is named is taken, and an error says what it lacks.

use std::io::{self, Write};

use anyhow::{Context, Result};
use gptoss_checkpoint::Checkpoint;
use gptoss_gpu::prove::class_of;
use gptoss_gpu::{Device, DeviceChoice, DeviceDescription, DeviceKind, Error, Way};
use gptoss_model::{
    BLOCK_TOKENS, KvFormat, LoadOptions, MemoryPlan, ModelConfig, StoreSizes, Term, card_bytes,
    check_on_card, plan_card,
};

use crate::args::{ComputeArgs, DeviceArg};
use crate::failure::usage;
use crate::finding::Finding;
use crate::memory_budget::{Needs, human};

/// Of a card's memory, what a plan may take: drivers and screens want the rest. Units: percent.
const SHARE_MAX: u64 = 90;

/// A card that computes, with what will be in its memory.
pub struct ChosenCard {
    /// It, opened.
    pub device: Device,
    /// What will be there.
    pub plan: MemoryPlan,
}

/// The card that is asked for, opened, with its ops proved; `None` is the processor.
///
/// Errors: as [`find`]; what opening or proving it met; a model whose dense part it does not hold.
pub fn choose(
    compute: &ComputeArgs,
    checkpoint: &Checkpoint,
    needs: &Needs<'_>,
    kv_format: KvFormat,
) -> Result<Option<ChosenCard>> {
    let found = candidates(compute, checkpoint, needs, kv_format)?;
    let device = match (&compute.device, found.first()) {
        (DeviceArg::Auto, _) => first_that_opens(&found, proved, &mut io::stderr())?,
        (_, Some(named)) => Some(proved(&named.choice()).context("cannot compute on the device")?),
        (_, None) => None,
    };
    let Some(device) = device else { return Ok(None) };
    let found = device.description();
    let plan = plan(found, compute, checkpoint, needs, kv_format).context("cannot compute on a card")?;
    let taken = human(card_bytes(&plan.terms));
    writeln!(io::stderr(), "computing on {found}, {taken} of its memory")?;
    if let Some(slots) = plan.expert_slots {
        let all = num_experts(checkpoint);
        writeln!(
            io::stderr(),
            "{slots} of {all} experts are on the card, the others in the computer's memory"
        )?;
    }
    Ok(Some(ChosenCard { device, plan }))
}

/// A device that has passed its probes.
fn proved(choice: &DeviceChoice) -> Result<Device, Error> {
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
        match open(&device.choice()) {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => writeln!(told, "warning: passing over {}: {error}", device.choice())?,
        }
    }
    if !devices.is_empty() {
        writeln!(told, "warning: no card is left that can be used; computing on the processor")?;
    }
    Ok(None)
}

/// The card that is asked for, whose ops need not be proved to plan for it; `None` is the processor.
///
/// Errors: flags that do not go with a card; none of the name that is asked for.
pub fn find(
    compute: &ComputeArgs,
    checkpoint: &Checkpoint,
    needs: &Needs<'_>,
    kv_format: KvFormat,
) -> Result<Option<DeviceDescription>> {
    Ok(candidates(compute, checkpoint, needs, kv_format)?.into_iter().next())
}

/// The cards that may be taken, the best first; none is the processor.
fn candidates(
    compute: &ComputeArgs,
    checkpoint: &Checkpoint,
    needs: &Needs<'_>,
    kv_format: KvFormat,
) -> Result<Vec<DeviceDescription>> {
    let is_taken = || check_on_card(checkpoint, &options(needs));
    match &compute.device {
        DeviceArg::Cpu if compute.gpu_memory.is_some() => Err(usage(
            "--gpu-memory is a card's, and the processor computes\nadd --device vulkan or auto, or leave it out",
        )),
        DeviceArg::Cpu => Ok(Vec::new()),
        DeviceArg::Card(_) if needs.adapters > 0 => {
            Err(usage("on a card there are no adapters yet\nadapters run on the CPU for now: --device cpu"))
        }
        DeviceArg::Auto if needs.adapters > 0 => Ok(Vec::new()),
        DeviceArg::Card(_) if compute.memory.is_some() => Err(usage(
            "--memory is the computer's and --device takes a card's (--gpu-memory); leave one of them out",
        )),
        DeviceArg::Card(choice) => {
            is_taken().context("cannot compute on a card")?;
            let devices = Device::list(choice.way()).context("cannot open the device")?;
            match choice.find(&devices) {
                Some(device) => Ok(vec![device.clone()]),
                // It says what there is.
                None => {
                    Ok(vec![Device::open(choice).context("cannot open the device")?.description().clone()])
                }
            }
        }
        DeviceArg::Auto if compute.memory.is_some() || is_taken().is_err() => Ok(Vec::new()),
        DeviceArg::Auto => {
            let planned =
                |device: &DeviceDescription| plan(device, compute, checkpoint, needs, kv_format).ok();
            // By Vulkan where a card is found by both.
            let list = |way| Device::list(way).unwrap_or_default();
            Ok(those_that_hold(&[list(Way::Vulkan), list(Way::Cuda)].concat(), planned))
        }
    }
}

/// How a model is loaded whose experts nothing has been said about.
fn options(needs: &Needs<'_>) -> LoadOptions {
    LoadOptions { precision: needs.precision, dense: needs.dense, expert_slots: None }
}

/// Bytes of a card that a plan may take.
fn budget(asked: Option<u64>, memory_bytes: u64) -> u64 {
    asked.map_or(memory_bytes / 100 * SHARE_MAX, |asked| asked.min(memory_bytes))
}

/// The memory plan of a card.
///
/// Errors: `CardTooSmall`.
pub fn plan(
    device: &DeviceDescription,
    compute: &ComputeArgs,
    checkpoint: &Checkpoint,
    needs: &Needs<'_>,
    kv_format: KvFormat,
) -> Result<MemoryPlan, gptoss_model::Error> {
    plan_bytes(checkpoint, needs, kv_format, budget(compute.gpu_memory, device.memory_bytes))
}

/// The terms for a card with so many bytes to take, for those who only look.
///
/// Errors: a model or a mode that no kernel takes; `CardTooSmall`.
pub fn plan_within(
    bytes: u64,
    checkpoint: &Checkpoint,
    needs: &Needs<'_>,
    kv_format: KvFormat,
) -> Result<Vec<Term>> {
    check_on_card(checkpoint, &options(needs))?;
    Ok(plan_bytes(checkpoint, needs, kv_format, bytes)?.terms)
}

fn plan_bytes(
    checkpoint: &Checkpoint,
    needs: &Needs<'_>,
    kv_format: KvFormat,
    budget: u64,
) -> Result<MemoryPlan, gptoss_model::Error> {
    let config = ModelConfig::from_checkpoint(checkpoint.config())?;
    let one = StoreSizes { blocks: needs.context.div_ceil(BLOCK_TOKENS), rings: 1, snapshots: 0 };
    let store = (needs.kv.map_or(one, |kv| kv.sizes), needs.context);
    plan_card(&config, &checkpoint.part_bytes(), store, kv_format, &options(needs), budget)
}

/// Experts of all layers.
fn num_experts(checkpoint: &Checkpoint) -> usize {
    let config = checkpoint.config();
    config.num_hidden_layers * config.num_local_experts
}

/// The cards that have a plan: those first that hold all of a model, then the best kind.
fn those_that_hold(
    devices: &[DeviceDescription],
    plan: impl Fn(&DeviceDescription) -> Option<MemoryPlan>,
) -> Vec<DeviceDescription> {
    let may_compute = |device: &&DeviceDescription| device.kind != DeviceKind::Cpu && device.lack().is_none();
    let planned = devices.iter().filter(may_compute).filter_map(|device| Some((plan(device)?, device)));
    let mut planned: Vec<_> = planned.collect();
    planned.sort_by_key(|(plan, device)| (plan.expert_slots.is_some(), device.kind));
    planned.into_iter().map(|(_, device)| device.clone()).collect()
}

/// What `gptoss doctor` says of cards.
pub fn findings() -> Vec<Finding> {
    let mut findings: Vec<Finding> = [Way::Vulkan, Way::Cuda].into_iter().flat_map(findings_by).collect();
    if findings.is_empty() {
        // Nothing is missing on a machine without a card.
        findings.push(Finding::ok("device", "the processor; no card is found through Vulkan"));
    }
    findings
}

fn findings_by(way: Way) -> Vec<Finding> {
    match Device::list(way) {
        Ok(devices) => devices.iter().map(|device| Finding::ok("device", device.to_string())).collect(),
        Err(
            Error::NoLoader { .. }
            | Error::NoDevice
            | Error::NoCuda { .. }
            | Error::NoCudaDevice
            | Error::NoCudaKernels,
        ) => Vec::new(),
        Err(error) => vec![Finding::warn("device", error.to_string(), "the processor computes without it")],
    }
}

#[cfg(test)]
mod tests {
    use gptoss_gpu::{Limits, Version};

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
            version: Version::Vulkan([1, 3, 0]),
            limits,
        };
        let devices = [
            device(0, DeviceKind::Cpu, 500),
            device(1, DeviceKind::Integrated, 60),
            device(2, DeviceKind::Discrete, 16),
            DeviceDescription { version: Version::Vulkan([1, 2, 0]), ..device(3, DeviceKind::Discrete, 100) },
        ];
        // What is needed whole, and without any experts.
        let holders = |[whole, least]: [u64; 2]| {
            let plan = |device: &DeviceDescription| {
                let budget = budget(None, device.memory_bytes) / 1_000_000_000;
                let expert_slots = (budget < whole).then_some(5);
                (budget >= least).then_some(MemoryPlan { terms: Vec::new(), expert_slots })
            };
            those_that_hold(&devices, plan)
        };
        let check = |needs, expected: &[usize]| {
            let found: Vec<usize> = holders(needs).iter().map(|device| device.index).collect();
            assert_eq!(found, expected, "{needs:?}");
        };
        check([14, 3], &[2, 1]);
        check([15, 3], &[1, 2]);
        check([60, 20], &[1]);
        check([60, 3], &[2, 1]);
        check([60, 60], &[]);
        // One whose compiler breaks an op is passed over with a word.
        let opened = |broken: &[usize]| {
            let open = |choice: &DeviceChoice| match choice {
                DeviceChoice::Index(_, index) if broken.contains(index) => Err(Error::Wrong {
                    device: "a device".to_owned(),
                    choice: choice.clone(),
                    driver: "a driver".to_owned(),
                    kernel: "gemv_bf16_f32_1".to_owned(),
                }),
                choice => Ok(choice.clone()),
            };
            let mut told = Vec::new();
            let found = first_that_opens(&holders([14, 3]), open, &mut told).unwrap();
            (found, String::from_utf8(told).unwrap())
        };
        assert_eq!(opened(&[]), (Some(DeviceChoice::Index(Way::Vulkan, 2)), String::new()));
        let (found, told) = opened(&[2]);
        assert_eq!(found, Some(DeviceChoice::Index(Way::Vulkan, 1)));
        assert!(told.contains("passing over vulkan:2: a device computes gemv_bf16_f32_1 wrongly"), "{told}");
        let (found, told) = opened(&[1, 2]);
        assert!(found.is_none() && told.contains("computing on the processor"), "{told}");
    }

    #[test]
    fn of_a_card_a_part_is_taken_unless_another_is_named() {
        assert_eq!((budget(None, 16_000_000_000), budget(Some(5), 16_000_000_000)), (14_400_000_000, 5));
    }
}
