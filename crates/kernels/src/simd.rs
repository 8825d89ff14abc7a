//! Code for wider instructions, and the step from a tier to it.
//!
//! Entry point: [`per_tier`], which runs one generic body compiled for the tier at hand. Bodies are plain Rust
//! marked `#[inline(always)]`; inside a function with more target features the compiler may use wider registers,
//! but it never reorders floats, so the bits stay. Products whose speed matters have hand-written forms in the
//! files below instead.
//!
//! Nothing here is chosen globally: the tier arrives as a value.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_attention;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_f32;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_gemv;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_mxfp4_blocks;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_q8;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_q8_0;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_attention;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_mxfp4;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_q8;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_q8_0;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_unpack;
#[cfg(target_arch = "x86_64")]
pub(crate) mod fetch;

/// Calls `$body` with the instructions of `$tier`.
macro_rules! per_tier {
    ($tier:expr, $body:ident($($name:ident: $kind:ty),* $(,)?)) => {
        match $tier {
            $crate::Tier::Scalar => $body($($name),*),
            #[cfg(target_arch = "x86_64")]
            $crate::Tier::Avx2 | $crate::Tier::Avx512Vnni => {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($name: $kind),*) {
                    $body($($name),*)
                }
                assert!($crate::Tier::Avx2.is_supported(), "this processor has no AVX2 and FMA");
                // SAFETY: the processor has the features, as just asserted.
                unsafe { wide($($name),*) }
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => $body($($name),*),
        }
    };
}
pub(crate) use per_tier;
