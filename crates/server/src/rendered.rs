//! `/v1/chat/completions/render` and `/v1/completions/render`: requests in tokens, as vLLM has them.
//!
//! For routers that look for the server whose cache has a prompt's beginning (llm-d): they hash what is given
//! here, so it is to the token what the same body makes the model read. Nothing is answered.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::chat::parse;
use gptoss_api::wire::chat::ChatRequest;
use gptoss_api::wire::completions::{CompletionRequest, Prompt};
use gptoss_api::wire::tokens::{RenderedRequest, RenderedSampling};

use crate::blocking::run_blocking;
use crate::body::Body;
use crate::compaction;
use crate::completions;
use crate::ids;
use crate::keys::Caller;
use crate::rejection::Rejection;
use crate::state::Shared;

/// `POST /v1/chat/completions/render`.
pub(crate) async fn chat(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ChatRequest>,
) -> Result<Json<RenderedRequest>, Rejection> {
    // The reasoning before a call is among the tokens, whoever may see it.
    if !caller.may_use_tokens {
        return Err(ApiError::Scope { what: "read what the model reads" }.into());
    }
    let entry = app.model(&caller, request.model.as_deref())?;
    let generation = app.read(&caller, &entry.served, |scope| parse::parse(&request, scope))?;
    let model = app.lease(&caller, &entry).await?;
    let conversation = generation.conversation;
    let token_ids = run_blocking(&app, move |_| compaction::rendered(&model, &conversation)).await?;
    Ok(Json(RenderedRequest {
        request_id: ids::random_dashed("chatcmpl"),
        token_ids,
        features: None,
        sampling_params: RenderedSampling::new(
            &generation.sampling,
            generation.max_new_tokens,
            generation.stops,
        ),
        model: entry.served.named(request.model.as_deref()),
        stream: request.stream == Some(true),
    }))
}

/// `POST /v1/completions/render`: one for each prompt.
pub(crate) async fn completion(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<CompletionRequest>,
) -> Result<Json<Vec<RenderedRequest>>, Rejection> {
    let is_of_tokens = matches!(&request.prompt, Some(Prompt::Tokens(_) | Prompt::TokenLists(_)));
    if is_of_tokens && !caller.may_use_tokens {
        return Err(ApiError::Scope { what: "send prompts of token ids" }.into());
    }
    let entry = app.model(&caller, request.model.as_deref())?;
    let (named, stream) = (entry.served.named(request.model.as_deref()), request.stream == Some(true));
    let model = app.lease(&caller, &entry).await?;
    let parsed = completions::read(&app, &Arc::clone(&model), request).await?;
    let id = ids::random_dashed("cmpl");
    let rendered = parsed.prompts.into_iter().enumerate().map(|(index, token_ids)| RenderedRequest {
        request_id: format!("{id}-{index}"),
        token_ids,
        features: None,
        sampling_params: RenderedSampling::new(&parsed.sampling, parsed.max_new_tokens, parsed.stops.clone()),
        model: named.clone(),
        stream,
    });
    Ok(Json(rendered.collect()))
}
