//! A model that writes turns where no grammar holds it.
//!
//! The same model, prompts, seeds and limits give the same turns, whatever else runs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use gptoss_engine::{AdapterId, SamplingParams};
use gptoss_eval::hierarchy::Answer;
use gptoss_harmony::{Conversation, Message, RenderOptions, Role, StreamParser, Vocab, render};

use crate::args::{ComputeArgs, TrialArgs};
use crate::engine_start::RunningEngine;
use crate::failure::usage;
use crate::model_source::Opened;
use crate::sampled_turns::SampledTurns;
use crate::train;

/// Between the draws of two seeds: more than there are prompts.
const SEED_STRIDE: u64 = 1 << 32;

/// A turn as its reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What is judged.
    pub answer: Answer,
    /// Why it is not well-formed.
    pub flaw: Option<String>,
}

/// A model that is ready to write.
pub struct Sampler {
    engine: RunningEngine,
    vocab: Arc<Vocab>,
    turns: SampledTurns,
}

impl Sampler {
    /// Renders the conversations and loads the model with room for them.
    ///
    /// Errors: the model has no vocabulary or cannot be loaded; a conversation is longer than its context.
    pub fn start(
        opened: &Opened,
        conversations: &[Conversation],
        how: &TrialArgs,
        compute: &ComputeArgs,
    ) -> Result<Sampler> {
        let vocab = opened.vocab()?;
        let prompt = |conversation| render(&vocab, conversation, RenderOptions::default());
        let prompts: Vec<Vec<u32>> = conversations.iter().map(prompt).collect::<Result<_, _>>()?;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or_default();
        let most = opened.checkpoint.config().max_position_embeddings;
        if longest >= most {
            let name = opened.source.name();
            return Err(usage(format!(
                "a prompt has {longest} tokens, and {name} holds {most}\nleave the long rows out of the file"
            )));
        }
        let seed = how.seed.wrapping_mul(SEED_STRIDE);
        let sampling = SamplingParams { temperature: how.temperature, seed, ..SamplingParams::default() };
        let tokens_max = how.max_tokens as usize;
        let compute = compute.clone();
        let turns = SampledTurns { turns: prompts.len(), prompts, tokens_max, sampling, compute };
        Ok(Sampler { engine: turns.engine(opened)?, vocab, turns })
    }

    /// Writes a turn for each conversation, with draws of its own that are the same with every model; `None`
    /// when it was cancelled.
    ///
    /// Errors: the engine's.
    pub fn replies(
        &self,
        whose: &str,
        adapter: Option<AdapterId>,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<Reply>>> {
        let mut replies = Vec::with_capacity(self.turns.turns);
        let mut show = |prompt: &[u32], turn: &[u32]| replies.push(Reply::of(&self.vocab, prompt, turn));
        let label = format!("{whose}: turns");
        let is_whole = self.turns.each(&label, (&self.engine, adapter), &self.vocab, cancel, &mut show)?;
        Ok(is_whole.then_some(replies))
    }
}

impl Reply {
    fn of(vocab: &Arc<Vocab>, prompt: &[u32], turn: &[u32]) -> Reply {
        let is_cut = turn.last().is_none_or(|last| !vocab.stop_ids().contains(last));
        let mut parser = StreamParser::completion(Arc::clone(vocab));
        for token in turn {
            parser.push(*token);
        }
        let (_, parsed) = parser.finish();
        let own = parsed.messages.iter().filter(|message| message.author.role == Role::Assistant);
        let (calls, said): (Vec<&Message>, Vec<&Message>) =
            own.partition(|message| message.recipient.is_some());
        let text: Vec<String> = said
            .into_iter()
            .filter(|message| message.channel.as_deref() != Some("analysis"))
            .map(Message::text)
            .collect();
        let call = |message: &Message| {
            format!("{} {}", message.recipient.as_deref().unwrap_or_default(), message.text())
        };
        let calls = calls.into_iter().map(call).collect();
        Reply {
            answer: Answer { text: text.join("\n"), calls, is_cut },
            flaw: train::flaw(vocab, prompt, turn),
        }
    }
}
