//! The ops of gpt-oss on a card: which numbers come out of these ops, there?
//!
//! Entry points: [`Device`] (listing and opening), [`Buffer`], [`Recording`] (ops put one behind the other,
//! barriers found by what they read and write) and [`Recorded`] (submitted again and again), and the ops in
//! [`ops`]; [`prove`] tells whether a device computes them rightly, [`DeviceSpeed`] how fast it can. A kernel
//! is a file of WGSL that says what it computes; `cargo xtask shaders` makes SPIR-V of it, which is built in.
//!
//! The specification of an op is its CPU form in `gptoss-kernels`, order of summation included. A card with
//! fused multiply-add gives the CPU's bits; one that rounds twice, as software drivers do, gives the bits of
//! the same order so computed. Nothing depends on the width of subgroups, on numbers below 2^-126 or on what
//! a compiler may join or cancel; division and roots are made exact here.
//!
//! Not here: what gpt-oss is, files, requests. Buffers whose lengths do not fit an op are a broken invariant
//! of the caller and panic; what the card and its driver do is an [`Error`].

mod account;
mod card;
mod class;
mod command;
mod cuda;
mod cuda_kernels;
mod description;
mod device;
mod digest;
mod error;
mod hazards;
mod kernel;
mod kernels;
pub mod ops;
pub mod prove;
mod recording;
mod speed;
mod spirv;
mod standing;
mod transfer;
mod vulkan;

pub use account::{BUFFER_UNIT_BYTES, Held, Place, buffer_bytes};
pub use class::{Arithmetic, DeviceClass};
pub use description::{
    DeviceChoice, DeviceDescription, DeviceKind, Limits, SOFTWARE_WAIT_MAX, Version, WAIT_MAX, Way,
};
pub use device::{Buffer, Device, Slice, TESTS_WAIT_MAX};
pub use error::Error;
pub use kernel::Kernel;
pub use kernels::Kernels;
pub use recording::{Recorded, Recording};
pub use speed::DeviceSpeed;
pub use transfer::{STAGING_BYTES, Upload, download};
