//! A model with an adapter in it, of which nothing is trained: what a fine-tune says, and how far it is from
//! another.

use gptoss_checkpoint::{Adapter, AdapterPair, AdapterSite, ExpertFormat, LayerPart, Part};
use gptoss_kernels::{Head, HeadRows, LinearDims, Pool, Rows, linear};

use crate::graph::{Asked, Batch, LOGITS_MAX, Loss, SeenHead, asked, loss};
use crate::network::{Linear, LowRankPair, Network, TokenRows, Vector, Weight};
use crate::packing::Text;
use crate::preference::{Pair, Preference, log_probs};
use crate::same::is_same;
use crate::seen::Pass;
use crate::trained::{Span, Trained};
use crate::trainer::batches;
use crate::tuning::{LowRankTuning, Tuning};
use crate::weights::{Stored, Weights};

/// A network and the numbers of an adapter beside its own.
#[derive(Debug)]
pub struct Tuned<'a> {
    network: Network<'a>,
    numbers: Trained,
}

/// How far one model is from another, over the rows of some texts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Divergence {
    /// Rows that were compared.
    pub rows: usize,
    /// The mean of `KL(first || second)`, in nats.
    pub kl: f64,
    /// The share of rows whose likeliest token is the same.
    pub agreement: f64,
}

impl Weights {
    /// The network with an adapter that was checked against it; with none, the base.
    pub fn tuned(&self, adapter: Option<&Adapter>) -> Tuned<'_> {
        let nothing =
            LowRankTuning { attention_rank: None, expert_rank: None, scale: 1.0, tokens: Vec::new() };
        let (network, numbers) = self.network(&Tuning::LowRank(nothing), 0);
        let mut tuned = Tuned { network, numbers };
        if let Some(adapter) = adapter {
            for (part, values) in &adapter.replaced {
                tuned.replace(*part, values);
            }
            for (site, pair) in &adapter.pairs {
                tuned.add(self, *site, pair);
            }
            tuned.add_rows(self, adapter);
        }
        tuned
    }

    pub(crate) fn rows_of(&self, stored: &Stored, tokens: &[u32]) -> Vec<f32> {
        let c = self.config().hidden_size;
        let mut values = vec![0.0; tokens.len() * c];
        for (values, token) in values.chunks_exact_mut(c).zip(tokens) {
            stored.view().unpack_row(values, *token as usize);
        }
        values
    }
}

