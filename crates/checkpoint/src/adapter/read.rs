//! Adapters of every stack, as the one form that the program works with.
//!
//! [`read_adapter`] holds each tensor's name, shape and numbers against the model; what it does not know it
//! refuses by name, because an addition that is left out silently is a model that silently equals its base.
//! What only the bytes of B could tell, and do not, is asked for ([`Error::AmbiguousAdapter`]).
//!
//! Memory: four bytes a number, eight where gates and ups come apart; a factor that experts share is copied
//! for each. All of it is bounded by the shapes of the model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::adapter::dora;
use crate::adapter::key::{Factor, Keys, Meaning, Module, SharedWeight};
use crate::adapter::settings::{FactorLayout, Scaling, Settings};
use crate::adapter::site::{Stack, experts_module};
use crate::adapter::write::turned;
use crate::adapter::{ADAPTER_RANK_MAX, Adapter, AdapterPair, AdapterSite, CONFIG_FILE, WEIGHTS_FILE};
use crate::bytes::{Bytes, Tensor};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::error::Error;
use crate::part::Part;
use crate::safetensors::SafetensorsFile;
use crate::shards::read_at_most;

/// Bytes that `adapter_config.json` may have.
pub const ADAPTER_CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a README that are looked at.
const README_BYTES_MAX: u64 = 1 << 20;

/// In which form a folder has the additions to experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterForm {
    /// Nothing beside experts.
    NoExperts,
    /// One pair for all experts of a layer: PEFT's `target_parameters`.
    Packed,
    /// Each expert apart: Unsloth's on 4-bit bases, and what Tinker builds for PEFT.
    PerExpert,
    /// Each expert apart but for a factor that all share: Tinker's own.
    SharedOuter,
}

/// How the layout of packed experts is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutSource {
    /// The config says it.
    Config,
    /// The caller said it.
    Asked,
    /// Nobody said it, and nothing speaks against PEFT's.
    Assumed,
}

/// An adapter, and what is to be told of its files.
#[derive(Clone, Debug)]
pub struct ReadAdapter {
    /// What it changes.
    pub adapter: Adapter,
    /// How its experts were stored.
    pub form: AdapterForm,
    /// How B was laid out, where more than one layout is possible.
    pub layout: Option<(FactorLayout, LayoutSource)>,
    /// What the config calls the base.
    pub base_model: Option<String>,
    /// Whether lengths of rows were folded into whole matrices.
    pub had_dora: bool,
}

/// Reads a folder; `layout` answers for packed experts where the config does not, and against it.
///
/// The base is read where an adapter cannot be held against its shapes alone: copies of its embedding, and
/// the rows of matrices that DoRA scales.
///
/// Errors: [`Error::BadAdapter`] and [`Error::AmbiguousAdapter`], and those of reading files.
pub fn read_adapter(
    folder: &Path,
    base: &Checkpoint,
    layout: Option<FactorLayout>,
) -> Result<ReadAdapter, Error> {
    let weights = folder.join(WEIGHTS_FILE);
    if !weights.exists() && folder.join("adapter_model.bin").exists() {
        let detail =
            "adapter_model.bin is a pickle, which can run any program: it is not read; save the adapter \
             as safetensors"
                .to_owned();
        return Err(Error::BadAdapter { path: folder.to_path_buf(), detail });
    }
    for file in [WEIGHTS_FILE, CONFIG_FILE] {
        if !folder.join(file).exists() {
            let remedy =
                "point at the folder that holds both adapter_model.safetensors and adapter_config.json";
            return Err(Error::MissingFile { folder: folder.to_path_buf(), file: file.to_owned(), remedy });
        }
    }
    let settings = read_at_most(&folder.join(CONFIG_FILE), ADAPTER_CONFIG_BYTES_MAX)?;
    let readme = folder.join("README.md");
    let readme =
        match readme.exists() && fs::metadata(&readme).is_ok_and(|file| file.len() <= README_BYTES_MAX) {
            true => read_at_most(&readme, README_BYTES_MAX)?,
            false => Vec::new(),
        };
    read(&settings, &readme, SafetensorsFile::open(&weights)?, base, layout)
}

/// The same of files in memory; `path` only labels errors.
///
/// Errors: as [`read_adapter`].
pub fn parse_adapter(
    settings: &[u8],
    weights: Bytes,
    base: &Checkpoint,
    path: &Path,
) -> Result<ReadAdapter, Error> {
    read(settings, &[], SafetensorsFile::from_bytes(weights, path)?, base, None)
}

