//! Cases run on a device, and what they say of it.

use crate::Error;
use crate::class::{Arithmetic, DeviceClass};
use crate::device::Device;
use crate::kernels::{Kernels, kernels_digest};
use crate::ops::FloatProbe;
use crate::prove::sheet::Bench;
use crate::prove::table::TABLE;
use crate::prove::{Case, Output, digest};

/// A line a case: its name, the digest of its answer in fused arithmetic, and that in split.
const ANSWERS: &str = include_str!("answers.txt");

/// What a run of cases found.
#[derive(Clone, Debug)]
pub struct Proof {
    /// What the device's numbers depend on, if all cases passed.
    pub class: DeviceClass,
    /// Cases that were run.
    pub num_cases: usize,
    /// Those that failed.
    pub failures: Vec<Failure>,
}

/// A case that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub case: &'static Case,
    /// The driver's error, when it gave one instead of numbers.
    pub error: Option<Error>,
}

/// The class of a device that passes the cases at the start; found out once.
///
/// Errors: `Wrong` with the kernel of the first case that fails; the driver's.
pub fn class_of(device: &Device) -> Result<DeviceClass, Error> {
    device.class.get_or_init(|| class_by(&Kernels::new(device))).clone()
}

/// [`class_of`] a device by kernels that may be wrong, so that tests can see it refused.
#[doc(hidden)]
pub fn class_by(kernels: &Kernels) -> Result<DeviceClass, Error> {
    let cases: Vec<&Case> = TABLE.iter().filter(|case| case.at_start).collect();
    let proof = prove(kernels, &cases, &mut |_| {})?;
    match proof.failures.into_iter().next() {
        None => Ok(proof.class),
        Some(Failure { error: Some(error), .. }) => Err(error),
        Some(Failure { case, error: None }) => Err(wrong(kernels.device(), case.kernel)),
    }
}

fn wrong(device: &Device, kernel: &str) -> Error {
    let description = device.description();
    Error::Wrong {
        device: description.name.clone(),
        choice: description.choice(),
        driver: description.driver.clone(),
        kernel: kernel.to_owned(),
    }
}

/// Runs cases one after the other; `progress` is told how many have been. A device that is lost ends it with
/// the case that it was lost in.
///
/// Errors: no room on the device, or what becomes of the probe of its arithmetic.
pub fn prove(
    kernels: &Kernels,
    cases: &[&'static Case],
    progress: &mut dyn FnMut(usize),
) -> Result<Proof, Error> {
    let bench = Bench::new(kernels)?;
    let arithmetic = arithmetic(&bench)?;
    let device = kernels.device();
    let (way, kernels) = (device.description().way(), kernels_digest(device));
    let class = DeviceClass { way, kernels, arithmetic };
    let mut proof = Proof { class, num_cases: 0, failures: Vec::new() };
    for case in cases.iter().copied() {
        let found = case.outputs(&bench).map(|outputs| digest(&outputs));
        proof.num_cases += 1;
        progress(proof.num_cases);
        match found {
            Ok(found) if Some(found) == answer(case, arithmetic) => {}
            Ok(_) => proof.failures.push(Failure { case, error: None }),
            Err(error) => {
                let is_over = error.ends_device();
                proof.failures.push(Failure { case, error: Some(error) });
                if is_over {
                    break;
                }
            }
        }
    }
    Ok(proof)
}

/// The stored digest of a case's answer.
fn answer(case: &Case, arithmetic: Arithmetic) -> Option<u64> {
    let name = case.to_string();
    let line = ANSWERS.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '))?;
    let (fused, split) = line.split_once(' ')?;
    let digest = if arithmetic == Arithmetic::Fused { fused } else { split };
    u64::from_str_radix(digest, 16).ok()
}

/// How the device's multiply-add rounds.
///
/// Errors: `Wrong` when it does so in neither way; the driver's.
fn arithmetic(bench: &Bench<'_>) -> Result<Arithmetic, Error> {
    // The square is 1 + 2^-11 + 2^-24, whose last part a rounded product has not.
    let (a, sum) = (1.0 + 2_f32.powi(-12), -(1.0 + 2_f32.powi(-11)));
    let mut sheet = bench.sheet();
    let (numbers, out) = (sheet.holding(&[a, a, sum, 0.0]), sheet.room(4));
    sheet.run(|kernels, recording| {
        FloatProbe { out: &out, numbers: &numbers, count: 1 }.record(kernels, recording)
    })?;
    let Output::Floats(found) = sheet.floats(&out, 4) else { unreachable!("floats are read as floats") };
    match found[3] {
        0.0 => Ok(Arithmetic::Split),
        rest if rest == 2_f32.powi(-24) => Ok(Arithmetic::Fused),
        _ => Err(wrong(bench.kernels().device(), "probe_floats")),
    }
}
