//! A request of the wire as one of the engine's, or what is wrong with it and where.
//!
//! What is asked for and not done here is refused by name: an answer that ignores half of a request would be
//! a wrong answer. What says how something is done and changes no token (hints, sessions) is passed over.

use std::sync::Arc;
use std::time::Instant;

use gptoss_engine::limits::LOGPROBS_TOP_MAX;
use gptoss_engine::{AdapterId, Priority, Request, SamplingParams, Sharing};

use crate::error::Error;
use crate::limits::{
    BAD_WORD_TOKENS_MAX, BAD_WORDS_MAX, NAME_BYTES_MAX, NEW_TOKENS_DEFAULT, REQUEST_ID_BYTES_MAX,
    SALT_BYTES_MAX, STOP_BYTES_MAX, STOP_IDS_MAX, STOP_STRINGS_MAX,
};
use crate::opening::{cache_points, turn_start};
use crate::peer::Peer;
use crate::rules::Rules;
use crate::speech::SpeechOptions;
use crate::structure::{Structure, body_of, compiled, started};
use crate::wire::inference::{
    Candidates, DecodingParameters, GenerateRequest, KvCacheParameters, Prompt, RandomSampling,
    ResponseOptions, StoppingCriteria, TokenIds,
};
use crate::worker::Worker;

/// A request for the engine, and how its answer is told.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) request: Request,
    pub(crate) speech: SpeechOptions,
    pub(crate) telling: Telling,
}

/// What of the answer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Telling {
    pub(crate) text: bool,
    pub(crate) token_ids: bool,
    /// Tokens besides the chosen one whose log-probabilities are told with it.
    pub(crate) logprobs: Option<usize>,
    pub(crate) prompt_ids: Option<Vec<u32>>,
    pub(crate) num_prompt_tokens: usize,
    /// Tokens after which it ends.
    pub(crate) max_tokens: usize,
    /// Stop tokens that the request named itself.
    pub(crate) named_stops: Vec<u32>,
}

/// Whether something of a request has to be compiled.
pub(crate) fn has_form(request: &GenerateRequest) -> bool {
    let has_output = request.decoding.as_ref().is_some_and(|asked| asked.structured_output.is_some());
    has_output || request.stopping.as_ref().is_some_and(|asked| asked.thinking_token_budget.is_some())
}

/// Reads a request of a peer; compiles its form, which may take a while.
///
/// Errors: what is wrong, with the field's path.
pub(crate) fn parse(
    worker: &Worker,
    peer: &Peer,
    request: GenerateRequest,
    now: Instant,
) -> Result<Asked, Error> {
    let GenerateRequest { request_id, model, prompt, temperature, sampling, decoding, stopping, .. } =
        request;
    at_most("request_id", request_id.len(), REQUEST_ID_BYTES_MAX, "bytes")?;
    at_most("model", model.len(), NAME_BYTES_MAX, "bytes")?;
    at_most("lora_name", request.lora_name.len(), NAME_BYTES_MAX, "bytes")?;
    if !request.media.is_empty() {
        return Err(Error::field("media", "this model reads text alone"));
    }
    let adapter = adapter(worker, &model, &request.lora_name)?;
    let prompt = tokens(worker, prompt, request.truncate_prompt_tokens)?;
    let (decoding, stopping) = (decoding.unwrap_or_default(), stopping.unwrap_or_default());
    let kv = request.kv.unwrap_or_default();
    let sharing = sharing(&kv)?;
    let sampling = sampling_of(worker, temperature, sampling.unwrap_or_default(), &decoding)?;
    let turn = turn_start(worker.vocab(), &prompt);
    let num_said = turn.map_or(0, |turn| prompt.len() - turn);
    let limits = worker.model.engine.limits();
    let stops = Stops::of(worker, &stopping, num_said)?;
    let room = stops.max_tokens.min(limits.max_context.saturating_sub(prompt.len()));
    let form = form(worker, decoding.structured_output, &stopping, (&prompt, turn), (room, &peer.tenant.0))?;
    let rules = Rules {
        form,
        allowed: known_ids("decoding.allowed_token_ids", decoding.allowed_token_ids, limits.vocab_size)?,
        bad_words: bad_words(decoding.bad_words_token_ids, limits.vocab_size)?,
        stop_ids: stops.ids.clone(),
        min_tokens: stops.min_tokens,
        vocab_size: limits.vocab_size,
    };
    let response = request.response.unwrap_or_default();
    let telling = telling(&response, &prompt, stopping.stop_token_ids, room)?;
    let speech = SpeechOptions {
        stops: stops.strings,
        includes_stop: stopping.include_stop_strings,
        skips_control: response.skip_special_tokens != Some(false),
        min_tokens: stops.min_tokens,
    };
    let request = Request {
        constraint: rules.start(&prompt),
        cache_points: cache_points(worker.vocab(), &prompt, worker.model.block_tokens),
        num_continued: num_said,
        sampling,
        stop_ids: stops.ids,
        max_new_tokens: stops.max_tokens,
        top_logprobs: telling.logprobs.map(|_| LOGPROBS_TOP_MAX),
        adapter,
        tenant: peer.tenant.clone(),
        sharing,
        priority: priority(request.priority),
        deadline: now.checked_add(worker.limits.request_time),
        is_private: kv.bypass_prefix_cache,
        prompt,
    };
    Ok(Asked { id: request_id, request, speech, telling })
}

