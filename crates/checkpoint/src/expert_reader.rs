//! One expert of a layer, read from the files into memory of the caller's, when it is asked for.
//!
//! Entry points: [`Checkpoint::expert_reader`](crate::Checkpoint::expert_reader), [`ExpertReader::read`] and
//! [`ExpertPlaces`]. A map would bring a model larger than memory in one page fault after the other and leave
//! it to the kernel what to drop; here whole experts come in a few large reads, past the page cache
//! (`direct_file.rs`), and whoever holds the memory decides what stays. On large pages reads are twice as
//! fast.
//!
//! The memory then holds what [`Checkpoint::tensor`](crate::Checkpoint::tensor) would give of the expert:
//! published layouts are read straight into their places, a GGUF file's blocks and experts that a folder has
//! one by one go through a scratch region and are laid out anew. All experts of a model take as much, so that
//! any memory can take any expert.

use std::ops::Range;

use gptoss_formats::BLOCK_VALUES;

use crate::config::Config;
use crate::direct_file::{DirectFile, PAGE_BYTES};
use crate::error::Error;
use crate::gguf::{GgufStack, Storage};
use crate::names;
use crate::part::{ExpertFormat, LayerPart, Part};

const MXFP4_PARTS: [LayerPart; 4] =
    [LayerPart::GateUpBlocks, LayerPart::GateUpScales, LayerPart::DownBlocks, LayerPart::DownScales];
const BF16_PARTS: [LayerPart; 2] = [LayerPart::GateUpBf16, LayerPart::DownBf16];

/// Reads experts one by one. Shared by threads: reads do not wait for each other.
#[derive(Debug)]
pub struct ExpertReader {
    pieces: Vec<Piece>,
    num_experts: usize,
    /// The parts that are scales, with their blocks a row.
    scales: Vec<(LayerPart, usize)>,
    source: Source,
}

/// One matrix, or the scales of one, of an expert. Units: bytes.
#[derive(Clone, Debug)]
struct Piece {
    part: LayerPart,
    num_bytes: usize,
    /// Where its region starts in the memory of an expert.
    start: usize,
    /// Of an element.
    alignment: usize,
}

#[derive(Debug)]
enum Source {
    /// `layers[layer][piece]`.
    Published { files: Vec<DirectFile>, layers: Vec<Vec<Place>> },
    /// The gate and up projection, and the down projection, of so many experts in the order of layers and
    /// experts: all of a layer in a GGUF file, one in a folder that has them one by one.
    Relaid { files: Vec<DirectFile>, stacks: Vec<[GgufStack; 2]>, experts_per_stack: usize },
}

/// Where a part of all experts of a layer starts: the experts follow each other.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The tensor's name in the file.
    pub(crate) name: String,
    /// Index of the file.
    pub(crate) file: usize,
    /// Units: bytes.
    pub(crate) offset: u64,
}

/// Where the parts of an expert that was read lie in its memory.
#[derive(Debug, Default)]
pub struct ExpertPlaces {
    places: Vec<(LayerPart, Range<usize>)>,
    /// Bytes that were asked of the files.
    pub num_bytes: u64,
}

impl ExpertReader {
    /// A reader over published files; `layers[layer]` has the place of each of [`ExpertReader::parts`].
    pub(crate) fn published(
        config: &Config,
        format: ExpertFormat,
        files: Vec<DirectFile>,
        layers: Vec<Vec<Place>>,
    ) -> ExpertReader {
        ExpertReader::new(config, format, Source::Published { files, layers })
    }

    /// A reader over files whose experts are laid out otherwise.
    pub(crate) fn relaid(
        config: &Config,
        format: ExpertFormat,
        files: Vec<DirectFile>,
        stacks: Vec<[GgufStack; 2]>,
        experts_per_stack: usize,
    ) -> ExpertReader {
        ExpertReader::new(config, format, Source::Relaid { files, stacks, experts_per_stack })
    }

