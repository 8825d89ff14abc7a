//! `gptoss completions` and `gptoss manual`: what packages of this program carry besides it.
//!
//! Both are made of the same definition that the command line is read by. Hidden commands are in neither.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Cli, CompletionsArgs, ManualArgs};

/// What the program is called.
const NAME: &str = "gptoss";

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(Cli::command()), NAME, &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and for each command: `gptoss-serve.1`.
pub fn manual(args: &ManualArgs) -> Result<ExitCode> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = shown(Cli::command());
    command.build();
    let mut pages = vec![(NAME.to_owned(), command.clone())];
    while let Some((name, command)) = pages.pop() {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            pages.push((format!("{name}-{}", inner.get_name()), inner.clone()));
        }
        let mut page = Vec::new();
        // The date would make each build another.
        let man = Man::new(command.display_name(name.clone())).date("").manual("gptoss");
        man.render(&mut page).context("cannot write a page")?;
        let file = folder.join(format!("{name}.1"));
        fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The command without what is hidden in it: generators name even that.
fn shown(command: clap::Command) -> clap::Command {
    let hidden: Vec<String> = command
        .get_subcommands()
        .filter(|inner| inner.is_hide_set())
        .map(|inner| inner.get_name().to_owned())
        .collect();
    let kept: Vec<clap::Command> = command
        .get_subcommands()
        .filter(|inner| !hidden.iter().any(|name| name == inner.get_name()))
        .cloned()
        .collect();
    let mut bare = clap::Command::new(NAME).version(env!("CARGO_PKG_VERSION"));
    bare = bare.args(command.get_arguments().cloned());
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    if let Some(after) = command.get_after_help() {
        bare = bare.after_help(after.clone());
    }
    bare.arg_required_else_help(true).subcommands(kept)
}
