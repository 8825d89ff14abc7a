//! `--air-gap`: the rule of `egress` for this command, and the wall beneath it.
//!
//! The rule holds from the first line on. The wall is built before anything else is done, so that no thread
//! stands outside it, but for commands that listen: they bind first, and build it then (`wall`).

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use gptoss_egress::{check, close, is_closed};
use gptoss_tools::mcp::{McpServerConfig, McpTransport};

use crate::args::{BrowserSource, Cli, Command, McpToolCommand};
use crate::failure::usage;
use crate::proxy::host;

/// Closes the way out if that is asked for.
///
/// Errors: the system refuses the wall.
pub fn begin(cli: &Cli) -> Result<()> {
    if !cli.air_gap {
        return Ok(());
    }
    // A probe asks the server of its own machine, and says nothing but whether that answers.
    if let Command::Probe(args) = &cli.command {
        return own(host(&args.url).parse().ok(), &args.url);
    }
    close();
    if binds(&cli.command) { Ok(()) } else { wall() }
}

/// Errors: the address is not this machine's.
fn own(address: Option<IpAddr>, url: &str) -> Result<()> {
    match address.is_some_and(|address| address.is_loopback()) {
        true => Ok(()),
        false => {
            Err(usage(format!("probe {url}: --air-gap allows loopback addresses alone, such as 127.0.0.1")))
        }
    }
}

/// Whether a command binds what it listens at and builds the wall then.
fn binds(command: &Command) -> bool {
    match command {
        Command::Serve(_) => true,
        Command::Mcp(args) => {
            let (McpToolCommand::Browser { clients, .. } | McpToolCommand::Python { clients, .. }) =
                &args.tool;
            clients.http.is_some()
        }
        _ => false,
    }
}

/// Builds the wall, if nothing may leave.
///
/// Errors: the system refuses it.
pub fn wall() -> Result<()> {
    if is_closed() && !gptoss_egress::wall()? {
        writeln!(
            io::stderr(),
            "note: --air-gap: this program opens no connection, but this system has no way to refuse one to \
             it and to the programs that it starts; Linux has"
        )?;
    }
    Ok(())
}

/// Errors: nothing may leave, and the browser of this source would have to reach others.
pub fn check_browser(source: &BrowserSource) -> Result<()> {
    let name = match source {
        BrowserSource::Corpus(_) => return Ok(()),
        BrowserSource::Searxng(_) => "searxng",
        BrowserSource::Exa => "exa",
        BrowserSource::YouCom => "youcom",
        BrowserSource::Fetch => "fetch",
    };
    refused(check(format_args!("--browser {name}")))
}

/// Errors: nothing may leave, and a server of the file is at an address.
pub fn check_servers<'a>(servers: impl IntoIterator<Item = &'a McpServerConfig>) -> Result<()> {
    let mut elsewhere =
        servers.into_iter().filter(|server| matches!(server.transport, McpTransport::Http(_)));
    elsewhere.try_for_each(|server| refused(check(format_args!("--mcp: the server {:?}", server.label))))
}

/// The address of a name that needs nobody's answer; None where one would have to be asked for.
pub fn address_of(name: &str) -> Option<IpAddr> {
    if name == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { name.parse().ok() }
}

/// A refusal as the usage error that it is at the start.
pub fn refused(checked: Result<(), gptoss_egress::Closed>) -> Result<()> {
    checked.map_err(|closed| usage(format!("{closed}\nleave it out, or leave --air-gap out")))
}
