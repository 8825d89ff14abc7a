//! The servers elsewhere that `gptoss serve` may send requests to, read and read again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context, Result, anyhow};
use gptoss_gateway::{FindsPersonalData, Gateway, Plan, Sources};
use gptoss_server::{RedactOptions, Redactor};

use crate::air_gap::refused;
use crate::args::ServeArgs;
use crate::served_filter::ServedFilter;

/// A gateway with the file that it came from.
#[derive(Clone)]
pub struct ServedGateway {
    /// What the server holds.
    pub gateway: Arc<Gateway>,
    path: PathBuf,
    personal: Option<FindsPersonalData>,
}

impl ServedGateway {
    /// Reads the file of `--gateway`, if it is given; `filter` finds personal data where the file says so.
    ///
    /// Errors: it cannot be read, or says what cannot be meant; a usage error for flags that do not go
    /// together.
    pub fn open(args: &ServeArgs, filter: Option<&Arc<ServedFilter>>) -> Result<Option<ServedGateway>> {
        let Some(path) = &args.gateway else { return Ok(None) };
        refused(gptoss_egress::check("--gateway"))?;
        let personal = filter.map(|filter| finder(Arc::clone(filter)));
        let plan = read(path, personal.as_ref())?;
        Ok(Some(ServedGateway { gateway: Arc::new(Gateway::new(plan)), path: path.clone(), personal }))
    }

    /// How many upstreams and rules the file has, read without a filter of personal data.
    ///
    /// Errors: as [`ServedGateway::open`].
    pub fn check(args: &ServeArgs, file: &Path) -> Result<(usize, usize)> {
        refused(gptoss_egress::check("--gateway"))?;
        let nobody: FindsPersonalData = Arc::new(|_| false);
        let plan = read(file, args.redact.is_some().then_some(&nobody))?;
        Ok((plan.upstreams.len(), plan.rules.len()))
    }

    /// Reads the file again and puts it into force; the line of log that says so. What cannot be used changes
    /// nothing.
    pub fn reload(&self) -> String {
        match read(&self.path, self.personal.as_ref()) {
            Ok(plan) => {
                let (upstreams, rules) = (plan.upstreams.len(), plan.rules.len());
                self.gateway.replace(plan);
                format!("the gateway has {upstreams} upstreams and {rules} routes now")
            }
            Err(error) => format!("the gateway stays as it is: {error:#}"),
        }
    }
}

fn read(path: &Path, personal: Option<&FindsPersonalData>) -> Result<Plan> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    // What the file names lies beside it.
    let file = |name: &str| fs::read_to_string(folder.join(name)).map_err(|error| error.to_string());
    let sources =
        Sources { file: Some(&file), variable: &|name| env::var(name).ok(), personal: personal.cloned() };
    Plan::read(&text, &sources).map_err(|problem| anyhow!("{shown}, {problem}"))
}

/// A text that cannot be looked at counts as one with personal data.
fn finder(filter: Arc<ServedFilter>) -> FindsPersonalData {
    Arc::new(move |text| {
        let found = filter.redact(text, &RedactOptions::default(), &|| true);
        found.map_or(true, |result| !result.spans.is_empty())
    })
}
