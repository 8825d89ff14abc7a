//! What would fail with these arguments, found without starting anything.
//!
//! `gptoss config check` and `gptoss doctor` ask it, and `serve` and `chat` refuse by the same rules when
//! they start: files that are not there, keys that cannot be read, an address that others reach without keys,
//! flags that contradict each other. Opening a model reads its headers and no weights.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::args::{ComputeArgs, EngineArgs, GenerationArgs, ServeArgs};
use crate::finding::{Finding, Level, worst};
use crate::memory_budget::human;
use crate::model_source::{ModelSource, Opened, context, dense};
use crate::named_model::NamedModel;
use crate::otlp::Collector;
use crate::served_gateway::ServedGateway;
use crate::served_models::Prepared;
use crate::{functions, kv_events, serve, served_guard, served_rules, served_tls, served_worker};

/// What `serve` would stumble over.
pub fn of_serve(args: &ServeArgs) -> Vec<Finding> {
    let mut findings: Vec<Finding> = args.model.iter().map(|text| served_model(text, args.context)).collect();
    if args.model.len() > 1 && worst(&findings) != Level::Fail {
        findings.push(together(args));
    }
    if !args.adapter.is_empty() && worst(&findings) != Level::Fail {
        findings.push(match serve::adapters(args) {
            Ok(names) => Finding::ok("adapters", format!("{} fit their models", names.join(", "))),
            Err(error) => Finding::of_error("adapters", &error),
        });
    }
    findings.push(exposure(args));
    findings.extend(tls(args));
    findings.extend(worker(args));
    findings.extend(kv_events(args));
    findings.extend(args.api_key_file.as_deref().map(|file| keys(args, file)));
    findings.extend(args.govern.as_deref().map(|file| rules(args, file)));
    let folders = [("state folder", &args.state_dir), ("prompt folder", &args.engine.kv_disk)];
    findings.extend(folders.into_iter().filter_map(|(about, path)| Some(folder(about, path.as_deref()?))));
    findings.extend(combination(&args.compute, &args.engine));
    findings.extend(collector(args));
    findings.extend(args.gateway.as_deref().map(|file| gateway(args, file)));
    findings
}

/// Whether the files of TLS can be used.
fn tls(args: &ServeArgs) -> Option<Finding> {
    let tls = match served_tls::open(args) {
        Ok(tls) => tls?,
        Err(error) => return Some(Finding::of_error("TLS", &error)),
    };
    let warnings = served_tls::warnings(args, &tls);
    Some(match warnings.is_empty() {
        true => Finding::ok("TLS", "the certificate and its key can be used".to_owned()),
        false => Finding::warn("TLS", warnings.join("; "), "give another certificate or key"),
    })
}

/// Whether the server can be a worker of routers, and who may come; its certificate is told of with TLS.
fn worker(args: &ServeArgs) -> Vec<Finding> {
    let Some(address) = args.grpc else { return Vec::new() };
    let who = if args.grpc_tls { "clients with a certificate" } else { "this machine" };
    let flags = match served_worker::check(args, address) {
        Ok(()) => Finding::ok("gRPC", format!("a worker of routers at {address}, for {who} alone")),
        Err(error) => Finding::of_error("gRPC", &error),
    };
    let routers = args.grpc_model_dir.as_deref().map(|path| folder("folder for routers", path));
    [flags].into_iter().chain(routers).collect()
}

/// Whether events of the cache can be told, and who could read them.
fn kv_events(args: &ServeArgs) -> Option<Finding> {
    let address = args.kv_events?.0;
    Some(match (kv_events::check(args), kv_events::warning(args)) {
        (Err(error), _) => Finding::of_error("KV events", &error),
        (Ok(()), Some(warning)) => {
            Finding::warn("KV events", warning, "give an address that routers alone reach")
        }
        (Ok(()), None) => Finding::ok("KV events", format!("they are told at {address}")),
    })
}

/// Whether the file of `--gateway` can be used, its keys included.
fn gateway(args: &ServeArgs, file: &Path) -> Finding {
    match ServedGateway::check(args, file) {
        Ok((upstreams, rules)) => Finding::ok("gateway", format!("{upstreams} upstreams, {rules} routes")),
        Err(error) => Finding::of_error("gateway", &error),
    }
}

/// Where traces go, if they go anywhere.
fn collector(args: &ServeArgs) -> Option<Finding> {
    match Collector::of_environment(args.otlp_endpoint.as_deref()) {
        Err(error) => Some(Finding::of_error("traces", &error)),
        Ok((_, Some(note))) => {
            Some(Finding::warn("traces", note, "name the collector's port for HTTP, which is 4318"))
        }
        Ok((Some(collector), None)) => {
            Some(Finding::ok("traces", format!("they are sent to {}", collector.url)))
        }
        Ok((None, None)) => None,
    }
}

/// What `chat` and `run` would stumble over.
pub fn of_generation(args: &GenerationArgs) -> Vec<Finding> {
    let mut findings = vec![model(&args.model, args.context)];
    if let Some(adapter) = args.adapter.as_deref().filter(|_| worst(&findings) != Level::Fail) {
        let fits = Opened::from_argument(&args.model).and_then(|opened| opened.with_adapter(Some(adapter)));
        findings.push(match fits {
            Ok(_) => Finding::ok("adapter", format!("{} fits the model", adapter.display())),
            Err(error) => Finding::of_error("adapter", &error),
        });
    }
    findings.extend(args.functions.as_deref().map(|file| match functions::read(file) {
        Ok(list) => Finding::ok("functions", format!("{}: {} of them", file.display(), list.len())),
        Err(error) => Finding::of_error("functions", &error),
    }));
    findings.extend(args.engine.kv_disk.as_deref().map(|path| folder("prompt folder", path)));
    findings.extend(combination(&args.compute, &args.engine));
    findings
}

