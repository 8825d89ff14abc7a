//! The weights of an opened checkpoint as training reads them.
//!
//! Matrices lie where the checkpoint has them, which for a folder is the mapped file; vectors become f32. A
//! matrix in a form that no gradient runs through (Q8_0) becomes f32 too. A dense layer is one expert that
//! every row takes: its router is a row of zeros.

use gptoss_checkpoint::{
    Bytes, Checkpoint, Config, Dtype, ExpertFormat, GgufExperts, LayerKind, LayerPart, Part, Tensor,
};
use gptoss_kernels::{Bf16Transposed, Matrix, Mxfp4, Mxfp4Blocks, Rope, YarnParams};

use crate::error::Error;
use crate::network::Shape;

/// The weights of a checkpoint, or of its first layers.
#[derive(Debug)]
pub struct Weights {
    config: Config,
    pub(crate) embedding: Stored,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) norm: Vec<f32>,
    pub(crate) head: Stored,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: StoredLinear,
    pub(crate) key: StoredLinear,
    pub(crate) value: StoredLinear,
    pub(crate) out: StoredLinear,
    pub(crate) sinks: Vec<f32>,
    pub(crate) mlp_norm: Vec<f32>,
    pub(crate) router: StoredLinear,
    pub(crate) gate_up: Stack,
    pub(crate) down: Stack,
}

/// A matrix and its bias.
#[derive(Debug)]
pub(crate) struct StoredLinear {
    pub(crate) weight: Stored,
    pub(crate) bias: Vec<f32>,
}

/// A dense matrix.
#[derive(Debug)]
pub(crate) enum Stored {
    /// bf16, f16 or f32, where the checkpoint has it.
    InPlace(Tensor),
    /// Made of what no gradient runs through.
    Converted(Vec<f32>),
}

/// A matrix of every expert, and their biases `[E, N]`.
#[derive(Debug)]
pub(crate) struct Stack {
    matrices: Matrices,
    pub(crate) bias: Vec<f32>,
    num_experts: usize,
    /// N
    pub(crate) num_outputs: usize,
    /// K
    pub(crate) num_inputs: usize,
}

#[derive(Debug)]
enum Matrices {
    Mxfp4 {
        blocks: Bytes,
        scales: Bytes,
    },
    /// As GGUF files have them.
    Mxfp4Blocks(GgufExperts),
    Bf16Transposed(Bytes),
}

impl Weights {
    /// Reads the weights of all layers, or of the first `layers`.
    ///
    /// Errors: a tensor cannot be read.
    pub fn open(checkpoint: &Checkpoint, layers: Option<usize>) -> Result<Weights, Error> {
        let mut config = checkpoint.config().clone();
        config.num_hidden_layers =
            layers.map_or(config.num_hidden_layers, |n| n.min(config.num_hidden_layers));
        config.layer_types.truncate(config.num_hidden_layers);
        let reader = Reader { checkpoint, config: &config };
        Ok(Weights {
            embedding: reader.matrix(Part::Embedding)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| reader.layer(layer))
                .collect::<Result<_, _>>()?,
            norm: reader.vector(Part::FinalNorm)?,
            head: reader.matrix(Part::Unembedding)?,
            config,
        })
    }

    /// The architecture, with as many layers as were read.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is not a weight.
    pub fn shape(&self) -> Shape {
        let config = &self.config;
        let yarn = YarnParams {
            factor: config.rope.factor,
            beta_fast: config.rope.beta_fast,
            beta_slow: config.rope.beta_slow,
            original_max_position_embeddings: config.rope.original_max_position_embeddings,
            truncate: config.rope.truncate,
        };
        Shape {
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_query_heads: config.num_attention_heads,
            num_kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            active_experts: config.experts_per_token.max(1),
            vocabulary: config.vocab_size,
            rms_norm_eps: config.rms_norm_eps,
            swiglu_limit: config.swiglu_limit,
            swiglu_alpha: config.swiglu_alpha,
            rope: Rope::yarn(config.head_dim, config.rope_theta, &yarn),
        }
    }

    /// Positions that a layer's rows see.
    pub(crate) fn window(&self, layer: usize) -> Option<usize> {
        (self.config.layer_types[layer] == LayerKind::Sliding).then_some(self.config.sliding_window)
    }
}

struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a Config,
}

