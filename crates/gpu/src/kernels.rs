//! The kernels that are built in, compiled by the driver when they are first asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::card::Card;
use crate::device::Device;
use crate::digest::{DIGEST_START, digest_bytes};
use crate::kernel::Kernel;

/// `(name, words)` of every file of `spirv/`.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// The names of all kernels that are built in.
        pub(crate) const KERNEL_NAMES: &[&str] = &[$($name),*];

        fn built_in(name: &str) -> Option<&'static [u8]> {
            match name {
                $($name => Some(include_bytes!(concat!("../spirv/", $name, ".spv"))),)*
                _ => None,
            }
        }
    };
}

built_in!(
    "attention_join",
    "attention_rows_bf16",
    "attention_rows_f32",
    "attention_rows_int8",
    "attention_spans_bf16",
    "attention_spans_f32",
    "attention_spans_int8",
    "best_join",
    "best_spans",
    "experts_collect",
    "experts_sort",
    "gemv_bf16_f32_1",
    "gemv_bf16_f32_2",
    "gemv_bf16_f32_4",
    "gemv_bf16_f32_8",
    "gemv_f32_f32_1",
    "gemv_f32_f32_2",
    "gemv_f32_f32_4",
    "gemv_f32_f32_8",
    "gemv_int8_f32_1",
    "gemv_int8_f32_2",
    "gemv_int8_f32_4",
    "gemv_int8_f32_8",
    "gemv_int8_int8_1",
    "gemv_int8_int8_2",
    "gemv_int8_int8_4",
    "gemv_int8_int8_8",
    "gemv_mxfp4_f32",
    "gemv_mxfp4_int8",
    "probe_floats",
    "quantize_int8",
    "quantize_middles",
    "rmsnorm",
    "rmsnorm_int8",
    "rmsnorm_middles",
    "rope_bf16",
    "rope_f32",
    "rope_int8",
    "router_top_k",
    "swiglu",
    "swiglu_middles",
    "tile_int8_int8",
    "tile_mxfp4_int8",
);

/// The digest of all of a device's kernels: a change of any changes it.
pub(crate) fn kernels_digest(device: &Device) -> u32 {
    let digest = match &device.card {
        Card::Vulkan(_) => {
            KERNEL_NAMES.iter().filter_map(|name| built_in(name)).fold(DIGEST_START, digest_bytes)
        }
        Card::Cuda(card) => card.images_digest,
    };
    (digest >> 32) as u32 ^ digest as u32
}

impl Kernel {
    /// Compiles a module; `bytes` are SPIR-V as `cargo xtask shaders` makes it. A driver may do anything with
    /// others, and no check here finds all of them: for tests.
    ///
    /// Errors: `Kernel`, when the words are not a module, or have more constants than every device takes; the
    /// driver's.
    #[doc(hidden)]
    pub fn new(device: &Device, name: &str, bytes: &[u8]) -> Result<Kernel, Error> {
        Kernel::compile(&device.card, name, bytes)
    }
}

/// The kernels of a device.
pub struct Kernels {
    device: Device,
    /// Shared by all of the device's, but for those with one replaced.
    compiled: Arc<Mutex<HashMap<String, Kernel>>>,
    /// A kernel that is taken in place of the one that is built in: its name and words.
    replaced: Option<(String, Vec<u8>)>,
}

impl Kernels {
    /// Those that are built in.
    pub fn new(device: &Device) -> Kernels {
        Kernels { device: device.clone(), compiled: Arc::clone(&device.compiled), replaced: None }
    }

    /// Those that are built in but for one, so that tests can see a wrong one found out; `bytes`
    /// as [`Kernel::new`] takes them.
    #[doc(hidden)]
    pub fn with_replaced(device: &Device, name: &str, bytes: Vec<u8>) -> Kernels {
        let replaced = Some((name.to_owned(), bytes));
        Kernels { replaced, compiled: Arc::default(), device: device.clone() }
    }

    /// Their device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The kernel of a name, compiled now if it has not been.
    ///
    /// Errors: `Kernel`, when there is none; the driver's.
    pub fn get(&self, name: &str) -> Result<Kernel, Error> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = compiled.get(name) {
            return Ok(kernel.clone());
        }
        let unknown = || Error::Kernel { kernel: name.to_owned(), reason: "there is none".to_owned() };
        let bytes = match &self.replaced {
            Some((replaced, bytes)) if replaced == name => bytes,
            _ => built_in(name).ok_or_else(unknown)?,
        };
        let kernel = Kernel::new(&self.device, name, bytes)?;
        compiled.insert(name.to_owned(), kernel.clone());
        Ok(kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{NEEDED_BUFFERS, NEEDED_INVOCATIONS, NEEDED_SHARED_BYTES};
    use crate::hazards::Access;
    use crate::spirv::{self, Interface};
    use crate::vulkan::CONSTANT_BYTES_MAX;

    #[test]
    fn every_module_that_is_checked_in_is_built_in_and_has_its_bindings() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("spirv");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        there.sort();
        let mut names = KERNEL_NAMES.to_vec();
        names.sort_unstable();
        assert_eq!(there, names);
        let mut most = Interface::default();
        for name in names {
            let words = spirv::words(built_in(name).unwrap()).unwrap();
            let found = spirv::interface(&words).unwrap();
            assert!(found.bindings.contains(&Access::Write), "{name} writes nothing: {found:?}");
            assert!(found.constant_bytes <= CONSTANT_BYTES_MAX, "{name}: {found:?}");
            most.invocations = most.invocations.max(found.invocations);
            most.shared_bytes = most.shared_bytes.max(found.shared_bytes);
            most.bindings.resize(most.bindings.len().max(found.bindings.len()), Access::Read);
        }
        // What devices are asked for is what the kernels take, and no more.
        assert_eq!(most.invocations, NEEDED_INVOCATIONS);
        assert_eq!(most.shared_bytes.next_multiple_of(1024), NEEDED_SHARED_BYTES);
        assert_eq!(most.bindings.len(), NEEDED_BUFFERS as usize);
    }
}
