//! The answer to one request: events of the engine in, messages out, and one end.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, Stream};
use gptoss_engine::{Event, EventStream, FinishReason, Token, TokenLogprob, Usage};
use tokio::time::sleep_until;
use tonic::Status;

use crate::error::{Error, status_of};
use crate::parse::{Asked, Telling};
use crate::running::Entered;
use crate::speech::{Speech, Told};
use crate::wire::inference::{
    AboutFinish, AboutPrompt, Finish, GenerateResponse, RankedToken, RankedTokens, SequenceOutput, StopReason,
};
use crate::worker::Worker;

/// An answer on its way. Dropped, its request is cancelled.
pub(crate) struct Generation {
    events: EventStream,
    entered: Entered,
    speech: Speech<Token>,
    telling: Telling,
    own_stops: [u32; 3],
    /// What the first message tells of the prompt.
    prompt: Option<AboutPrompt>,
    num_tokens: usize,
    stop: Option<StopReason>,
    /// What the last token tells, until the end is known: who was told it without the end would go on behind
    /// it.
    last: Option<Told<Token>>,
    /// Prompt tokens that need not be computed, which the engine's first event says.
    cached: Option<usize>,
    /// When the caller stops waiting.
    until: Option<Instant>,
    is_over: bool,
}

impl Generation {
    /// Hands the request in.
    ///
    /// Errors: the engine refuses it.
    pub(crate) fn start(worker: &Worker, asked: Asked, until: Option<Instant>) -> Result<Generation, Error> {
        let Asked { id, request, speech, telling } = asked;
        if worker.running.is_stopping() {
            return Err(Error::Stopping);
        }
        let tenant = request.tenant.clone();
        let events = worker.model.engine.submit(request)?;
        let entered = worker.running.enter(&tenant, &id, events.canceller());
        let prompt = AboutPrompt {
            num_prompt_tokens: count(telling.num_prompt_tokens),
            token_ids: telling.prompt_ids.clone().unwrap_or_default(),
        };
        Ok(Generation {
            events,
            entered,
            speech: Speech::new(Arc::clone(worker.vocab()), speech),
            telling,
            own_stops: worker.vocab().stop_ids(),
            prompt: Some(prompt),
            num_tokens: 0,
            stop: None,
            last: None,
            cached: None,
            until,
            is_over: false,
        })
    }

