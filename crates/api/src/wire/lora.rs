//! Adapters that come and go while a server runs, in vLLM's words.

use schemars::JsonSchema;
use serde::Deserialize;

/// The body of `POST /v1/load_lora_adapter`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct LoadLoraAdapter {
    /// The model's name in requests.
    #[serde(default)]
    pub lora_name: String,
    /// Its folder, in the operator's folder of adapters.
    #[serde(default)]
    pub lora_path: String,
    /// The model that it is of; the first, when absent.
    #[serde(default)]
    pub base_model_name: Option<String>,
}

/// The body of `POST /v1/unload_lora_adapter`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct UnloadLoraAdapter {
    /// The model's name in requests.
    #[serde(default)]
    pub lora_name: String,
}
