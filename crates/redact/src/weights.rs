//! The filter's tensors, checked, where they lie in the mapped files.
//!
//! Entry point: [`Weights::open`]. Every tensor that the config asks for must be there in its shape, and no
//! other one, since a tensor that nobody reads means that something else was meant. Matrices are used as they
//! are stored; vectors become f32. Experts must be bf16, `[E, inputs, outputs]` as published.

use std::collections::HashSet;
use std::path::Path;

use gptoss_checkpoint::{Dtype, Shards, Tensor};
use gptoss_kernels::{Bf16Transposed, Matrix};

use crate::config::{FilterConfig, Layout};
use crate::error::Error;

/// A matrix in a type of floats, `[N, K]`.
pub(crate) struct Dense(Tensor);

impl Dense {
    pub(crate) fn view(&self) -> Matrix<'_> {
        let bytes = &self.0.bytes[..];
        match self.0.dtype {
            Dtype::F32 => Matrix::F32(bytemuck::cast_slice(bytes)),
            Dtype::F16 => Matrix::F16(bytemuck::cast_slice(bytes)),
            // The type was looked at when the matrix was made.
            _ => Matrix::Bf16(bytemuck::cast_slice(bytes)),
        }
    }
}

/// A matrix and its bias.
pub(crate) struct Linear {
    pub(crate) weight: Dense,
    pub(crate) bias: Vec<f32>,
}

/// A matrix and a bias for each expert.
pub(crate) struct Experts {
    /// `[E, K, N]`
    weight: Tensor,
    /// `[E, N]`
    bias: Vec<f32>,
    num_experts: usize,
}

impl Experts {
    /// The matrix and the bias of an expert.
    pub(crate) fn of(&self, expert: usize) -> (Matrix<'_>, &[f32]) {
        let (k_n, n) = (self.weight.bytes.len() / self.num_experts, self.bias.len() / self.num_experts);
        let matrix = bytemuck::cast_slice(&self.weight.bytes[expert * k_n..][..k_n]);
        (Matrix::Bf16Transposed(Bf16Transposed::new(matrix, n)), &self.bias[expert * n..][..n])
    }
}

/// One layer.
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) out: Linear,
    /// `[H]`, natural logarithms.
    pub(crate) sinks: Vec<f32>,
    pub(crate) mlp_norm: Vec<f32>,
    pub(crate) router: Linear,
    pub(crate) gate_up: Experts,
    pub(crate) down: Experts,
}

/// All of them.
pub(crate) struct Weights {
    pub(crate) embedding: Dense,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    pub(crate) head: Linear,
}

impl Weights {
    /// Errors: `Checkpoint`, with the file and the tensor that is missing, too many or in another shape.
    pub(crate) fn open(
        folder: &Path,
        config: &FilterConfig,
        num_classes: usize,
        layout: Layout,
    ) -> Result<Weights, Error> {
        let mut reader = Reader { shards: Shards::open(folder)?, folder, layout, read: HashSet::new() };
        let weights = reader.weights(config, num_classes)?;
        reader.refuse_others()?;
        Ok(weights)
    }
}

struct Reader<'a> {
    shards: Shards,
    folder: &'a Path,
    layout: Layout,
    read: HashSet<String>,
}

