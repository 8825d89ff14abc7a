//! Flags of `gptoss doctor`.

use std::path::PathBuf;

use clap::Args;
use gptoss_gpu::DeviceChoice;

/// `gptoss doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Read settings from this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub config: Option<PathBuf>,
    /// Compute every op on a card and compare with the stored answers, a minute at most; the last line can be
    /// sent in
    #[arg(long)]
    pub prove: bool,
    /// With --prove: vulkan for the first card, vulkan:N or vulkan:NAME, or cuda in its place [default:
    /// vulkan]
    #[arg(long, value_name = "DEVICE", requires = "prove", value_parser = card)]
    pub device: Option<DeviceChoice>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Reads a card.
fn card(text: &str) -> Result<DeviceChoice, String> {
    DeviceChoice::parse(text)
        .ok_or_else(|| "write vulkan, vulkan:N or vulkan:NAME, or cuda in its place".to_owned())
}