impl<'a> Tuned<'a> {
    /// The same as a merge would store it, experts in a format: the function that quantization-aware training
    /// trained.
    pub fn stored(mut self, experts: ExpertFormat) -> Tuned<'a> {
        self.network.stored = Some(experts);
        self
    }

    /// Whether another model has the same weights, as either's pass sees them, to the bit.
    ///
    /// Panics: when the two are of different architectures, or additions stand beside matrices of either.
    pub fn is_same(&self, pool: &Pool, other: &Tuned<'_>) -> bool {
        is_same(pool, (&self.network, &self.numbers), (&other.network, &other.numbers))
    }

    /// The same of a network in training.
    ///
    /// Panics: as [`Tuned::is_same`].
    pub fn is_same_as(&self, pool: &Pool, network: &Network<'_>, trained: &Trained) -> bool {
        is_same(pool, (&self.network, &self.numbers), (network, trained))
    }

    /// The mean loss of some texts' targets and how many were likeliest; at most `rows_max` rows go together.
    ///
    /// Panics: when a token is not below V.
    pub fn loss(&self, pool: &Pool, texts: &[Text<'_>], rows_max: usize) -> Loss {
        let batches = batches(texts, rows_max);
        batches.iter().map(|batch| loss(pool, &self.network, &self.numbers, batch.batch())).sum()
    }

    /// How well some pairs of answers are told apart, of which at most `rows_max` rows go together.
    ///
    /// Panics: as [`Tuned::loss`].
    pub fn preference(&self, pool: &Pool, pairs: &[Pair<'_>], beta: f64, rows_max: usize) -> Preference {
        let now = log_probs(pool, (&self.network, &self.numbers), pairs, rows_max);
        Preference::of(pairs, &now, beta)
    }

    /// How far another model is from this one, where it says the targets of some texts.
    ///
    /// Panics: as [`Tuned::loss`], and when the two have not the same vocabulary.
    pub fn divergence(
        &self,
        pool: &Pool,
        other: &Tuned<'_>,
        texts: &[Text<'_>],
        rows_max: usize,
    ) -> Divergence {
        let mut found = Divergence::default();
        for batch in batches(texts, rows_max) {
            let (ours, theirs) = (self.asked(pool, batch.batch()), other.asked(pool, batch.batch()));
            let c = self.network.shape.hidden_size;
            let rows = (LOGITS_MAX / self.network.shape.vocabulary).max(1);
            for (ours, theirs) in ours.normed.chunks(rows * c).zip(theirs.normed.chunks(rows * c)) {
                let (ours, theirs) = (self.logits(pool, ours), other.logits(pool, theirs));
                let v = self.network.shape.vocabulary;
                for (ours, theirs) in ours.chunks_exact(v).zip(theirs.chunks_exact(v)) {
                    found.rows += 1;
                    found.kl += divergence(ours, theirs);
                    found.agreement += f64::from(u8::from(likeliest(ours) == likeliest(theirs)));
                }
            }
        }
        let rows = found.rows.max(1) as f64;
        Divergence { kl: found.kl / rows, agreement: found.agreement / rows, ..found }
    }

    fn pass<'b>(&'b self, pool: &'b Pool) -> Pass<'b> {
        Pass::new(pool, &self.network, &self.numbers)
    }

    fn asked(&self, pool: &Pool, batch: Batch<'_>) -> Asked {
        asked(self.pass(pool), &self.network, batch)
    }

    /// `[T, V]` of the rows `h [T, C]` before the head.
    fn logits(&self, pool: &Pool, h: &[f32]) -> Vec<f32> {
        let head = SeenHead::of(self.pass(pool), &self.network);
        let Head { w, vocabulary: v, hidden_size: c, replaced } = head.view();
        let mut logits = vec![0.0; h.len() / c * v];
        let dims = LinearDims { t: h.len() / c, n: v, k: c };
        linear(pool, &mut logits, Rows::F32(h), w, None, dims);
        if let Some(HeadRows { tokens, values }) = replaced {
            for (token, row) in tokens.iter().zip(values.chunks_exact(c)) {
                for (logits, h) in logits.chunks_exact_mut(v).zip(h.chunks_exact(c)) {
                    logits[*token as usize] = h.iter().zip(row).map(|(h, w)| h * w).sum();
                }
            }
        }
        logits
    }

    fn span(&mut self, values: &[f32]) -> Span {
        self.numbers.add("adapter", values, false)
    }

    fn add(&mut self, weights: &Weights, site: AdapterSite, pair: &AdapterPair) {
        let c = weights.config().hidden_size;
        // These two are looked up, or fused with the loss: they take the sum.
        match site {
            AdapterSite::Embedding => {
                let values = sum(weights.embedding.to_f32(c), pair, c);
                self.network.embedding = Weight::Trained(self.span(&values));
            }
            AdapterSite::Unembedding => {
                let values = sum(weights.head.to_f32(c), pair, c);
                self.network.head = Weight::Trained(self.span(&values));
            }
            _ => {
                let (a, b) = (self.span(&pair.a), self.span(&pair.b));
                let low_rank = LowRankPair { a, b, rank: pair.rank, scale: pair.scale };
                if let Some(linear) = self.linear(site) {
                    linear.low_rank = Some(low_rank);
                }
            }
        }
    }

    fn linear(&mut self, site: AdapterSite) -> Option<&mut Linear<'a>> {
        let layers = &mut self.network.layers;
        Some(match site {
            AdapterSite::Query(layer) => &mut layers[layer].attention.query,
            AdapterSite::Key(layer) => &mut layers[layer].attention.key,
            AdapterSite::Value(layer) => &mut layers[layer].attention.value,
            AdapterSite::Out(layer) => &mut layers[layer].attention.out,
            AdapterSite::GateUp { layer, expert } => &mut layers[layer].experts[expert].gate_up,
            AdapterSite::Down { layer, expert } => &mut layers[layer].experts[expert].down,
            AdapterSite::Embedding | AdapterSite::Unembedding => return None,
        })
    }

    fn replace(&mut self, part: Part, values: &[f32]) {
        let span = self.span(values);
        let (weight, vector) = (Weight::Trained(span), Vector::Trained(span));
        let network = &mut self.network;
        let (index, part) = match part {
            Part::Embedding => return network.embedding = weight,
            Part::Unembedding => return network.head = weight,
            Part::FinalNorm => return network.norm = vector,
            Part::Layer(index, part) => (index, part),
        };
        let layer = &mut network.layers[index];
        let attention = &mut layer.attention;
        match part {
            LayerPart::AttentionNorm => attention.norm = vector,
            LayerPart::QWeight => attention.query.weight = weight,
            LayerPart::QBias => attention.query.bias = Some(vector),
            LayerPart::KWeight => attention.key.weight = weight,
            LayerPart::KBias => attention.key.bias = Some(vector),
            LayerPart::VWeight => attention.value.weight = weight,
            LayerPart::VBias => attention.value.bias = Some(vector),
            LayerPart::OutWeight => attention.out.weight = weight,
            LayerPart::OutBias => attention.out.bias = Some(vector),
            LayerPart::MlpNorm => layer.norm = vector,
            LayerPart::RouterWeight => layer.router.weight = weight,
            LayerPart::RouterBias => layer.router.bias = Some(vector),
            // Sinks and stacks are replaced by no adapter: `Adapter::check`.
            _ => {}
        }
    }

    fn add_rows(&mut self, weights: &Weights, adapter: &Adapter) {
        let rows = &adapter.rows;
        if rows.tokens.is_empty() {
            return;
        }
        let or_base = |values: &[f32], stored: &Stored| match values.is_empty() {
            true => weights.rows_of(stored, &rows.tokens),
            false => values.to_vec(),
        };
        let (embedding, head) =
            (or_base(&rows.embedding, &weights.embedding), or_base(&rows.unembedding, &weights.head));
        let (embedding, head) = (self.span(&embedding), self.span(&head));
        self.network.rows = Some(TokenRows { tokens: rows.tokens.clone(), embedding, head });
    }
}

/// A matrix `[N, C]` and what is added to it.
fn sum(mut values: Vec<f32>, pair: &AdapterPair, c: usize) -> Vec<f32> {
    for (row, b) in values.chunks_exact_mut(c).zip(pair.b.chunks_exact(pair.rank)) {
        for (b, a) in b.iter().zip(pair.a.chunks_exact(c)) {
            row.iter_mut().zip(a).for_each(|(out, a)| *out += pair.scale * b * a);
        }
    }
    values
}

/// `KL(p || q)` of two rows of logits.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let log_sum = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        f64::from(largest) + logits.iter().map(|z| f64::from(z - largest).exp()).sum::<f64>().ln()
    };
    let (p_sum, q_sum) = (log_sum(p), log_sum(q));
    let term = |(p, q): (&f32, &f32)| {
        let (p, q) = (f64::from(*p) - p_sum, f64::from(*q) - q_sum);
        p.exp() * (p - q)
    };
    p.iter().zip(q).map(term).sum()
}

fn likeliest(logits: &[f32]) -> usize {
    (0..logits.len()).fold(0, |best, token| if logits[token] > logits[best] { token } else { best })
}
