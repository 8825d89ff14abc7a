//! Memory of one expert that is read from disk, on large pages.
//!
//! Entry points: [`ExpertBuffer::read`] and [`ExpertBuffer::part`]. A buffer is filled again and again, with
//! any expert of its model.

use gptoss_checkpoint::{ExpertPlaces, ExpertReader, LayerPart};
use gptoss_kernels::HugePages;

use crate::Error;

/// Memory of one expert.
pub(crate) struct ExpertBuffer {
    memory: HugePages<u8>,
    places: ExpertPlaces,
}

/// Memory that one thread needs for reading; taken when it is first used.
#[derive(Default)]
pub(crate) struct ReadScratch(Option<HugePages<u8>>);

impl ExpertBuffer {
    /// An empty buffer. Its memory is the system's until it is read into.
    ///
    /// Errors: `OutOfMemory`.
    pub(crate) fn new(reader: &ExpertReader) -> Result<ExpertBuffer, Error> {
        Ok(ExpertBuffer { memory: allocate(reader.buffer_bytes())?, places: ExpertPlaces::default() })
    }

    /// Fills the buffer with an expert; how many bytes were asked of the files.
    ///
    /// Errors: `Checkpoint`, `OutOfMemory`; the buffer is empty then.
    pub(crate) fn read(
        &mut self,
        reader: &ExpertReader,
        layer: usize,
        expert: usize,
        scratch: &mut ReadScratch,
    ) -> Result<u64, Error> {
        self.places = ExpertPlaces::default();
        let scratch = match &mut scratch.0 {
            Some(scratch) => scratch,
            empty => empty.insert(allocate(reader.scratch_bytes())?),
        };
        self.places = reader.read(layer, expert, &mut self.memory, scratch)?;
        Ok(self.places.num_bytes)
    }

    /// A part of the expert that was read last, laid out as the checkpoint's tensors are.
    ///
    /// Panics: when the buffer is empty, or the expert has no such part.
    pub(crate) fn part(&self, part: LayerPart) -> &[u8] {
        self.places.part(&self.memory, part)
    }
}

fn allocate(num_bytes: u64) -> Result<HugePages<u8>, Error> {
    HugePages::try_zeroed(num_bytes as usize)
        .map_err(|source| Error::OutOfMemory { needed: num_bytes, source })
}
