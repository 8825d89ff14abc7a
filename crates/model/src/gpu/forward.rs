//! From token ids to logits on a card: the host looks the embedding up, recordings do the rest.
//!
//! Entry points: [`Runner::load`], and [`Runner::step`], which takes the rows of a step through all layers in
//! passes and brings the logits of the wanted ones back. A pass is a recording that is kept; the host fills
//! its input, submits it and, if there are wanted rows, the unembedding's behind it, and waits for each
//! thirty-two rows of logits; rows that are not the first of the pass are brought together before. A token's
//! numbers depend neither on the pass nor on what else is in it.

use std::sync::atomic::{AtomicU64, Ordering};

use gptoss_checkpoint::Checkpoint;
use gptoss_formats::round_to_q8_0;
use gptoss_gpu as gpu;
use gptoss_gpu::ops::KvPlace;
use gptoss_gpu::{Buffer, Device, Kernels, Place, Recorded, Recording, Upload};
use gptoss_kernels::{Pool, Rope, RopeAngles};

use crate::Error;
use crate::config::{LoadOptions, ModelConfig, Precision};
use crate::cost::WeightBytes;
use crate::cpu::expert_cache::ExpertTraffic;
use crate::gpu::host_experts::{HostExperts, Turn};
use crate::gpu::kv_rows::{KvBuffers, KvRows};
use crate::gpu::layers::Recorder;
use crate::gpu::load::load;
use crate::gpu::pass::{Pass, each_pass};
use crate::gpu::weights::{LayerWeights, Weights};
use crate::gpu::workspace::{Buffers, InputPlaces, Int8Forms, TailShape, Workspace, chosen_bytes};
use crate::layout::StoreShape;
use crate::step::{LOGIT_ROWS_MAX, Segment};

/// A gpt-oss on a card.
pub(crate) struct Runner {
    /// A number that no other has.
    id: u64,
    config: ModelConfig,
    precision: Precision,
    weights: Weights,
    /// Where the card holds only some experts.
    host: Option<Box<HostExperts>>,
    kernels: Kernels,
    rope: Rope,
    pool: Pool,
}

impl Runner {
    /// Brings a checkpoint's weights to a card.
    ///
    /// Errors: `Checkpoint` and `NanScale` name the tensor; `NotOnCard`; `Card`.
    pub(crate) fn load(
        device: &Device,
        checkpoint: &Checkpoint,
        config: ModelConfig,
        options: &LoadOptions,
        pool: Pool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Runner, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (weights, host) = load(checkpoint, &config, options, device, &pool, progress)?;
        let slots: Vec<usize> = weights.layers.iter().map(|layer| layer.num_slots).collect();
        let host = (!host.is_empty())
            .then(|| HostExperts::new(device, &config, host, &slots).map(Box::new))
            .transpose()?;
        let rope = config.rope();
        let (id, kernels) = (NEXT.fetch_add(1, Ordering::Relaxed), Kernels::new(device));
        let precision = options.precision;
        Ok(Runner { id, config, precision, weights, host, kernels, rope, pool })
    }

    pub(crate) fn device(&self) -> &Device {
        self.kernels.device()
    }

    /// The threads of the host.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Bytes of the matrices as they are on the card.
    pub(crate) fn weight_bytes(&self) -> WeightBytes {
        self.weights.num_bytes(self.config.expert_slots())
    }

    /// What was sent to the card since; `None` where it holds all experts.
    pub(crate) fn expert_traffic(&self) -> Option<ExpertTraffic> {
        self.host.as_ref().map(|host| host.traffic())
    }

