//! Instruction sets, and the right to run them.
//!
//! [`Tier`] names an instruction set: a plain value, so that a test can run the same case on each.
//! [`Instructions`] is a tier that this processor was seen to have, and holds the token that code for it asks
//! for: `Avx2`, `Avx512`, `Avx512Bf16` and `Neon` are made nowhere else, so a safe function that takes one
//! cannot be called where the instructions are missing. Every op gives bit-equal results on every tier,
//! because all follow the one order of summation that the op's contract fixes: a tier is a matter of speed
//! alone, and there is no global switch.
//!
//! To add a tier: its name and its detection here, then forms of its own wherever they pay. Ops without one
//! ask for what the tier includes (`Instructions::avx512`, `Instructions::avx2`) and end at the scalar
//! reference.

/// An instruction set that kernels are written for, in rising order of width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Plain Rust, every processor: the reference that the others are compared with.
    Scalar,
    /// NEON with products of bytes summed by fours (`dotprod`): 64-bit Arm since 2018, Apple's included. NEON
    /// alone is part of the architecture, so the compiler uses it for plain Rust too.
    Neon,
    /// AVX2, FMA and F16C: 256-bit integers, fused multiply-add and half precision.
    Avx2,
    /// AVX-512 (F, BW, VL, VBMI) with VNNI, on top of the former: products of bytes summed in one
    /// instruction, and tables of 64 bytes. Ops without a form of their own run their AVX2 form.
    Avx512Vnni,
    /// The former with BF16: products of pairs of bf16 in one instruction. Not all processors with VNNI have
    /// it.
    Avx512Bf16,
}

impl Tier {
    /// All of them, narrowest first.
    const ALL: [Tier; 5] = [Tier::Scalar, Tier::Neon, Tier::Avx2, Tier::Avx512Vnni, Tier::Avx512Bf16];

    /// The widest tier that this processor can run.
    pub fn detect() -> Tier {
        Self::ALL.into_iter().rev().find(|tier| tier.is_supported()).unwrap_or(Tier::Scalar)
    }

    /// Every tier that this processor can run, narrowest first; the first is always [`Tier::Scalar`].
    pub fn available() -> Vec<Tier> {
        Self::ALL.into_iter().filter(|tier| tier.is_supported()).collect()
    }

    /// Whether this processor has the instructions of this tier.
    pub fn is_supported(self) -> bool {
        self.try_instructions().is_some()
    }

    /// The right to run this tier.
    ///
    /// Panics: when this processor cannot.
    pub(crate) fn instructions(self) -> Instructions {
        let Some(instructions) = self.try_instructions() else {
            panic!("this processor cannot run the {self:?} tier")
        };
        instructions
    }

    fn try_instructions(self) -> Option<Instructions> {
        match self {
            Tier::Scalar => Some(Instructions::Scalar),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => Avx2::detect().map(Instructions::Avx2),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Vnni => Avx512::detect().map(Instructions::Avx512),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16 => Avx512Bf16::detect().map(Instructions::Avx512Bf16),
            #[cfg(target_arch = "x86_64")]
            Tier::Neon => None,
            #[cfg(target_arch = "aarch64")]
            Tier::Neon => Neon::detect().map(Instructions::Neon),
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        }
    }
}

/// A tier that this processor has.
#[derive(Clone, Copy)]
pub(crate) enum Instructions {
    Scalar,
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512Bf16),
}

impl Instructions {
    /// Its name.
    pub(crate) fn tier(self) -> Tier {
        match self {
            Instructions::Scalar => Tier::Scalar,
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon(_) => Tier::Neon,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(_) => Tier::Avx2,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(_) => Tier::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Bf16(_) => Tier::Avx512Bf16,
        }
    }

    /// NEON with products of bytes, if it is included.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub(crate) fn neon(self) -> Option<Neon> {
        match self {
            Instructions::Scalar => None,
            Instructions::Neon(neon) => Some(neon),
        }
    }

    /// AVX2, if it is included.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn avx2(self) -> Option<Avx2> {
        match self {
            Instructions::Scalar => None,
            Instructions::Avx2(avx2) => Some(avx2),
            Instructions::Avx512(avx512) => Some(avx512.avx2()),
            Instructions::Avx512Bf16(bf16) => Some(bf16.avx512().avx2()),
        }
    }

    /// AVX-512, if it is included.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn avx512(self) -> Option<Avx512> {
        match self {
            Instructions::Scalar | Instructions::Avx2(_) => None,
            Instructions::Avx512(avx512) => Some(avx512),
            Instructions::Avx512Bf16(bf16) => Some(bf16.avx512()),
        }
    }

    /// AVX-512 with BF16, if it is included.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn avx512_bf16(self) -> Option<Avx512Bf16> {
        match self {
            Instructions::Avx512Bf16(bf16) => Some(bf16),
            Instructions::Scalar | Instructions::Avx2(_) | Instructions::Avx512(_) => None,
        }
    }
}

/// Proof that this processor has the feature `dotprod`.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

#[cfg(target_arch = "aarch64")]
impl Neon {
    fn detect() -> Option<Neon> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(Neon(()))
    }
}

/// Proof that this processor has the features `avx2`, `fma` and `f16c`.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Proof that this processor has those of [`Avx2`], and `avx512f`, `avx512bw`, `avx512vl`, `avx512vbmi` and
/// `avx512vnni`.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// Proof that this processor has those of [`Avx512`], and `avx512bf16`.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    fn detect() -> Option<Avx2> {
        let is_there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        is_there.then_some(Avx2(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    fn detect() -> Option<Avx512> {
        let is_there = Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni");
        is_there.then_some(Avx512(()))
    }

    /// What it includes.
    #[inline(always)]
    pub(crate) fn avx2(self) -> Avx2 {
        Avx2(())
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512Bf16 {
    fn detect() -> Option<Avx512Bf16> {
        let is_there = Avx512::detect().is_some() && is_x86_feature_detected!("avx512bf16");
        is_there.then_some(Avx512Bf16(()))
    }

    /// What it includes.
    #[inline(always)]
    pub(crate) fn avx512(self) -> Avx512 {
        Avx512(())
    }
}

/// Calls `$body`, plain Rust marked `#[inline(always)]`, compiled with the instructions of `$instructions`:
/// the compiler may use wider registers, but it never reorders floats, so the bits stay.
macro_rules! per_tier {
    ($instructions:expr, $body:ident($($name:ident: $kind:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        if $instructions.avx2().is_some() {
            #[target_feature(enable = "avx2,fma")]
            fn wide($($name: $kind),*) {
                $body($($name),*)
            }
            // SAFETY: the processor has the features, of which the value is the proof.
            unsafe { wide($($name),*) }
        } else {
            $body($($name),*)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            fn plain($($name: $kind),*) {
                $body($($name),*)
            }
            let _ = $instructions;
            plain($($name),*)
        }
    }};
}
pub(crate) use per_tier;

#[cfg(test)]
mod tests {
    use super::Tier;

    #[test]
    fn detected_tier_is_supported_and_scalar_always_is() {
        assert!(Tier::detect().is_supported());
        assert_eq!(Tier::available().first(), Some(&Tier::Scalar));
        assert!(Tier::available().into_iter().all(|tier| tier.instructions().tier() == tier));
    }
}
