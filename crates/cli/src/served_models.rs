//! The models of `serve` and `batch`: looked at, planned, and loaded now or when they are asked for.
//!
//! [`Prepared::one`] loads a model at once. With [`Prepared::several`] every model is opened and planned at
//! the start, so that what cannot be served is told then, and nothing of it stays in memory; its [`Recipe`]
//! opens and loads it whenever the server wants it. All models in memory keep to one budget: `--memory`, or
//! what the machine has.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use gptoss_checkpoint::{Config, ExpertFormat};
use gptoss_engine::{KvEventSender, KvPlan, SEQUENCES_DEFAULT, SamplingParams};
use gptoss_harmony::Vocab;
use gptoss_model::{DenseMode, MemoryPlan, Model, ModelConfig, StoreSizes, Term, parameters};
use gptoss_server::{AdapterDoor, LoadedModel, ModelOffer, Models, ServedAdapter, ServedModel};
use gptoss_turn::{Assistant, TokenTable};

use crate::args::{ComputeArgs, DeviceArg, EngineArgs};
use crate::card_kv;
use crate::device;
use crate::engine_start;
use crate::failure::usage;
use crate::generation_config::GenerationConfig;
use crate::machine;
use crate::memory_budget::{self, Needs, human};
use crate::model_source::{ModelSource, Opened, context, dense, kv_format, precision};
use crate::opened_adapter::{OpenedAdapter, load_new};
use crate::today::today;

/// How long one of several models stays in memory when nobody uses it, unless the flag says otherwise.
const IDLE_DEFAULT: Duration = Duration::from_secs(1800);

/// What of a command's flags says how models are served.
#[derive(Clone, Copy)]
pub struct Serving<'a> {
    /// How the numbers are made.
    pub compute: &'a ComputeArgs,
    /// How conversations share the machine.
    pub engine: &'a EngineArgs,
    /// Tokens of context to keep room for.
    pub context: Option<u32>,
    /// Whether a model is told no date.
    pub no_date: bool,
    /// Other names: `NAME` of the first model, `NAME=MODEL` of any.
    pub alias: &'a [String],
    /// After how many idle seconds a model leaves memory; 0 is never.
    pub idle: Option<u64>,
    /// Who is told of kept blocks; for one model.
    pub kv_events: Option<&'a KvEventSender>,
}

impl Serving<'_> {
    fn idle(&self, num_models: usize) -> Option<Duration> {
        match self.idle {
            None => (num_models > 1).then_some(IDLE_DEFAULT),
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
        }
    }
}

/// A source, opened, with the name that clients see.
pub struct NamedSource {
    /// The name.
    pub name: String,
    /// The source.
    pub opened: Opened,
}

/// Models that are ready to be served.
pub struct Prepared {
    /// For the server.
    pub models: Models,
    /// The first is meant by requests that name none.
    pub plans: Vec<Planned>,
    /// What all in memory may take together, where there are several. Units: bytes.
    pub budget: Option<u64>,
    /// The one model that was loaded and stays.
    pub alone: Option<Alone>,
}

/// A model that is the only one, for those who go on with its engine themselves.
pub struct Alone {
    /// Its engine and vocabulary.
    pub assistant: Assistant,
    /// The slots of its cache.
    pub sizes: StoreSizes,
    /// Its adapters.
    pub adapters: Vec<OpenedAdapter>,
    /// Its configuration.
    pub config: Config,
    /// The format of its experts.
    pub experts: ExpertFormat,
    /// Where its files are, if they are in a folder.
    pub folder: Option<PathBuf>,
}

/// What was found out about a model without loading it.
pub struct Planned {
    /// What requests have to know of it.
    pub served: ServedModel,
    /// What it takes.
    pub terms: Vec<Term>,
    /// The names of its adapters, to which requests put its own in front.
    pub adapters: Vec<String>,
}

impl Planned {
    /// Everything that it takes. Units: bytes.
    pub fn bytes(&self) -> u64 {
        self.terms.iter().map(|term| term.bytes).sum()
    }

    /// The terms and their sum, as lines.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for term in &self.terms {
            writeln!(out, "  {:>9}  {}", human(term.bytes), term.name)?;
        }
        let context = self.served.max_context;
        writeln!(out, "  {:>9}  in all, for {context} tokens of context", human(self.bytes()))
    }
}

