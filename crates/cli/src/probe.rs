//! `gptoss probe`: does a server answer? What an image without a shell and without curl checks its health by.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::Agent;

use crate::args::ProbeArgs;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command.
pub fn run(args: &ProbeArgs) -> Result<ExitCode> {
    // Elsewhere is another server.
    let config = Agent::config_builder().max_redirects(0).max_redirects_will_error(false);
    let config = config.timeout_global(Some(PATIENCE)).proxy(None).http_status_as_error(false);
    let answer = config.build().new_agent().get(&args.url).call();
    let status = answer.with_context(|| format!("{} does not answer", args.url))?.status();
    if status != 200 {
        bail!("{} answers {}", args.url, status.as_u16());
    }
    Ok(ExitCode::SUCCESS)
}
