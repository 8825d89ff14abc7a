//! Keys and values in a card's memory: rows where the layout of the store has them, as on the CPU.
//!
//! Entry point: [`KvRows`]; a pass writes rows and sees them by slots, which the kernels compute from places
//! and the table of blocks that lies here too. Copies between slots and the making of a store have no answer,
//! so what went wrong with them is told to every step from then on: rows are missing, and no step may read
//! on. Bytes that a card does not give are none, which is a miss.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use gptoss_gpu as gpu;
use gptoss_gpu::{Buffer, Device, Place, Recording, Slice};
use gptoss_kernels::{kv_bf16, quantize_kv};

use crate::Error;
use crate::config::{KvFormat, LayerKind};
use crate::layout::{KindRows, RowCopy, StoreLayout, StoreShape};
use crate::step::SequenceKv;

/// Blocks that the table of a pass has room for, in stores' sizes: sequences may share blocks, and each lists
/// its own.
const TABLE_SHARE: usize = 2;

/// The keys and values of many sequences.
#[derive(Debug)]
pub(crate) struct KvRows {
    /// A number that no other store has.
    pub(crate) id: u64,
    device: Device,
    layout: StoreLayout,
    /// Or why there are none.
    buffers: Result<KvBuffers, gpu::Error>,
    /// What a copy met.
    trouble: Option<gpu::Error>,
    /// Rows that the host wrote and that are not on the card yet.
    pending: Pending,
}

/// The buffers of a store.
#[derive(Debug)]
pub(crate) struct KvBuffers {
    pub(crate) layers: Vec<LayerRows>,
    /// The blocks of the sequences of a pass: u32.
    pub(crate) table: Slice,
    /// The same on the host.
    pub(crate) table_staging: Buffer,
    /// Blocks that the table has room for.
    pub(crate) table_blocks: usize,
    /// A whole block and a whole snapshot, on their way.
    staging: Buffer,
}

/// Keys and values of a layer.
#[derive(Debug)]
pub(crate) struct LayerRows {
    pub(crate) keys: Rows,
    pub(crate) values: Rows,
}

/// Rows `[rows, K, D]`.
#[derive(Debug)]
pub(crate) enum Rows {
    F32(Slice),
    Bf16(Slice),
    Int8 {
        values: Slice,
        /// `[rows, K]`
        scales: Slice,
    },
}

/// Bytes and where they go.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    places: Vec<(Slice, usize)>,
}

impl KvRows {
    /// Rows for every slot of the layout; what they hold is arbitrary.
    pub(crate) fn new(device: &Device, layout: StoreLayout) -> KvRows {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let buffers = KvBuffers::new(device, &layout);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (trouble, pending) = (None, Pending::default());
        KvRows { id, device: device.clone(), layout, buffers, trouble, pending }
    }

    pub(crate) fn layout(&self) -> &StoreLayout {
        &self.layout
    }

    /// The buffers, with everything in them that came before.
    ///
    /// Errors: `Card`: what making them met; `LostRows`: what a copy met.
    pub(crate) fn buffers(&mut self) -> Result<&KvBuffers, Error> {
        self.flush();
        match &self.trouble {
            Some(trouble) => Err(Error::LostRows(trouble.clone())),
            None => self.buffers.as_ref().map_err(|error| Error::Card(error.clone())),
        }
    }

    /// Copies rows in every layer of their kind.
    pub(crate) fn copy(&mut self, copies: &[RowCopy]) {
        self.flush();
        // Every step asks, most of them for nothing.
        if copies.is_empty() {
            return;
        }
        let Ok(buffers) = &self.buffers else { return };
        let mut recording = Recording::new(&self.device);
        let shape = &self.layout.shape;
        for copy in copies.iter().filter(|copy| copy.from != copy.to && copy.rows > 0) {
            for rows in buffers.of_kind(shape, copy.kind) {
                let from = rows.slices(shape, copy.from..copy.from + copy.rows);
                let to = rows.slices(shape, copy.to..copy.to + copy.rows);
                to.iter().zip(&from).for_each(|(to, from)| recording.copy(to, from));
            }
        }
        self.trouble = run(recording, "copies of keys and values").err().or(self.trouble.take());
    }