impl Prepared {
    /// Loads one model and starts its engine.
    ///
    /// Errors: the files, the flags, the memory.
    pub fn one(args: &Serving<'_>, source: &NamedSource) -> Result<Prepared> {
        let mut recipe = Recipe::new(args, source)?;
        let opened = &source.opened;
        let options = recipe.engine.options(recipe.max_context, SEQUENCES_DEFAULT);
        recipe.engine.kv_memory = card_kv::fit(opened, &recipe.compute, options)?.kv_bytes;
        let mut planned = recipe.look(opened)?;
        let vocab = opened.vocab()?;
        let kv = recipe.plan_kv(opened)?;
        let model = opened.load(&recipe.compute, recipe.max_context, Some(&kv))?;
        planned.served.aliases = aliases(args.alias, &[&source.name]).remove(0);
        let bytes = planned.bytes();
        if args.compute.memory.is_some() {
            // It was shown when the model was loaded.
            planned.terms.clear();
        }
        if let Some(card) = model.device() {
            let (card, needs) = (card.description(), recipe.needs(&kv)?);
            let plan = device::plan(card, &recipe.compute, &opened.checkpoint, &needs, model.kv_format())?;
            planned.terms = plan.terms;
            let device = engine_start::device_class(&model)?;
            planned.served.fingerprint.push_str(&format!("-{device}"));
        }
        let loaded = recipe.start(opened, model, vocab)?;
        let alone = Alone {
            assistant: loaded.assistant.clone(),
            sizes: kv.sizes,
            adapters: opened.adapters.clone(),
            config: opened.checkpoint.config().clone(),
            experts: opened.checkpoint.expert_format(),
            folder: opened.folder().map(Path::to_owned),
        };
        let offers = vec![recipe.offer(planned.served.clone(), bytes)];
        let models = Models::several(offers, None, args.idle(1))?.with_loaded(loaded);
        let models = with_adapters(models, std::slice::from_ref(source))?;
        Ok(Prepared { models, plans: vec![planned], budget: None, alone: Some(alone) })
    }

    /// Looks at several models, of which none is loaded.
    ///
    /// Errors: the files, the flags, the memory, two models of one name.
    pub fn several(args: &Serving<'_>, sources: &[NamedSource]) -> Result<Prepared> {
        if matches!(args.compute.device, DeviceArg::Card(_)) || args.compute.gpu_memory.is_some() {
            return Err(usage(
                "several models share the computer's memory\ngive one model, or leave --device and --gpu-memory out",
            ));
        }
        let budget = budget(args.compute)?;
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let (mut offers, mut plans) = (Vec::new(), Vec::new());
        for (source, aliases) in sources.iter().zip(aliases(args.alias, &names)) {
            let mut recipe = Recipe::new(args, source)?.apart(sources.len());
            recipe.compute.device = DeviceArg::Cpu;
            let mut planned = recipe.look(&source.opened)?;
            // A vocabulary that does not fit is told now.
            source.opened.vocab()?;
            planned.served.aliases = aliases;
            let bytes = planned.bytes();
            if bytes > budget && args.compute.memory.is_none() {
                return Err(usage(format!(
                    "{} takes {}, and this machine has {}\n\
                     give --memory SIZE, so that experts beyond it stay on disk, or a smaller --context",
                    source.name,
                    human(bytes),
                    human(budget)
                )));
            }
            offers.push(recipe.offer(planned.served.clone(), bytes));
            plans.push(planned);
        }
        let models = Models::several(offers, Some(budget), args.idle(sources.len()))
            .map_err(|error| usage(error.to_string()))?;
        let models = with_adapters(models, sources)?;
        Ok(Prepared { models, plans, budget: Some(budget), alone: None })
    }
}

/// The models with the adapters of each.
///
/// Errors: two of one name.
fn with_adapters(models: Models, sources: &[NamedSource]) -> Result<Models> {
    let each = sources.iter().enumerate();
    let mut all = each.flat_map(|(model, source)| source.opened.adapters.iter().map(move |one| (model, one)));
    all.try_fold(models, |models, (model, OpenedAdapter { name, id, .. })| {
        let adapter = ServedAdapter { name: name.clone(), id: *id };
        models.with_adapter(model, &adapter).map_err(|error| usage(error.to_string()))
    })
}

/// What all models in memory may take together.
///
/// Errors: nobody says how much there is.
fn budget(compute: &ComputeArgs) -> Result<u64> {
    let found = compute.memory.or_else(|| machine::memory().map(|memory| memory.most()));
    found.ok_or_else(|| usage("the system does not say how much memory there is\ngive --memory SIZE"))
}

/// The other names of each model.
fn aliases(alias: &[String], names: &[&str]) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new(); names.len()];
    for text in alias {
        let of = text
            .split_once('=')
            .and_then(|(alias, name)| Some((alias, names.iter().position(|other| *other == name)?)));
        let (alias, index) = of.unwrap_or((text, 0));
        all[index].push(alias.to_owned());
    }
    all
}

