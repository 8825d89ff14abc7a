//! Settings from a file and from the environment, below the flags.
//!
//! A value from the file or the environment becomes the default of its flag, so that there is one list of
//! names, ranges and help texts: the command line's. [`parse`] is the program's way to its arguments;
//! [`effective`] says for each key what holds and where it comes from. Both take the first file that is
//! there: `--config`, `GPTOSS_CONFIG`, `gptoss.toml` in the folder where the program runs, and the user's
//! own.

pub mod file;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::builder::ArgAction;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, ValueHint, value_parser};

use crate::args::Cli;
use crate::failure::usage;
use crate::named_model::NamedModel;
use file::{Key, Kind, Parsed, Section};

/// The commands that have settings.
pub const COMMANDS: [&str; 4] = ["serve", "chat", "run", "agent"];
/// Flags that are no settings: they say what to do now, or who may; a workspace cannot approve of its own
/// changes.
const NOT_KEYS: [&str; 8] =
    ["help", "version", "config", "json", "until-stdin-ends", "approve", "undo", "workspace"];
/// Longest file that is read. Units: bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The file's name in a folder.
const FILE_NAME: &str = "gptoss.toml";
/// The variable that names the file; set to nothing, none is read.
const FILE_VARIABLE: &str = "GPTOSS_CONFIG";
/// The variable in which `gptoss launch` hands a key to a client.
pub const KEY_VARIABLE: &str = "GPTOSS_API_KEY";
/// The variable that closes the way out, for every command.
const AIR_GAP_VARIABLE: &str = "GPTOSS_AIR_GAP";
/// What the name of every variable begins with.
const PREFIX: &str = "GPTOSS_";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program's own default.
    Default,
    /// A line of the file.
    File(file::Place),
    /// A variable.
    Variable(String),
    /// The command line.
    Flag,
}

/// Something that is wrong with the file or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, and what would be right.
    pub what: String,
}

/// What one key is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The key, a flag's long name.
    pub key: String,
    /// Its values as text; none when nothing holds.
    pub values: Vec<String>,
    /// Where they come from.
    pub origin: Origin,
}

/// What the file and the environment say.
#[derive(Debug, Default)]
pub struct Layers {
    /// The file that was read.
    pub file: Option<PathBuf>,
    parsed: Parsed,
    /// Keys by name, with the variable that sets it and its text.
    variables: BTreeMap<String, (String, String)>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Variables that look like settings and are none, with the nearest that is one.
    pub unknown_variables: Vec<(String, Option<String>)>,
}

/// Reads the command line over the layers below it. Ends the program for `--help` and for usage errors, as
/// clap does.
///
/// Errors: a file that cannot be read, or is wrong; a variable that is wrong.
pub fn parse() -> Result<Cli> {
    let command = command_line();
    let matches = command.clone().get_matches();
    let layered = match matches.subcommand() {
        Some((name, flags)) if COMMANDS.contains(&name) => Some((name, flags)),
        _ => None,
    };
    let is_layered = layered.is_some();
    let matches = match layered {
        None => matches,
        Some((name, flags)) => {
            let layers = Layers::gather(flags.get_one::<PathBuf>("config").map(PathBuf::as_path))?;
            if !layers.problems.is_empty() {
                return Err(layers.refusal());
            }
            layers.below(command, name).get_matches()
        }
    };
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| -> anyhow::Error { error.exit() })?;
    if !is_layered {
        // Commands without settings keep to it too: it is a machine's, whatever runs there.
        cli.air_gap |= is_air_gapped()?;
    }
    Ok(cli)
}

/// Whether the variable closes the way out.
///
/// Errors: it says neither yes nor no.
fn is_air_gapped() -> Result<bool> {
    let Some(text) = env::var_os(AIR_GAP_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(false) };
    let values = text.to_str().and_then(|text| variable_values(Kind::Flag, text));
    let values = values
        .ok_or_else(|| usage(format!("{AIR_GAP_VARIABLE} takes 1, true, yes, on, 0, false, no or off")))?;
    Ok(values == ["true"])
}

