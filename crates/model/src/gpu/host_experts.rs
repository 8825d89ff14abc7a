//! Experts that the card has no room for: their bytes on the host, and their way to the card's slots.
//!
//! Entry point: [`HostExperts::turn`], a layer's turn between its router and its experts. The bytes are those
//! of the mapped file (or of memory, where a checkpoint has no such layout), whichever are on the card too.
//! Each expert goes as one submission of six copies; while one is on the bus the next is put into the other
//! staging buffer, and what the card computes meanwhile is behind a barrier of every recording. Which experts
//! are on the card changes no number: a product reads the same bytes in whatever slot, and each row keeps its
//! own place.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gptoss_checkpoint::Bytes;
use gptoss_gpu::ops::EXPERT_ELSEWHERE;
use gptoss_gpu::{Buffer, Device, Recorded, Slice, Upload};

use crate::Error;
use crate::config::ModelConfig;
use crate::cpu::expert_cache::{ExpertHome, ExpertTraffic};
use crate::gpu::expert_slots::{ExpertSlots, Part};
use crate::gpu::weights::{Experts, LayerWeights};

/// One matrix of every expert of a layer with its biases, on the host.
pub(crate) struct HostStack {
    pub(crate) codes: Bytes,   // [E, N, K/32, 16]
    pub(crate) scales: Bytes,  // [E, N, K/32]
    pub(crate) bias: Vec<f32>, // [E, N]
}

/// The experts of one layer.
pub(crate) struct HostLayer {
    pub(crate) gate_up: HostStack,
    pub(crate) down: HostStack,
}

/// All experts of a model of which the card holds only some.
pub(crate) struct HostExperts {
    layers: Vec<HostLayer>, // L
    num_experts: usize,
    active: usize,
    state: Mutex<State>,
}

/// What is where, and the way there. One pass at a time has it.
pub(crate) struct State {
    slots: ExpertSlots,
    upload: Upload,
    bytes_sent: u64,
    send_time: Duration,
}

/// A layer's turn: its number, what is on the card of it, and how many rows of a pass are somebody's.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) layer: usize,
    pub(crate) weights: &'a LayerWeights,
    pub(crate) num_tokens: usize,
    /// `[rows, A]` u32 on the host: the experts that were chosen, then their slots.
    pub(crate) chosen: &'a Buffer,
    /// Rows, those that are nobody's among them.
    pub(crate) rows: usize,
}

/// Bytes of an expert of stacks that have so many, each in whole words.
pub(crate) fn staging_bytes(stacks: impl IntoIterator<Item = u64>, num_experts: u64) -> u64 {
    stacks.into_iter().map(|bytes| (bytes / num_experts).next_multiple_of(4)).sum()
}

impl HostStack {
    /// Bytes of codes, scales and biases of all experts.
    fn bytes(&self) -> [&[u8]; 3] {
        [&self.codes, &self.scales, bytemuck::cast_slice(&self.bias)]
    }
}

impl HostLayer {
    /// Bytes of all stacks.
    fn stacks(&self) -> impl Iterator<Item = &[u8]> {
        [&self.gate_up, &self.down].into_iter().flat_map(HostStack::bytes)
    }
}

impl HostExperts {
    /// Experts of which the first of every layer are in its slots, `slots` in all.
    ///
    /// Errors: the card's.
    pub(crate) fn new(
        device: &Device,
        config: &ModelConfig,
        layers: Vec<HostLayer>,
        slots: &[usize],
    ) -> Result<HostExperts, Error> {
        let (num_experts, active) = (config.expert_slots(), config.active_experts());
        let of_layer = |layer: &HostLayer| {
            staging_bytes(layer.stacks().map(|bytes| bytes.len() as u64), num_experts as u64)
        };
        let bytes = layers.iter().map(of_layer).max().unwrap_or_default();
        let slots = ExpertSlots::new(num_experts, active, slots);
        let upload = Upload::new(device, bytes)?;
        let state = State { slots, upload, bytes_sent: 0, send_time: Duration::ZERO };
        Ok(HostExperts { layers, num_experts, active, state: Mutex::new(state) })
    }

