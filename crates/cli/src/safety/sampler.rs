//! A model that writes turns where no grammar holds it.
//!
//! The same model, prompts, seeds and limits give the same turns, whatever else runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use gptoss_engine::{
    AdapterId, EngineOptions, Event, EventStream, FinishReason, Priority, Request, SamplingParams,
};
use gptoss_eval::hierarchy::Answer;
use gptoss_harmony::{Conversation, Message, RenderOptions, Role, StreamParser, Vocab, render};

use crate::args::{ComputeArgs, EngineArgs, TrialArgs};
use crate::engine_start::{self, RunningEngine};
use crate::failure::usage;
use crate::model_source::Opened;
use crate::progress::{Progress, Unit};
use crate::{card_kv, train};

/// Turns that are sampled at a time.
const SEQUENCES: usize = 16;

/// A turn as its reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What is judged.
    pub answer: Answer,
    /// Why it is not well-formed.
    pub flaw: Option<String>,
}

/// A model that is ready to write.
pub struct Sampler<'a> {
    engine: RunningEngine,
    vocab: Arc<Vocab>,
    how: &'a TrialArgs,
    prompts: Vec<Vec<u32>>,
}

impl<'a> Sampler<'a> {
    /// Renders the conversations and loads the model with room for them.
    ///
    /// Errors: the model has no vocabulary or cannot be loaded; a conversation is longer than its context.
    pub fn start(
        opened: &Opened,
        conversations: &[Conversation],
        how: &'a TrialArgs,
        compute: &ComputeArgs,
    ) -> Result<Sampler<'a>> {
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
        let context = (longest + how.max_tokens as usize).min(most);
        let args = EngineArgs::default();
        let options = card_kv::fit(opened, compute, args.options(context, SEQUENCES))?;
        let kv = engine_start::plan_kv(opened, compute, &options)?;
        let model = Arc::new(opened.load(compute, context, Some(&kv))?);
        let options = EngineOptions { max_context: context, ..options };
        let engine = engine_start::start(model, opened, compute, &args, options)?;
        Ok(Sampler { engine, vocab, how, prompts })
    }

    /// Writes a turn for each conversation; `None` when it was cancelled.
    ///
    /// Errors: the engine's.
    pub fn replies(
        &self,
        whose: &str,
        adapter: Option<AdapterId>,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<Reply>>> {
        let mut progress = Progress::new(format!("{whose}: turns"), Unit::Requests);
        let total = self.prompts.len();
        let (mut replies, mut running) = (Vec::with_capacity(total), VecDeque::new());
        let mut waiting = self.prompts.iter().enumerate();
        loop {
            while running.len() < 2 * SEQUENCES
                && let Some((index, prompt)) = waiting.next()
            {
                let request = self.request(prompt, adapter, index as u64);
                running.push_back((prompt, self.engine.handle.submit(request)?));
            }
            let Some((prompt, events)) = running.pop_front() else { return Ok(Some(replies)) };
            let (turn, is_cut) = written(events)?;
            if cancel.load(Ordering::SeqCst) {
                return Ok(None);
            }
            replies.push(Reply::of(&self.vocab, prompt, &turn, is_cut));
            progress.set(replies.len() as u64, total as u64);
        }
    }

    /// Each conversation has draws of its own, the same with every model.
    fn request(&self, prompt: &[u32], adapter: Option<AdapterId>, index: u64) -> Request {
        let seed = self.how.seed.wrapping_mul(1 << 32).wrapping_add(index);
        let sampling =
            SamplingParams { temperature: self.how.temperature, seed, ..SamplingParams::default() };
        Request {
            prompt: prompt.to_vec(),
            sampling,
            stop_ids: self.vocab.stop_ids().to_vec(),
            max_new_tokens: self.how.max_tokens as usize,
            adapter,
            priority: Priority::Background,
            ..Request::default()
        }
    }
}

impl Reply {
    fn of(vocab: &Arc<Vocab>, prompt: &[u32], turn: &[u32], is_cut: bool) -> Reply {
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

/// The tokens of a turn, the one that ended it included, and whether there was no room for more.
fn written(mut events: EventStream) -> Result<(Vec<u32>, bool)> {
    let mut tokens = Vec::new();
    while let Some(event) = events.next_event() {
        match event {
            Event::Prefill { .. } => {}
            Event::Token(token) => tokens.push(token.id),
            Event::Finished { reason, .. } => return Ok((tokens, reason == FinishReason::Length)),
            Event::Failed(failure) => return Err(anyhow!("the engine could not write a turn: {failure}")),
        }
    }
    Err(anyhow!("the engine ended before a turn did"))
}
