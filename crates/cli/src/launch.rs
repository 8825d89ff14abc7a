//! `gptoss launch`: a coding agent that speaks to this machine's model.
//!
//! Takes the server that runs where `serve` would listen, or starts one that ends with the client; tells the
//! client by arguments and variables, so that no file of the user's is changed; and ends with the client's
//! exit code. `--print` shows the commands for those who do it themselves.

mod client;
mod server;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use signal_hook::consts::SIGINT;

use crate::air_gap;
use crate::args::{self, LaunchArgs, ServeArgs};
use crate::config::{self, Layers};
use crate::failure::usage;
use crate::model_source::ModelSource;
use crate::named_model::NamedModel;
use crate::served_models::served_name;
use client::{Invocation, Server, install_command, invocation, program};
use server::{Answer, MESSAGES_FILE, Started, ask};

/// Tokens that an agent's first prompt takes at least, with its tools and room for an answer.
const CONTEXT_WANTED: u64 = 16_384;

/// Runs the command.
pub fn run(args: &LaunchArgs) -> Result<ExitCode> {
    air_gap::refused(gptoss_egress::check("launch"))?;
    let key = args.key_file.as_deref().map(key).transpose()?;
    let settings = serve_settings(args)?;
    let running = running(args, &settings, key.as_deref())?;
    if args.print {
        return print(args, &settings, running, key.as_deref());
    }
    if !is_installed(program(args.client)) {
        bail!(
            "there is no program {} here\ninstall it: {}",
            program(args.client),
            install_command(args.client)
        );
    }
    // Made before the server: dropped after it.
    let folder = tempfile::Builder::new().prefix("gptoss-").tempdir().context("cannot make a folder")?;
    let started = match &running {
        Some(_) => None,
        None => {
            let messages = folder.path().join(MESSAGES_FILE);
            tell(&format!(
                "starting a server for {}; its messages are in {}",
                settings.model.join(" and "),
                messages.display()
            ));
            Some(Started::start(&serve_arguments(args), folder.path())?)
        }
    };
    let server = started.as_ref().map(|started| &started.server).or(running.as_ref());
    let server = server.context("there is a server")?;
    tell(&format!("{} speaks to {} at {}", program(args.client), server.model, server.base));
    if let Some(context) = server.context.filter(|context| *context < CONTEXT_WANTED) {
        tell(&format!(
            "warning: the context holds {context} tokens, and the first prompt of an agent may take 10000: it will not fit"
        ));
    }
    let code = start(&invocation(args.client, server, &args.arguments))?;
    drop(started);
    Ok(code)
}

/// The server that is there already, if it is the one that is wanted.
///
/// Errors: one is named and not there, or it wants a key.
fn running(args: &LaunchArgs, settings: &ServeArgs, key: Option<&str>) -> Result<Option<Server>> {
    let base = match &args.url {
        Some(url) => url.trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        None => format!("http://127.0.0.1:{}", settings.port),
    };
    let wanted = args.model.as_deref().map(served);
    match ask(&base, key, wanted.as_deref()) {
        Answer::Server(server) => {
            let is_wanted = wanted.is_none_or(|wanted| wanted == server.model);
            Ok(is_wanted.then_some(server))
        }
        Answer::WantsKey => {
            bail!("the server at {base} asks for a key\nwrite it to a file and give --key-file FILE")
        }
        Answer::Other(why) if args.url.is_some() => bail!("{base} is not a server of this kind: {why}"),
        Answer::Nobody if args.url.is_some() => {
            bail!("nobody answers at {base}\nstart it with `gptoss serve`")
        }
        Answer::Other(_) | Answer::Nobody => Ok(None),
    }
}

fn print(
    args: &LaunchArgs,
    settings: &ServeArgs,
    running: Option<Server>,
    key: Option<&str>,
) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let server = match running {
        Some(server) => server,
        None => {
            let models: String = settings.model.iter().map(|model| format!(" --model {model}")).collect();
            writeln!(out, "gptoss serve{models} &")?;
            let model = settings.model.first().context("the settings name a model")?;
            let base = format!("http://127.0.0.1:{}", settings.port);
            Server { base, model: served(model), context: None, key: key.map(str::to_owned) }
        }
    };
    writeln!(out, "{}", invocation(args.client, &server, &args.arguments).shell(key))?;
    Ok(ExitCode::SUCCESS)
}

/// The arguments that `serve` would have: the settings' file and the environment hold here too.
fn serve_settings(args: &LaunchArgs) -> Result<ServeArgs> {
    let layers = Layers::gather(args.config.as_deref())?;
    if !layers.problems.is_empty() {
        return Err(layers.refusal());
    }
    let (_, cli) = config::effective(&layers, "serve")?;
    let args::Command::Serve(mut settings) = cli.command else {
        bail!("the settings are not those of serve")
    };
    if let Some(model) = &args.model {
        settings.model = vec![model.clone()];
    }
    Ok(*settings)
}

/// What a server of ours is started with beside the settings that it reads itself.
fn serve_arguments(args: &LaunchArgs) -> Vec<String> {
    let config = args.config.as_ref().map(|path| ["--config".to_owned(), path.display().to_string()]);
    let model = args.model.as_ref().map(|model| ["--model".to_owned(), model.clone()]);
    config.into_iter().chain(model).flatten().collect()
}

/// The name under which a model is served.
fn served(model: &str) -> String {
    let NamedModel { name, source } = NamedModel::parse(model);
    let of_source =
        || ModelSource::parse(source).map_or_else(|_| source.to_owned(), |source| served_name(&source));
    name.map_or_else(of_source, str::to_owned)
}

fn key(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    match text.split_whitespace().next() {
        Some(key) => Ok(key.to_owned()),
        None => Err(usage(format!("{} holds no key", file.display()))),
    }
}

fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Runs the client to its end. Ctrl-C is the client's: it gets the signal too.
fn start(invocation: &Invocation) -> Result<ExitCode> {
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false))).context("cannot handle Ctrl-C")?;
    let mut command = Command::new(invocation.program);
    command.args(&invocation.arguments).envs(invocation.variables.iter().map(|(name, value)| (name, value)));
    let status = command.status().with_context(|| format!("cannot start {}", invocation.program))?;
    // A client that a signal ended has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// A line about how it goes. Standard error may be closed; the client starts all the same.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", crate::terminal::safe(text));
}