/// The command line, on which flags for all commands are also each command's own that has settings.
fn command_line() -> Command {
    let command = Cli::command();
    let global: Vec<Arg> = command.get_arguments().filter(|flag| flag.is_global_set()).cloned().collect();
    COMMANDS.into_iter().fold(command, |command, name| command.mut_subcommand(name, |sub| sub.args(&global)))
}

/// What holds for a command without flags, key by key, and its arguments.
///
/// Errors: values that do not fit together, in clap's words.
pub fn effective(layers: &Layers, name: &str) -> Result<(Vec<Value>, Cli)> {
    let command = layers.below(command_line(), name);
    let flags: Vec<Arg> = subcommand(&command, name).get_arguments().cloned().collect();
    let matches = command.try_get_matches_from(["gptoss", name]).map_err(|error| usage(sentence(&error)))?;
    let sub = matches.subcommand_matches(name).context("the command that was asked for")?;
    let values = flags.iter().filter_map(|flag| layers.value(name, flag, sub)).collect();
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage(sentence(&error)))?;
    Ok((values, cli))
}

impl Layers {
    /// Reads the file, `given` or found, and the environment.
    ///
    /// Errors: the file cannot be read; what is wrong in it is in [`Layers::problems`].
    pub fn gather(given: Option<&Path>) -> Result<Layers> {
        let mut layers = Layers::default();
        if let Some(path) = find(given) {
            layers.read_file(&path)?;
        }
        layers.read_variables(env::vars_os());
        Ok(layers)
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let failed = || format!("cannot read the configuration {}", path.display());
        let mut text = String::new();
        let file = fs::File::open(path).with_context(failed)?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            anyhow::bail!("{}: above {FILE_BYTES_MAX} bytes, too many for a configuration", path.display());
        }
        let command = command_line();
        self.parsed = file::parse(&text, &sections(&command));
        for problem in &self.parsed.problems {
            self.problems.push(Problem { origin: Origin::File(problem.place), what: problem.what.clone() });
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        for setting in &mut self.parsed.settings {
            let is_path = owners(&command, setting.command.as_deref(), &setting.key)
                .any(|(_, flag)| flag.get_value_hint() == ValueHint::AnyPath);
            for value in &mut setting.values {
                if is_path {
                    *value = placed(value, &folder);
                } else if ["model", "adapter"].contains(&setting.key.as_str()) {
                    *value = placed_model(value, &folder);
                }
            }
        }
        for setting in &self.parsed.settings {
            let mut owners = owners(&command, setting.command.as_deref(), &setting.key);
            let refused = owners.find_map(|(owner, flag)| refusal_of(owner, flag, &setting.values));
            let origin = Origin::File(setting.place);
            self.problems.extend(refused.map(|what| Problem { origin, what }));
        }
        self.file = Some(path.to_owned());
        Ok(())
    }

    fn read_variables(&mut self, variables: impl Iterator<Item = (OsString, OsString)>) {
        let command = command_line();
        let sections = sections(&command);
        let names = || sections.iter().flat_map(|section| &section.keys);
        for (variable, text) in variables {
            let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            if [FILE_VARIABLE, KEY_VARIABLE].contains(&variable) || text.is_empty() {
                continue;
            }
            let key = variable[PREFIX.len()..].to_lowercase().replace('_', "-");
            let Some(known) = names().find(|known| known.name == key) else {
                let near = file::nearest(&key, names().map(|known| known.name.as_str()));
                self.unknown_variables.push((variable.to_owned(), near.map(variable_of)));
                continue;
            };
            let origin = Origin::Variable(variable.to_owned());
            let text = text.to_str().filter(|text| variable_values(known.kind, text).is_some());
            let Some(text) = text else {
                let what = match known.kind {
                    Kind::Flag => format!("{variable} takes 1, true, yes, on, 0, false, no or off"),
                    _ => format!("{variable} is not UTF-8"),
                };
                self.problems.push(Problem { origin, what });
                continue;
            };
            let refused = owners(&command, None, &key).find_map(|(owner, flag)| {
                let values = variable_values(key_of(flag)?.kind, text)?;
                refusal_of(owner, flag, &values)
            });
            self.problems.extend(refused.map(|what| Problem { origin, what }));
            self.variables.insert(key, (variable.to_owned(), text.to_owned()));
        }
        self.unknown_variables.sort();
    }

