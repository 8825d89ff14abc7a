//! The matrices of a checkpoint, one by one, as adapters name them.

use gptoss_checkpoint::{AdapterSite, Checkpoint, ExpertFormat, LayerPart, Part, Tensor};

use crate::Error;
use crate::merge::row::BaseRows;

/// Opens matrices; those of a layer's experts come out of one tensor, which is kept until the next layer's.
pub(super) struct SiteReader<'a> {
    checkpoint: &'a Checkpoint,
    last: Option<(Part, Vec<Tensor>)>,
}

impl<'a> SiteReader<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint) -> SiteReader<'a> {
        SiteReader { checkpoint, last: None }
    }

    /// A matrix and its `[N, K]`; `None` where the model has none.
    ///
    /// Errors: its tensor cannot be read, or is in no type that weights have.
    pub(super) fn matrix(&mut self, site: AdapterSite) -> Result<Option<(BaseRows<'_>, [usize; 2])>, Error> {
        let config = self.checkpoint.config();
        let Some([rows, columns]) = site.shape(config) else { return Ok(None) };
        let experts = config.num_local_experts.max(1);
        let (layer, expert, stacks) = match site {
            AdapterSite::GateUp { layer, expert } => {
                (layer, expert, [LayerPart::GateUpBlocks, LayerPart::GateUpScales, LayerPart::GateUpBf16])
            }
            AdapterSite::Down { layer, expert } => {
                (layer, expert, [LayerPart::DownBlocks, LayerPart::DownScales, LayerPart::DownBf16])
            }
            _ => {
                let Some(part) = site.part() else { return Ok(None) };
                let tensors = self.tensors(&[part])?;
                // Asked once, so that each row need not be.
                super::rows_of(&tensors[0], 0, 1, rows).map_err(|_| wrong_dtype(&tensors[0]))?;
                return Ok(Some((BaseRows::Dense { tensor: &tensors[0], rows }, [rows, columns])));
            }
        };
        let [blocks, scales, floats] = stacks.map(|part| Part::Layer(layer, part));
        let found = match self.checkpoint.expert_format() {
            ExpertFormat::Mxfp4 => {
                let tensors = self.tensors(&[blocks, scales])?;
                let of = |tensor: &'_ Tensor| tensor.bytes.len() / experts;
                let [block_bytes, scale_bytes] = [of(&tensors[0]), of(&tensors[1])];
                BaseRows::Mxfp4 {
                    blocks: &tensors[0].bytes[expert * block_bytes..][..block_bytes],
                    scales: &tensors[1].bytes[expert * scale_bytes..][..scale_bytes],
                    columns,
                }
            }
            ExpertFormat::Bf16 => {
                let tensors = self.tensors(&[floats])?;
                BaseRows::Transposed { values: tensors[0].bf16()?, rows, columns, expert }
            }
        };
        Ok(Some((found, [rows, columns])))
    }

    fn tensors(&mut self, parts: &[Part]) -> Result<&[Tensor], Error> {
        if self.last.as_ref().is_none_or(|(first, _)| *first != parts[0]) {
            let tensors = parts.iter().map(|part| self.checkpoint.tensor(*part)).collect::<Result<_, _>>()?;
            self.last = Some((parts[0], tensors));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, tensors)| tensors))
    }
}

fn wrong_dtype(tensor: &Tensor) -> Error {
    gptoss_checkpoint::Error::WrongDtype {
        path: tensor.bytes.path().map(std::path::Path::to_path_buf).unwrap_or_default(),
        tensor: tensor.name.clone(),
        expected: gptoss_checkpoint::Dtype::Bf16,
        found: tensor.dtype,
    }
    .into()
}
