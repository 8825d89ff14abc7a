//! Checksums by which a run knows its data and its base again.

use gptoss_checkpoint::{Checkpoint, Layout};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::packing::Text;

/// Bytes of a tensor's start, and of its end, that are looked at; of a smaller tensor all are.
const ENDS: usize = 1 << 16;

/// The checksum of some texts: their tokens, what each weighs, and their order.
pub fn data_checksum<'a>(texts: impl IntoIterator<Item = Text<'a>>) -> String {
    let mut sum = Sha256::new();
    for text in texts {
        sum.update((text.tokens.len() as u64).to_le_bytes());
        sum.update(bytemuck::cast_slice::<u32, u8>(text.tokens));
        sum.update(bytemuck::cast_slice::<f32, u8>(text.weights));
    }
    hexadecimal(sum)
}

/// The checksum of a base: its config, and every tensor's start and end, so that a model of 60 GB takes no
/// time.
///
/// Errors: a tensor cannot be read.
pub fn base_checksum(checkpoint: &Checkpoint) -> Result<String, Error> {
    let mut sum = Sha256::new();
    sum.update(format!("{:?}", checkpoint.config()));
    if let Layout::Synthetic(preset, seed) = checkpoint.layout() {
        // Its tensors are made when they are asked for, and always the same.
        sum.update(format!("{preset} {seed}"));
        return Ok(hexadecimal(sum));
    }
    let mut take = |bytes: &[u8]| {
        sum.update((bytes.len() as u64).to_le_bytes());
        if bytes.len() <= 2 * ENDS {
            sum.update(bytes);
        } else {
            sum.update(&bytes[..ENDS]);
            sum.update(&bytes[bytes.len() - ENDS..]);
        }
    };
    for part in checkpoint.parts() {
        match checkpoint.gguf_experts(part) {
            Some(experts) => experts.stacks(0).into_iter().for_each(&mut take),
            None => take(&checkpoint.tensor(part)?.bytes),
        }
    }
    Ok(hexadecimal(sum))
}

fn hexadecimal(sum: Sha256) -> String {
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
