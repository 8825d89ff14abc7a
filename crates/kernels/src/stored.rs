//! The forms in which matrices are stored, one file each: how its rows are read, for every instruction set
//! that has a way of its own.

mod columns;
pub(crate) mod floats;
pub(crate) mod mxfp4;
pub(crate) mod mxfp4_blocks;
pub(crate) mod q8_0;
pub(crate) mod q8_panels;
