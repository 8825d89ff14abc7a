//! A server that is a program of this machine: started, listened to and ended.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{self, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::limits::{MCP_ERROR_BYTES_MAX, MCP_STOP_TIME_MAX};
use super::stranger_text::one_line;

/// How long the last words of a program that has ended are waited for.
const READ_TIME_MAX: Duration = Duration::from_millis(500);

/// A program that runs in a process group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    /// The end of its standard error.
    errors: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts a program, and gives its output and input.
    pub(super) fn start(mut command: Command) -> io::Result<(Self, ChildStdout, ChildStdin)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.process_group(0).kill_on_drop(true).spawn()?;
        let errors = Arc::new(Mutex::new(Vec::new()));
        let stderr = process.stderr.take();
        let reader = stderr.map(|stderr| tokio::spawn(keep_end(stderr, Arc::clone(&errors))));
        let missing = || io::Error::other("its input or output is not a pipe");
        let output = process.stdout.take().ok_or_else(missing)?;
        let input = process.stdin.take().ok_or_else(missing)?;
        Ok((Self { process, errors, reader }, output, input))
    }

    /// How it ended and what it last complained of, once its output is closed.
    pub(super) async fn last_words(&mut self) -> String {
        let end = match timeout(MCP_STOP_TIME_MAX, self.process.wait()).await {
            Ok(Ok(status)) => format!("it ended ({status})"),
            _ => "it closed its output".to_owned(),
        };
        if let Some(reader) = self.reader.take() {
            // It ends with its pipe, which a program that the server started may still hold.
            let _ = timeout(READ_TIME_MAX, reader).await;
        }
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = one_line(&String::from_utf8_lossy(&errors), MCP_ERROR_BYTES_MAX);
        if errors.is_empty() { end } else { format!("{end} and last wrote: {errors}") }
    }

    /// Waits for it to end by itself, its input being closed, and kills it if it does not.
    pub(super) async fn stop(mut self) {
        // A status or an error: in both cases dropping does what is left.
        let _ = timeout(MCP_STOP_TIME_MAX, self.process.wait()).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // While it has an id nobody has waited for it, so the number is still its own.
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            // The group may have ended meanwhile, which is what was wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Reads all, so that the writer never waits, and keeps the last bytes.
async fn keep_end(mut stderr: ChildStderr, errors: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; MCP_ERROR_BYTES_MAX];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.extend_from_slice(&chunk[..read]);
        let excess = errors.len().saturating_sub(MCP_ERROR_BYTES_MAX);
        errors.drain(..excess);
    }
}