    /// The messages, one after another.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<GenerateResponse, Status>> + Send {
        stream::unfold(self, |mut generation| async move {
            let next = generation.next().await?;
            Some((next, generation))
        })
    }

    /// The whole answer as one message.
    ///
    /// Errors: how it ends instead.
    pub(crate) async fn whole(mut self) -> Result<GenerateResponse, Status> {
        let mut whole = GenerateResponse::default();
        while let Some(next) = self.next().await {
            let GenerateResponse { prompt_info, outputs } = next?;
            whole.prompt_info = whole.prompt_info.or(prompt_info);
            let (all, outputs) = (whole.outputs.get_or_insert_default(), outputs.unwrap_or_default());
            all.text += &outputs.text;
            all.num_tokens += outputs.num_tokens;
            all.token_ids.extend(outputs.token_ids);
            all.logprobs.extend(outputs.logprobs);
            all.ranks.extend(outputs.ranks);
            all.candidate_tokens.extend(outputs.candidate_tokens);
            all.finish_info = outputs.finish_info;
        }
        Ok(whole)
    }

    /// The next message; None after the last.
    async fn next(&mut self) -> Option<Result<GenerateResponse, Status>> {
        while !self.is_over {
            let event = tokio::select! {
                biased;
                () = self.entered.ended() => None,
                () = reached(self.until) => {
                    let status = Status::deadline_exceeded("the time of grpc-timeout is over");
                    return Some(Err(self.end(status)));
                }
                event = self.events.next() => event,
            };
            let Some(event) = event else {
                // What was kept back is computed again elsewhere.
                return Some(Err(self.end(Status::unavailable("this worker stops: go on with another"))));
            };
            match event {
                Event::Prefill { done, .. } => {
                    self.cached.get_or_insert(done);
                }
                Event::Token(token) => {
                    let is_last = token.is_stop || self.num_tokens + 1 >= self.telling.max_tokens;
                    let told = self.take(token);
                    if let Some(stop) = &told.stop {
                        self.stop = Some(StopReason::StopString(stop.clone()));
                        let finish = self.finish(Finish::Stop, None);
                        self.is_over = true;
                        return Some(Ok(self.message(told, Some(finish))));
                    }
                    if is_last {
                        self.last = Some(told);
                    } else if !told.tokens.is_empty() {
                        return Some(Ok(self.message(told, None)));
                    }
                }
                Event::Finished { reason, usage } => {
                    self.is_over = true;
                    let finish = self.finish(finish_of(reason), Some(usage));
                    let mut told = self.speech.finish();
                    if let Some(Told { mut tokens, text, .. }) = self.last.take() {
                        tokens.append(&mut told.tokens);
                        told = Told { tokens, text: text + &told.text, stop: None };
                    }
                    return Some(Ok(self.message(told, Some(finish))));
                }
                Event::Failed(failure) => return Some(Err(self.end(status_of(&failure)))),
            }
        }
        None
    }

    fn end(&mut self, status: Status) -> Status {
        self.is_over = true;
        status
    }

    fn take(&mut self, token: Token) -> Told<Token> {
        self.num_tokens += 1;
        let (id, is_stop) = (token.id, token.is_stop);
        if is_stop {
            let is_named = self.telling.named_stops.contains(&id);
            self.stop = Some(match self.own_stops.contains(&id) && !is_named {
                true => StopReason::EosTokenId(id),
                false => StopReason::StopTokenId(id),
            });
        }
        self.speech.push(id, is_stop, token)
    }

    fn finish(&mut self, reason: Finish, usage: Option<Usage>) -> AboutFinish {
        let cached = usage.map_or(self.cached.unwrap_or(0), |usage| usage.cached_tokens);
        AboutFinish {
            num_output_tokens: count(self.num_tokens),
            finish_reason: reason.into(),
            stop_reason: self.stop.take().filter(|_| reason == Finish::Stop),
            num_cached_tokens: Some(count(cached)),
        }
    }

    fn message(&mut self, told: Told<Token>, finish_info: Option<AboutFinish>) -> GenerateResponse {
        let Told { tokens, text, .. } = told;
        let mut outputs = SequenceOutput {
            text: if self.telling.text { text } else { String::new() },
            num_tokens: count(tokens.len()),
            finish_info,
            ..SequenceOutput::default()
        };
        for token in tokens {
            if self.telling.token_ids {
                outputs.token_ids.push(token.id);
            }
            if let Some(top) = self.telling.logprobs {
                outputs.logprobs.push(token.logprob as f32);
                outputs.ranks.push(rank(&token));
                outputs.candidate_tokens.push(candidates(&token, top));
            }
        }
        GenerateResponse { prompt_info: self.prompt.take(), outputs: Some(outputs) }
    }
}

/// Ready at a moment; never, if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn finish_of(reason: FinishReason) -> Finish {
    match reason {
        FinishReason::Stop => Finish::Stop,
        FinishReason::Length | FinishReason::Deadline => Finish::Length,
        FinishReason::Cancelled => Finish::Aborted,
    }
}

/// The place of the chosen token among all, from 1; of one that is not among the best that are looked at, the
/// first place behind them.
fn rank(token: &Token) -> u32 {
    let place = token.top.iter().position(|other| other.id == token.id).unwrap_or(token.top.len());
    count(place + 1)
}

/// The best tokens but the chosen one.
fn candidates(token: &Token, top: usize) -> RankedTokens {
    let info = |(place, other): (usize, &TokenLogprob)| RankedToken {
        id: other.id,
        logprob: other.logprob as f32,
        rank: count(place + 1),
    };
    let others = token.top.iter().enumerate().take(top).filter(|(_, other)| other.id != token.id);
    RankedTokens { tokens: others.map(info).collect() }
}

/// A number of tokens as the wire has it.
fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
