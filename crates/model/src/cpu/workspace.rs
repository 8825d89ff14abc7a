//! Buffers of a step between its ops, used by all layers and kept for the next step.
//!
//! Entry point: [`Workspace`]. Its buffers grow to the longest step and stay, so that a step of decoding
//! allocates nothing. A shorter step uses the front of each. [`Workspace::bytes`] is what the memory plan
//! counts.

use gptoss_kernels::{AttentionJob, KvRun, Q8_PARTS_BYTES_MAX, Q8Order, Q8Rows, RopeAngles};

use crate::config::ModelConfig;
use crate::cpu::adapters::AdaptedRows;
use crate::cpu::routing::Routing;
use crate::logit_buffer::{LogitBuffer, make_room};

/// Buffers of a chunk.
pub(crate) struct Workspace {
    pub(crate) hidden: Vec<f32>,          // [T, C], the residual stream
    pub(crate) normed: Vec<f32>,          // [T, C]
    pub(crate) query: Vec<f32>,           // [T, H, D]
    pub(crate) key: Vec<f32>,             // [T, K, D]
    pub(crate) value: Vec<f32>,           // [T, K, D]
    pub(crate) attended: Vec<f32>,        // [T, H, D]
    pub(crate) update: Vec<f32>,          // [T, C]
    pub(crate) gate_up: Vec<f32>,         // [T, 2F], one expert
    pub(crate) expert_rows: Vec<f32>,     // [T * A, C], all experts
    pub(crate) gathered: Vec<f32>,        // [T, C], the rows of one expert that takes f32
    pub(crate) activated: Vec<f32>,       // [T, F], the same
    pub(crate) dense_q8: Q8Rows,          // [T, C], [2T, C] or [T, H, D] int8, for dense matrices in Q8_0
    pub(crate) normed_q8: Q8Rows,         // [T, C] int8, fast precision
    pub(crate) gathered_q8: Q8Rows,       // [T, C] int8, the rows of one expert, fast precision
    pub(crate) activated_q8: Q8Rows,      // [T, F] int8, fast precision
    pub(crate) angles: Vec<RopeAngles>,   // one a segment
    pub(crate) adapted: Vec<AdaptedRows>, // of the last step
    pub(crate) shrunk: Vec<f32>,          // [T, r], inputs of an adapter's second product
    pub(crate) routing: Routing,
    pub(crate) attention: AttentionLists,
    pub(crate) last_hidden: Vec<f32>, // [rows, C], the rows that are unembedded
    pub(crate) last_normed: Vec<f32>, // [rows, C]
    pub(crate) logits: LogitBuffer,
}

/// What an attention call is made of; empty between calls.
#[derive(Default)]
pub(crate) struct AttentionLists {
    runs: Vec<KvRun<'static>>,
    jobs: Vec<AttentionJob<'static>>,
    /// Where each sequence's runs end.
    pub(crate) ends: Vec<usize>,
}

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace {
            hidden: Vec::new(),
            normed: Vec::new(),
            query: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            attended: Vec::new(),
            update: Vec::new(),
            gate_up: Vec::new(),
            expert_rows: Vec::new(),
            gathered: Vec::new(),
            activated: Vec::new(),
            dense_q8: Q8Rows::for_weights(Q8Order::Q8_0),
            normed_q8: Q8Rows::new(),
            gathered_q8: Q8Rows::new(),
            activated_q8: Q8Rows::new(),
            angles: Vec::new(),
            adapted: Vec::new(),
            shrunk: Vec::new(),
            routing: Routing::default(),
            attention: AttentionLists::default(),
            last_hidden: Vec::new(),
            last_normed: Vec::new(),
            logits: LogitBuffer::default(),
        }
    }
}

impl Workspace {
    /// Makes room for a step of `num_tokens`; `takes_f32` says whether there are experts, or adapters of
    /// theirs, whose inputs are f32.
    pub(crate) fn fit(&mut self, config: &ModelConfig, takes_f32: bool, num_tokens: usize) {
        let widths = Widths::of(config);
        let grow = |rows: &mut Vec<f32>, width: usize| make_room(rows, num_tokens * width);
        for rows in [&mut self.hidden, &mut self.normed, &mut self.update] {
            grow(rows, widths.hidden);
        }
        for rows in [&mut self.query, &mut self.attended] {
            grow(rows, widths.query);
        }
        for rows in [&mut self.key, &mut self.value] {
            grow(rows, widths.kv);
        }
        grow(&mut self.gate_up, 2 * widths.inner);
        grow(&mut self.expert_rows, widths.hidden * config.active_experts());
        if takes_f32 {
            grow(&mut self.gathered, widths.hidden);
            grow(&mut self.activated, widths.inner);
        }
    }

