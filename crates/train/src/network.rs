//! A gpt-oss as training sees it: tensors that are frozen where they lie, or trained.

use gptoss_checkpoint::ExpertFormat;
use gptoss_kernels::{LowRank, Matrix, Rope};

use crate::trained::{Span, Trained};

/// A vector of weights.
#[derive(Clone, Copy, Debug)]
pub enum Vector<'a> {
    /// As it is.
    Frozen(&'a [f32]),
    /// Among the trained.
    Trained(Span),
}

/// A matrix of weights, `[N, K]`.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'a> {
    /// In any form that a gradient runs through.
    Frozen(Matrix<'a>),
    /// Among the trained, in f32.
    Trained(Span),
}

/// A low-rank addition to a linear layer, always trained.
#[derive(Clone, Copy, Debug)]
pub struct LowRankPair {
    /// A: `[r, K]`. It stands before B among the trained tensors.
    pub a: Span,
    /// B: `[N, r]`.
    pub b: Span,
    /// r
    pub rank: usize,
    /// Factor on the product of both.
    pub scale: f32,
}

/// `y = x W^T + bias`, and perhaps a low-rank addition.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// `[N, K]`
    pub weight: Weight<'a>,
    /// `[N]`
    pub bias: Option<Vector<'a>>,
    /// What is trained beside a frozen matrix.
    pub low_rank: Option<LowRankPair>,
    /// N
    pub num_outputs: usize,
    /// K
    pub num_inputs: usize,
}

/// The weights of attention.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    /// `[C]` of the norm before it.
    pub norm: Vector<'a>,
    /// `[H * D, C]`
    pub query: Linear<'a>,
    /// `[K * D, C]`
    pub key: Linear<'a>,
    /// `[K * D, C]`
    pub value: Linear<'a>,
    /// `[C, H * D]`
    pub out: Linear<'a>,
    /// `[H]`
    pub sinks: Vector<'a>,
    /// How many positions a row sees; `None` sees its whole document.
    pub window: Option<usize>,
}

/// One expert.
#[derive(Clone, Debug)]
pub struct Expert<'a> {
    /// `[2F, C]`, gates at even outputs and ups at odd ones.
    pub gate_up: Linear<'a>,
    /// `[C, F]`
    pub down: Linear<'a>,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    /// What comes first.
    pub attention: Attention<'a>,
    /// `[C]` of the norm before the router.
    pub norm: Vector<'a>,
    /// `[E, C]`
    pub router: Linear<'a>,
    /// E of them.
    pub experts: Vec<Expert<'a>>,
}

/// The numbers that are not weights.
#[derive(Clone, Debug)]
pub struct Shape {
    /// C
    pub hidden_size: usize,
    /// F
    pub intermediate_size: usize,
    /// H
    pub num_query_heads: usize,
    /// K
    pub num_kv_heads: usize,
    /// D
    pub head_dim: usize,
    /// A
    pub active_experts: usize,
    /// V
    pub vocabulary: usize,
    /// What the norms add to the mean of squares.
    pub rms_norm_eps: f32,
    /// Where gates and ups are cut.
    pub swiglu_limit: f32,
    /// Factor in the sigmoid of a gate.
    pub swiglu_alpha: f32,
    /// Frequencies of the positions.
    pub rope: Rope,
}

/// Rows of the embedding and of the head that are trained beside frozen matrices.
#[derive(Clone, Debug)]
pub struct TokenRows {
    /// Whose rows, ascending, each below V.
    pub tokens: Vec<u32>,
    /// `[tokens, C]` in place of rows of the embedding.
    pub embedding: Span,
    /// `[tokens, C]` in place of rows of the head.
    pub head: Span,
}

/// A model.
#[derive(Clone, Debug)]
pub struct Network<'a> {
    /// What is not a weight.
    pub shape: Shape,
    /// `[V, C]`
    pub embedding: Weight<'a>,
    /// First to last.
    pub layers: Vec<Layer<'a>>,
    /// `[C]` of the norm before the head.
    pub norm: Vector<'a>,
    /// `[V, C]`
    pub head: Weight<'a>,
    /// Tokens that are learned beside a frozen embedding and head.
    pub rows: Option<TokenRows>,
    /// With quantization-aware training, what the pass sees: the weights as a checkpoint with experts in this
    /// format holds them, everything else in bf16. `None` sees them as they are.
    pub stored: Option<ExpertFormat>,
}

impl<'a> Vector<'a> {
    pub(crate) fn view<'b>(self, trained: &'b Trained) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Vector::Frozen(values) => values,
            Vector::Trained(span) => trained.of(span),
        }
    }

    /// Where its gradient goes, if it has one.
    pub(crate) fn span(self) -> Option<Span> {
        match self {
            Vector::Frozen(_) => None,
            Vector::Trained(span) => Some(span),
        }
    }
}

impl<'a> Weight<'a> {
    pub(crate) fn view<'b>(self, trained: &'b Trained) -> Matrix<'b>
    where
        'a: 'b,
    {
        match self {
            Weight::Frozen(matrix) => matrix,
            Weight::Trained(span) => Matrix::F32(trained.of(span)),
        }
    }

    /// Where its gradient goes, if it has one.
    pub(crate) fn span(self) -> Option<Span> {
        match self {
            Weight::Frozen(_) => None,
            Weight::Trained(span) => Some(span),
        }
    }
}

impl LowRankPair {
    pub(crate) fn view(self, trained: &Trained) -> LowRank<'_> {
        LowRank { a: trained.of(self.a), b: trained.of(self.b), rank: self.rank, scale: self.scale }
    }
}
