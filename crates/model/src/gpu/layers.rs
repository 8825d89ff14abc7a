//! A pass through all layers and the unembedding, as recordings of the room `gpu`'s ops.
//!
//! Entry points: [`Recorder::pass`], [`Recorder::pieces`] and [`Recorder::tail`]. The order of ops and which
//! rows each product takes are those of `cpu/block.rs` and `cpu/experts.rs`, so that both give the same
//! numbers as far as a card's arithmetic is the CPU's. Nothing in a recording changes from run to run:
//! tokens, places and blocks come in by buffers.

mod experts;

use gptoss_gpu::ops::{
    Attention, AttentionSpans, BestTokens, CollectExperts, DenseRows, ExpertLinear, ExpertRows, FEW_ROWS_MAX,
    KvPlace, KvRows, KvSlots, Linear, NormInputs, Quantize, RmsNorm, RmsNormInt8, RmsNormMiddles, Rope,
    RouterTopK, SwiGlu, SwiGluMiddles,
};
use gptoss_gpu::{Error, Kernels, Recorded, Recording, Slice};

use crate::config::{LayerKind, ModelConfig, Precision};
use crate::gpu::kv_rows::{KvBuffers, LayerRows, Rows};
use crate::gpu::pass::PassShape;
use crate::gpu::weights::{LayerWeights, Linear as LinearWeights, Matrix, Weights};
use crate::gpu::workspace::{BEST_BYTES, Buffers, InputPlaces, SPANS_APART_MAX, SUMS_BYTES, TailShape};
use crate::layout::StoreShape;
use crate::logit_buffer::BEST_TOKENS;

/// What recordings of a model are made of.
pub(crate) struct Recorder<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) precision: Precision,
    pub(crate) weights: &'a Weights,
    pub(crate) kernels: &'a Kernels,
    pub(crate) work: &'a Buffers,
}

/// A pass that is being recorded.
struct PassRecorder<'a> {
    all: &'a Recorder<'a>,
    shape: PassShape,
    store: &'a StoreShape,
    recording: Recording,
}