    /// The bytes of some rows of every layer of their kinds; empty when the card does not give them.
    pub(crate) fn bytes(&self, pieces: &[KindRows]) -> Vec<u8> {
        let Ok(buffers) = &self.buffers else { return Vec::new() };
        // Rows are missing, and these may be among them.
        if self.trouble.is_some() {
            return Vec::new();
        }
        let mut recording = Recording::new(&self.device);
        let mut num_bytes = 0;
        for slice in buffers.slices(&self.layout.shape, pieces) {
            let end = num_bytes + slice.len();
            recording.copy(&buffers.staging.slice(num_bytes..end), &slice);
            num_bytes = end;
        }
        let mut bytes = Vec::new();
        if run(recording, "reading keys and values").is_ok() {
            bytes.resize(num_bytes as usize, 0);
            buffers.staging.read(0, &mut bytes);
        }
        bytes
    }

    /// Fills rows with what [`KvRows::bytes`] gave of them. False when the card does not take them.
    pub(crate) fn take_bytes(&mut self, pieces: &[KindRows], bytes: &[u8]) -> bool {
        self.flush();
        let Ok(buffers) = &self.buffers else { return false };
        buffers.staging.write(0, bytes);
        let mut recording = Recording::new(&self.device);
        let mut at = 0;
        for slice in buffers.slices(&self.layout.shape, pieces) {
            let end = at + slice.len();
            recording.copy(&slice, &buffers.staging.slice(at..end));
            at = end;
        }
        run(recording, "writing keys and values").is_ok()
    }

    /// Writes the keys and values `[K, D]` of one position.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        kv: &SequenceKv<'_>,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let Ok(buffers) = &self.buffers else { return };
        let row = self.layout.row_of(layer, kv, position);
        let shape = &self.layout.shape;
        for (rows, numbers) in [(&buffers.layers[layer].keys, keys), (&buffers.layers[layer].values, values)]
        {
            let places = rows.slices(shape, row..row + 1);
            for (place, bytes) in places.into_iter().zip(row_bytes(shape, numbers)) {
                self.pending.places.push((place, self.pending.bytes.len()));
                self.pending.bytes.extend(bytes);
            }
        }
        let row_bytes = shape.format.row_bytes(shape.num_kv_heads, shape.row / shape.num_kv_heads);
        if (self.pending.bytes.len() + 2 * row_bytes) as u64 > buffers.staging.bytes() {
            self.flush();
        }
    }

    /// Brings what the host wrote to the card.
    fn flush(&mut self) {
        let Pending { bytes, places } = std::mem::take(&mut self.pending);
        let Ok(buffers) = &self.buffers else { return };
        if places.is_empty() {
            return;
        }
        buffers.staging.write(0, &bytes);
        let mut recording = Recording::new(&self.device);
        for (place, at) in places {
            let at = at as u64;
            recording.copy(&place, &buffers.staging.slice(at..at + place.len()));
        }
        self.trouble = run(recording, "writing keys and values").err().or(self.trouble.take());
    }
}

impl KvBuffers {
    fn new(device: &Device, layout: &StoreLayout) -> Result<KvBuffers, gpu::Error> {
        let shape = &layout.shape;
        let layers = shape.layer_kinds.iter().map(|kind| {
            let count = layout.rows_of(*kind);
            let keys = Rows::new(device, shape, count, "keys")?;
            Ok(LayerRows { keys, values: Rows::new(device, shape, count, "values")? })
        });
        let layers = layers.collect::<Result<_, gpu::Error>>()?;
        let [table, staging] = beside_bytes(layout);
        Ok(KvBuffers {
            layers,
            table: device.buffer("the table of blocks", table, Place::Card)?.all(),
            table_staging: device.buffer("the table of blocks", table, Place::Host)?,
            table_blocks: table as usize / size_of::<u32>(),
            staging: device.buffer("keys and values on their way", staging, Place::Host)?,
        })
    }

    /// The keys and the values of each layer of a kind.
    fn of_kind(&self, shape: &StoreShape, kind: LayerKind) -> impl Iterator<Item = &Rows> {
        let all = self.layers.iter().zip(&shape.layer_kinds);
        all.filter(move |&(_, &k)| k == kind).flat_map(|(layer, _)| [&layer.keys, &layer.values])
    }

