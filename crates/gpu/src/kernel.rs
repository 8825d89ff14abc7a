//! One kernel, compiled for a card.

use std::sync::Arc;

use crate::Error;
use crate::card::{Card, Pipeline};
use crate::hazards::Access;
use crate::spirv::{self, Interface};
use crate::vulkan::CONSTANT_BYTES_MAX;

/// A kernel on a device.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) name: Arc<str>,
    pub(crate) pipeline: Pipeline,
    /// What it does with the buffer of each binding.
    pub(crate) bindings: Arc<[Access]>,
    /// Bytes of its constants.
    pub(crate) constant_bytes: u32,
}

impl Kernel {
    /// Compiles a module. A card by CUDA has a kernel of the same name and interface in its place.
    ///
    /// Errors: `Kernel`, when the words are not a module, or have more constants than every device takes; the
    /// driver's.
    pub(crate) fn compile(card: &Card, name: &str, bytes: &[u8]) -> Result<Kernel, Error> {
        let refused = |reason| Error::Kernel { kernel: name.to_owned(), reason };
        let words = spirv::words(bytes).map_err(refused)?;
        let Interface { bindings, constant_bytes, .. } = spirv::interface(&words).map_err(refused)?;
        if constant_bytes > CONSTANT_BYTES_MAX {
            return Err(refused(format!(
                "{constant_bytes} bytes of constants, at most {CONSTANT_BYTES_MAX}"
            )));
        }
        let pipeline = card.pipeline(name, &words, bindings.len())?;
        Ok(Kernel { name: name.into(), pipeline, bindings: bindings.into(), constant_bytes })
    }
}