impl Recorder<'_> {
    /// A pass of a shape over the rows of a store, from its input on the host to the residual stream.
    ///
    /// Errors: the card's.
    pub(crate) fn pass(
        &self,
        shape: PassShape,
        kv: &KvBuffers,
        store: &StoreShape,
    ) -> Result<Recorded, Error> {
        let recording = Recording::new(self.kernels.device());
        let mut pass = PassRecorder { all: self, shape, store, recording };
        pass.take_input(kv);
        for (layer, weights) in self.weights.layers.iter().enumerate() {
            pass.attention(layer, weights, &kv.layers[layer], &kv.table)?;
            pass.route(weights)?;
            pass.experts(weights)?;
        }
        pass.recording.finish(&format!("a pass of {} rows", shape.rows))
    }

    /// A pass in pieces, for experts of which the host brings what is missing: each ends with the choice of a
    /// layer's router in `chosen` on the host, and begins with the slots of the layer's before there.
    ///
    /// Errors: the card's.
    pub(crate) fn pieces(
        &self,
        shape: PassShape,
        kv: &KvBuffers,
        store: &StoreShape,
        chosen: &Slice,
    ) -> Result<Vec<Recorded>, Error> {
        let piece = |layer: usize| {
            let recording = Recording::new(self.kernels.device());
            let mut pass = PassRecorder { all: self, shape, store, recording };
            match layer.checked_sub(1) {
                None => pass.take_input(kv),
                Some(before) => {
                    pass.take_slots(chosen);
                    pass.products(&self.weights.layers[before])?;
                    pass.collect(None)?;
                }
            }
            if let Some(weights) = self.weights.layers.get(layer) {
                pass.attention(layer, weights, &kv.layers[layer], &kv.table)?;
                pass.route(weights)?;
                let bytes = 0..pass.chosen_bytes();
                pass.recording.copy(&chosen.part(bytes.clone()), &self.work.experts.part(bytes));
            }
            pass.recording.finish(&format!("layer {layer} of a pass of {} rows", shape.rows))
        };
        (0..=self.weights.layers.len()).map(piece).collect()
    }

    /// The products of some of a layer's experts, whose slots are in `chosen`.
    ///
    /// Errors: the card's.
    pub(crate) fn part(
        &self,
        shape: PassShape,
        store: &StoreShape,
        weights: &LayerWeights,
        chosen: &Slice,
    ) -> Result<Recorded, Error> {
        let recording = Recording::new(self.kernels.device());
        let mut pass = PassRecorder { all: self, shape, store, recording };
        pass.take_slots(chosen);
        pass.products(weights)?;
        pass.recording.finish(&format!("some experts of a pass of {} rows", shape.rows))
    }

    /// Logits of rows, which end on the host, with the best tokens of each and the sums of its softmax.
    ///
    /// Errors: the card's.
    pub(crate) fn tail(&self, shape: TailShape) -> Result<Recorded, Error> {
        let (work, weights, c) = (self.work, self.weights, self.config.hidden_size as u32);
        let mut recording = Recording::new(self.kernels.device());
        let x = if shape.is_front { &work.hidden } else { &work.last_hidden };
        let inputs = self.norm(x, &weights.final_norm, shape.rows);
        let rows = if self.takes_int8(&weights.unembedding) {
            let norm = RmsNormInt8 { out: &work.last_int8, inputs, in_parts: true };
            norm.record(self.kernels, &mut recording)?;
            DenseRows::Int8Parts(&work.last_int8)
        } else {
            RmsNorm { out: &work.last_normed, inputs }.record(self.kernels, &mut recording)?;
            DenseRows::F32(&work.last_normed)
        };
        let vocab = self.config.vocab_size as u32;
        let product = Linear {
            out: &work.logits,
            x: rows,
            weight: weights.unembedding.view(),
            bias: None,
            adds: false,
            t: shape.rows,
            n: vocab,
            k: c,
        };
        product.record(self.kernels, &mut recording)?;
        let bytes = 0..u64::from(shape.rows) * u64::from(vocab) * 4;
        recording.copy(&work.host_logits.slice(bytes.clone()), &work.logits.part(bytes));
        let best = BestTokens {
            tokens: &work.best.tokens,
            sums: &work.best.sums,
            logits: &work.logits,
            mask: None,
            found: &work.best.found,
            softmax: &work.best.softmax,
            rows: shape.rows,
            vocab,
            count: BEST_TOKENS as u32,
        };
        best.record(self.kernels, &mut recording)?;
        let parts =
            [(&work.best.tokens, 0, BEST_BYTES), (&work.best.sums, Buffers::BEST_SUMS_AT, SUMS_BYTES)];
        for (from, at, row_bytes) in parts {
            let bytes = u64::from(shape.rows) * row_bytes as u64;
            recording.copy(&work.host_best.slice(at..at + bytes), &from.part(0..bytes));
        }
        recording.finish(&format!("the logits of {} rows", shape.rows))
    }

    /// Whether products with a matrix take int8 rows.
    fn takes_int8(&self, matrix: &Matrix) -> bool {
        self.precision == Precision::Fast && matrix.is_int8()
    }

    fn norm<'b>(&self, x: &'b Slice, weight: &'b Slice, t: u32) -> NormInputs<'b> {
        NormInputs { x, weight, t, c: self.config.hidden_size as u32, eps: self.config.rms_norm_eps }
    }
}

impl<'a> PassRecorder<'a> {
    /// Embedding rows, angles, places and blocks come from the host.
    fn take_input(&mut self, kv: &KvBuffers) {
        let (work, config) = (self.all.work, self.all.config);
        let rows = u64::from(self.shape.rows);
        let at = InputPlaces::of(config);
        let parts = [
            (&work.hidden, 0, rows * 4 * config.hidden_size as u64),
            (&work.angles, at.angles, rows * 4 * config.head_dim as u64),
            (&work.places, at.places, rows * KvPlace::BYTES),
        ];
        for (to, from, bytes) in parts {
            self.recording.copy(&to.part(0..bytes), &work.input.slice(from..from + bytes));
        }
        let blocks = self.shape.table_blocks().min(kv.table_blocks) as u64;
        self.recording.copy(&kv.table.part(0..4 * blocks), &kv.table_staging.slice(0..4 * blocks));
    }

