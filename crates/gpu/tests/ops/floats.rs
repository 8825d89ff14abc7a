//! Single numbers, RMSNorm and SwiGLU in f32.

use gptoss_gpu::Way;
use gptoss_gpu::ops::{FloatProbe, NormInputs, RmsNorm, SwiGlu};

use crate::numbers::{Fill, Rng, assert_bits};
use crate::reference::floats::{rmsnorm, swiglu};
use crate::reference::numbers::exp;
use crate::support::{Bench, on_every_device};

/// Numbers of every size but subnormal ones, near powers of two and anywhere; zeros, infinities and NaN.
fn awkward(rng: &mut Rng) -> f32 {
    let mantissa = match rng.below(4) {
        0 => rng.below(4) as u32,
        1 => (1 << 23) - 1 - rng.below(4) as u32,
        _ => rng.next() as u32 & 0x7f_ffff,
    };
    let exponent = match rng.below(24) {
        0 => return [0.0, f32::INFINITY, f32::NAN, 1.0][rng.below(4)],
        1 => 1 + rng.below(254) as u32,
        _ => 107 + rng.below(40) as u32,
    };
    f32::from_bits(exponent << 23 | mantissa)
}

/// Quotients and roots of awkward numbers, and powers.
pub fn check_probe(bench: &Bench) {
    let mut rng = Rng(11);
    let count = 20_000;
    let fours: Vec<[f32; 4]> = (0..count)
        .map(|_| {
            let off = f32::from_bits((rng.below(9) as u32).wrapping_sub(4));
            [awkward(&mut rng), awkward(&mut rng) * [1.0, -1.0][rng.below(2)], rng.unit(), off]
        })
        .collect();
    let (numbers, out) = (bench.holding(&fours), bench.poisoned(4 * count));
    bench.run(|kernels, recording| {
        FloatProbe { out: &out, numbers: &numbers, count: count as u32 }.record(kernels, recording)
    });
    let found: Vec<[f32; 4]> = bench.read(&out, count);
    // What would be subnormal is zero by Vulkan.
    let is_kept = bench.device.description().way() == Way::Cuda;
    let kept = |x: f32| if x.abs() < f32::MIN_POSITIVE && !is_kept { 0.0 * x } else { x };
    for ([a, b, c, _], found) in fours.iter().zip(found) {
        let expected = [kept(a / b), a.sqrt(), exp(bench.fma, *a)];
        assert_bits(&found[..3], &expected, &("quotient, root, power", a, b));
        let sum = bench.fma.of(*a, *b, *c);
        assert_bits(&[kept(found[3])], &[kept(sum)], &("sum", a, b, c));
    }
}

#[test]
fn quotients_and_roots_are_exact_and_powers_the_cpus() {
    on_every_device(check_probe);
}

/// T rows of C values.
fn check_rmsnorm_of(bench: &Bench, fill: Fill, t: usize, c: usize) {
    let mut rng = Rng(c as u64);
    let (x, weight) = (fill.floats(&mut rng, t * c), rng.floats(c));
    let (eps, out) = (1e-5, bench.poisoned(t * c));
    let (x_slice, weight_slice) = (bench.holding(&x), bench.holding(&weight));
    bench.run(|kernels, recording| {
        let inputs = NormInputs { x: &x_slice, weight: &weight_slice, t: t as u32, c: c as u32, eps };
        RmsNorm { out: &out, inputs }.record(kernels, recording)
    });
    let expected: Vec<f32> = x.chunks(c).flat_map(|x| rmsnorm(bench.fma, x, &weight, eps)).collect();
    assert_bits(&bench.read::<f32>(&out, t * c), &expected, &("rmsnorm", fill, t, c));
}

pub fn check_rmsnorm(bench: &Bench) {
    for (t, c) in [(1, 1), (1, 7), (2, 8), (3, 63), (9, 64), (1, 2047), (2, 2049), (8, 2880), (1, 5000)] {
        check_rmsnorm_of(bench, Fill::Random, t, c);
    }
    for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::Large, Fill::NonFinite] {
        check_rmsnorm_of(bench, fill, 2, 320);
    }
}

#[test]
fn norms_are_the_cpus() {
    on_every_device(check_rmsnorm);
}

/// Gate and up parts on both sides of every cut; not so low that the sigmoid leaves the normal numbers.
pub fn gate_up(rng: &mut Rng, len: usize, lowest: f32) -> Vec<f32> {
    let part = |rng: &mut Rng, lowest: f32| match rng.below(12) {
        _ if rng.below(300) == 0 => f32::NAN,
        0 => [7.0, -7.0, 0.0, -0.0, f32::INFINITY][rng.below(5)],
        1 => lowest * (rng.unit() + 1.0) / 2.0,
        2 => 1e30 * rng.unit().abs(),
        _ => rng.unit() * 9.0,
    };
    (0..2 * len).map(|i| part(rng, if i % 2 == 0 { lowest } else { -1e30 })).collect()
}

pub fn check_swiglu(bench: &Bench) {
    for (t, f) in [(1, 1), (3, 7), (9, 64), (2, 2880)] {
        let gate_up = gate_up(&mut Rng(f as u64), t * f, -50.0);
        let (out, input) = (bench.poisoned(t * f), bench.holding(&gate_up));
        bench.run(|kernels, recording| {
            let (out, gate_up) = (&out, &input);
            SwiGlu { out, gate_up, t: t as u32, f: f as u32, limit: 7.0, alpha: 1.702 }
                .record(kernels, recording)
        });
        let expected = swiglu(bench.fma, &gate_up, 7.0, 1.702);
        assert_bits(&bench.read::<f32>(&out, t * f), &expected, &("swiglu", t, f));
    }
}

/// More workgroups than one dimension may have.
#[test]
fn activations_of_many_rows_are_those_of_each() {
    on_every_device(|bench| {
        let (t, f, period) = (45_000, 96, 9);
        let few = gate_up(&mut Rng(5), period * f, -50.0);
        let gate_up: Vec<f32> = few.iter().copied().cycle().take(2 * t * f).collect();
        let (out, input) = (bench.poisoned(t * f), bench.holding(&gate_up));
        bench.run(|kernels, recording| {
            let (out, gate_up) = (&out, &input);
            SwiGlu { out, gate_up, t: t as u32, f: f as u32, limit: 7.0, alpha: 1.702 }
                .record(kernels, recording)
        });
        let expected = swiglu(bench.fma, &few, 7.0, 1.702);
        for rows in bench.read::<f32>(&out, t * f).chunks(period * f) {
            assert_bits(rows, &expected, &("swiglu", t, f));
        }
    });
}

#[test]
fn activations_are_the_cpus() {
    on_every_device(check_swiglu);
}