fn read(
    settings: &[u8],
    readme: &[u8],
    file: SafetensorsFile,
    base: &Checkpoint,
    layout: Option<FactorLayout>,
) -> Result<ReadAdapter, Error> {
    let parsed = Settings::parse(settings, &file.path().with_file_name(CONFIG_FILE))?;
    let layout = match (layout, parsed.layout) {
        (Some(layout), _) => Some((layout, LayoutSource::Asked)),
        (None, Some(layout)) => Some((layout, LayoutSource::Config)),
        // Nobody else laid B out in another way, so what is not Unsloth's is PEFT's.
        (None, None) if names_unsloth(settings) || names_unsloth(readme) => None,
        (None, None) => Some((FactorLayout::RankMajor, LayoutSource::Assumed)),
    };
    let mut reader = Reader {
        settings: parsed,
        base,
        config: base.config(),
        layout,
        needs_layout: false,
        path: file.path().to_path_buf(),
        adapter: Adapter::default(),
    };
    reader.adapter.trained_for = reader.settings.trained_for;
    let form = reader.add(&file)?;
    reader.adapter.check(base.config(), file.path())?;
    Ok(ReadAdapter {
        adapter: reader.adapter,
        form,
        layout: layout.filter(|_| reader.needs_layout),
        base_model: reader.settings.base_model,
        had_dora: reader.settings.uses_dora,
    })
}

fn names_unsloth(text: &[u8]) -> bool {
    text.to_ascii_lowercase().windows(7).any(|word| word == b"unsloth")
}

/// The tensors of one module.
#[derive(Debug, Default)]
struct Factors {
    /// What patterns call the module.
    path: String,
    a: Option<Tensor>,
    b: Option<Tensor>,
    magnitude: Option<Tensor>,
}

struct Reader<'a> {
    settings: Settings,
    base: &'a Checkpoint,
    config: &'a Config,
    layout: Option<(FactorLayout, LayoutSource)>,
    needs_layout: bool,
    path: PathBuf,
    adapter: Adapter,
}

/// Gates and ups of an expert, while they are apart.
type Halves = BTreeMap<(usize, usize), [Option<AdapterPair>; 2]>;