    /// All problems as one usage error.
    pub fn refusal(&self) -> anyhow::Error {
        let lines: Vec<String> = self.problems.iter().map(|problem| self.describe(problem)).collect();
        usage(lines.join("\n"))
    }

    /// A problem with its place in front.
    pub fn describe(&self, problem: &Problem) -> String {
        match &problem.origin {
            Origin::File(_) => format!("{}: {}", self.origin_name(&problem.origin), problem.what),
            Origin::Default | Origin::Variable(_) | Origin::Flag => problem.what.clone(),
        }
    }

    /// Where a value comes from, in words.
    pub fn origin_name(&self, origin: &Origin) -> String {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::File(place) => {
                let file = self.file.as_deref().unwrap_or(Path::new(FILE_NAME));
                format!("{}:{place}", file.display())
            }
            Origin::Variable(name) => name.clone(),
            Origin::Flag => "command line".to_owned(),
        }
    }

    /// What the layers set a key of a command to: a variable wins over the file, a command's own table over
    /// what stands above the tables.
    fn setting(&self, command: &str, key: &Key) -> Option<(Vec<String>, Origin)> {
        if let Some((variable, text)) = self.variables.get(&key.name) {
            return Some((variable_values(key.kind, text)?, Origin::Variable(variable.clone())));
        }
        let of = |owner: Option<&str>| {
            let mut settings = self.parsed.settings.iter();
            settings.find(|setting| setting.command.as_deref() == owner && setting.key == key.name)
        };
        let setting = of(Some(command)).or_else(|| of(None))?;
        Some((setting.values.clone(), Origin::File(setting.place)))
    }

    /// The command line with the layers' values as the defaults of one command.
    fn below(&self, command: Command, name: &str) -> Command {
        command.mut_subcommand(name, |sub| {
            let keys: Vec<(String, Key)> = sub.get_arguments().filter_map(with_id).collect();
            keys.into_iter().fold(sub, |sub, (id, key)| match self.setting(name, &key) {
                None => sub,
                Some((values, _)) => sub.mut_arg(id, |flag| with_default(flag, key.kind, &values)),
            })
        })
    }

    fn value(&self, name: &str, flag: &Arg, matches: &ArgMatches) -> Option<Value> {
        let key = key_of(flag)?;
        let raw = matches.get_raw(flag.get_id().as_str());
        let values = raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect();
        let origin = match matches.value_source(flag.get_id().as_str()) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            _ => self.setting(name, &key).map_or(Origin::Default, |(_, origin)| origin),
        };
        Some(Value { key: key.name, values, origin })
    }
}

/// The file to read: what is given, what the variable names, or the first of the usual ones that is there.
fn find(given: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.to_owned());
    }
    if let Some(named) = env::var_os(FILE_VARIABLE) {
        return (!named.is_empty()).then(|| PathBuf::from(named));
    }
    usual_files().into_iter().find(|path| path.is_file())
}

/// The files that are looked for when none is named, in this order.
pub fn usual_files() -> Vec<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let own = folder.map(|folder| folder.join("gptoss").join(FILE_NAME));
    [Some(PathBuf::from(FILE_NAME)), own].into_iter().flatten().collect()
}

/// A path of the file, from the file's own folder.
fn placed(path: &str, folder: &Path) -> String {
    let placed = match (path.strip_prefix("~/"), env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => folder.join(path),
    };
    placed.to_string_lossy().into_owned()
}

/// A `--model` value of the file, or an `--adapter` with a name, whose path is from the file's own folder.
fn placed_model(text: &str, folder: &Path) -> String {
    let NamedModel { name, source } = NamedModel::parse(text);
    if !["./", "../", "~/"].iter().any(|start| source.starts_with(start)) {
        return text.to_owned();
    }
    let source = placed(source, folder);
    name.map_or_else(|| source.clone(), |name| format!("{name}={source}"))
}

