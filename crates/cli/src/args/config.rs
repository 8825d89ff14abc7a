//! Flags of `gptoss config`, and the one flag of the commands that have settings.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Where settings are read from.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    /// Read settings from this file [default: gptoss.toml here, else gptoss/gptoss.toml in the user's
    /// configuration folder]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub config: Option<PathBuf>,
}

/// `gptoss config`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration, and what holds with it
    Check(ConfigCheckArgs),
}

/// `gptoss config check`.
#[derive(Debug, Args)]
pub struct ConfigCheckArgs {
    /// The file [default: the one that `serve` would read]
    pub file: Option<PathBuf>,
    /// The command that it is for
    #[arg(long = "for", value_enum, value_name = "COMMAND", default_value_t = ConfiguredCommand::Serve)]
    pub command: ConfiguredCommand,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A command that has settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfiguredCommand {
    /// The server
    Serve,
    /// The conversation at the terminal
    Chat,
    /// One answer
    Run,
    /// A task in a folder
    Agent,
}

impl ConfiguredCommand {
    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            ConfiguredCommand::Serve => "serve",
            ConfiguredCommand::Chat => "chat",
            ConfiguredCommand::Run => "run",
            ConfiguredCommand::Agent => "agent",
        }
    }
}