    /// Bytes that are reserved for the rows of a step.
    #[cfg(test)]
    pub(crate) fn num_bytes(&self) -> u64 {
        let f32_rows = [
            &self.hidden,
            &self.normed,
            &self.query,
            &self.key,
            &self.value,
            &self.attended,
            &self.update,
            &self.gate_up,
            &self.expert_rows,
            &self.gathered,
            &self.activated,
        ];
        let int8_rows = [&self.dense_q8, &self.normed_q8, &self.gathered_q8, &self.activated_q8];
        let f32_bytes: usize = f32_rows.iter().map(|rows| rows.capacity() * size_of::<f32>()).sum();
        (f32_bytes + int8_rows.iter().map(|rows| rows.num_bytes()).sum::<usize>()) as u64
    }

    /// Bytes of the buffers for steps of `num_tokens`: those that products of these forms fill.
    pub(crate) fn bytes(config: &ModelConfig, forms: RowForms, num_tokens: usize) -> u64 {
        let widths = Widths::of(config);
        let mut f32_numbers = widths.hidden * (3 + config.active_experts())
            + 2 * widths.query
            + 2 * widths.kv
            + 2 * widths.inner;
        if forms.experts_f32 {
            f32_numbers += widths.hidden + widths.inner;
        }
        // One byte a number; a scale and a sum, of four bytes each, and a middle for 32 of them; in whole
        // groups of 256.
        let int8_row = |width: usize| width.next_multiple_of(256) / 32 * (32 + 4 + 4 + 1);
        let mut int8_bytes = 0;
        if forms.experts_int8 {
            int8_bytes += 2 * int8_row(widths.hidden) + int8_row(widths.inner);
        }
        if forms.dense_int8 {
            // Two parts of the input of keys and values, or the input of the last projection.
            int8_bytes += (2 * int8_row(widths.hidden)).max(int8_row(widths.query));
        }
        let sums = if forms.dense_int8 { Q8_PARTS_BYTES_MAX } else { 0 };
        (num_tokens * (f32_numbers * size_of::<f32>() + int8_bytes)) as u64 + sums
    }
}

/// Which rows the products of a model take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowForms {
    /// Some experts take f32.
    pub(crate) experts_f32: bool,
    /// Some experts take int8.
    pub(crate) experts_int8: bool,
    /// Some dense matrices take int8: those made at load, or Q8_0 in a file.
    pub(crate) dense_int8: bool,
}

/// Widths of rows. Units: numbers.
pub(crate) struct Widths {
    pub(crate) hidden: usize,
    pub(crate) query: usize,
    pub(crate) kv: usize,
    pub(crate) inner: usize,
}

impl Widths {
    pub(crate) fn of(config: &ModelConfig) -> Widths {
        Widths {
            hidden: config.hidden_size,
            query: config.num_query_heads * config.head_dim,
            kv: config.num_kv_heads * config.head_dim,
            inner: config.intermediate_size,
        }
    }
}

impl AttentionLists {
    /// Lends the memory of both lists, empty.
    pub(crate) fn take<'a, 'b>(&mut self) -> (Vec<KvRun<'a>>, Vec<AttentionJob<'b>>) {
        self.ends.clear();
        (std::mem::take(&mut self.runs), std::mem::take(&mut self.jobs))
    }

    /// Takes the memory of the jobs back. An empty list keeps its memory when it is collected again, also for
    /// another lifetime.
    pub(crate) fn give_back_jobs(&mut self, mut jobs: Vec<AttentionJob<'_>>) {
        jobs.clear();
        self.jobs = jobs.into_iter().map(|_| unreachable!("the list is empty")).collect();
    }

    /// The same for the runs.
    pub(crate) fn give_back_runs(&mut self, mut runs: Vec<KvRun<'_>>) {
        runs.clear();
        self.runs = runs.into_iter().map(|_| unreachable!("the list is empty")).collect();
    }
}