impl Reader<'_> {
    fn weights(&mut self, config: &FilterConfig, num_classes: usize) -> Result<Weights, Error> {
        let c = config.hidden_size;
        let embedding = self.named("model.embed_tokens.weight", "embedding.weight");
        let embedding = self.dense(&embedding, &[config.vocab_size, c])?;
        let layers =
            (0..config.num_layers).map(|layer| self.layer(config, layer)).collect::<Result<_, _>>()?;
        let norm = self.named("model.norm.weight", "norm.scale");
        let norm = self.vector(&norm, &[c])?;
        let head = self.named("score.weight", "unembedding.weight");
        let weight = self.dense(&head, &[num_classes, c])?;
        // The head of `original/` has no bias.
        let bias = match self.layout {
            Layout::HuggingFace => self.vector("score.bias", &[num_classes])?,
            Layout::Original => vec![0.0; num_classes],
        };
        Ok(Weights { embedding, layers, norm, head: Linear { weight, bias } })
    }

    fn layer(&mut self, config: &FilterConfig, layer: usize) -> Result<Layer, Error> {
        let (c, f, e) = (config.hidden_size, config.intermediate_size, config.num_experts);
        let (query, kv) = (config.num_query_heads * config.head_dim, config.num_kv_heads * config.head_dim);
        let at = |hugging_face: &str, original: &str| {
            self.named(&format!("model.layers.{layer}.{hugging_face}"), &format!("block.{layer}.{original}"))
        };
        let [attention_norm, out, sinks] = [
            at("input_layernorm.weight", "attn.norm.scale"),
            at("self_attn.o_proj", "attn.out"),
            at("self_attn.sinks", "attn.sinks"),
        ];
        let [mlp_norm, router] =
            [at("post_attention_layernorm.weight", "mlp.norm.scale"), at("mlp.router", "mlp.gate")];
        let gate_up = [
            at("mlp.experts.gate_up_proj", "mlp.swiglu.weight"),
            at("mlp.experts.gate_up_proj_bias", "mlp.swiglu.bias"),
        ];
        let down =
            [at("mlp.experts.down_proj", "mlp.out.weight"), at("mlp.experts.down_proj_bias", "mlp.out.bias")];
        let [query, key, value] = match self.layout {
            Layout::HuggingFace => {
                let mut part = |name: &str, rows| {
                    self.linear(&format!("model.layers.{layer}.self_attn.{name}_proj"), rows, c)
                };
                [part("q", query)?, part("k", kv)?, part("v", kv)?]
            }
            Layout::Original => self.fused(&format!("block.{layer}.attn.qkv"), [query, kv, kv], c)?,
        };
        let mut sinks = self.vector(&sinks, &[config.num_query_heads])?;
        if self.layout == Layout::Original {
            sinks.iter_mut().for_each(|sink| *sink *= std::f32::consts::LN_2);
        }
        Ok(Layer {
            attention_norm: self.vector(&attention_norm, &[c])?,
            query,
            key,
            value,
            out: self.linear(&out, c, config.num_query_heads * config.head_dim)?,
            sinks,
            mlp_norm: self.vector(&mlp_norm, &[c])?,
            router: self.linear(&router, e, c)?,
            gate_up: self.experts(&gate_up, [e, c, 2 * f])?,
            down: self.experts(&down, [e, f, c])?,
        })
    }

    fn named(&self, hugging_face: &str, original: &str) -> String {
        match self.layout {
            Layout::HuggingFace => hugging_face.to_owned(),
            Layout::Original => original.to_owned(),
        }
    }

    fn linear(&mut self, name: &str, n: usize, k: usize) -> Result<Linear, Error> {
        let weight = self.dense(&format!("{name}.weight"), &[n, k])?;
        Ok(Linear { weight, bias: self.vector(&format!("{name}.bias"), &[n])? })
    }

    /// Three matrices that lie in one, and their biases.
    fn fused(&mut self, name: &str, rows: [usize; 3], k: usize) -> Result<[Linear; 3], Error> {
        let n = rows.iter().sum();
        let Linear { weight: Dense(whole), bias } = self.linear(name, n, k)?;
        let row_bytes = whole.bytes.len() / n;
        let mut first = 0;
        Ok(rows.map(|n| {
            let range = first..first + n;
            first = range.end;
            let bytes = whole.bytes.slice(range.start * row_bytes..range.end * row_bytes);
            let bytes = bytes.expect("the shape was compared with the config's");
            let weight = Dense(Tensor { bytes, shape: vec![n, k], ..whole.clone() });
            Linear { weight, bias: bias[range].to_vec() }
        }))
    }

    fn experts(&mut self, [weight, bias]: &[String; 2], shape: [usize; 3]) -> Result<Experts, Error> {
        let [num_experts, _, n] = shape;
        let weight = self.tensor(weight, &shape)?;
        weight.bf16()?;
        Ok(Experts { weight, bias: self.vector(bias, &[num_experts, n])?, num_experts })
    }

    fn dense(&mut self, name: &str, shape: &[usize]) -> Result<Dense, Error> {
        let tensor = self.tensor(name, shape)?;
        if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16) {
            tensor.bf16()?;
        }
        Ok(Dense(tensor))
    }

    fn vector(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        Ok(self.tensor(name, shape)?.to_f32()?)
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let missing = || gptoss_checkpoint::Error::MissingTensor {
            folder: self.folder.to_owned(),
            tensor: name.to_owned(),
            remedy: "download the model again",
        };
        let tensor = self.shards.tensor(name).ok_or_else(missing)?;
        if tensor.shape != shape {
            let path = tensor.bytes.path().unwrap_or(self.folder).to_owned();
            let (expected, found) = (shape.to_vec(), tensor.shape);
            let tensor = tensor.name;
            return Err(gptoss_checkpoint::Error::WrongShape { path, tensor, expected, found }.into());
        }
        self.read.insert(name.to_owned());
        Ok(tensor)
    }

    fn refuse_others(&self) -> Result<(), Error> {
        match self.shards.names().find(|(_, name)| !self.read.contains(*name)) {
            None => Ok(()),
            Some((file, name)) => {
                let (path, tensor) = (file.path().to_owned(), name.to_owned());
                Err(gptoss_checkpoint::Error::UnexpectedTensor { path, tensor }.into())
            }
        }
    }
}
