//! Kernels with one mistake each: the checks of the ops must find every one of them.
//!
//! `cargo xtask shaders` makes them of `tests/mutants.txt`. A mistake is found when some device's numbers
//! differ; a barrier that is missing within a workgroup, for one, shows only where few invocations run in
//! step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use gptoss_gpu::Kernels;

use crate::devices::{names, one_at_a_time};
use crate::support::{Bench, devices};
use crate::{attention, best_tokens, experts, floats, int8_rows, products, rope, tiles};

/// The check of a kernel.
fn check_of(kernel: &str) -> fn(&Bench) {
    match kernel {
        "probe_floats" => floats::check_probe,
        "rmsnorm" => floats::check_rmsnorm,
        "swiglu" => floats::check_swiglu,
        "quantize_int8" => int8_rows::check_plain,
        "quantize_middles" => int8_rows::check_about_middles,
        "rmsnorm_int8" | "rmsnorm_middles" => int8_rows::check_norms,
        "swiglu_middles" => int8_rows::check_swiglu_about_middles,
        "gemv_mxfp4_int8" => products::check_mxfp4_int8,
        "gemv_mxfp4_f32" => products::check_mxfp4_f32,
        _ if kernel.starts_with("gemv_int8_int8") => products::check_int8_int8,
        _ if kernel.starts_with("gemv_int8_f32") => products::check_int8_f32,
        _ if kernel.starts_with("gemv_bf16_f32") => products::check_bf16,
        _ if kernel.starts_with("gemv_f32_f32") => products::check_f32,
        _ if kernel.starts_with("rope_") => rope::check_every_way,
        _ if kernel.starts_with("attention_") => attention::check_every_way,
        "router_top_k" => experts::check_router,
        "experts_sort" => experts::check_order,
        "experts_collect" => experts::check_way_back,
        "tile_mxfp4_int8" => tiles::check_mxfp4,
        "tile_int8_int8" => tiles::check_int8,
        "best_spans" | "best_join" => best_tokens::check_every_way,
        _ => panic!("no check of kernel {kernel}"),
    }
}

#[test]
fn every_mutant_is_found() {
    if names().is_none() {
        eprintln!(
            "SKIPPED: mutants are for devices that GPTOSS_GPU_TEST_DEVICES names, lavapipe and SwiftShader"
        );
        return;
    }
    let _alone = one_at_a_time();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    assert!(folder.is_dir(), "no mutants: run `cargo xtask shaders --check`");
    let list = include_str!("../mutants.txt");
    let mutants = list.lines().filter_map(|line| line.strip_prefix("mutant ")?.split_once(" of "));
    let survivors: Vec<&str> = mutants
        .filter(|(mutant, kernel)| {
            let bytes = std::fs::read(folder.join(format!("{mutant}.spv"))).unwrap();
            let is_found = devices().iter().any(|device| {
                let bench = Bench::of(device, Kernels::with_replaced(device, kernel, bytes.clone()));
                catch_unwind(AssertUnwindSafe(|| check_of(kernel)(&bench))).is_err()
            });
            !is_found
        })
        .map(|(mutant, _)| mutant)
        .collect();
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}
