//! Products of activations with a stored matrix, one file a kind of activations: the order of summation is
//! theirs.

pub(crate) mod chained;
pub(crate) mod float;
pub(crate) mod int8;
pub(crate) mod parts;
