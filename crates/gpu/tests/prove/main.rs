//! The stored answers are the processor's, devices give them, and a wrong kernel is found and named.

mod answer;
#[path = "../devices/mod.rs"]
mod devices;
#[path = "../fake_cuda/mod.rs"]
mod fake_cuda;
#[path = "../reference/mod.rs"]
mod reference;

use std::path::{Path, PathBuf};

use gptoss_gpu::prove::{Case, TABLE, class_by, class_of, prove};
use gptoss_gpu::{Arithmetic, Device, DeviceKind, Error, Kernels, Way};

use crate::devices::{names, one_at_a_time, opened};
use crate::fake_cuda::FakeCuda;

#[test]
fn the_stored_answers_are_those_of_the_reference() {
    let lines: String = TABLE.iter().map(answer::line).collect();
    assert!(
        lines == include_str!("../../src/prove/answers.txt"),
        "the answers are old: cargo run -p gptoss-gpu --example answers"
    );
}

fn on_every_device(test: impl Fn(&Device)) {
    let _alone = one_at_a_time();
    let cuda = FakeCuda::new().map(|fake| fake.open().unwrap());
    opened(usize::MAX).iter().chain(&cuda).for_each(test);
}

fn all() -> Vec<&'static Case> {
    TABLE.iter().collect()
}

fn failed(kernels: &Kernels, cases: &[&'static Case]) -> Vec<String> {
    let proof = prove(kernels, cases, &mut |_| {}).unwrap();
    proof.failures.iter().map(|failure| failure.case.to_string()).collect()
}

#[test]
fn devices_give_the_stored_answers() {
    on_every_device(|device| {
        let mut told = Vec::new();
        let proof = prove(&Kernels::new(device), &all(), &mut |done| told.push(done)).unwrap();
        assert!(proof.failures.is_empty(), "{device:?}: {:?}", proof.failures);
        assert!(told.into_iter().eq(1..=TABLE.len()));
        assert_eq!(class_of(device).unwrap(), proof.class);
        match device.description().way() {
            Way::Cuda => assert_eq!(proof.class.arithmetic, Arithmetic::Fused, "{device:?}"),
            Way::Vulkan if device.description().kind == DeviceKind::Cpu => {
                assert_eq!(proof.class.arithmetic, Arithmetic::Split, "{device:?}");
            }
            Way::Vulkan => {}
        }
        assert!(proof.class.to_string().starts_with(&device.description().way().to_string()));
    });
}

/// With other words in its place, a case meets the kernel that it names.
#[test]
fn cases_run_the_kernel_that_they_name() {
    on_every_device(|device| {
        for case in TABLE.iter().filter(|case| case.kernel != "probe_floats") {
            let kernels = Kernels::with_replaced(device, case.kernel, vec![0; 4]);
            let proof = prove(&kernels, &[case], &mut |_| {}).unwrap();
            let error = proof.failures.first().and_then(|failure| failure.error.clone());
            assert!(matches!(error, Some(Error::Kernel { .. })), "{case}: {error:?}");
        }
    });
}

/// The mutants, and devices that must be there for them.
fn mutants() -> Option<(PathBuf, Vec<Device>)> {
    if names().is_none() {
        eprintln!("SKIPPED: mutants are for devices that GPTOSS_GPU_TEST_DEVICES names");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    assert!(folder.is_dir(), "no mutants: run `cargo xtask shaders --check`");
    Some((folder, opened(usize::MAX)))
}

/// Mistakes that need more than these cases: numbers that are not finite, and zeros of both signs among the
/// best.
const NOT_FOUND: [&str; 3] = ["not_a_number_is_cut", "nan_comes_first", "zeros_apart"];

/// By a case of the kernel itself, or of another that its op runs (those whose names begin alike).
#[test]
fn a_wrong_kernel_is_found_and_named() {
    let _alone = one_at_a_time();
    let Some((folder, devices)) = mutants() else { return };
    let list = include_str!("../mutants.txt");
    let mutants = list.lines().filter_map(|line| line.strip_prefix("mutant ")?.split_once(" of "));
    let survivors: Vec<&str> = mutants
        .filter(|(mutant, kernel)| {
            let bytes = std::fs::read(folder.join(format!("{mutant}.spv"))).unwrap();
            let op = |name: &str| name.split('_').next().map(str::to_owned);
            let (own, others): (Vec<&Case>, Vec<&Case>) = TABLE
                .iter()
                .filter(|case| op(case.kernel) == op(kernel))
                .partition(|case| case.kernel == *kernel);
            !devices.iter().any(|device| {
                let kernels = Kernels::with_replaced(device, kernel, bytes.clone());
                let is_found = |cases: &[&'static Case]| !failed(&kernels, cases).is_empty();
                is_found(&own) || is_found(&others)
            })
        })
        .map(|(mutant, _)| mutant)
        .collect();
    assert_eq!(survivors, NOT_FOUND, "not found");
}

#[test]
fn a_device_with_a_wrong_kernel_is_refused_by_name() {
    let _alone = one_at_a_time();
    let Some((folder, devices)) = mutants() else { return };
    for (mutant, wrong) in [
        ("six_is_five", "gemv_mxfp4_int8"),
        ("eps_outside_the_root", "rmsnorm"),
        ("ties_to_the_highest", "router_top_k"),
        ("window_off_by_one", "attention_rows_bf16"),
        ("source_of_the_first_slot", "tile_mxfp4_int8"),
        ("sort_turned_around", "experts_sort"),
    ] {
        let bytes = std::fs::read(folder.join(format!("{mutant}.spv"))).unwrap();
        for device in &devices {
            let refused = class_by(&Kernels::with_replaced(device, wrong, bytes.clone()));
            let text = refused.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            assert!(
                matches!(refused, Err(Error::Wrong { kernel, .. }) if kernel == wrong),
                "{mutant}: {text}"
            );
            assert!(text.contains("doctor --prove"), "{text}");
        }
    }
}