fn at_most(field: &'static str, found: usize, max: usize, unit: &str) -> Result<(), Error> {
    match found <= max {
        true => Ok(()),
        false => Err(Error::field(field, format!("{found} {unit}, but at most {max} are taken"))),
    }
}

/// The adapter that is meant: by its own field, or as MODEL:NAME.
fn adapter(worker: &Worker, model: &str, lora_name: &str) -> Result<Option<AdapterId>, Error> {
    let served = &worker.model;
    let named = |name: &str| served.adapters.iter().find(|adapter| adapter.name == name);
    let known = || {
        let names: Vec<&str> = served.adapters.iter().map(|adapter| adapter.name.as_str()).collect();
        match names.is_empty() {
            true => format!("this is {} without adapters", served.name),
            false => format!("this is {} with the adapters {}", served.name, names.join(", ")),
        }
    };
    let unknown = |field, name: &str| Error::Unknown { field, name: name.to_owned(), known: known() };
    let is_base = model.is_empty()
        || model == served.name
        || served.aliases.iter().any(|alias| alias == model)
        || served.folder.to_str() == Some(model);
    if !lora_name.is_empty() {
        return named(lora_name)
            .map(|adapter| Some(adapter.id))
            .ok_or_else(|| unknown("lora_name", lora_name));
    }
    if is_base {
        return Ok(None);
    }
    let name = model.strip_prefix(served.name.as_str()).and_then(|rest| rest.strip_prefix(':'));
    let found = named(name.unwrap_or(model));
    found.map(|adapter| Some(adapter.id)).ok_or_else(|| unknown("model", model))
}

fn tokens(worker: &Worker, prompt: Option<Prompt>, keep_last: u32) -> Result<Vec<u32>, Error> {
    let mut ids = match prompt {
        Some(Prompt::TokenIds(TokenIds { ids })) => ids,
        Some(Prompt::Text(text)) => worker.vocab().encode_ids(&text),
        None => return Err(Error::field("prompt", "there is neither text nor token_ids")),
    };
    if keep_last > 0 {
        ids.drain(..ids.len().saturating_sub(keep_last as usize));
    }
    let limits = worker.model.engine.limits();
    // The room for one token: a prompt that fills the context can be continued by nothing.
    if ids.len() >= limits.max_context {
        let (found, max) = (ids.len(), limits.max_context);
        return Err(Error::field(
            "token_ids",
            format!("{found} tokens, but the context holds {max} with the answer"),
        ));
    }
    Ok(ids)
}

/// With whom its kept prompt is shared: everybody who names the same salt, and nobody of the other APIs.
fn sharing(kv: &KvCacheParameters) -> Result<Sharing, Error> {
    at_most("kv.cache_salt", kv.cache_salt.len(), SALT_BYTES_MAX, "bytes")?;
    if kv.kv_transfer_params.is_some() {
        return Err(Error::field(
            "kv.kv_transfer_params",
            "keys and values are neither sent nor fetched here",
        ));
    }
    if kv.ec_transfer_params.is_some() {
        return Err(Error::field("kv.ec_transfer_params", "this model has no encoder"));
    }
    Ok(match kv.bypass_prefix_cache {
        true => Sharing::Nobody,
        false => Sharing::Salt(Arc::from(kv.cache_salt.as_str())),
    })
}

