//! The server that a client speaks to: one that runs, or one that runs as long as the client.
//!
//! [`ask`] looks whether an address answers as this program's server does; [`Started`] is a server of our own
//! on a free port. It is started with an open pipe as its standard input and ends when the pipe does: so it
//! ends with us however we end. It has a process group of its own, because Ctrl-C at the client's prompt is
//! the client's.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use ureq::Agent;

use super::client::Server;
use crate::proxy::proxy_to;
use crate::pull::checksum::hex;

/// How long a server may take to say what it serves.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer that is read. Units: bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// The file of the server's messages.
pub const MESSAGES_FILE: &str = "server.log";
/// The file of its key.
const KEY_FILE: &str = "key";
/// Length of a key. Units: bytes, before they are spelled in hexadecimal.
const KEY_BYTES: usize = 32;
/// What `serve` prints before its address.
const BEFORE_ADDRESS: &str = "is served at ";
/// Longest end of a failed server's messages that is shown. Units: bytes.
const MESSAGES_BYTES_MAX: u64 = 4096;

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    owned_by: Option<String>,
    context_length: Option<u64>,
}

/// What an address said.
pub enum Answer {
    /// A server of this program's kind.
    Server(Server),
    /// It wants a key, or another one.
    WantsKey,
    /// Something else is there.
    Other(String),
    /// Nobody is there.
    Nobody,
}

/// Asks an address which model it serves: `wanted`, if that is among several, else the first.
pub fn ask(base: &str, key: Option<&str>, wanted: Option<&str>) -> Answer {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(ANSWER_PATIENCE))
        .http_status_as_error(false)
        .proxy(proxy_to(base))
        .build()
        .into();
    let mut request = agent.get(format!("{base}/v1/models"));
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    let mut response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound) => {
            return Answer::Nobody;
        }
        Err(error) => return Answer::Other(error.to_string()),
    };
    match response.status().as_u16() {
        200 => {}
        401 | 403 => return Answer::WantsKey,
        code => return Answer::Other(format!("it answers {code}")),
    }
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let models: Option<Models> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
    let model = models.and_then(|Models { mut data }| {
        let index = data.iter().position(|model| Some(model.id.as_str()) == wanted).unwrap_or(0);
        (index < data.len()).then(|| data.swap_remove(index))
    });
    match model.filter(|model| model.owned_by.as_deref() == Some("gptoss")) {
        Some(model) => Answer::Server(Server {
            base: base.to_owned(),
            model: model.id,
            context: model.context_length,
            key: key.map(str::to_owned),
        }),
        None => Answer::Other("its list of models is not one of gptoss".to_owned()),
    }
}

/// A server of our own. Dropped, it ends.
pub struct Started {
    child: Child,
    /// Where it is, and what it serves.
    pub server: Server,
}

impl Started {
    /// Starts `gptoss serve` on a free port of this machine and waits until it listens. What it says goes to
    /// a file in `folder`, and so does a key that only we and the client know: other users of this machine
    /// have none.
    ///
    /// Errors: it ends before, with the end of what it said.
    pub fn start(arguments: &[String], folder: &Path) -> Result<Started> {
        let messages = folder.join(MESSAGES_FILE);
        let key = draw_key()?;
        let key_file = folder.join(KEY_FILE);
        write_private(&key_file, &key)?;
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let failed = || format!("cannot write {}", messages.display());
        let log =
            File::options().create(true).append(true).read(true).open(&messages).with_context(failed)?;
        let mut child = Command::new(program)
            .arg("serve")
            .args(arguments)
            .args(["--host", "127.0.0.1", "--port", "0", "--until-stdin-ends", "--drain-timeout", "5"])
            .arg("--api-key-file")
            .arg(&key_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().with_context(failed)?)
            .process_group(0)
            .spawn()
            .context("cannot start the server")?;
        let out = BufReader::new(child.stdout.take().context("the server has no output")?);
        let Some((base, rest)) = listens(out) else {
            // It has ended, or is of no use.
            let _ = child.kill();
            let _ = child.wait();
            bail!("the server did not start\n{}", last_messages(log).trim_end());
        };
        // What it prints further is read, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut { rest }, &mut std::io::sink()));
        match ask(&base, Some(&key), None) {
            Answer::Server(server) => Ok(Started { child, server }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                Err(anyhow!("the server at {base} does not answer"))
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // The end of its input is what it ends with.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn draw_key() -> Result<String> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("cannot draw a key: {error}"))?;
    Ok(hex(&bytes))
}

/// A file that its owner alone can read, from the start.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let mut file =
        File::options().create_new(true).write(true).mode(0o600).open(path).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)
}

/// The address in what a server prints, and the rest of it; `None` when it ends without one.
fn listens<R: Read>(mut out: BufReader<R>) -> Option<(String, BufReader<R>)> {
    let mut line = String::new();
    while out.read_line(&mut line).ok()? > 0 {
        if let Some((_, rest)) = line.split_once(BEFORE_ADDRESS) {
            let address = rest.split("/v1").next().unwrap_or_default().to_owned();
            return Some((address, out));
        }
        line.clear();
    }
    None
}

fn last_messages(mut log: File) -> String {
    let mut text = Vec::new();
    let end = log.metadata().map_or(0, |meta| meta.len());
    // What cannot be read is not shown.
    let _ = log.seek(SeekFrom::Start(end.saturating_sub(MESSAGES_BYTES_MAX)));
    let _ = log.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_among_the_lines() {
        let text = "   1 MB  weights\n\ndemo is served at http://127.0.0.1:1234/v1 ; the API is described\n";
        let (base, _) = listens(BufReader::new(text.as_bytes())).unwrap();
        assert_eq!(base, "http://127.0.0.1:1234");
        assert!(listens(BufReader::new(&b"error\n"[..])).is_none());
    }
}