    /// Where the bytes of some rows lie, in the order in which they leave.
    fn slices(&self, shape: &StoreShape, pieces: &[KindRows]) -> Vec<Slice> {
        let pieces = pieces.iter().filter(|(_, range)| !range.is_empty());
        let of_piece = |(kind, range): &KindRows| {
            let rows = self.of_kind(shape, *kind);
            rows.flat_map(|rows| rows.slices(shape, range.clone())).collect::<Vec<_>>()
        };
        pieces.flat_map(of_piece).collect()
    }
}

/// Runs copies.
fn run(recording: Recording, what: &str) -> Result<(), gpu::Error> {
    recording.finish(what)?.run()
}

/// Bytes of the table of blocks, on each side, and of what is on its way.
pub(crate) fn beside_bytes(layout: &StoreLayout) -> [u64; 2] {
    let shape = &layout.shape;
    let table = TABLE_SHARE * layout.sizes.blocks * size_of::<u32>();
    let block = shape.bytes_of_rows(LayerKind::Full, crate::layout::BLOCK_TOKENS);
    let snapshot = shape.bytes_of_rows(LayerKind::Windowed, shape.window - 1);
    [table as u64, (block + snapshot).max(4 * shape.row * size_of::<f32>()) as u64]
}

/// Bytes of the buffers of `rows` rows of one layer's keys or values: numbers, and scales where there are. A
/// kernel binds at least a row, also of a layer that has none.
pub(crate) fn rows_bytes(shape: &StoreShape, rows: usize) -> Vec<u64> {
    let rows = rows.max(1);
    let numbers = (rows * shape.row) as u64;
    match shape.format {
        KvFormat::F32 => vec![4 * numbers],
        KvFormat::Bf16 => vec![2 * numbers],
        KvFormat::Q8 => vec![numbers, (rows * shape.num_kv_heads * size_of::<f32>()) as u64],
    }
}

impl Rows {
    fn new(device: &Device, shape: &StoreShape, rows: usize, what: &str) -> Result<Rows, gpu::Error> {
        let mut slices = Vec::with_capacity(2);
        for bytes in rows_bytes(shape, rows) {
            slices.push(device.buffer(what, bytes, Place::Card)?.all());
        }
        let numbers = slices.remove(0);
        Ok(match (slices.pop(), shape.format) {
            (Some(scales), _) => Rows::Int8 { values: numbers, scales },
            (None, KvFormat::F32) => Rows::F32(numbers),
            (None, _) => Rows::Bf16(numbers),
        })
    }

    /// Where the bytes of some rows lie: numbers, then scales.
    fn slices(&self, shape: &StoreShape, rows: Range<usize>) -> Vec<Slice> {
        let part =
            |slice: &Slice, width: usize| slice.part((rows.start * width) as u64..(rows.end * width) as u64);
        match self {
            Rows::F32(numbers) => vec![part(numbers, shape.row * size_of::<f32>())],
            Rows::Bf16(numbers) => vec![part(numbers, shape.row * size_of::<u16>())],
            Rows::Int8 { values, scales } => {
                vec![part(values, shape.row), part(scales, shape.num_kv_heads * size_of::<f32>())]
            }
        }
    }
}

/// The bytes of a row `[K, D]` as a pass writes it: numbers, then scales.
fn row_bytes(shape: &StoreShape, numbers: &[f32]) -> Vec<Vec<u8>> {
    match shape.format {
        KvFormat::F32 => vec![bytemuck::cast_slice(numbers).to_vec()],
        KvFormat::Bf16 => {
            vec![numbers.iter().flat_map(|number| kv_bf16(*number).to_bits().to_le_bytes()).collect()]
        }
        KvFormat::Q8 => {
            let mut values = vec![0_i8; numbers.len()];
            let mut scales = vec![0.0; shape.num_kv_heads];
            quantize_kv(&mut values, &mut scales, numbers);
            vec![bytemuck::cast_slice(&values).to_vec(), bytemuck::cast_slice(&scales).to_vec()]
        }
    }
}
