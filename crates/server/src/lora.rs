//! `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`: adapters that come and go while the server runs, as
//! vLLM has them.
//!
//! Only folders in the operator's own ([`App::with_adapter_root`]) are read. An adapter is its tenant's alone
//! and is forgotten when the server ends. Its numbers are looked at before anybody is told that it is there.

use std::path::{Path, PathBuf};

use axum::extract::State;
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::fine_tuning::words::TUNED;
use gptoss_api::wire::lora::{LoadLoraAdapter, UnloadLoraAdapter};

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
    let folder = folder(&app, &lora_path)?;
    let base = app.model(&caller, base_model_name.as_deref())?;
    if base.is_adapted() {
        return Err(
            ApiError::invalid("base_model_name", "is an adapter; name the model that it is of").into()
        );
    }
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
    root(&app)?;
    let name = asked.lora_name;
    let is_there = !name.starts_with(TUNED) && is_known(&app, &caller, &name);
    if !is_there {
        return Err(ApiError::Model { model: name, known: known(&app, &caller).join(", ") }.into());
    }
    app.models.remove_tuned(&caller.tenant, &name);
    Ok(Json(format!("Success: LoRA adapter '{name}' removed successfully.")))
}

fn root(app: &App) -> Result<&Path, ApiError> {
    app.adapter_root.as_deref().ok_or_else(|| {
        ApiError::unsupported(
            "lora_path",
            "this server takes no adapters while it runs: the operator has named no folder of them \
             (serve --adapter-root DIR)",
        )
    })
}

/// The folder that a path means, in the operator's.
///
/// Errors: it is not there, or leads out of it.
fn folder(app: &App, path: &str) -> Result<PathBuf, ApiError> {
    let root = root(app)?;
    if path.is_empty() {
        return Err(ApiError::invalid("lora_path", "is missing"));
    }
    let outside = || ApiError::invalid("lora_path", "is no folder in the operator's folder of adapters");
    let real_root = root.canonicalize().map_err(|_| outside())?;
    let folder = root.join(path).canonicalize().map_err(|_| outside())?;
    let is_inside = folder.starts_with(&real_root) && folder != real_root && folder.is_dir();
    if is_inside { Ok(folder) } else { Err(outside()) }
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
    if is_known(app, caller, name) {
        return refuse("has been loaded; unload it first");
    }
    if known(app, caller).len() >= LORA_ADAPTERS_MAX {
        return refuse(&format!("is one too many: there are {LORA_ADAPTERS_MAX}; unload one"));
    }
    Ok(())
}

fn is_known(app: &App, caller: &Caller, name: &str) -> bool {
    known(app, caller).iter().any(|other| other == name)
}

/// The names of a tenant's adapters that were loaded here.
fn known(app: &App, caller: &Caller) -> Vec<String> {
    let tuned = app.models.tuned(&caller.tenant);
    tuned.iter().map(|entry| entry.name.to_string()).filter(|name| !name.starts_with(TUNED)).collect()
}