impl Reader<'_> {
    fn layer(&self, layer: usize) -> Result<LayerWeights, Error> {
        use LayerPart as P;
        let part = |part| Part::Layer(layer, part);
        let vector = |name| self.vector(part(name));
        let linear = |weight, bias| -> Result<StoredLinear, Error> {
            Ok(StoredLinear { weight: self.matrix(part(weight))?, bias: self.vector(part(bias))? })
        };
        let (c, f) = (self.config.hidden_size, self.config.intermediate_size);
        let router = match self.config.is_dense() {
            true => StoredLinear { weight: Stored::Converted(vec![0.0; c]), bias: vec![0.0] },
            false => linear(P::RouterWeight, P::RouterBias)?,
        };
        let gate_up = [P::GateUpBlocks, P::GateUpScales, P::GateUpBf16, P::GateUpBias];
        let down = [P::DownBlocks, P::DownScales, P::DownBf16, P::DownBias];
        Ok(LayerWeights {
            attention_norm: vector(P::AttentionNorm)?,
            query: linear(P::QWeight, P::QBias)?,
            key: linear(P::KWeight, P::KBias)?,
            value: linear(P::VWeight, P::VBias)?,
            out: linear(P::OutWeight, P::OutBias)?,
            sinks: vector(P::Sinks)?,
            mlp_norm: vector(P::MlpNorm)?,
            router,
            gate_up: self.stack(gate_up.map(part), [2 * f, c])?,
            down: self.stack(down.map(part), [c, f])?,
        })
    }

    fn stack(&self, [blocks, scales, bf16, bias]: [Part; 4], [n, k]: [usize; 2]) -> Result<Stack, Error> {
        let matrices = match (self.checkpoint.expert_format(), self.checkpoint.gguf_experts(blocks)) {
            (_, Some(experts)) => Matrices::Mxfp4Blocks(experts),
            (ExpertFormat::Mxfp4, None) => Matrices::Mxfp4 {
                blocks: self.checkpoint.tensor(blocks)?.bytes,
                scales: self.checkpoint.tensor(scales)?.bytes,
            },
            (ExpertFormat::Bf16, None) => {
                let tensor = self.checkpoint.tensor(bf16)?;
                tensor.bf16()?;
                Matrices::Bf16Transposed(tensor.bytes)
            }
        };
        let num_experts = self.config.num_local_experts.max(1);
        Ok(Stack { matrices, bias: self.vector(bias)?, num_experts, num_outputs: n, num_inputs: k })
    }

    fn matrix(&self, part: Part) -> Result<Stored, Error> {
        let tensor = self.checkpoint.tensor(part)?;
        match tensor.dtype {
            Dtype::Bf16 => tensor.bf16().map(|_| ())?,
            Dtype::F16 => tensor.f16().map(|_| ())?,
            Dtype::F32 => tensor.f32().map(|_| ())?,
            _ => return Ok(Stored::Converted(tensor.to_f32()?)),
        }
        Ok(Stored::InPlace(tensor))
    }

    fn vector(&self, part: Part) -> Result<Vec<f32>, Error> {
        Ok(self.checkpoint.tensor(part)?.to_f32()?)
    }
}

impl Stored {
    /// The matrix as products take it.
    pub(crate) fn view(&self) -> Matrix<'_> {
        match self {
            Stored::Converted(values) => Matrix::F32(values),
            Stored::InPlace(tensor) => match tensor.dtype {
                Dtype::F16 => Matrix::F16(bytemuck::cast_slice(&tensor.bytes)),
                Dtype::F32 => Matrix::F32(bytemuck::cast_slice(&tensor.bytes)),
                _ => Matrix::Bf16(bytemuck::cast_slice(&tensor.bytes)),
            },
        }
    }

    /// The numbers of a matrix of `k` columns.
    pub(crate) fn to_f32(&self, k: usize) -> Vec<f32> {
        let num_values = match self {
            Stored::Converted(values) => values.len(),
            Stored::InPlace(tensor) => tensor.bytes.len() / tensor.dtype.num_bytes(),
        };
        let (matrix, mut values) = (self.view(), vec![0.0; num_values]);
        values.chunks_exact_mut(k).enumerate().for_each(|(row, values)| matrix.unpack_row(values, row));
        values
    }

    /// Gives mapped pages back, once the numbers have been copied.
    pub(crate) fn release(&self) {
        if let Stored::InPlace(tensor) = self {
            tensor.bytes.release();
        }
    }
}

impl Stack {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.num_experts
    }

    /// The matrix of an expert.
    pub(crate) fn matrix(&self, expert: usize) -> Matrix<'_> {
        match &self.matrices {
            Matrices::Mxfp4 { blocks, scales } => Matrix::Mxfp4(Mxfp4 {
                blocks: part(blocks, expert, self.num_experts),
                scales: part(scales, expert, self.num_experts),
            }),
            Matrices::Mxfp4Blocks(experts) => {
                let [even, odd] = experts.stacks(expert).map(|stack| stack.as_chunks().0);
                Matrix::Mxfp4Blocks(Mxfp4Blocks { even, odd, nibbles: experts.nibbles })
            }
            Matrices::Bf16Transposed(values) => {
                let values = bytemuck::cast_slice(part(values, expert, self.num_experts));
                Matrix::Bf16Transposed(Bf16Transposed::new(values, self.num_outputs))
            }
        }
    }

    /// The bias of an expert.
    pub(crate) fn bias(&self, expert: usize) -> &[f32] {
        &self.bias[expert * self.num_outputs..][..self.num_outputs]
    }

    /// Gives mapped pages back, once the numbers have been copied.
    pub(crate) fn release(&self) {
        match &self.matrices {
            Matrices::Mxfp4 { blocks, scales } => {
                blocks.release();
                scales.release();
            }
            Matrices::Bf16Transposed(values) => values.release(),
            Matrices::Mxfp4Blocks(_) => {}
        }
    }
}

/// What an expert has of a tensor of all.
fn part(bytes: &[u8], expert: usize, num_experts: usize) -> &[u8] {
    let len = bytes.len() / num_experts;
    &bytes[expert * len..][..len]
}
