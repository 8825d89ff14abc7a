//! `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`: adapters that come and go while the server runs, as
//! vLLM has them.
//!
//! Only folders in the operator's own ([`App::with_adapter_root`]) are read. An adapter is its tenant's alone
//! and is forgotten when the server ends. Its numbers are looked at before anybody is told that it is there.

use axum::extract::State;
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::fine_tuning::words::TUNED;
use gptoss_api::wire::lora::{LoadLoraAdapter, UnloadLoraAdapter};

use crate::adapter_root::AdapterRoot;
use crate::body::Body;
use crate::keys::Caller;
use crate::rejection::Rejection;
use crate::state::{App, Shared, now};

/// Adapters of one tenant that are there at a time.
const LORA_ADAPTERS_MAX: usize = 64;
/// Longest name. Units: bytes.
const NAME_BYTES_MAX: usize = 256;

/// `POST /v1/load_lora_adapter`.
pub(crate) async fn load(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(asked): Body<LoadLoraAdapter>,
) -> Result<Json<String>, Rejection> {
    let LoadLoraAdapter { lora_name: name, lora_path, base_model_name } = asked;
    let root = root(&app)?;
    let folder = root.find(&lora_path)?;
    let base = app.model(&caller, base_model_name.as_deref())?;
    if base.is_adapted() {
        return Err(
            ApiError::invalid("base_model_name", "is an adapter; name the model that it is of").into()
        );
    }
    let _alone = root.alone().await;
    check_name(&app, &caller, &name)?;
    let lease = app.lease(&caller, &base).await?;
    let loaded = lease.load_adapter(&folder).await.map_err(|problem| {
        app.log.notice(&format!("{} cannot be loaded: {problem}", folder.display()));
        ApiError::invalid("lora_path", format!("is no adapter of {}: {problem}", base.name))
    })?;
    app.models.add_tuned(&caller.tenant, (&name, &base.name), folder, now());
    drop(loaded);
    Ok(Json(format!("Success: LoRA adapter '{name}' added successfully.")))
}

/// `POST /v1/unload_lora_adapter`.
pub(crate) async fn unload(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(asked): Body<UnloadLoraAdapter>,
) -> Result<Json<String>, Rejection> {
    let _alone = root(&app)?.alone().await;
    let name = asked.lora_name;
    let known = known(&app, &caller);
    if !known.contains(&name) {
        return Err(ApiError::Model { model: name, known: known.join(", ") }.into());
    }
    app.models.remove_tuned(&caller.tenant, &name);
    Ok(Json(format!("Success: LoRA adapter '{name}' removed successfully.")))
}

fn root(app: &App) -> Result<&AdapterRoot, ApiError> {
    app.adapter_root.as_ref().ok_or_else(|| {
        ApiError::unsupported(
            "lora_path",
            "this server takes no adapters while it runs: the operator has named no folder of them \
             (serve --adapter-root DIR)",
        )
    })
}

/// Errors: the name is none, is taken, or there are too many.
fn check_name(app: &App, caller: &Caller, name: &str) -> Result<(), ApiError> {
    let refuse = |why: &str| Err(ApiError::invalid("lora_name", why));
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return refuse(&format!("must be a name of at most {NAME_BYTES_MAX} bytes"));
    }
    if name.starts_with(TUNED) || app.models.entries().iter().any(|entry| entry.served.is_called(name)) {
        return refuse("is another model's name");
    }
    let known = known(app, caller);
    if known.iter().any(|other| other == name) {
        return refuse("has been loaded; unload it first");
    }
    if known.len() >= LORA_ADAPTERS_MAX {
        return refuse(&format!("is one too many: there are {LORA_ADAPTERS_MAX}; unload one"));
    }
    Ok(())
}

/// The names of a tenant's adapters that were loaded here.
fn known(app: &App, caller: &Caller) -> Vec<String> {
    let tuned = app.models.tuned(&caller.tenant);
    tuned.iter().map(|entry| entry.name.to_string()).filter(|name| !name.starts_with(TUNED)).collect()
}