/// vLLM's lower numbers are more urgent.
fn priority(priority: i32) -> Priority {
    match priority {
        ..0 => Priority::Interactive,
        0 => Priority::Normal,
        1.. => Priority::Background,
    }
}

fn sampling_of(
    worker: &Worker,
    temperature: Option<f32>,
    asked: RandomSampling,
    decoding: &DecodingParameters,
) -> Result<SamplingParams, Error> {
    if asked.num_sequences > 1 {
        return Err(Error::field(
            "sampling.num_sequences",
            "send a request for each: one answer is given to each",
        ));
    }
    if asked.top_p == Some(0.0) {
        return Err(Error::field("sampling.top_p", "0 is not above 0 and at most 1"));
    }
    let default = &worker.model.sampling;
    // Zero is what a message without the field says.
    let or_default = |value: f32, default: f32| if value == 0.0 { default } else { value };
    let seed = match asked.seed {
        Some(seed) => seed.cast_unsigned(),
        None => random()?,
    };
    Ok(SamplingParams {
        temperature: temperature.unwrap_or(default.temperature),
        top_p: asked.top_p.unwrap_or(default.top_p),
        top_k: asked.top_k.unwrap_or(default.top_k),
        min_p: asked.min_p.unwrap_or(default.min_p),
        presence_penalty: or_default(decoding.presence_penalty, default.presence_penalty),
        frequency_penalty: or_default(decoding.frequency_penalty, default.frequency_penalty),
        repetition_penalty: or_default(decoding.repetition_penalty, default.repetition_penalty),
        logit_bias: match decoding.logit_bias.is_empty() {
            true => default.logit_bias.clone(),
            false => decoding.logit_bias.iter().map(|(&id, &bias)| (id, bias)).collect(),
        },
        seed,
    })
}

fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| Error::field("sampling.seed", format!("none is given, and {error}")))
}

/// What ends the answer.
struct Stops {
    ids: Vec<u32>,
    strings: Vec<String>,
    /// Tokens from now on.
    max_tokens: usize,
    /// Tokens from now on before which nothing ends it.
    min_tokens: usize,
}

impl Stops {
    /// Of an answer of which `num_said` tokens were said before: a router lowers the most by them, and not
    /// the least.
    fn of(worker: &Worker, asked: &StoppingCriteria, num_said: usize) -> Result<Stops, Error> {
        let max_tokens = match asked.max_new_tokens {
            0 => NEW_TOKENS_DEFAULT,
            count => count as usize,
        };
        let min_tokens = (asked.min_new_tokens as usize).saturating_sub(num_said);
        if min_tokens > max_tokens {
            let problem = format!("{min_tokens} is more than max_new_tokens, {max_tokens}");
            return Err(Error::field("stopping.min_new_tokens", problem));
        }
        at_most("stopping.stop_strings", asked.stop_strings.len(), STOP_STRINGS_MAX, "strings")?;
        for stop in &asked.stop_strings {
            if stop.is_empty() {
                return Err(Error::field("stopping.stop_strings", "an empty string would end every answer"));
            }
            at_most("stopping.stop_strings", stop.len(), STOP_BYTES_MAX, "bytes of one")?;
        }
        at_most("stopping.stop_token_ids", asked.stop_token_ids.len(), STOP_IDS_MAX, "ids")?;
        let own = if asked.ignore_eos { Vec::new() } else { worker.vocab().stop_ids().to_vec() };
        // A router names the model's own too, from its configuration; ignored is ignored.
        let is_ignored = |id: &u32| asked.ignore_eos && worker.vocab().stop_ids().contains(id);
        let named = asked.stop_token_ids.iter().copied().filter(|id| !is_ignored(id));
        let ids = own.into_iter().chain(named).collect();
        Ok(Stops { ids, strings: asked.stop_strings.clone(), max_tokens, min_tokens })
    }
}

