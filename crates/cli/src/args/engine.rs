//! Flags for how conversations share the machine, which every command with an engine takes.

use std::path::PathBuf;

use clap::Args;

use super::memory_size;

/// Flags of the engine.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Conversations that are computed at a time [default: 1 at a terminal, 32 when serving]
    #[arg(long, hide_short_help = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_sequences: Option<u16>,
    /// Memory for keys and values, such as 4GiB [default: the whole context once, and 4096 tokens for each
    /// further conversation]
    #[arg(long, hide_short_help = true, value_name = "SIZE", value_parser = memory_size)]
    pub kv_memory: Option<u64>,
    /// Keep prompts that were computed in this folder, so that they come back after a restart
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub kv_disk: Option<PathBuf>,
    /// With --kv-disk: how much that folder may hold, such as 50GB [default: 20GB]
    #[arg(long, hide_short_help = true, value_name = "SIZE", value_parser = memory_size)]
    pub kv_disk_size: Option<u64>,
}