    /// For the length of a pass, in which nobody else moves experts.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the experts that a layer's router chose on the card and their slots in the place of their
    /// numbers. Where they are more than the layer has slots, `products` is run for each part of them but the
    /// last, whose products are the caller's.
    ///
    /// Errors: the card's; an expert that did not come is not on the card then.
    pub(crate) fn turn(
        &self,
        state: &mut State,
        turn: Turn<'_>,
        mut products: impl FnMut() -> Result<Recorded, Error>,
    ) -> Result<(), Error> {
        let mut chosen = vec![0_u32; turn.rows * self.active];
        turn.chosen.read(0, bytemuck::cast_slice_mut(&mut chosen));
        chosen.truncate(turn.num_tokens * self.active);
        let mut wanted = state.slots.visit(turn.layer, &chosen, turn.num_tokens);
        let mut running: Option<Recorded> = None;
        loop {
            let part = state.slots.next_part(turn.layer, &mut wanted);
            let start = Instant::now();
            for arrival in &part.arrivals {
                self.send(state, turn, *arrival)?;
            }
            state.send_time += start.elapsed();
            // It reads the slots of the part before.
            if let Some(running) = &mut running {
                running.join()?;
            }
            turn.chosen.write(0, bytemuck::cast_slice(&self.slots_of_rows(&chosen, &part, turn.rows)));
            if wanted.is_empty() {
                return Ok(());
            }
            // Once a turn: only the slots differ from part to part.
            let mut recorded = match running.take() {
                Some(recorded) => recorded,
                None => products()?,
            };
            recorded.submit()?;
            running = Some(recorded);
        }
    }

    /// `[rows, A]`: the slot of each assignment that is of the part. Rows that are nobody's do as the first.
    fn slots_of_rows(&self, chosen: &[u32], part: &Part, rows: usize) -> Vec<u32> {
        let slot = |expert: &u32| part.slot_of[*expert as usize].map_or(EXPERT_ELSEWHERE, |slot| slot as u32);
        let mut slots: Vec<u32> = chosen.iter().map(slot).collect();
        for _ in chosen.len() / self.active..rows {
            slots.extend_from_within(..self.active);
        }
        slots
    }

    /// Sends an expert to its slot.
    fn send(&self, state: &mut State, turn: Turn<'_>, arrival: (usize, usize)) -> Result<(), Error> {
        let (expert, slot) = arrival;
        let (host, card) = (&self.layers[turn.layer], turn.weights);
        let mut parts: Vec<(Slice, &[u8])> = Vec::new();
        for (matrix, Experts { codes, scales, bias }) in
            [(&host.gate_up, &card.gate_up), (&host.down, &card.down)]
        {
            for (bytes, stack) in matrix.bytes().into_iter().zip([codes, scales, bias]) {
                let each = bytes.len() / self.num_experts;
                let at = (slot * each) as u64;
                parts.push((stack.part(at..at + each as u64), &bytes[expert * each..][..each]));
            }
        }
        state.upload.write_together(&parts)?;
        state.bytes_sent += parts.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        state.slots.settle(turn.layer, arrival);
        Ok(())
    }

    /// What was sent so far.
    pub(crate) fn traffic(&self) -> ExpertTraffic {
        let State { slots, bytes_sent, send_time, .. } = &*self.lock();
        ExpertTraffic {
            home: ExpertHome::Host,
            slots: slots.num_slots(),
            experts: slots.num_experts(),
            hits: slots.hits,
            misses: slots.misses,
            bytes_read: *bytes_sent,
            read_time: *send_time,
            // The card has nothing else to do meanwhile.
            wait_time: *send_time,
        }
    }
}
