//! The policies that `gptoss serve` judges texts by, and the way to judges at other addresses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result};
use futures_util::future::FutureExt;
use gptoss_guard::{Address, Guard, Judge, Sources};
use gptoss_server::AskAddress;
use serde_json::Value;

use crate::air_gap;
use crate::args::ServeArgs;
use crate::proxy::proxy_to;

/// How long a judge elsewhere may take.
const JUDGE_TIME: Duration = Duration::from_secs(120);
/// Longest answer of a judge that is read. Units: bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Reads the file of `--guard`, if it is given.
///
/// Errors: it cannot be read, or says what cannot be meant.
pub fn open(args: &ServeArgs) -> Result<Option<Guard>> {
    let Some(path) = &args.guard else { return Ok(None) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let sources = Sources {
        // What a file names lies beside it.
        file: &|name| fs::read_to_string(folder.join(name)).map_err(|error| error.to_string()),
        variable: &|name| env::var(name).ok(),
    };
    let guard = gptoss_guard::read(&path.display().to_string(), &text, &sources).context("--guard")?;
    for policy in guard.policies().filter(|policy| matches!(policy.judge, Judge::Elsewhere(_))) {
        let judge = format_args!("--guard: the judge of the policy {:?}", policy.name);
        air_gap::refused(gptoss_egress::check(judge))?;
    }
    Ok(Some(guard))
}

/// Asks judges elsewhere, each on a thread that may wait.
pub fn ask() -> AskAddress {
    Arc::new(|address, body| {
        let asked =
            tokio::task::spawn_blocking(move || send(&address, &body).map_err(|error| format!("{error:#}")));
        async move { asked.await.map_err(|error| error.to_string())? }.boxed()
    })
}

/// Errors: nobody answers, or not with JSON. Nothing of the answer is told: it may hold what was asked.
fn send(address: &Address, body: &Value) -> Result<Value> {
    gptoss_egress::check("a judge at an address")?;
    let url = format!("{}/chat/completions", address.url);
    let config = ureq::Agent::config_builder().timeout_global(Some(JUDGE_TIME)).proxy(proxy_to(&url));
    let agent: ureq::Agent = config.build().into();
    let mut request = agent.post(&url);
    if let Some(key) = &address.key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let mut answer = request.send_json(body).with_context(|| format!("the judge at {}", address.url))?;
    let answer = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json();
    answer.with_context(|| format!("the judge at {} gave no JSON", address.url))
}
