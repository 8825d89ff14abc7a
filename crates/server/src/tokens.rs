//! `/v1/models`, `/v1/tokenize`, `/v1/detokenize`, `/v1/tokenizer_info`, `/v1/render`: what is there, and
//! what would the model read?
//!
//! Nothing here runs the model. `/v1/render` takes the body of Chat Completions or of Responses and gives the
//! tokens that the same body would make the model read, so that nobody has to guess what a request becomes.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::responses::parse::{self, PriorTurns};
use gptoss_api::wire::chat::ChatRequest;
use gptoss_api::wire::models::{AnyModel, AnyModelList, ModelList};
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
use crate::keys::Caller;
use crate::rejection::Rejection;
use crate::state::{App, Shared};

/// `GET /v1/models`.
pub(crate) async fn models(State(app): State<Shared>, headers: HeaderMap) -> Json<AnyModelList> {
    if anthropic::is_versioned(&headers) {
        return Json(AnyModelList::Anthropic(app.model.anthropic_list()));
    }
    let data = app.model.entries();
    Json(AnyModelList::OpenAi(ModelList { object: "list", models: data.clone(), data }))
}

/// `GET /v1/models/{id}`.
pub(crate) async fn model(
    State(app): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<AnyModel>, Rejection> {
    app.model.check(Some(&id))?;
    Ok(Json(match anthropic::is_versioned(&headers) {
        true => AnyModel::Anthropic(app.model.anthropic_entry(&id)),
        false => AnyModel::OpenAi(app.model.entry(&id)),
    }))
}

/// `GET /v1/models/{organization}/{name}`: names of repositories have a slash.
pub(crate) async fn model_in_organization(
    app: State<Shared>,
    headers: HeaderMap,
    Path((organization, name)): Path<(String, String)>,
) -> Result<Json<AnyModel>, Rejection> {
    model(app, headers, Path(format!("{organization}/{name}"))).await
}

/// `POST /v1/tokenize`.
pub(crate) async fn tokenize(
    State(app): State<Shared>,
    Body(request): Body<TokenizeRequest>,
) -> Result<Json<TokenizeResponse>, Rejection> {
    app.model.check(request.model.as_deref())?;
    let tokens = run_blocking(&app, move |app| Ok(app.assistant.vocab().encode_ids(&request.prompt))).await?;
    Ok(Json(TokenizeResponse { count: tokens.len(), max_model_len: app.model.max_context, tokens }))
}

/// `POST /v1/detokenize`.
pub(crate) async fn detokenize(
    State(app): State<Shared>,
    Body(request): Body<DetokenizeRequest>,
) -> Result<Json<DetokenizeResponse>, Rejection> {
    app.model.check(request.model.as_deref())?;
    Ok(Json(DetokenizeResponse { prompt: text_of(&app, &request.tokens)? }))
}

/// `GET /v1/tokenizer_info`.
pub(crate) async fn tokenizer_info(State(app): State<Shared>) -> Json<TokenizerConfig> {
    Json(TokenizerConfig {
        tokenizer_class: "PreTrainedTokenizerFast",
        bos_token: Control::StartOfText.literal(),
        eos_token: Control::Return.literal(),
        pad_token: Control::EndOfText.literal(),
        model_max_length: app.model.max_context,
        vocab_size: app.assistant.vocab().len(),
    })
}

/// Text of tokens, control tokens spelled out.
fn text_of(app: &App, tokens: &[u32]) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    for (index, &id) in tokens.iter().enumerate() {
        match app.assistant.vocab().token(id) {
            Some(Token::Text(token)) => bytes.extend_from_slice(app.assistant.vocab().bytes(token)),
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
    let generation = generation(&app, &caller, body)?;
    let rendered = run_blocking(&app, move |app| {
        let tokens = compaction::rendered(app, &generation.conversation)?;
        let text = text_of(app, &tokens)?;
        let max_model_len = app.model.max_context;
        Ok(RenderResponse { count: tokens.len(), max_model_len, tokens, text, warnings: generation.warnings })
    });
    Ok(Json(rendered.await?))
}

fn generation(app: &App, caller: &Caller, body: Value) -> Result<GenerationRequest, ApiError> {
    let bytes = body.to_string().into_bytes();
    if body.get("messages").is_some() {
        let request: ChatRequest = gptoss_api::body::parse(&bytes)?;
        app.model.check(request.model.as_deref())?;
        return app.read(caller, |scope| gptoss_api::chat::parse::parse(&request, scope));
    }
    let request: ResponsesRequest = gptoss_api::body::parse(&bytes)?;
    app.model.check(request.model.as_deref())?;
    Ok(app.read(caller, |scope| parse::parse(&request, PriorTurns::default(), scope))?.generation)
}
