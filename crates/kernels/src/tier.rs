//! Which instructions may be used: one value, chosen once, carried by the pool.
//!
//! Entry point: [`Tier::detect`]. Every op gives bit-equal results on every tier, because all of them follow
//! the one order of summation that the op's contract fixes; a tier is a matter of speed alone. The tier is a
//! plain value in [`crate::Pool`] (and a parameter of the few ops that need no pool), so that a test can run
//! the same case on each of them: there is no global switch.
//!
//! This module does not know any op.

/// An instruction set that kernels are written for, in rising order of width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Plain Rust, every processor: the reference that the others are compared with.
    Scalar,
    /// AVX2, FMA and F16C: 256-bit integers, fused multiply-add and half precision.
    Avx2,
    /// AVX-512 (F, BW, VL, VBMI) with VNNI, on top of the former: products of bytes summed in one instruction, and tables
    /// of 64 bytes. Ops without a form of their own run their AVX2 form.
    Avx512Vnni,
}

impl Tier {
    /// The widest tier that this processor can run.
    pub fn detect() -> Tier {
        Self::available().last().copied().unwrap_or(Tier::Scalar)
    }

    /// Every tier that this processor can run, narrowest first; the first is always [`Tier::Scalar`].
    pub fn available() -> Vec<Tier> {
        [Tier::Scalar, Tier::Avx2, Tier::Avx512Vnni].into_iter().filter(|tier| tier.is_supported()).collect()
    }

    /// Whether this processor has the instructions of this tier.
    pub fn is_supported(self) -> bool {
        match self {
            Tier::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Vnni => {
                Tier::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 | Tier::Avx512Vnni => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tier;

    #[test]
    fn detected_tier_is_supported_and_scalar_always_is() {
        assert!(Tier::detect().is_supported());
        assert_eq!(Tier::available().first(), Some(&Tier::Scalar));
    }
}
