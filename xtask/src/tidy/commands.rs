//! Commands that documents tell people to type: what they name exists.
//!
//! Looked at are code spans and code blocks of `.md` files: `cargo ... -p CRATE --test NAME` and `--example
//! NAME`, `cargo xtask COMMAND`, and `gptoss COMMAND`. CONTRIBUTING.md lists the fuzz targets, all of them.
//! Whether commands do what the text says is held by `tests/commands/run`, which runs the blocks marked
//! `console`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::Violation;
use super::floors::Crate;

/// Where the product's commands are defined, as variants of `enum Command`.
pub const PRODUCT_COMMANDS: &str = "crates/cli/src/args/mod.rs";
const XTASK_COMMANDS: &[&str] = &["tidy", "size", "shaders", "cuda", "gpu", "dist"];
const CONTRIBUTING: &str = "CONTRIBUTING.md";
const FUZZ_COMMAND: &str = "`fuzz/run ";
const FUZZ_TARGETS: &str = "fuzz/fuzz_targets/";

/// What a document may name.
pub struct Known<'a> {
    pub crates: &'a [Crate],
    /// The product's commands, as people type them.
    pub commands: BTreeSet<String>,
    pub fuzz_targets: BTreeSet<String>,
}

impl Known<'_> {
    /// Reads what there is.
    ///
    /// Errors: the file of the product's commands cannot be read or parsed.
    pub fn read<'a>(root: &Path, crates: &'a [Crate], paths: &BTreeSet<String>) -> Result<Known<'a>> {
        let text = std::fs::read_to_string(root.join(PRODUCT_COMMANDS))
            .with_context(|| format!("reading the product's commands in {PRODUCT_COMMANDS}"))?;
        let file = syn::parse_file(&text).with_context(|| format!("parsing {PRODUCT_COMMANDS}"))?;
        let variants = file.items.iter().find_map(|item| match item {
            syn::Item::Enum(item) if item.ident == "Command" => Some(&item.variants),
            _ => None,
        });
        let variants = variants.with_context(|| format!("{PRODUCT_COMMANDS} has no enum Command"))?;
        let commands = variants.iter().map(|variant| variant.ident.to_string().to_lowercase());
        let targets = paths.iter().filter_map(|path| path.strip_prefix(FUZZ_TARGETS)?.strip_suffix(".rs"));
        Ok(Known {
            crates,
            commands: commands.chain(["help".to_owned()]).collect(),
            fuzz_targets: targets.map(str::to_owned).collect(),
        })
    }
}

/// Commands of one document that name what is not there.
pub fn check(path: &str, text: &str, known: &Known) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, code) in code(text) {
        let messages = code.split(['|', ';', '&', '#']).filter_map(|command| complaint(command, known));
        violations.extend(messages.map(|message| Violation::at(path, line, "commands", message)));
    }
    if path == CONTRIBUTING {
        violations.extend(check_fuzz_list(text, known));
    }
    violations
}

/// Code spans and the lines of code blocks, with their lines.
fn code(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push((index + 1, line.trim_start_matches("$ ")));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (index + 1, span)));
        }
    }
    found
}

fn complaint(command: &str, known: &Known) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let program = words.iter().position(|word| !word.contains('=') && *word != "env")?;
    let (program, arguments) = (words[program], &words[program + 1..]);
    match program.rsplit('/').next().unwrap_or(program) {
        "cargo" => cargo(arguments, known),
        "gptoss" => product(arguments, known),
        _ => None,
    }
}

