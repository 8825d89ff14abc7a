//! `/v1/models`, `/v1/tokenize`, `/v1/detokenize`, `/v1/tokenizer_info`, `/v1/render`: what is there, and
//! what would the model read?
//!
//! Nothing here runs the model. `/v1/render` takes the body of Chat Completions or of Responses and gives the
//! tokens that the same body would make the model read, so that nobody has to guess what a request becomes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::responses::parse::{self, PriorTurns};
use gptoss_api::wire::chat::ChatRequest;
use gptoss_api::wire::message_events::{AnthropicModel, AnthropicModelList};
use gptoss_api::wire::models::{AnyModel, AnyModelList, Model, ModelList};
use gptoss_api::wire::responses::ResponsesRequest;
use gptoss_api::wire::tokens::{
    DetokenizeRequest, DetokenizeResponse, RenderResponse, TokenizeRequest, TokenizeResponse, TokenizerConfig,
};
use gptoss_harmony::{Control, Token};
use serde_json::Value;

use crate::anthropic;
use crate::blocking::run_blocking;
use crate::body::Body;
use crate::compaction;
use crate::gateway;
use crate::keys::Caller;
use crate::model_host::{Entry, Lease};
use crate::rejection::Rejection;
use crate::state::{App, Shared};
use crate::tool_host::tools_for;