impl Reader<'_> {
    fn bad(&self, detail: String) -> Error {
        Error::BadAdapter { path: self.path.clone(), detail }
    }

    /// Takes in all tensors of a file, and gives the form that experts had in it.
    fn add(&mut self, file: &SafetensorsFile) -> Result<AdapterForm, Error> {
        let modules = self.sort(file)?;
        let mut form = AdapterForm::NoExperts;
        let (mut halves, mut packed) = (Halves::new(), BTreeMap::<usize, [Option<Factors>; 2]>::new());
        for (module, factors) in modules {
            form = match module {
                Module::Site(AdapterSite::GateUp { .. } | AdapterSite::Down { .. }) | Module::Half { .. } => {
                    AdapterForm::PerExpert
                }
                Module::Site(_) => form,
                Module::Packed { .. } => AdapterForm::Packed,
                Module::Shared { .. } => AdapterForm::SharedOuter,
            };
            match module {
                Module::Site(site) => self.add_site(site, factors)?,
                Module::Half { layer, expert, is_up } => {
                    let shape = [self.config.intermediate_size, self.config.hidden_size];
                    let pair = self.pair(&factors, shape)?;
                    halves.entry((layer, expert)).or_default()[usize::from(is_up)] = Some(pair);
                }
                Module::Packed { layer, is_inner } => {
                    packed.entry(layer).or_default()[usize::from(is_inner)] = Some(factors);
                }
                Module::Shared { layer, weight } => self.add_shared(layer, weight, &factors, &mut halves)?,
            }
        }
        for (layer, [outer, inner]) in packed {
            self.add_packed(layer, outer, inner)?;
        }
        for ((layer, expert), [gate, up]) in halves {
            let pair = joined(gate, up, Stack::GateUp.shape(self.config));
            self.insert(Stack::GateUp.site(layer, expert), pair)?;
        }
        Ok(form)
    }

    /// The factors by module; everything that is not a factor is taken in at once.
    fn sort(&mut self, file: &SafetensorsFile) -> Result<BTreeMap<Module, Factors>, Error> {
        let keys = Keys::new(self.config);
        let mut modules = BTreeMap::<Module, Factors>::new();
        for entry in &file.header().entries {
            let name = &entry.name;
            let meaning = keys.meaning(name).map_err(|why| self.bad(format!("the tensor {name}: {why}")))?;
            let tensor = file.view(entry);
            let (module, factor) = match meaning {
                Meaning::Factor(module, factor) => (module, factor),
                Meaning::BaseCopy(part) => {
                    self.compare(part, &tensor)?;
                    continue;
                }
                Meaning::Whole(part) => {
                    let values = self.numbers(&tensor, &crate::shape(self.config, part))?;
                    if self.adapter.replaced.iter().any(|(known, _)| *known == part) {
                        return Err(self.bad(format!("the tensor {name} is there twice")));
                    }
                    self.adapter.replaced.push((part, values));
                    continue;
                }
                Meaning::Rows { is_head } => {
                    self.add_rows(is_head, &tensor)?;
                    continue;
                }
            };
            let is_embedding = module == Module::Site(AdapterSite::Embedding);
            let swaps = matches!(factor, Factor::EmbeddingA | Factor::EmbeddingB);
            if factor != Factor::Magnitude && is_embedding != swaps {
                return Err(self
                    .bad(format!("the tensor {name}: `lora_embedding` is for the embedding, and no other")));
            }
            let factors = modules.entry(module).or_default();
            let place = match factor {
                Factor::A | Factor::EmbeddingA => &mut factors.a,
                Factor::B | Factor::EmbeddingB => &mut factors.b,
                Factor::Magnitude => &mut factors.magnitude,
            };
            if place.replace(tensor).is_some() {
                return Err(self.bad(format!("the tensor {name} is there twice")));
            }
            let path = name.strip_prefix("base_model.model.").unwrap_or(name);
            factors.path = path.rfind(".lora_").map_or(path, |end| &path[..end]).to_owned();
        }
        Ok(modules)
    }

    /// The numbers of a tensor that must have this shape.
    fn numbers(&self, tensor: &Tensor, shape: &[usize]) -> Result<Vec<f32>, Error> {
        if tensor.shape != shape {
            let (name, found) = (&tensor.name, &tensor.shape);
            return Err(self.bad(format!(
                "the tensor {name} has shape {found:?}, but {shape:?} is what the model and the rank in \
                 {CONFIG_FILE} ask for"
            )));
        }
        tensor.to_f32()
    }

    /// Rank and scale of a module.
    fn scaling(&self, path: &str) -> Result<Scaling, Error> {
        let scaling = self.settings.scaling(path).map_err(|why| self.bad(why))?;
        if scaling.rank > ADAPTER_RANK_MAX {
            return Err(self.bad(format!("{path} has rank {}, above {ADAPTER_RANK_MAX}", scaling.rank)));
        }
        Ok(scaling)
    }

    fn both<'f>(&self, factors: &'f Factors) -> Result<[&'f Tensor; 2], Error> {
        match (&factors.a, &factors.b) {
            (Some(a), Some(b)) => Ok([a, b]),
            _ => Err(self.bad(format!("{} has not both of its factors, A and B", factors.path))),
        }
    }

    /// The factors of a matrix `[N, K]` of its own.
    fn pair(&self, factors: &Factors, [rows, columns]: [usize; 2]) -> Result<AdapterPair, Error> {
        let Scaling { rank, scale } = self.scaling(&factors.path)?;
        let [a, b] = self.both(factors)?;
        let (a, b) = (self.numbers(a, &[rank, columns])?, self.numbers(b, &[rows, rank])?);
        Ok(AdapterPair { rank, scale, a, b })
    }

    fn add_site(&mut self, site: AdapterSite, factors: Factors) -> Result<(), Error> {
        let Some(shape) = site.shape(self.config) else { return Ok(()) };
        let pair = match site {
            AdapterSite::Embedding => {
                let [rows, columns] = shape;
                let pair = self.pair(&factors, [columns, rows])?;
                AdapterPair { a: turned(&pair.b, pair.rank), b: turned(&pair.a, rows), ..pair }
            }
            _ => self.pair(&factors, shape)?,
        };
        match (&factors.magnitude, site.part()) {
            (None, _) if !self.settings.uses_dora => self.insert(site, pair),
            (Some(magnitude), Some(part)) if site != AdapterSite::Embedding && self.settings.uses_dora => {
                let magnitude = self.numbers(magnitude, &[shape[0]])?;
                let whole = dora::folded(&self.base.tensor(part)?, &pair, &magnitude)?;
                if self.adapter.replaced.iter().any(|(known, _)| *known == part) {
                    return Err(self.bad(format!("{} is both replaced and added to", factors.path)));
                }
                self.adapter.replaced.push((part, whole));
                Ok(())
            }
            _ => Err(self.bad(format!(
                "{}: `use_dora` and its `lora_magnitude_vector` do not go together here; DoRA is read beside the \
                 matrices of attention and the head",
                factors.path
            ))),
        }
    }

    fn insert(&mut self, site: AdapterSite, pair: AdapterPair) -> Result<(), Error> {
        match self.adapter.pairs.insert(site, pair) {
            None => Ok(()),
            Some(_) => Err(self.bad(format!("{site:?} has two pairs of factors, in two forms"))),
        }
    }

    /// Experts whose A or B may be one for all: A `[1 or E, r, K]`, B `[1 or E, N, r]`.
    fn add_shared(
        &mut self,
        layer: usize,
        weight: SharedWeight,
        factors: &Factors,
        halves: &mut Halves,
    ) -> Result<(), Error> {
        let Scaling { rank, scale } = self.scaling(&factors.path)?;
        let [inter, hidden] = [self.config.intermediate_size, self.config.hidden_size];
        let [rows, columns] = match weight {
            SharedWeight::Gate | SharedWeight::Up => [inter, hidden],
            SharedWeight::Down => [hidden, inter],
        };
        let experts = self.config.num_local_experts.max(1);
        let [a, b] = self.both(factors)?;
        let count =
            |tensor: &Tensor| tensor.shape.first().copied().filter(|&count| count == 1 || count == experts);
        let (Some(num_a), Some(num_b)) = (count(a), count(b)) else {
            return Err(self
                .bad(format!("{}: its factors are neither for one expert nor for {experts}", factors.path)));
        };
        if num_a.max(num_b) < experts {
            return Err(self.bad(format!("{}: neither of its factors tells experts apart", factors.path)));
        }
        let (a, b) = (self.numbers(a, &[num_a, rank, columns])?, self.numbers(b, &[num_b, rows, rank])?);
        let of = |values: &[f32], count: usize, expert: usize| {
            let size = values.len() / count;
            values[expert % count * size..][..size].to_vec()
        };
        for expert in 0..experts {
            let pair = AdapterPair { rank, scale, a: of(&a, num_a, expert), b: of(&b, num_b, expert) };
            match weight {
                SharedWeight::Down => self.insert(Stack::Down.site(layer, expert), pair)?,
                SharedWeight::Gate | SharedWeight::Up => {
                    let is_up = weight == SharedWeight::Up;
                    let half = &mut halves.entry((layer, expert)).or_default()[usize::from(is_up)];
                    if half.replace(pair).is_some() {
                        return Err(
                            self.bad(format!("{} has two pairs of factors, in two forms", factors.path))
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// The experts of a layer in PEFT's form: the outer pair, and the inner one.
    fn add_packed(
        &mut self,
        layer: usize,
        outer: Option<Factors>,
        inner: Option<Factors>,
    ) -> Result<(), Error> {
        match (outer, inner) {
            (Some(outer), Some(inner)) => {
                self.unpack(layer, Stack::GateUp, &inner)?;
                self.unpack(layer, Stack::Down, &outer)
            }
            (Some(only), None) => self.unpack(layer, self.which(layer, &only)?, &only),
            (None, Some(inner)) => {
                Err(self
                    .bad(format!("{} wraps nothing: the other parameter's factors are missing", inner.path)))
            }
            (None, None) => Ok(()),
        }
    }

    /// Which parameter the only pair of a layer belongs to.
    fn which(&self, layer: usize, only: &Factors) -> Result<Stack, Error> {
        let module = experts_module(self.config, layer);
        let both = [Stack::GateUp, Stack::Down];
        let targeted = both.map(|stack| self.settings.targets(&format!("{module}.{}", stack.name())));
        let rows = only.b.as_ref().and_then(|b| b.shape.first().copied());
        let has_rows = both.map(|stack| Some(stack.shape(self.config)[0]) == rows);
        match (targeted, has_rows) {
            ([true, false], _) | ([false, false], [true, false]) => Ok(Stack::GateUp),
            ([false, true], _) | ([false, false], [false, true]) => Ok(Stack::Down),
            ([true, true], _) => Err(self.bad(format!(
                "{module}: {CONFIG_FILE} targets both of its parameters, but the file has factors of one"
            ))),
            ([false, false], _) => Err(self.bad(format!(
                "{module}: its factors fit neither parameter alone; `target_parameters` in {CONFIG_FILE} tells which \
                 one they are for"
            ))),
        }
    }

    fn unpack(&mut self, layer: usize, stack: Stack, factors: &Factors) -> Result<(), Error> {
        if factors.magnitude.is_some() || self.settings.uses_dora {
            return Err(self.bad(format!("{}: DoRA beside experts is not read", factors.path)));
        }
        let path = format!("{}.{}", experts_module(self.config, layer), stack.name());
        let Scaling { rank, scale } = self.scaling(&path)?;
        let [rows, columns] = stack.shape(self.config);
        let experts = self.config.num_local_experts.max(1);
        let [a, b] = self.both(factors)?;
        let (a, b) =
            (self.numbers(a, &[experts * rank, columns])?, self.numbers(b, &[rows, experts * rank])?);
        let layout = match self.layout {
            // One expert, or one column: both layouts are the same.
            _ if experts == 1 || rank == 1 => FactorLayout::RankMajor,
            None => return Err(Error::AmbiguousAdapter { path: self.path.clone() }),
            Some((layout, _)) => {
                self.needs_layout = true;
                layout
            }
        };
        for (expert, a) in a.chunks(rank * columns).enumerate() {
            let column = |j: usize| match layout {
                FactorLayout::RankMajor => j * experts + expert,
                FactorLayout::GroupedByExpert => expert * rank + j,
            };
            let of_row = |row: &[f32]| (0..rank).map(|j| row[column(j)]).collect::<Vec<_>>();
            let b = b.chunks(experts * rank).flat_map(of_row).collect();
            self.insert(stack.site(layer, expert), AdapterPair { rank, scale, a: a.to_vec(), b })?;
        }
        Ok(())
    }

    /// Rows in place of the base's, in the order of their tokens.
    fn add_rows(&mut self, is_head: bool, tensor: &Tensor) -> Result<(), Error> {
        let Some(tokens) = self.settings.tokens[usize::from(is_head)].clone() else {
            return Err(self.bad(format!(
                "the tensor {}: `trainable_token_indices` in {CONFIG_FILE} does not say which rows these are",
                tensor.name
            )));
        };
        let width = self.config.hidden_size;
        let values = self.numbers(tensor, &[tokens.len(), width])?;
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|&row| tokens[row]);
        let sorted: Vec<u32> = order.iter().map(|&row| tokens[row]).collect();
        let rows = &mut self.adapter.rows;
        let is_first = rows.embedding.is_empty() && rows.unembedding.is_empty();
        if !is_first && rows.tokens != sorted {
            return Err(self.bad("the embedding and the head have rows of other tokens: not read".to_owned()));
        }
        rows.tokens = sorted;
        let values = order.iter().flat_map(|&row| &values[row * width..][..width]).copied().collect();
        *(if is_head { &mut rows.unembedding } else { &mut rows.embedding }) = values;
        Ok(())
    }

    /// A copy of a part of the base must be the base's.
    fn compare(&self, part: Part, copy: &Tensor) -> Result<(), Error> {
        let base = self.base.tensor(part)?;
        let is_same = base.shape == copy.shape
            && match base.dtype == copy.dtype {
                true => *base.bytes == *copy.bytes,
                false => base.to_f32()? == copy.to_f32()?,
            };
        if is_same {
            return Ok(());
        }
        Err(self.bad(format!(
            "the tensor {} is a copy of its base's, and this model's is another: the adapter was made for another base",
            copy.name
        )))
    }
}

/// The factors of gates and ups as those of one matrix: A one above the other, B in the rows of each.
fn joined(gate: Option<AdapterPair>, up: Option<AdapterPair>, [rows, columns]: [usize; 2]) -> AdapterPair {
    let scale = gate.as_ref().or(up.as_ref()).map_or(1.0, |pair| pair.scale);
    let rank = [&gate, &up].into_iter().flatten().map(|pair| pair.rank).sum();
    let mut joined =
        AdapterPair { rank, scale, a: Vec::with_capacity(rank * columns), b: vec![0.0; rows * rank] };
    let mut first = 0;
    for (offset, pair) in [gate, up].into_iter().enumerate() {
        let Some(pair) = pair else { continue };
        let factor = pair.scale / scale;
        joined.a.extend_from_slice(&pair.a);
        for (row, values) in pair.b.chunks(pair.rank).enumerate() {
            let place = (2 * row + offset) * rank + first;
            for (out, value) in joined.b[place..][..pair.rank].iter_mut().zip(values) {
                *out = value * factor;
            }
        }
        first += pair.rank;
    }
    joined
}