/// What is wrong with the arguments of cargo.
fn cargo(arguments: &[&str], known: &Known) -> Option<String> {
    let ours = arguments.split(|word| *word == "--").next().unwrap_or_default();
    let behind = &arguments[(ours.len() + 1).min(arguments.len())..];
    let values = |flags: [&'static str; 2]| {
        ours.windows(2).filter(move |pair| flags.contains(&pair[0])).map(|pair| pair[1])
    };
    if ours.first() == Some(&"xtask") {
        let command = ours.get(1)?;
        return (!XTASK_COMMANDS.contains(command)).then(|| format!("xtask has no command `{command}`"));
    }
    let packages: Vec<&str> = values(["-p", "--package"]).collect();
    let is_there = |name: &str| known.crates.iter().any(|package| package.name == name);
    if let Some(package) = packages.iter().find(|name| !is_there(name)) {
        return Some(format!("there is no crate `{package}`"));
    }
    let asked =
        || known.crates.iter().filter(|one| packages.is_empty() || packages.contains(&one.name.as_str()));
    let missing = |kind: &str, name: &str| {
        let target = (kind.to_owned(), name.to_owned());
        (!asked().any(|package| package.targets.contains(&target)))
            .then(|| format!("there is no {kind} `{name}` in {}", packages.join(", ")))
    };
    values(["--test", "--test"])
        .find_map(|name| missing("test", name))
        .or_else(|| values(["--example", "--example"]).find_map(|name| missing("example", name)))
        .or_else(|| (ours.first() == Some(&"run") && packages.is_empty()).then(|| product(behind, known))?)
}

/// What is wrong with the arguments of the product: its command is not one.
fn product(arguments: &[&str], known: &Known) -> Option<String> {
    let command = arguments.first()?;
    let is_word = command.chars().all(|c| c.is_ascii_lowercase());
    (is_word && !known.commands.contains(*command)).then(|| format!("gptoss has no command `{command}`"))
}

/// CONTRIBUTING's row about fuzzing names every target and no other.
fn check_fuzz_list(text: &str, known: &Known) -> Option<Violation> {
    let (index, row) = text.lines().enumerate().find(|(_, line)| line.contains(FUZZ_COMMAND))?;
    let spans = row.split('`').skip(1).step_by(2);
    let named: BTreeSet<String> =
        spans.map(|span| span.rsplit(' ').next().unwrap_or(span).to_owned()).collect();
    let wanted: Vec<&str> = known.fuzz_targets.iter().map(String::as_str).collect();
    (named != known.fuzz_targets).then(|| {
        let message = format!("the fuzz targets are {}: name them all and no other", wanted.join(", "));
        Violation::at(CONTRIBUTING, index + 1, "commands", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        let targets = [("test", "forward"), ("example", "speed")];
        let crates = [Crate {
            name: "gptoss-model".to_owned(),
            manifest: "crates/model/Cargo.toml".to_owned(),
            dependencies: Vec::new(),
            targets: targets.map(|(kind, name)| (kind.to_owned(), name.to_owned())).into(),
        }];
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let known = Known {
            crates: &crates,
            commands: words(&["run", "chat"]),
            fuzz_targets: words(&["bpe", "config"]),
        };
        super::check(path, text, &known).into_iter().map(|violation| violation.message).collect()
    }

    /// README told people to type `--test golden` when the target was called `forward`.
    #[test]
    fn what_a_command_names_exists() {
        for fine in [
            "`cargo test -p gptoss-model --test forward golden`",
            "```\n$ cargo run --release -p gptoss-model --example speed -- x\n```",
            "`cargo xtask tidy` and `gptoss run \"x\"`, `gptoss`, `gptoss --version`, the `golden` test",
            "`GPTOSS_X=1 cargo test --workspace | tail`",
        ] {
            assert_eq!(check("README.md", fine), [""; 0], "{fine}");
        }
        for (wrong, expect) in [
            ("`cargo test -p gptoss-model --test golden`", "no test `golden` in gptoss-model"),
            ("`cargo test -p gptoss-modle`", "no crate `gptoss-modle`"),
            ("```\ncargo run -p gptoss-model --example fast\n```", "no example `fast`"),
            ("`cargo xtask tydy`", "no command `tydy`"),
            ("`x && gptoss talk`", "no command `talk`"),
            ("`cargo run --release -- talk`", "no command `talk`"),
        ] {
            let messages = check("README.md", wrong);
            assert!(messages.len() == 1 && messages[0].contains(expect), "{wrong}: {messages:?}");
        }
    }

    /// CONTRIBUTING listed five of six.
    #[test]
    fn the_fuzz_list_is_the_folder() {
        let row = "| fuzz | `fuzz/run bpe` (also `config`) |";
        assert_eq!(check(CONTRIBUTING, row), [""; 0]);
        assert_eq!(check(CONTRIBUTING, "| `fuzz/run bpe` |").len(), 1);
    }
}