/// How a model is loaded, as often as it is wanted.
#[derive(Clone)]
struct Recipe {
    source: ModelSource,
    adapters: Vec<OpenedAdapter>,
    name: String,
    compute: ComputeArgs,
    engine: EngineArgs,
    max_context: usize,
    no_date: bool,
    kv_events: Option<KvEventSender>,
}

impl Recipe {
    fn new(args: &Serving<'_>, NamedSource { name, opened }: &NamedSource) -> Result<Recipe> {
        Ok(Recipe {
            source: opened.source.clone(),
            adapters: opened.adapters.clone(),
            name: name.clone(),
            compute: args.compute.clone(),
            engine: args.engine.clone(),
            max_context: context(args.context, opened.checkpoint.config(), &opened.source)?,
            no_date: args.no_date,
            kv_events: args.kv_events.cloned(),
        })
    }

    /// One of several: with a folder of kept prompts of its own, and its share of what they may take.
    fn apart(mut self, num_models: usize) -> Recipe {
        if let Some(folder) = &mut self.engine.kv_disk {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
            *folder = folder.join(self.name.chars().map(plain).collect::<String>());
            let all = self.engine.kv_disk_size.unwrap_or(engine_start::KV_DISK_BYTES_DEFAULT);
            self.engine.kv_disk_size = Some((all / num_models as u64).max(1));
        }
        self
    }

    fn plan_kv(&self, opened: &Opened) -> Result<KvPlan> {
        let options = self.engine.options(self.max_context, SEQUENCES_DEFAULT);
        engine_start::plan_kv(opened, &self.compute, &options)
    }

    fn needs<'a>(&self, kv: &'a KvPlan) -> Result<Needs<'a>> {
        Ok(Needs {
            context: self.max_context,
            precision: precision(self.compute.precision),
            dense: dense(self.compute.dense, self.compute.precision)?,
            kv: Some(kv),
            adapters: self.adapters.iter().map(|adapter| adapter.bytes).sum(),
        })
    }

    /// The plan for `--memory`, if that is given.
    fn plan(&self, opened: &Opened, needs: &Needs<'_>) -> Result<Option<MemoryPlan>> {
        let Some(size) = self.compute.memory else { return Ok(None) };
        memory_budget::plan(&opened.checkpoint, &opened.source.subject(), needs, size)
            .map(Some)
            .with_context(|| format!("cannot load {}", self.source.name()))
    }

    /// What it takes, and what requests have to know of it.
    fn look(&self, opened: &Opened) -> Result<Planned> {
        let kv = self.plan_kv(opened)?;
        let needs = self.needs(&kv)?;
        let plan = self.plan(opened, &needs)?;
        let whole = memory_budget::whole(&opened.checkpoint, &needs)?;
        let weights = whole.iter().filter(|term| term.name.starts_with("weights"));
        let weight_bytes = weights.map(|term| term.bytes).sum();
        let terms = plan.map_or(whole, |plan| plan.terms);
        let config = ModelConfig::from_checkpoint(opened.checkpoint.config())?;
        let num_parameters = parameters(&config).iter().map(|part| part.total).sum();
        let is_demo = opened.source.is_demo();
        let served = ServedModel {
            fingerprint: self.fingerprint(needs.dense),
            name: self.name.clone(),
            aliases: Vec::new(),
            is_demo,
            max_context: self.max_context,
            sampling: sampling(&opened.generation_config()?),
            today: (!is_demo && !self.no_date).then_some(today as fn() -> String),
            created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            weight_bytes,
            parameter_size: parameter_size(num_parameters),
            quantization: match opened.checkpoint.expert_format() {
                ExpertFormat::Mxfp4 => "MXFP4",
                ExpertFormat::Bf16 => "BF16",
            },
            parent: None,
        };
        let adapters = self.adapters.iter().map(|adapter| adapter.name.clone()).collect();
        Ok(Planned { served, terms, adapters })
    }

    /// Build, model and numeric mode: what the bytes of a seeded request depend on besides itself.
    fn fingerprint(&self, dense: DenseMode) -> String {
        let (version, name) = (env!("CARGO_PKG_VERSION"), served_name(&self.source));
        let precision = precision(self.compute.precision);
        format!("gptoss-{version}-{name}-{precision:?}-{dense:?}-{:?}", kv_format(&self.compute))
    }

    /// Opens and loads it again.
    ///
    /// Errors: besides those of the first time, that it takes more than was planned then.
    fn load_again(&self, planned_bytes: u64) -> Result<LoadedModel> {
        let opened = Opened::again(&self.source, &self.adapters)?;
        let kv = self.plan_kv(&opened)?;
        let needs = self.needs(&kv)?;
        let plan = self.plan(&opened, &needs)?;
        let whole = memory_budget::whole(&opened.checkpoint, &needs)?;
        let bytes: u64 = plan.as_ref().map_or(&whole, |plan| &plan.terms).iter().map(|term| term.bytes).sum();
        if bytes > planned_bytes {
            let (bytes, planned) = (human(bytes), human(planned_bytes));
            bail!(
                "its files have changed: it takes {bytes}, and {planned} were planned; start the server again"
            );
        }
        let card = device::choose(&self.compute, &opened.checkpoint, &needs, kv_format(&self.compute))?;
        let slots = plan.and_then(|plan| plan.expert_slots);
        let model = opened.load_planned(&self.compute, slots, card.as_ref())?;
        self.start(&opened, model, opened.vocab()?)
    }

    fn start(&self, opened: &Opened, model: Model, vocab: Arc<Vocab>) -> Result<LoadedModel> {
        let options = self.engine.options(self.max_context, SEQUENCES_DEFAULT);
        let table = TokenTable::new(vocab)?;
        let model = Arc::new(model);
        // The weights are the engine's: they go with it.
        let (weights, source) = (Arc::downgrade(&model), self.source.clone());
        let unloading = Weak::clone(&weights);
        let load = move |folder: &Path| {
            let load = || {
                let model = weights.upgrade().context("the model is not in memory any more")?;
                load_new(folder, &model, &Opened::open(source.clone())?.checkpoint)
            };
            load().map_err(|error| format!("{error:#}"))
        };
        let (compute, events) = (&self.compute, self.kv_events.clone());
        let engine = engine_start::start_lasting(model, opened, compute, &self.engine, options, events)?;
        let unload_adapter = move |id| {
            if let Some(model) = unloading.upgrade() {
                model.unload_adapter(id);
            }
        };
        let assistant = Assistant::new(engine.handle.clone(), table)?;
        // It holds the weights, and its thread has ended when this returns.
        let unload = Box::new(move || drop(engine));
        let door = AdapterDoor { load: Box::new(load), unload: Box::new(unload_adapter) };
        Ok(LoadedModel { assistant, unload, adapters: Some(door) })
    }

    fn offer(self, served: ServedModel, planned_bytes: u64) -> ModelOffer {
        let load = move || self.load_again(planned_bytes).map_err(|error| format!("{error:#}"));
        ModelOffer { served, planned_bytes, load: Box::new(load) }
    }
}