    /// Adds the attention of a layer to the residual stream, after writing the pass's keys and values.
    fn attention(
        &mut self,
        layer: usize,
        weights: &LayerWeights,
        rows: &LayerRows,
        table: &Slice,
    ) -> Result<(), Error> {
        let (work, config, kernels) = (self.all.work, self.all.config, self.all.kernels);
        let t = self.shape.rows;
        let [num_heads, num_kv_heads, head_dim] =
            [config.num_query_heads, config.num_kv_heads, config.head_dim].map(|size| size as u32);
        let inputs = self.all.norm(&work.hidden, &weights.attention_norm, t);
        let all = self.all;
        let takes_int8 = |linear: &LinearWeights| all.takes_int8(&linear.weight);
        let linears = [&weights.query, &weights.key, &weights.value];
        if linears.into_iter().any(takes_int8) {
            let norm = RmsNormInt8 { out: &work.normed_int8, inputs, in_parts: true };
            norm.record(kernels, &mut self.recording)?;
        }
        if !linears.into_iter().all(takes_int8) {
            RmsNorm { out: &work.normed, inputs }.record(kernels, &mut self.recording)?;
        }
        // The first parts of all rows are the rows in one part; keys and values, which every later position
        // reads, take both.
        let rows_for = |linear: &LinearWeights, in_parts: bool| match (takes_int8(linear), in_parts) {
            (false, _) => DenseRows::F32(&work.normed),
            (true, false) => DenseRows::Int8(&work.normed_int8),
            (true, true) => DenseRows::Int8Parts(&work.normed_int8),
        };
        let c = config.hidden_size as u32;
        let [query, kv] = [num_heads * head_dim, num_kv_heads * head_dim];
        self.linear(&work.query, rows_for(&weights.query, false), &weights.query, [query, c], false)?;
        self.linear(&work.key, rows_for(&weights.key, true), &weights.key, [kv, c], false)?;
        self.linear(&work.value, rows_for(&weights.value, true), &weights.value, [kv, c], false)?;
        let slots = match self.store.layer_kinds[layer] {
            LayerKind::Full => KvSlots::Blocks(table),
            LayerKind::Windowed => KvSlots::Rings(self.store.ring_rows as u32),
        };
        let kv = kv_rows(rows);
        let (q, places) = (&work.query, &work.places);
        let (k, v, angles) = (&work.key, &work.value, &work.angles);
        let rope = Rope { q, k, v, angles, places, slots, kv, t, num_heads, num_kv_heads, head_dim };
        rope.record(kernels, &mut self.recording)?;
        let window = self.store.window_of(layer).map(|window| window as u32);
        let attention = Attention {
            out: &work.attended,
            q,
            kv,
            places,
            slots,
            sinks: &weights.sinks,
            spans: spans(work, self.shape, window),
            t,
            num_heads,
            num_kv_heads,
            head_dim,
            window,
        };
        attention.record(kernels, &mut self.recording)?;
        let x = if self.all.takes_int8(&weights.out.weight) {
            let out = &work.attended_int8;
            let quantize = Quantize { out, x: &work.attended, t, k: query, in_parts: false };
            quantize.record(kernels, &mut self.recording)?;
            DenseRows::Int8(&work.attended_int8)
        } else {
            DenseRows::F32(&work.attended)
        };
        self.linear(&work.hidden, x, &weights.out, [c, query], true)
    }

    /// Bytes of the choice of all rows.
    fn chosen_bytes(&self) -> u64 {
        u64::from(self.shape.rows) * self.all.config.active_experts() as u64 * 4
    }

    /// Experts become the slots in which they are.
    fn take_slots(&mut self, slots: &Slice) {
        let bytes = 0..self.chosen_bytes();
        self.recording.copy(&self.all.work.experts.part(bytes.clone()), &slots.part(bytes));
    }

    /// Chooses the experts of each row, and makes ready what they take.
    fn route(&mut self, weights: &LayerWeights) -> Result<(), Error> {
        let (work, config, kernels) = (self.all.work, self.all.config, self.all.kernels);
        let t = self.shape.rows;
        let [c, num_experts, active] =
            [config.hidden_size, config.num_experts, config.active_experts()].map(|size| size as u32);
        let inputs = self.all.norm(&work.hidden, &weights.mlp_norm, t);
        match self.all.precision {
            Precision::Fast => {
                let norm = RmsNormMiddles { out: &work.middles, normed: &work.normed, inputs };
                norm.record(kernels, &mut self.recording)?;
            }
            Precision::Exact => {
                RmsNorm { out: &work.normed, inputs }.record(kernels, &mut self.recording)?;
            }
        }
        if let Some(router) = &weights.router {
            self.linear(&work.router_logits, DenseRows::F32(&work.normed), router, [num_experts, c], false)?;
            let (experts, weights, logits) = (&work.experts, &work.weights, &work.router_logits);
            let choice = RouterTopK { experts, weights, logits, t, num_experts, active };
            choice.record(kernels, &mut self.recording)?;
        }
        Ok(())
    }

    /// Adds what a layer's experts make of each row to the residual stream.
    fn experts(&mut self, weights: &LayerWeights) -> Result<(), Error> {
        if self.shape.rows > FEW_ROWS_MAX && self.all.precision == Precision::Fast {
            return self.experts_by_tiles(weights);
        }
        self.products(weights)?;
        self.collect(None)
    }

