//! Which models are served, and what does a request have to know of them?
//!
//! [`ServedModel`] is what the composition root tells this room of a model: the name to ask for, the sampling
//! that the model's own file wants, the date it is told. A [`ModelOffer`] is that with the way to load it,
//! and [`Models`] are all there are. A [`ServedAdapter`] is a model too, by the name of its base and its own:
//! `BASE:NAME`. A request that names another model is refused with the names there are.
//!
//! It does not know weights, nor where they came from.

use std::path::Path;
use std::time::Duration;

use gptoss_api::ollama::lines::timestamp;
use gptoss_api::wire::message_events::AnthropicModel;
use gptoss_api::wire::models::{Model, ModelStatus};
use gptoss_turn::{AdapterId, Assistant, SamplingParams};

use crate::error::Error;
use crate::roster::ModelState;

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
    /// The name of the model whose weights it shares, if it is an adapter.
    pub parent: Option<String>,
}

/// An adapter that is loaded with its model.
#[derive(Debug, Clone)]
pub struct ServedAdapter {
    /// Behind the model's name and a colon, the name to ask for.
    pub name: String,
    /// Which of the model's adapters it is.
    pub id: AdapterId,
}

/// Puts the adapter of a folder beside the weights of a model in memory, on a thread that may wait. Errors:
/// what is wrong, for the operator.
pub type LoadAdapter = Box<dyn Fn(&Path) -> Result<AdapterId, String> + Send + Sync>;

/// How adapters come to a model in memory, and leave it.
pub struct AdapterDoor {
    /// Brings one.
    pub load: LoadAdapter,
    /// Takes one away that nobody uses.
    pub unload: Box<dyn Fn(AdapterId) + Send + Sync>,
}

/// A model in memory.
pub struct LoadedModel {
    /// The way to it.
    pub assistant: Assistant,
    /// Called when it has to leave and nobody uses it any more: when it returns, its memory is free.
    pub unload: Box<dyn FnOnce() + Send>,
    /// Takes adapters that are tuned while it runs; None takes none.
    pub adapters: Option<AdapterDoor>,
}

/// Loads a model, on a thread that may wait. Errors: what is wrong, for the operator.
pub type LoadModel = Box<dyn Fn() -> Result<LoadedModel, String> + Send>;

/// A model that can be loaded.
pub struct ModelOffer {
    /// What requests have to know of it.
    pub served: ServedModel,
    /// What it takes in memory, as planned. Units: bytes.
    pub planned_bytes: u64,
    /// Loads it.
    pub load: LoadModel,
}

/// All models that are served. The first is meant by requests that name none.
pub struct Models {
    pub(crate) offers: Vec<ModelOffer>,
    pub(crate) budget: Option<u64>,
    pub(crate) idle: Option<Duration>,
    /// Which of the offers an adapter belongs to, and what requests have to know of it.
    pub(crate) adapters: Vec<(usize, ServedModel, AdapterId)>,
    /// The first, if it is in memory already.
    pub(crate) loaded: Option<LoadedModel>,
}

impl Models {
    /// One that is in memory and stays there.
    pub fn one(served: ServedModel, loaded: LoadedModel) -> Models {
        let load = || Err("it has gone and does not come back".to_owned());
        let offer = ModelOffer { served, planned_bytes: 0, load: Box::new(load) };
        Models { offers: vec![offer], budget: None, idle: None, adapters: Vec::new(), loaded: Some(loaded) }
    }

    /// Several that are loaded when they are asked for. Those in memory take `budget` bytes together at most,
    /// and leave when nobody has used them for `idle`.
    ///
    /// Errors: `ModelName`, `ModelBytes`.
    pub fn several(
        offers: Vec<ModelOffer>,
        budget: Option<u64>,
        idle: Option<Duration>,
    ) -> Result<Models, Error> {
        for (index, ModelOffer { served, planned_bytes, .. }) in offers.iter().enumerate() {
            let name = &served.name;
            if offers[..index].iter().any(|other| other.served.name == *name) {
                return Err(Error::ModelName { name: name.clone() });
            }
            if let Some(budget) = budget.filter(|budget| planned_bytes > budget) {
                return Err(Error::ModelBytes { name: name.clone(), bytes: *planned_bytes, budget });
            }
        }
        Ok(Models { offers, budget, idle, adapters: Vec::new(), loaded: None })
    }

    /// With an adapter of the model at `index`, which is loaded whenever that is.
    ///
    /// Errors: `ModelName`.
    pub fn with_adapter(mut self, index: usize, adapter: &ServedAdapter) -> Result<Models, Error> {
        let served = self.offers[index].served.adapted(adapter);
        let models = self.offers.iter().map(|offer| &offer.served);
        let mut all = models.chain(self.adapters.iter().map(|(_, served, _)| served));
        if all.any(|other| other.name == served.name) {
            return Err(Error::ModelName { name: served.name });
        }
        self.adapters.push((index, served, adapter.id));
        Ok(self)
    }

    /// With the first in memory already.
    pub fn with_loaded(self, loaded: LoadedModel) -> Models {
        Models { loaded: Some(loaded), ..self }
    }
}

/// The alias that stands for every name.
const ANY: &str = "*";

impl ServedModel {
    /// The model as an adapter makes it: its numbers, and so its fingerprint, are others.
    fn adapted(&self, ServedAdapter { name, id }: &ServedAdapter) -> ServedModel {
        let under = |model: &String| format!("{model}:{name}");
        ServedModel {
            name: under(&self.name),
            aliases: self.names().skip(1).map(under).collect(),
            fingerprint: format!("{}+{}", self.fingerprint, id.short()),
            parent: Some(self.name.clone()),
            ..self.clone()
        }
    }

    /// The model as tuning has made it, under the name of that.
    pub(crate) fn tuned(&self, name: &str, created: u64) -> ServedModel {
        ServedModel {
            name: name.to_owned(),
            aliases: Vec::new(),
            created,
            fingerprint: format!("{}+{name}", self.fingerprint),
            parent: Some(self.name.clone()),
            ..self.clone()
        }
    }

    /// Whether `name` is what an adapter of this model would be called.
    pub(crate) fn begins(&self, name: &str) -> bool {
        self.names().any(|own| name.strip_prefix(own.as_str()).is_some_and(|rest| rest.starts_with(':')))
    }

    /// The names to ask for, its own first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(self.aliases.iter().filter(|alias| *alias != ANY))
    }

    /// Whether `name` is one of its names; Ollama's clients write a tag behind them.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let bare = name.strip_suffix(":latest").unwrap_or(name);
        self.names().any(|own| own == name || own == bare)
    }

    /// Whether it answers to any name.
    pub(crate) fn has_any_name(&self) -> bool {
        self.aliases.iter().any(|alias| alias == ANY)
    }

    /// The name under which a request that names `name` is answered: its own.
    pub(crate) fn named(&self, name: Option<&str>) -> String {
        name.filter(|name| !name.is_empty()).unwrap_or(&self.name).to_owned()
    }

    /// Its entry in the list of models, under `id`.
    pub(crate) fn entry(&self, id: &str, state: ModelState) -> Model {
        Model {
            id: id.to_owned(),
            object: "model",
            created: self.created,
            owned_by: "gptoss".into(),
            demo: self.is_demo,
            context_length: self.max_context,
            max_model_len: self.max_context,
            status: ModelStatus { value: state.word() },
            root: self.parent.as_ref().unwrap_or(&self.name).clone(),
            parent: self.parent.clone(),
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
}