fn known_ids(field: &'static str, ids: Vec<u32>, vocab_size: usize) -> Result<Vec<u32>, Error> {
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        Some(id) => {
            Err(Error::field(field, format!("{id} is no token: the vocabulary has {vocab_size} ids")))
        }
        None => Ok(ids),
    }
}

fn bad_words(words: Vec<TokenIds>, vocab_size: usize) -> Result<Vec<Vec<u32>>, Error> {
    let field = "decoding.bad_words_token_ids";
    at_most(field, words.len(), BAD_WORDS_MAX, "sequences")?;
    let word = |TokenIds { ids }: TokenIds| {
        if ids.is_empty() {
            return Err(Error::field(field, "an empty sequence forbids nothing"));
        }
        at_most(field, ids.len(), BAD_WORD_TOKENS_MAX, "tokens of one")?;
        known_ids(field, ids, vocab_size)
    };
    words.into_iter().map(word).collect()
}

/// What holds the output's form and bounds its reasoning.
fn form(
    worker: &Worker,
    output: Option<crate::wire::inference::StructuredOutput>,
    stopping: &StoppingCriteria,
    (prompt, turn): (&[u32], Option<usize>),
    (room, tenant): (usize, &Arc<str>),
) -> Result<Option<gptoss_constrain::Constraint>, Error> {
    let body = output.map(body_of).transpose()?.flatten();
    let field = "stopping.thinking_token_budget";
    let budget = match stopping.thinking_token_budget {
        None | Some(-1) => None,
        Some(budget) => {
            let budget = u32::try_from(budget);
            Some(budget.map_err(|_| Error::field(field, "it is from 0 to 4294967295, or -1 for none"))?)
        }
    };
    if budget.is_some() && turn.is_none() {
        return Err(Error::field(
            field,
            "the prompt does not end in a turn of the assistant, so nothing is reasoning",
        ));
    }
    if body.is_none() && budget.is_some() && offers_functions(worker, prompt) {
        return Err(Error::field(
            field,
            "the prompt offers functions, which this protocol does not name: a budget would forbid their calls",
        ));
    }
    let Some((field, body)) = body.or_else(|| budget.map(|_| (field, gptoss_constrain::Body::Free))) else {
        return Ok(None);
    };
    let structure = Structure { field, body, budget };
    let compiled = compiled(&worker.model.table, &structure, tenant)?;
    started(&compiled, field, turn.map(|turn| &prompt[turn..]), room).map(Some)
}

/// Whether a message of the prompt says that there are functions.
fn offers_functions(worker: &Worker, prompt: &[u32]) -> bool {
    const MARK: &[u8] = b"namespace functions {";
    let text = worker.vocab().decode(prompt).unwrap_or_default();
    text.windows(MARK.len()).any(|window| window == MARK)
}

fn telling(
    asked: &ResponseOptions,
    prompt: &[u32],
    named_stops: Vec<u32>,
    max_tokens: usize,
) -> Result<Telling, Error> {
    if asked.prompt_logprobs || asked.prompt_candidates.is_some() {
        return Err(Error::field(
            "response.prompt_logprobs",
            "log-probabilities of prompts are not computed here",
        ));
    }
    let candidates = match asked.output_candidates.as_ref().and_then(|candidates| candidates.select.as_ref())
    {
        None => 0,
        Some(Candidates::TopN(count)) => {
            at_most("response.output_candidates.top_n", *count as usize, LOGPROBS_TOP_MAX, "tokens")?;
            *count as usize
        }
        Some(Candidates::TokenIds(_) | Candidates::All(_)) => {
            let problem = format!("candidates are told by top_n, of 0 to {LOGPROBS_TOP_MAX}");
            return Err(Error::field("response.output_candidates", problem));
        }
    };
    let tells_any = asked.output_logprobs || asked.output_candidates.is_some();
    Ok(Telling {
        text: asked.output_text != Some(false),
        token_ids: asked.output_token_ids,
        logprobs: tells_any.then_some(candidates),
        prompt_ids: asked.prompt_token_ids.then(|| prompt.to_vec()),
        num_prompt_tokens: prompt.len(),
        max_tokens,
        named_stops,
    })
}