    /// What a layer's experts make of each row, row by row.
    fn products(&mut self, weights: &LayerWeights) -> Result<(), Error> {
        let (work, config, kernels) = (self.all.work, self.all.config, self.all.kernels);
        let t = self.shape.rows;
        let [c, f, active] =
            [config.hidden_size, config.intermediate_size, config.active_experts()].map(|size| size as u32);
        let x = match self.all.precision {
            Precision::Fast => ExpertRows::Int8(&work.middles),
            Precision::Exact => ExpertRows::F32(&work.normed),
        };
        let product = ExpertLinear {
            out: &work.gate_up,
            x,
            codes: &weights.gate_up.codes,
            code_scales: &weights.gate_up.scales,
            experts: &work.experts,
            bias: &weights.gate_up.bias,
            adds: false,
            num_experts: weights.num_slots as u32,
            rows: t * active,
            share: active,
            n: 2 * f,
            k: c,
        };
        product.record(kernels, &mut self.recording)?;
        let product = ExpertLinear {
            out: &work.outputs,
            x: self.activate(t * active, f)?,
            codes: &weights.down.codes,
            code_scales: &weights.down.scales,
            bias: &weights.down.bias,
            share: 1,
            n: c,
            k: f,
            ..product
        };
        product.record(kernels, &mut self.recording)
    }

    /// Adds what the experts made of each row to the residual stream; `slots` as [`CollectExperts`] has them.
    fn collect(&mut self, slots: Option<&Slice>) -> Result<(), Error> {
        let (work, config) = (self.all.work, self.all.config);
        let [width, active] = [config.hidden_size, config.active_experts()].map(|size| size as u32);
        let (hidden, outputs, weights) = (&work.hidden, &work.outputs, &work.weights);
        let t = self.shape.rows;
        let collect = CollectExperts { hidden, outputs, weights, slots, t, active, width };
        collect.record(self.all.kernels, &mut self.recording)
    }

    /// SwiGLU of `rows` rows of experts, as products with experts take them.
    fn activate(&mut self, rows: u32, f: u32) -> Result<ExpertRows<'a>, Error> {
        let (work, config, kernels) = (self.all.work, self.all.config, self.all.kernels);
        let (gate_up, t) = (&work.gate_up, rows);
        let (limit, alpha) = (config.swiglu_limit, config.swiglu_alpha);
        match self.all.precision {
            Precision::Fast => {
                let out = &work.activated;
                SwiGluMiddles { out, gate_up, t, f, limit, alpha }.record(kernels, &mut self.recording)?;
                Ok(ExpertRows::Int8(out))
            }
            Precision::Exact => {
                let out = &work.activated_f32;
                SwiGlu { out, gate_up, t, f, limit, alpha }.record(kernels, &mut self.recording)?;
                Ok(ExpertRows::F32(out))
            }
        }
    }

    /// A product of the pass's rows with its bias, `[n, k]`.
    fn linear(
        &mut self,
        out: &Slice,
        x: DenseRows<'_>,
        linear: &LinearWeights,
        [n, k]: [u32; 2],
        adds: bool,
    ) -> Result<(), Error> {
        let (weight, bias) = (linear.weight.view(), Some(&linear.bias));
        let product = Linear { out, x, weight, bias, adds, t: self.shape.rows, n, k };
        product.record(self.all.kernels, &mut self.recording)
    }
}

/// Spans apart where rows are few and see much.
fn spans(work: &Buffers, shape: PassShape, window: Option<u32>) -> AttentionSpans<'_> {
    let PassShape { rows, spans } = shape;
    if window.is_none() && spans > 1 && rows * spans <= SPANS_APART_MAX {
        AttentionSpans::Apart { partials: &work.partials, spans_max: spans }
    } else {
        AttentionSpans::InTurn
    }
}

/// A layer's keys and values as ops take them.
fn kv_rows(rows: &LayerRows) -> KvRows<'_> {
    match (&rows.keys, &rows.values) {
        (Rows::F32(keys), Rows::F32(values)) => KvRows::F32 { keys, values },
        (Rows::Bf16(keys), Rows::Bf16(values)) => KvRows::Bf16 { keys, values },
        (Rows::Int8 { values: keys, scales: key_scales }, Rows::Int8 { values, scales: value_scales }) => {
            KvRows::Int8 { keys, values, key_scales, value_scales }
        }
        _ => unreachable!("keys and values are of one format"),
    }
}