/// `GET /v1/models`.
pub(crate) async fn models(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Json<AnyModelList> {
    let all: Vec<Arc<Entry>> =
        app.models.entries().iter().cloned().chain(app.models.tuned(&caller.tenant)).collect();
    let elsewhere = gateway::models(&app, &caller);
    if anthropic::is_versioned(&headers) {
        return Json(AnyModelList::Anthropic(anthropic_list(&all, &elsewhere)));
    }
    let entries = all.iter().flat_map(|model| {
        let state = app.models.state(model);
        model.served.names().map(move |name| model.served.entry(name, state))
    });
    let data: Vec<Model> = entries.chain(elsewhere).collect();
    Json(AnyModelList::OpenAi(ModelList { object: "list", models: data.clone(), data }))
}

/// Anthropic's list of models.
fn anthropic_list(all: &[Arc<Entry>], elsewhere: &[Model]) -> AnthropicModelList {
    let served = all.iter().map(|model| &model.served);
    let data: Vec<AnthropicModel> = served
        .flat_map(|served| served.names().map(move |name| served.anthropic_entry(name)))
        .chain(elsewhere.iter().map(gateway::anthropic_entry))
        .collect();
    let id = |model: Option<&AnthropicModel>| model.map(|model| model.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    AnthropicModelList { data, has_more: false, first_id, last_id }
}

/// `GET /v1/models/{id}`.
pub(crate) async fn model(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<AnyModel>, Rejection> {
    let model = match app.model(&caller, Some(&id)) {
        Ok(model) => model,
        Err(error) => {
            let elsewhere = gateway::models(&app, &caller).into_iter().find(|model| model.id == id);
            let model = elsewhere.ok_or(error)?;
            return Ok(Json(match anthropic::is_versioned(&headers) {
                true => AnyModel::Anthropic(gateway::anthropic_entry(&model)),
                false => AnyModel::OpenAi(model),
            }));
        }
    };
    Ok(Json(match anthropic::is_versioned(&headers) {
        true => AnyModel::Anthropic(model.served.anthropic_entry(&id)),
        false => AnyModel::OpenAi(model.served.entry(&id, app.models.state(&model))),
    }))
}

/// `GET /v1/models/{organization}/{name}`: names of repositories have a slash.
pub(crate) async fn model_in_organization(
    app: State<Shared>,
    caller: Extension<Caller>,
    headers: HeaderMap,
    Path((organization, name)): Path<(String, String)>,
) -> Result<Json<AnyModel>, Rejection> {
    model(app, caller, headers, Path(format!("{organization}/{name}"))).await
}

/// `POST /v1/tokenize`.
pub(crate) async fn tokenize(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<TokenizeRequest>,
) -> Result<Json<TokenizeResponse>, Rejection> {
    let model = app.lease(&caller, &app.model(&caller, request.model.as_deref())?).await?;
    let max_model_len = model.served().max_context;
    let encode = move |_: &App| Ok(model.assistant().vocab().encode_ids(&request.prompt));
    let tokens = run_blocking(&app, encode).await?;
    Ok(Json(TokenizeResponse { count: tokens.len(), max_model_len, tokens }))
}

/// `POST /v1/detokenize`.
pub(crate) async fn detokenize(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<DetokenizeRequest>,
) -> Result<Json<DetokenizeResponse>, Rejection> {
    let model = app.lease(&caller, &app.model(&caller, request.model.as_deref())?).await?;
    Ok(Json(DetokenizeResponse { prompt: text_of(&model, &request.tokens)? }))
}

/// `GET /v1/tokenizer_info`.
pub(crate) async fn tokenizer_info(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<TokenizerConfig>, Rejection> {
    let model = app.lease(&caller, app.models.first()).await?;
    Ok(Json(TokenizerConfig {
        tokenizer_class: "PreTrainedTokenizerFast",
        bos_token: Control::StartOfText.literal(),
        eos_token: Control::Return.literal(),
        pad_token: Control::EndOfText.literal(),
        model_max_length: model.served().max_context,
        vocab_size: model.assistant().vocab().len(),
    }))
}

/// Text of tokens, control tokens spelled out.
fn text_of(model: &Lease, tokens: &[u32]) -> Result<String, ApiError> {
    let vocab = model.assistant().vocab();
    let mut bytes = Vec::new();
    for (index, &id) in tokens.iter().enumerate() {
        match vocab.token(id) {
            Some(Token::Text(token)) => bytes.extend_from_slice(vocab.bytes(token)),
            Some(Token::Control(control)) => bytes.extend_from_slice(control.literal().as_bytes()),
            None => {
                let message = format!("tokens[{index}] is {id}, which the vocabulary gives no text");
                return Err(ApiError::invalid(format!("tokens[{index}]"), message));
            }
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `POST /v1/render`.
pub(crate) async fn render(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<Value>,
) -> Result<Json<RenderResponse>, Rejection> {
    if !caller.may_use_tokens {
        return Err(ApiError::Scope { what: "read what the model reads" }.into());
    }
    let (model, generation) = generation(&app, &caller, body).await?;
    let model = app.lease(&caller, &model).await?;
    let rendered = run_blocking(&app, move |_| {
        let tokens = compaction::rendered(&model, &generation.conversation)?;
        let text = text_of(&model, &tokens)?;
        let max_model_len = model.served().max_context;
        Ok(RenderResponse { count: tokens.len(), max_model_len, tokens, text, warnings: generation.warnings })
    });
    Ok(Json(rendered.await?))
}

async fn generation(
    app: &Arc<App>,
    caller: &Caller,
    body: Value,
) -> Result<(Arc<Entry>, GenerationRequest), ApiError> {
    let bytes = body.to_string().into_bytes();
    if body.get("messages").is_some() {
        let request: ChatRequest = gptoss_api::body::parse(&bytes)?;
        let model = app.model(caller, request.model.as_deref())?;
        let read = app.read(caller, &model.served, |scope| gptoss_api::chat::parse::parse(&request, scope));
        return Ok((model, read?));
    }
    let request: ResponsesRequest = gptoss_api::body::parse(&bytes)?;
    let model = app.model(caller, request.model.as_deref())?;
    let (before, tools) = (PriorTurns::default(), tools_for(app.tools.as_ref(), caller, &request).await?);
    let read = app.read(caller, &model.served, |scope| parse::parse(&request, before, &tools, scope));
    Ok((model, read?.generation))
}
