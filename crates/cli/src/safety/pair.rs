//! The model before tuning and the one after, which write one after the other.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use gptoss_harmony::Conversation;

use super::sampler::{Reply, Sampler};
use crate::args::{ComputeArgs, TrialArgs};
use crate::model_source::Opened;
use crate::offer;

/// A file that every adapter has.
const ADAPTER_FILE: &str = "adapter_config.json";

/// What is compared.
pub struct Pair {
    /// With the adapter, where that is what was tuned: it is loaded once then.
    base: Opened,
    /// Another model.
    tuned: Option<Opened>,
}

impl Pair {
    /// Opens both; the second is an adapter of the first where it is a folder of one.
    ///
    /// Errors: either cannot be opened, or the adapter does not fit.
    pub fn open(base: &str, tuned: &str) -> Result<Pair> {
        let (base, folder) = (offer::opened(base)?, Path::new(tuned));
        match folder.join(ADAPTER_FILE).exists() {
            true => Ok(Pair { base: base.with_adapter(Some(folder))?, tuned: None }),
            false => Ok(Pair { base, tuned: Some(offer::opened(tuned)?) }),
        }
    }

    /// A turn of each for each conversation; `None` when it was cancelled.
    ///
    /// Errors: a model cannot be loaded; the engine's.
    pub fn replies(
        &self,
        conversations: &[Conversation],
        how: &TrialArgs,
        compute: &ComputeArgs,
        cancel: &AtomicBool,
    ) -> Result<Option<[Vec<Reply>; 2]>> {
        let start = |opened| Sampler::start(opened, conversations, how, compute);
        let sampler = start(&self.base)?;
        let Some(base) = sampler.replies("base", None, cancel)? else { return Ok(None) };
        let tuned = match &self.tuned {
            None => sampler.replies("tuned", self.base.adapter(), cancel)?,
            Some(opened) => {
                // One model at a time in memory.
                drop(sampler);
                start(opened)?.replies("tuned", None, cancel)?
            }
        };
        Ok(tuned.map(|tuned| [base, tuned]))
    }
}
