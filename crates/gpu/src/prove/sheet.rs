//! The buffers of a case: one on the host and one on the card, shared by all cases, so that a case is one
//! submission: in, the op, out.

use bytemuck::NoUninit;

use crate::Error;
use crate::account::Place;
use crate::description::Way;
use crate::device::{Buffer, Slice};
use crate::kernels::Kernels;
use crate::ops::MiddleRows;
use crate::prove::Output;
use crate::recording::Recording;

/// Bytes of the inputs and outputs of a case at most.
const SHEET_BYTES: u64 = 16 << 20;
/// What a slice begins at a multiple of, at least.
const SLICE_UNIT_BYTES: u64 = 256;

/// Where cases are computed, one after the other.
pub struct Bench<'a> {
    kernels: &'a Kernels,
    host: Buffer,
    card: Buffer,
}

/// The numbers of one case.
pub(crate) struct Sheet<'a> {
    bench: &'a Bench<'a>,
    bytes: Vec<u8>,
}

impl<'a> Bench<'a> {
    /// Buffers on the kernels' device.
    ///
    /// Errors: `OutOfMemory`.
    pub fn new(kernels: &'a Kernels) -> Result<Bench<'a>, Error> {
        let device = kernels.device();
        let host = device.buffer("the proof's numbers", SHEET_BYTES, Place::Host)?;
        let card = device.buffer("the proof's numbers", SHEET_BYTES, Place::Card)?;
        Ok(Bench { kernels, host, card })
    }

    /// The kernels that compute.
    pub(crate) fn kernels(&self) -> &Kernels {
        self.kernels
    }

    /// An empty sheet; what no input or output covers is NaN, or -1.
    pub(crate) fn sheet(&'a self) -> Sheet<'a> {
        Sheet { bench: self, bytes: Vec::new() }
    }
}

impl Sheet<'_> {
    /// The way to the card.
    pub(crate) fn way(&self) -> Way {
        self.bench.kernels.device().description().way()
    }

    /// An input, which an op may write to as well.
    pub(crate) fn holding<T: NoUninit>(&mut self, numbers: &[T]) -> Slice {
        let device = self.bench.kernels.device();
        let unit = device.description().limits.storage_alignment_bytes.max(SLICE_UNIT_BYTES);
        let start = (self.bytes.len() as u64).next_multiple_of(unit);
        self.bytes.resize(start as usize, 0xff);
        self.bytes.extend_from_slice(bytemuck::cast_slice(numbers));
        let end = (self.bytes.len() as u64).next_multiple_of(16).max(start + 16);
        self.bytes.resize(end as usize, 0xff);
        self.bench.card.slice(start..end)
    }

    /// Room for so many words.
    pub(crate) fn room(&mut self, words: u32) -> Slice {
        self.holding(&vec![u32::MAX; words as usize])
    }

    /// Room for so many bytes.
    pub(crate) fn room_bytes(&mut self, bytes: u64) -> Slice {
        self.room(bytes.div_ceil(4) as u32)
    }

    /// Records and runs.
    ///
    /// Errors: the driver's.
    pub(crate) fn run(
        &self,
        record: impl FnOnce(&Kernels, &mut Recording) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Bench { kernels, host, card } = self.bench;
        let used = 0..self.bytes.len() as u64;
        host.write(0, &self.bytes);
        let mut recording = Recording::new(kernels.device());
        recording.copy(&card.slice(used.clone()), &host.slice(used.clone()));
        record(kernels, &mut recording)?;
        recording.copy(&host.slice(used.clone()), &card.slice(used));
        recording.finish("a case of the proof")?.run()
    }

    /// The first `len` words of an output, as they are.
    pub(crate) fn words(&self, slice: &Slice, len: u32) -> Output {
        let mut words = vec![0_u32; len as usize];
        self.bench.host.read(slice.bytes.start, bytemuck::cast_slice_mut(&mut words));
        Output::Words(words)
    }

    /// The first `len` words of values about middles, in the order of Vulkan.
    pub(crate) fn middles(&self, slice: &Slice, len: u32) -> Output {
        match (self.way(), self.words(slice, len)) {
            (Way::Cuda, Output::Words(words)) => {
                let parted = MiddleRows::stored(Way::Vulkan, bytemuck::cast_slice(&words));
                let words = bytemuck::cast_slice(&parted).as_chunks::<4>().0.iter();
                Output::Words(words.map(|word| u32::from_ne_bytes(*word)).collect())
            }
            (_, output) => output,
        }
    }

    /// The first `len` floats of an output.
    pub(crate) fn floats(&self, slice: &Slice, len: u32) -> Output {
        let mut floats = vec![0_f32; len as usize];
        self.bench.host.read(slice.bytes.start, bytemuck::cast_slice_mut(&mut floats));
        Output::Floats(floats)
    }
}