    /// Computes a step, whose keys and values are then in `kv`, and appends the logits of its `wanted` rows,
    /// which ascend, to `work`.
    ///
    /// Errors: `Card`; what the step wrote to `kv` is then arbitrary.
    pub(crate) fn step(
        &self,
        segments: &[Segment<'_>],
        wanted: &[usize],
        kv: &mut KvRows,
        work: &mut Workspace,
    ) -> Result<(), Error> {
        let (id, shape) = (kv.id, kv.layout().shape.clone());
        let kv = kv.buffers()?;
        self.make_room(work)?;
        work.passes.keep(|(store, _)| *store == id);
        work.pieces.keep(|(store, _)| *store == id);
        let mut pass = std::mem::take(&mut work.pass);
        let outcome = each_pass(segments, kv.table_blocks, &mut pass, |pass| {
            let rows = pass.first_row..pass.first_row + pass.tokens.len();
            let first = wanted.partition_point(|row| *row < rows.start);
            let end = wanted.partition_point(|row| *row < rows.end);
            self.run(pass, &wanted[first..end], (id, kv, &shape), work)
        });
        work.pass = pass;
        outcome
    }

    /// Makes the buffers, once.
    fn make_room(&self, work: &mut Workspace) -> Result<(), Error> {
        if work.buffers.as_ref().is_some_and(|(id, _)| *id == self.id) {
            return Ok(());
        }
        work.passes.keep(|_| false);
        work.pieces.keep(|_| false);
        work.tails.keep(|_| false);
        work.buffers = None;
        let weights = &self.weights;
        let forms = Int8Forms::of(self.precision, weights.has_int8(), weights.unembedding.is_int8());
        let buffers = Buffers::new(self.device(), &self.config, forms)?;
        if self.config.num_experts == 0 {
            // A dense layer is one expert that takes every row with weight 1.
            let mut upload = Upload::new(self.device(), buffers.weights.len())?;
            let count = buffers.weights.len() as usize / size_of::<f32>();
            upload.write(&buffers.experts, bytemuck::cast_slice(&vec![0_u32; count]))?;
            upload.write(&buffers.weights, bytemuck::cast_slice(&vec![1_f32; count]))?;
            upload.finish()?;
        }
        let chosen = || self.device().buffer("chosen experts", chosen_bytes(&self.config), Place::Host);
        work.chosen = self.host.as_ref().map(|_| chosen()).transpose()?;
        work.buffers = Some((self.id, buffers));
        Ok(())
    }

    /// Runs a pass; `wanted` are rows of the step.
    fn run(
        &self,
        pass: &Pass,
        wanted: &[usize],
        (store, kv, store_shape): (u64, &KvBuffers, &StoreShape),
        work: &mut Workspace,
    ) -> Result<(), Error> {
        let Workspace { logits, buffers, passes, pieces, chosen, tails, input, .. } = work;
        let Some((_, buffers)) = buffers else { unreachable!("a step makes the buffers first") };
        let (config, precision, weights, kernels) =
            (&self.config, self.precision, &self.weights, &self.kernels);
        let recorder = Recorder { config, precision, weights, kernels, work: buffers };
        let shape = pass.shape();
        // What ran before has ended: every call waits for what it submits.
        self.fill(pass, shape.rows as usize, kv, buffers, input);
        let recorded = match (&self.host, chosen) {
            (Some(host), Some(chosen)) => {
                let record = || recorder.pieces(shape, kv, store_shape, &chosen.all());
                let pieces = pieces.of((store, shape), record)?;
                self.run_pieces(pass, (host, chosen, pieces), |weights| {
                    recorder.part(shape, store_shape, weights, &chosen.all())
                })?
            }
            _ => {
                let recorded = passes.of((store, shape), || recorder.pass(shape, kv, store_shape))?;
                recorded.submit()?;
                recorded
            }
        };
        let mut unembed = |rows: &[usize]| {
            let is_front = rows.iter().enumerate().all(|(index, row)| *row == pass.first_row + index);
            if !is_front {
                self.gather(rows, pass.first_row, buffers)?;
            }
            let tail = TailShape { rows: (rows.len() as u32).next_power_of_two(), is_front };
            let tail = tails.of(tail, || recorder.tail(tail))?;
            tail.run()?;
            let numbers = logits.add(rows.len(), self.config.vocab_size);
            buffers.host_logits.read(0, bytemuck::cast_slice_mut(numbers));
            (0..rows.len()).for_each(|row| logits.push_summary(buffers.summary(row)));
            Ok::<_, Error>(())
        };
        let told = wanted.chunks(LOGIT_ROWS_MAX).try_for_each(&mut unembed);
        // Also when the logits have failed: the next pass fills the same buffers.
        recorded.join()?;
        told
    }

    /// Runs a pass in pieces, the missing experts of each layer brought between them; the last, which is
    /// given back, runs on. `part` records the products of some of a layer's experts.
    fn run_pieces<'a>(
        &self,
        pass: &Pass,
        (host, chosen, pieces): (&HostExperts, &Buffer, &'a mut [Recorded]),
        part: impl Fn(&LayerWeights) -> Result<Recorded, gpu::Error>,
    ) -> Result<&'a mut Recorded, Error> {
        let (num_tokens, rows) = (pass.tokens.len(), pass.shape().rows as usize);
        let mut state = host.lock();
        let Some((last, pieces)) = pieces.split_last_mut() else { unreachable!("a model has layers") };
        for (layer, (piece, weights)) in pieces.iter_mut().zip(&self.weights.layers).enumerate() {
            piece.run()?;
            let turn = Turn { layer, weights, num_tokens, chosen, rows };
            host.turn(&mut state, turn, || Ok(part(weights)?))?;
        }
        last.submit()?;
        Ok(last)
    }

    /// Brings rows of the residual stream together.
    fn gather(&self, rows: &[usize], first_row: usize, buffers: &Buffers) -> Result<(), Error> {
        let bytes = (self.config.hidden_size * size_of::<f32>()) as u64;
        let row = |index: usize| index as u64 * bytes..(index as u64 + 1) * bytes;
        let mut recording = Recording::new(self.device());
        for (to, from) in rows.iter().enumerate() {
            let from = buffers.hidden.part(row(from - first_row));
            recording.copy(&buffers.last_hidden.part(row(to)), &from);
        }
        recording.finish("the rows that are unembedded")?.run()?;
        Ok(())
    }

    /// Puts a pass's input where its recording of `rows` rows takes it from; rows beyond its own are
    /// nobody's.
    fn fill(&self, pass: &Pass, rows: usize, kv: &KvBuffers, buffers: &Buffers, input: &mut Vec<u8>) {
        let width = self.config.hidden_size;
        let mut numbers = vec![0.0_f32; width];
        input.clear();
        for &token in &pass.tokens {
            self.weights.embedding.view().unpack_row(&mut numbers, token as usize);
            if self.weights.embedding_rounded {
                round_to_q8_0(&mut numbers);
            }
            input.extend_from_slice(bytemuck::cast_slice(&numbers));
        }
        input.resize(rows * width * size_of::<f32>(), 0);
        buffers.input.write(0, input);
        let at = InputPlaces::of(&self.config);
        let mut angles = RopeAngles::default();
        input.clear();
        for place in &pass.places {
            self.rope.fill_angles(&mut angles, place.position as usize, 1);
            for (cosine, sine) in angles.rotations() {
                input.extend([cosine.to_le_bytes(), sine.to_le_bytes()].as_flattened());
            }
        }
        buffers.input.write(at.angles, input);
        let idle = std::iter::repeat_n(&KvPlace::IDLE, rows - pass.places.len());
        let places: Vec<[u32; 4]> = pass.places.iter().chain(idle).map(|place| place.words()).collect();
        buffers.input.write(at.places, bytemuck::cast_slice(&places));
        kv.table_staging.write(0, bytemuck::cast_slice(&pass.table));
    }
}
