//! Block formats of weights: which number does this block mean?
//!
//! Every format here is blocks of [`BLOCK_VALUES`] numbers that share one scale. [`Mxfp4Block`] and the
//! published layout of MXFP4 hold codes of four bits ([`E2M1`]) under a power of two ([`scale_value`]);
//! [`Q8_0Block`] holds int8 under an f16. Decoding is exact in f32, and one definition serves the files and
//! the products. [`GgmlQuant`] are llama.cpp's others, which are only read.
//!
//! Plain functions on bytes, one block or row at a time: tensors, threads and instruction sets are the
//! business of the rooms above.

mod e2m1;
mod e8m0;
mod floats;
mod ggml_quant;
mod int8;
mod mxfp4;
mod mxfp4_near;
mod q8_0;
mod small_blocks;
mod super_blocks;

pub use e2m1::{E2M1, E2M1_DOUBLED, nearest_e2m1};
pub use e8m0::{NAN_SCALE, nearest_scale, scale_value};
pub use floats::widen_bf16;
pub use ggml_quant::GgmlQuant;
pub use int8::{largest_magnitude, round_even};
pub use mxfp4::{
    MXFP4_CODE_BYTES, Mxfp4Block, NibbleOrder, code_of, mxfp4_dequantize, mxfp4_dequantize_bf16,
    mxfp4_quantize, mxfp4_value, neighbors_from_halves,
};
pub use mxfp4_near::{mxfp4_add, mxfp4_nearest};
pub use q8_0::{
    Q8_0_BLOCK_BYTES, Q8_0Block, q8_0_dequantize, q8_0_quantize, q8_0_scale, q8_0_values, round_to_q8_0,
};

/// Values that share a scale, in every format of this room and in the int8 activations that meet them.
pub const BLOCK_VALUES: usize = 32;
