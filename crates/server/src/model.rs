//! Which model is served, and what does a request have to know of it?
//!
//! [`ServedModel`] is what the composition root tells this room: the name to ask for, the sampling that the
//! model's own file wants, the date it is told. A request that names another model is refused with the names
//! there are.
//!
//! It does not know weights, nor where they came from.

use gptoss_api::ApiError;
use gptoss_api::ollama::lines::timestamp;
use gptoss_api::wire::message_events::{AnthropicModel, AnthropicModelList};
use gptoss_api::wire::models::Model;
use gptoss_turn::SamplingParams;

/// The model that answers.
#[derive(Clone)]
pub struct ServedModel {
    /// The name to ask for.
    pub name: String,
    /// Other names for it; `*` is any.
    pub aliases: Vec<String>,
    /// Whether it is the small model inside the program.
    pub is_demo: bool,
    /// Tokens of a whole conversation.
    pub max_context: usize,
    /// How it is sampled when a request says nothing.
    pub sampling: SamplingParams,
    /// The date it is told, made anew for each request; None tells it none.
    pub today: Option<fn() -> String>,
    /// Build, model and numeric mode: what a seeded request's bytes depend on besides itself.
    pub fingerprint: String,
    /// When it began to be served. Units: seconds since 1970.
    pub created: u64,
    /// Bytes of its weights, for clients that show them.
    pub weight_bytes: u64,
    /// How many parameters it has, in Ollama's words: `20.9B`.
    pub parameter_size: String,
    /// What most of its weights are stored as: `MXFP4`.
    pub quantization: &'static str,
}

/// The alias that stands for every name.
const ANY: &str = "*";

impl ServedModel {
    /// The names to ask for, its own first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(self.aliases.iter().filter(|alias| *alias != ANY))
    }

    /// Whether a request that names `name` means this model; one that names none does.
    pub(crate) fn is_called(&self, name: Option<&str>) -> bool {
        match name {
            None | Some("") => true,
            Some(name) => {
                // Ollama's clients write a tag behind the name.
                let bare = name.strip_suffix(":latest").unwrap_or(name);
                let is_known = |alias: &String| alias == name || alias == bare || alias == ANY;
                self.name == name || self.name == bare || self.aliases.iter().any(is_known)
            }
        }
    }

    /// The name under which a request that names `name` is answered: its own.
    pub(crate) fn named(&self, name: Option<&str>) -> String {
        name.filter(|name| !name.is_empty()).unwrap_or(&self.name).to_owned()
    }

    /// Errors: `Model`, with the names there are.
    pub(crate) fn check(&self, name: Option<&str>) -> Result<(), ApiError> {
        if self.is_called(name) {
            return Ok(());
        }
        let known: Vec<&str> = self.names().map(String::as_str).collect();
        Err(ApiError::Model { model: name.unwrap_or_default().to_owned(), known: known.join(", ") })
    }

    /// Its entry in the list of models, under `id`.
    pub(crate) fn entry(&self, id: &str) -> Model {
        Model {
            id: id.to_owned(),
            object: "model",
            created: self.created,
            owned_by: "gptoss",
            demo: self.is_demo,
            context_length: self.max_context,
            max_model_len: self.max_context,
        }
    }

    /// Its entry in Anthropic's list of models, under `id`.
    pub(crate) fn anthropic_entry(&self, id: &str) -> AnthropicModel {
        AnthropicModel {
            kind: "model",
            id: id.to_owned(),
            display_name: id.to_owned(),
            created_at: timestamp(self.created),
            lifecycle: "active",
            max_input_tokens: self.max_context,
            max_tokens: self.max_context,
        }
    }

    /// Anthropic's list of models.
    pub(crate) fn anthropic_list(&self) -> AnthropicModelList {
        let data: Vec<AnthropicModel> = self.names().map(|name| self.anthropic_entry(name)).collect();
        let id = |model: Option<&AnthropicModel>| model.map(|model| model.id.clone());
        let (first_id, last_id) = (id(data.first()), id(data.last()));
        AnthropicModelList { data, has_more: false, first_id, last_id }
    }

    /// All its entries.
    pub(crate) fn entries(&self) -> Vec<Model> {
        self.names().map(|name| self.entry(name)).collect()
    }
}