fn served_model(text: &str, tokens: Option<u32>) -> Finding {
    let NamedModel { name, source } = NamedModel::parse(text);
    let found = model(source, tokens);
    match name {
        Some(name) if found.level == Level::Ok => Finding::ok("model", format!("{name}: {}", found.says)),
        _ => found,
    }
}

/// Whether several models can be served together.
fn together(args: &ServeArgs) -> Finding {
    match serve::prepared_unloaded(args) {
        Ok(Prepared { plans, budget, .. }) => {
            let each = plans
                .iter()
                .map(|planned| format!("{} takes {}", planned.served.name, human(planned.bytes())));
            let each = each.collect::<Vec<_>>().join(", ");
            Finding::ok("models", format!("{each}; together at most {}", human(budget.unwrap_or_default())))
        }
        Err(error) => Finding::of_error("models", &error),
    }
}

fn model(text: &str, tokens: Option<u32>) -> Finding {
    let opened = ModelSource::parse(text).and_then(Opened::open);
    let fits = opened.and_then(|opened| {
        context(tokens, opened.checkpoint.config(), &opened.source)?;
        Ok(opened.source.name())
    });
    match fits {
        Ok(name) => Finding::ok("model", format!("{name} is there")),
        Err(error) => Finding::of_error("model", &error),
    }
}

/// Whether other machines reach the address, and whether they are asked for a key.
pub fn exposure(args: &ServeArgs) -> Finding {
    let host = match serve::host(args) {
        Ok(host) => host,
        Err(error) => return Finding::of_error("address", &error),
    };
    let says = |who: &str| format!("{host}:{} is reached {who}", args.port);
    if host.is_loopback() {
        return Finding::ok("address", says("from this machine alone"));
    }
    match serve::keys(args).and_then(|keys| serve::exposed(args, host, &keys)) {
        Ok(()) if args.tls_cert.is_some() => {
            Finding::ok("address", says("from other machines, which are asked for a key"))
        }
        Ok(()) => Finding::warn(
            "address",
            says("from other machines, which are asked for a key"),
            "keys and answers travel in the clear: give --tls-cert and --tls-key, or put a proxy with TLS in \
             front (docs/security.md)",
        ),
        Err(error) => Finding::of_error("address", &error),
    }
}

/// The keys' file: readable, right, and nobody else's to read.
fn keys(args: &ServeArgs, file: &Path) -> Finding {
    if let Err(error) = serve::keys(args) {
        return Finding::of_error("keys", &error);
    }
    match open_to_others(file) {
        Some(mode) => Finding::warn(
            "keys",
            format!("{} can be read by other users (mode {mode:o})", file.display()),
            format!("chmod 600 {}", file.display()),
        ),
        None => Finding::ok("keys", format!("{} can be read, by its owner alone", file.display())),
    }
}

/// The operator's rules, which name policies of the guard.
fn rules(args: &ServeArgs, file: &Path) -> Finding {
    let read = served_guard::open(args).and_then(|guard| served_rules::read(args, guard.as_ref()));
    match read {
        Ok(rules) => {
            let num_keys = rules.map_or(0, |rules| rules.keys().len());
            Finding::ok("rules", format!("{}: {num_keys} keys", file.display()))
        }
        Err(error) => Finding::of_error("rules", &error),
    }
}

/// The permissions of a file that others than its owner may read.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o044 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_path: &Path) -> Option<u32> {
    None
}

/// Whether a folder is there, or can be made, and can be written to; leaves nothing behind.
pub fn folder(about: &'static str, path: &Path) -> Finding {
    let Some(existing) = nearest_existing(path) else {
        return Finding::fail(about, format!("{}: no part of it is there", path.display()), "name another");
    };
    if !existing.is_dir() {
        let says = format!("{} is a file, and a folder is wanted", existing.display());
        return Finding::fail(about, says, "name another, or move the file away");
    }
    match tempfile::Builder::new().prefix(".gptoss-").tempfile_in(&existing) {
        Ok(_) if existing == path => Finding::ok(about, format!("{} can be written to", path.display())),
        Ok(_) => Finding::ok(about, format!("{} can be made", path.display())),
        Err(error) => Finding::fail(
            about,
            format!("{} cannot be written to: {error}", existing.display()),
            "name another, or give this user the right to write there",
        ),
    }
}

fn nearest_existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find(|ancestor| fs::symlink_metadata(ancestor).is_ok()).map(Path::to_owned)
}

fn combination(compute: &ComputeArgs, engine: &EngineArgs) -> Option<Finding> {
    let rules: Result<()> = dense(compute.dense, compute.precision).map(|_| ()).and_then(|()| engine.check());
    rules.err().map(|error| Finding::of_error("flags", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_or_can_be_made() {
        let parent = tempfile::tempdir().unwrap();
        let check = |path: &Path, level: Level, fact: &str| {
            let found = folder("state folder", path);
            assert!(found.level == level && found.says.contains(fact), "{found:?}");
        };
        check(parent.path(), Level::Ok, "can be written to");
        check(&parent.path().join("a/b"), Level::Ok, "can be made");
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        check(&file, Level::Fail, "is a file");
        check(&file.join("below"), Level::Fail, "is a file");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