    fn new(config: &Config, format: ExpertFormat, source: Source) -> ExpertReader {
        let [up, down] = [config.hidden_size, config.intermediate_size].map(|columns| columns / BLOCK_VALUES);
        let scales = match format {
            ExpertFormat::Mxfp4 => vec![(LayerPart::GateUpScales, up), (LayerPart::DownScales, down)],
            ExpertFormat::Bf16 => Vec::new(),
        };
        let num_experts = config.num_local_experts.max(1);
        ExpertReader { pieces: pieces(config, format), num_experts, scales, source }
    }

    /// The parts of an expert that are scales, each with its blocks a row; none in bf16.
    pub fn scales(&self) -> &[(LayerPart, usize)] {
        &self.scales
    }

    /// The parts of an expert, in the order in which they lie in its memory.
    pub(crate) fn parts(format: ExpertFormat) -> &'static [LayerPart] {
        match format {
            ExpertFormat::Mxfp4 => &MXFP4_PARTS,
            ExpertFormat::Bf16 => &BF16_PARTS,
        }
    }

    /// Bytes of one expert's matrices.
    pub fn expert_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.num_bytes as u64).sum()
    }

    /// Bytes of memory that an expert is read into: its own, and the pages at the ends of each part.
    pub fn buffer_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| DirectFile::room(piece.num_bytes) as u64).sum()
    }

    /// Bytes of scratch that one thread needs: none where the experts lie as they are used.
    pub fn scratch_bytes(&self) -> u64 {
        match &self.source {
            Source::Published { .. } => 0,
            Source::Relaid { stacks, experts_per_stack, .. } => {
                let bytes = stacks.iter().flatten().map(|stack| stack_room(stack, *experts_per_stack));
                bytes.max().unwrap_or(0) as u64
            }
        }
    }

    /// The name in the files of an expert's part, for messages; empty for parts that it does not have.
    pub fn name(&self, layer: usize, part: LayerPart) -> &str {
        match &self.source {
            Source::Published { layers, .. } => {
                let piece = self.pieces.iter().position(|piece| piece.part == part);
                piece.map_or("", |piece| &layers[layer][piece].name)
            }
            Source::Relaid { stacks, experts_per_stack, .. } => {
                &stacks[layer * self.num_experts / experts_per_stack][usize::from(is_down(part))].name
            }
        }
    }

    /// Reads an expert into `memory`, of [`buffer_bytes`](ExpertReader::buffer_bytes), by way of `scratch`,
    /// of [`scratch_bytes`](ExpertReader::scratch_bytes). Both begin with a page of 4096 bytes.
    ///
    /// Errors: [`Error::Io`], [`Error::Truncated`]; what is in the memory then means nothing.
    ///
    /// Panics: when there is no such layer or expert, or the memory is too short or begins elsewhere.
    pub fn read(
        &self,
        layer: usize,
        expert: usize,
        memory: &mut [u8],
        scratch: &mut [u8],
    ) -> Result<ExpertPlaces, Error> {
        assert!(expert < self.num_experts, "expert {expert} of {}", self.num_experts);
        for (memory, len) in [(&*memory, self.buffer_bytes()), (&*scratch, self.scratch_bytes())] {
            let is_aligned = len == 0 || memory.as_ptr().addr().is_multiple_of(PAGE_BYTES);
            assert!(is_aligned && memory.len() as u64 >= len, "{len} bytes from a page on");
        }
        let mut places = Vec::with_capacity(self.pieces.len());
        let num_bytes = match &self.source {
            Source::Published { files, layers } => {
                for (piece, place) in self.pieces.iter().zip(&layers[layer]) {
                    let start = place.offset + (expert * piece.num_bytes) as u64;
                    let bytes = start..start + piece.num_bytes as u64;
                    let region = piece.region(memory);
                    let found = files[place.file].read(region, bytes, piece.alignment)?;
                    places.push((piece.part, piece.start + found.start..piece.start + found.end));
                }
                self.expert_bytes()
            }
            Source::Relaid { files, stacks, experts_per_stack } => {
                let mut num_bytes = 0;
                let stacks = &stacks[(layer * self.num_experts + expert) / experts_per_stack];
                let share = (expert % experts_per_stack, *experts_per_stack);
                for (stack, pieces) in stacks.iter().zip(self.pieces.chunks(self.pieces.len() / 2)) {
                    num_bytes += read_stack(files, stack, share, scratch, |rows| {
                        for piece in pieces {
                            let out = &mut piece.region(memory)[..piece.num_bytes];
                            write_piece(rows, piece.part, out, stack.columns);
                            places.push((piece.part, piece.start..piece.start + piece.num_bytes));
                        }
                    })?;
                }
                num_bytes
            }
        };
        Ok(ExpertPlaces { places, num_bytes })
    }
}