fn subcommand<'a>(command: &'a Command, name: &str) -> &'a Command {
    command.find_subcommand(name).expect("the commands with settings are commands")
}

/// The commands that have a key, of the one whose table it stands in or of all, with its flag.
fn owners<'a>(
    command: &'a Command,
    only: Option<&'a str>,
    key: &'a str,
) -> impl Iterator<Item = (&'a Command, &'a Arg)> {
    let names = COMMANDS.into_iter().filter(move |name| only.is_none_or(|only| only == *name));
    names.filter_map(move |name| {
        let owner = subcommand(command, name);
        let flag = owner.get_arguments().find(|flag| key_of(flag).is_some_and(|known| known.name == key));
        flag.map(|flag| (owner, flag))
    })
}

fn sections(command: &Command) -> Vec<Section> {
    let section = |name: &str| Section {
        command: name.to_owned(),
        keys: subcommand(command, name).get_arguments().filter_map(key_of).collect(),
    };
    COMMANDS.into_iter().map(section).collect()
}

fn with_id(flag: &Arg) -> Option<(String, Key)> {
    key_of(flag).map(|key| (flag.get_id().to_string(), key))
}

/// The key of a flag; `None` for what is no setting.
fn key_of(flag: &Arg) -> Option<Key> {
    let name = flag.get_long().filter(|name| !NOT_KEYS.contains(name))?.to_owned();
    let parser = flag.get_value_parser().type_id();
    let is = |id: std::any::TypeId| parser == id;
    let is_size = flag.get_value_names().is_some_and(|names| names.iter().any(|name| name == "SIZE"));
    let is_number = [
        std::any::TypeId::of::<u16>(),
        std::any::TypeId::of::<u32>(),
        std::any::TypeId::of::<u64>(),
        std::any::TypeId::of::<f32>(),
    ]
    .into_iter()
    .any(is);
    let kind = match flag.get_action() {
        ArgAction::SetTrue => Kind::Flag,
        ArgAction::Append => Kind::List,
        _ if is_number && !is_size => Kind::Number,
        _ => Kind::Text,
    };
    Some(Key { name, kind })
}

/// The flag with another default. A switch that is on by default takes `--switch=false`.
fn with_default(flag: Arg, kind: Kind, values: &[String]) -> Arg {
    let flag = flag.default_values(values.iter().cloned());
    match kind {
        Kind::Flag => flag
            .action(ArgAction::Set)
            .value_parser(value_parser!(bool))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Number | Kind::Text | Kind::List => flag,
    }
}

/// What clap says of a flag's values, if it refuses them.
fn refusal_of(owner: &Command, flag: &Arg, values: &[String]) -> Option<String> {
    let key = key_of(flag)?;
    if key.kind == Kind::Flag {
        return None;
    }
    let words = values.iter().map(|value| format!("--{}={value}", key.name));
    let words: Vec<String> = std::iter::once(owner.get_name().to_owned()).chain(words).collect();
    let error = owner.clone().try_get_matches_from(words).err()?;
    // How flags stand to each other is asked when all are known.
    matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue).then(|| sentence(&error))
}

/// Clap's error without what follows the first paragraph.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph: Vec<&str> =
        text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    paragraph.join(" ").trim_start_matches("error: ").to_owned()
}

fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('-', "_"))
}