/// A number of parameters as Ollama writes it.
fn parameter_size(count: u64) -> String {
    match count as f64 {
        count if count >= 1e9 => format!("{:.1}B", count / 1e9),
        count => format!("{:.2}M", count / 1e6),
    }
}

/// The name that clients see. Of a folder or a file it is the last part without `.gguf`: where models lie is
/// the operator's business.
pub fn served_name(source: &ModelSource) -> String {
    let last = match source {
        // `.` and `..` have no last part before they are resolved.
        ModelSource::Folder(path) => {
            path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        }
        ModelSource::Gguf(path) => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        ModelSource::Demo
        | ModelSource::Synthetic(..)
        | ModelSource::Ollama { .. }
        | ModelSource::Repository { .. } => None,
    };
    last.unwrap_or_else(|| source.name())
}

/// Sampling of requests that say nothing: the model's own file, else the recommended.
fn sampling(file: &GenerationConfig) -> SamplingParams {
    let default = SamplingParams::default();
    SamplingParams {
        temperature: file.temperature.unwrap_or(default.temperature),
        top_p: file.top_p.unwrap_or(default.top_p),
        top_k: file.top_k.unwrap_or(default.top_k),
        min_p: file.min_p.unwrap_or(default.min_p),
        repetition_penalty: file.repetition_penalty.unwrap_or(default.repetition_penalty),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_do_not_see_where_a_model_lies() {
        let check = |text: &str, expected: &str| {
            assert_eq!(served_name(&ModelSource::parse(text).unwrap()), expected);
        };
        check("demo", "demo");
        check("synthetic:tiny@3", "synthetic:tiny@3");
        check("src", "src");
        check("./src/..", env!("CARGO_PKG_NAME").trim_start_matches("gptoss-"));
    }

    #[test]
    fn an_alias_is_of_the_first_model_unless_it_says_which() {
        let texts = ["gpt-4", "fast=b", "*", "odd=name"].map(str::to_owned);
        let expect: [&[&str]; 2] = [&["gpt-4", "*", "odd=name"], &["fast"]];
        assert_eq!(aliases(&texts, &["a", "b"]), expect);
    }
}
