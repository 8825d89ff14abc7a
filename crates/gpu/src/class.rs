//! What the numbers of a device depend on, once it has proved its ops.

use std::fmt;

use crate::description::Way;

/// How a device's multiply-add rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Once, as on the processor.
    Fused,
    /// The product, then the sum, as drivers in software do.
    Split,
}

/// Devices of one class give the same bits: the way to them, the kernels, the rounding of multiply-add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceClass {
    /// The way to them.
    pub way: Way,
    /// Of all kernels' words.
    pub kernels: u32,
    /// Found by a probe.
    pub arithmetic: Arithmetic,
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arithmetic::Fused => "fused",
            Arithmetic::Split => "split",
        })
    }
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}-{}", self.way, self.kernels, self.arithmetic)
    }
}