/// A variable's text as a flag's values: lists by comma.
fn variable_values(kind: Kind, text: &str) -> Option<Vec<String>> {
    Some(match kind {
        Kind::Flag => match text.to_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => vec!["true".to_owned()],
            "0" | "false" | "no" | "off" => vec!["false".to_owned()],
            _ => return None,
        },
        Kind::List => text.split(',').map(|part| part.trim().to_owned()).collect(),
        Kind::Number | Kind::Text => vec![text.trim().to_owned()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn layers(text: &str, variables: &[(&str, &str)]) -> Layers {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gptoss.toml");
        fs::write(&path, text).unwrap();
        let mut layers = Layers::default();
        layers.read_file(&path).unwrap();
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        layers.read_variables(variables);
        layers
    }

    fn serve(layers: &Layers, flags: &str) -> args::ServeArgs {
        let words = ["gptoss", "serve"].into_iter().chain(flags.split_whitespace());
        let matches = layers.below(Cli::command(), "serve").try_get_matches_from(words).unwrap();
        match Cli::from_arg_matches(&matches).unwrap().command {
            args::Command::Serve(serve) => *serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_can_be_a_default() {
        for name in COMMANDS {
            let command = Cli::command();
            for key in subcommand(&command, name).get_arguments().filter_map(key_of) {
                let text = match key.kind {
                    Kind::Flag => "true",
                    Kind::Number => "1",
                    Kind::List => "[]",
                    Kind::Text => continue,
                };
                let layers = layers(&format!("[{name}]\n{} = {text}\n", key.name), &[]);
                assert_eq!(layers.problems, [], "{name} {}", key.name);
                layers.below(Cli::command(), name).debug_assert();
                effective(&layers, name).unwrap_or_else(|error| panic!("{name} {}: {error}", key.name));
            }
        }
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let text = "port = 1\nthreads = 3\n[serve]\nport = 2\nquiet = true\nalias = [\"a\", \"b\"]\nmemory = \"8GiB\"";
        let from_file = layers(text, &[]);
        let args = serve(&from_file, "");
        assert_eq!((args.port, args.compute.threads, args.quiet), (2, Some(3), true));
        assert_eq!((args.alias, args.compute.memory), (vec!["a".to_owned(), "b".to_owned()], Some(8 << 30)));
        let with_variables =
            layers(text, &[("GPTOSS_PORT", "4"), ("GPTOSS_QUIET", "off"), ("GPTOSS_ALIAS", "c,d")]);
        let args = serve(&with_variables, "");
        assert_eq!((args.port, args.quiet, args.alias), (4, false, vec!["c".to_owned(), "d".to_owned()]));
        let args = serve(&with_variables, "--port 5 --quiet --alias e");
        assert_eq!((args.port, args.quiet, args.alias), (5, true, vec!["e".to_owned()]));
        assert!(!serve(&from_file, "--quiet=false").quiet);
    }

    #[test]
    fn values_are_held_to_the_flags_ranges_with_their_place() {
        let wrong = layers(
            "port = 70000\nprecision = \"half\"\n[run]\ntop-p = 2.0\n",
            &[("GPTOSS_THREADS", "0"), ("GPTOSS_QUIET", "maybe"), ("GPTOSS_PROT", "1"), ("GPTOSS_HOST", "")],
        );
        let said: Vec<String> = wrong.problems.iter().map(|problem| wrong.describe(problem)).collect();
        for (index, facts) in [
            (0, ["gptoss.toml:1:8: ", "--port"]),
            (1, ["gptoss.toml:2:13: ", "possible values: fast, exact"]),
            (2, ["gptoss.toml:4:9: ", "--top-p"]),
            (3, ["--threads", "0"]),
            (4, ["GPTOSS_QUIET", "off"]),
        ] {
            for fact in facts {
                assert!(said[index].contains(fact), "{fact:?} should be in {:?}", said[index]);
            }
        }
        assert_eq!(wrong.unknown_variables, [("GPTOSS_PROT".to_owned(), Some("GPTOSS_PORT".to_owned()))]);
    }

    #[test]
    fn paths_start_at_the_files_folder() {
        let layers =
            layers("[serve]\nstate-dir = \"state\"\nmodel = \"./weights\"\n[chat]\nmodel = \"demo\"", &[]);
        let folder = layers.file.as_deref().and_then(Path::parent).unwrap();
        let args = serve(&layers, "");
        assert_eq!(args.state_dir.as_deref(), Some(folder.join("state").as_path()));
        assert_eq!(Path::new(&args.model[0]), folder.join("weights"));
        let (values, _) = effective(&layers, "chat").unwrap();
        let model = values.iter().find(|value| value.key == "model").unwrap();
        assert_eq!(
            (model.values.as_slice(), model.origin.clone()),
            (["demo".to_owned()].as_slice(), Origin::File(file::Place { line: 5, column: 9 }))
        );
    }
}