impl Piece {
    fn region<'a>(&self, memory: &'a mut [u8]) -> &'a mut [u8] {
        &mut memory[self.start..][..DirectFile::room(self.num_bytes)]
    }
}

impl ExpertPlaces {
    /// A part of the expert in the memory that it was read into, as
    /// [`Checkpoint::tensor`](crate::Checkpoint::tensor) lays it out.
    ///
    /// Panics: when the expert has no such part.
    pub fn part<'a>(&self, memory: &'a [u8], part: LayerPart) -> &'a [u8] {
        let place = self.places.iter().find(|(known, _)| *known == part);
        let (_, range) = place.expect("an expert that was read has the part");
        &memory[range.clone()]
    }
}

/// Reads one expert's share of every tensor of a stack, `(which, of how many)`, and shows its rows.
fn read_stack(
    files: &[DirectFile],
    stack: &GgufStack,
    (which, shares): (usize, usize),
    scratch: &mut [u8],
    show: impl FnOnce(&crate::gguf::ExpertRows<'_>),
) -> Result<u64, Error> {
    let mut rest = scratch;
    let mut data: Vec<&[u8]> = Vec::with_capacity(2);
    let mut num_bytes = 0;
    for tensor in &stack.tensors {
        let share = tensor.range.len() / shares;
        let (region, after) = rest.split_at_mut(DirectFile::room(share));
        rest = after;
        let start = (tensor.range.start + which * share) as u64;
        let alignment = if stack.storage == Storage::Bf16 { 2 } else { 1 };
        let found = files[tensor.part].read(region, start..start + share as u64, alignment)?;
        data.push(&region[found]);
        num_bytes += share as u64;
    }
    show(&stack.rows(&data, 1));
    Ok(num_bytes)
}

fn pieces(config: &Config, format: ExpertFormat) -> Vec<Piece> {
    let num_experts = config.num_local_experts.max(1);
    let mut start = 0;
    let piece = |&part: &LayerPart| {
        let num_bytes = names::num_bytes(config, Part::Layer(0, part)) / num_experts;
        let alignment = names::dtype(Part::Layer(0, part)).num_bytes();
        let piece = Piece { part, num_bytes, start, alignment };
        start += DirectFile::room(num_bytes);
        piece
    };
    ExpertReader::parts(format).iter().map(piece).collect()
}

fn is_down(part: LayerPart) -> bool {
    matches!(part, LayerPart::DownBlocks | LayerPart::DownScales | LayerPart::DownBf16)
}

/// Scratch for one expert of a stack. Units: bytes.
fn stack_room(stack: &GgufStack, shares: usize) -> usize {
    stack.tensors.iter().map(|tensor| DirectFile::room(tensor.range.len() / shares)).sum()
}

fn write_piece(rows: &crate::gguf::ExpertRows<'_>, part: LayerPart, out: &mut [u8], columns: usize) {
    match part {
        LayerPart::GateUpScales | LayerPart::DownScales => rows.write_scales(out, columns),
        LayerPart::GateUpBf16 | LayerPart::DownBf16 => rows.write_transposed(out, columns),
        _ => rows.write_blocks(out, columns),
    }
}
