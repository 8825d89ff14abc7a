//! Hand-written forms of products, one file an instruction set and a family of formats. Plain Rust that is
//! compiled again with wider instructions goes by `per_tier!` in `tier.rs` instead.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2_chained;
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
pub(crate) mod avx512_mxfp4;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_q8;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_q8_0;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_unpack;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_chained;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_f32;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_q8;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_q8_0;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod panel;
