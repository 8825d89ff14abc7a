//! A download over a connection that may break.
//!
//! [`fetch`] appends to a partial file until it has the promised length. Each request asks for the bytes that
//! are not there yet, so a broken connection, a stopped program and a restarted machine cost nothing but the
//! last few bytes. Faults that may pass are tried again, with pauses that double; the count starts anew
//! whenever a byte has arrived. A connection that stays silent counts as broken.
//!
//! The hub client's own download is not used: it appends whatever comes back, puts a file in place before
//! anybody has hashed it, waits for ever on a silent connection, and sends the token along to the host that
//! the hub redirects to.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::listing::RemoteFile;
use super::refusal;

/// Tries in a row that may bring nothing before the pull gives up.
const FRUITLESS_TRIES_MAX: u32 = 6;
/// The pause after the first fruitless try; each further one doubles it, 15 s in all.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Bytes written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// What every request of one pull has in common.
pub struct Route {
    agent: Agent,
    token: Option<String>,
}

impl Route {
    /// Requests with this token, to the hub's own host alone, that count a silence of `silence_max` as
    /// broken.
    pub fn new(token: Option<String>, silence_max: Duration) -> Route {
        let config = Agent::config_builder()
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_resolve(Some(silence_max))
            .timeout_connect(Some(silence_max))
            .timeout_per_read(Some(silence_max))
            .user_agent(concat!("gptoss/", env!("CARGO_PKG_VERSION")))
            .build();
        Route { agent: config.into(), token }
    }

    fn get(&self, url: &str, start: u64) -> Result<Response<Body>, ureq::Error> {
        // Compressed bytes could not be resumed or counted.
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call()
    }
}

/// Why a try ended before the file was whole.
enum Broken {
    /// The same request may do better a moment later.
    ForNow(anyhow::Error),
    /// It will not.
    ForGood(anyhow::Error),
}

impl Broken {
    fn of_request(error: ureq::Error) -> Broken {
        match refusal::may_pass(&error) {
            true => Broken::ForNow(error.into()),
            false => Broken::ForGood(error.into()),
        }
    }

    fn of_disk(error: std::io::Error, partial: &Path) -> Broken {
        Broken::ForGood(anyhow!(error).context(format!("cannot write {}", partial.display())))
    }
}

/// Completes the partial file. `progress` hears how many bytes are there.
///
/// Errors: the hub refuses, the disk does, the hub holds another length than it listed, or too many tries in
/// a row brought nothing; the partial file keeps what has arrived.
pub fn fetch(
    route: &Route,
    url: &str,
    wanted: &RemoteFile,
    partial: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let context = || format!("cannot write {}", partial.display());
    let mut file = OpenOptions::new().create(true).append(true).open(partial).with_context(context)?;
    let mut fruitless_tries = 0;
    loop {
        let before = file.metadata().with_context(context)?.len();
        if before == wanted.num_bytes {
            return Ok(());
        }
        if before > wanted.num_bytes {
            file.set_len(0).with_context(context)?;
            continue;
        }
        let error = match attempt(route, url, wanted, &mut file, partial, progress) {
            Ok(()) => continue,
            Err(Broken::ForGood(error)) => return Err(error),
            Err(Broken::ForNow(error)) => error,
        };
        let after = file.metadata().with_context(context)?.len();
        fruitless_tries = if after > before { 1 } else { fruitless_tries + 1 };
        if fruitless_tries >= FRUITLESS_TRIES_MAX {
            let kept = format!("{after} of {} bytes of {} are kept", wanted.num_bytes, wanted.name);
            return Err(error
                .context(format!("the connection keeps breaking: {kept}, run the same command to go on")));
        }
        std::thread::sleep(FIRST_PAUSE * 2u32.pow(fruitless_tries - 1));
    }
}

/// One request, and its bytes into the file.
fn attempt(
    route: &Route,
    url: &str,
    wanted: &RemoteFile,
    file: &mut File,
    partial: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Broken> {
    let start = file.metadata().map_err(|error| Broken::of_disk(error, partial))?.len();
    let response = route.get(url, start).map_err(Broken::of_request)?;
    let (first, total) = place(&response);
    if total.is_some_and(|total| total != wanted.num_bytes) {
        let total = total.unwrap_or_default();
        let message = format!("{}: the hub lists {} bytes and sends {total}", wanted.name, wanted.num_bytes);
        return Err(Broken::ForGood(anyhow!(message)));
    }
    if first != start {
        // The whole file comes instead of the rest: begin again. Anything between would leave a hole.
        file.set_len(0).map_err(|error| Broken::of_disk(error, partial))?;
        if first != 0 {
            return Err(Broken::ForNow(anyhow!(
                "{}: bytes from {first} came, from {start} were asked",
                wanted.name
            )));
        }
    }
    let mut done = first;
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; BUFFER_BYTES];
    while done < wanted.num_bytes {
        let read = reader.read(&mut buffer).map_err(|error| Broken::ForNow(error.into()))?;
        if read == 0 {
            let message =
                format!("{}: the connection closed after {done} of {} bytes", wanted.name, wanted.num_bytes);
            return Err(Broken::ForNow(anyhow!(message)));
        }
        file.write_all(&buffer[..read]).map_err(|error| Broken::of_disk(error, partial))?;
        done += read as u64;
        progress(done);
    }
    Ok(())
}

/// Where in the file a response begins, and how long the whole file is as far as the response says.
fn place(response: &Response<Body>) -> (u64, Option<u64>) {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return (0, header("content-length").and_then(|text| text.parse().ok()));
    }
    // "bytes FIRST-LAST/TOTAL"; a range that cannot be read begins nowhere, so that it is never appended.
    let range = header("content-range").and_then(|text| text.strip_prefix("bytes ")?.split_once('/'));
    let first = range.and_then(|(range, _)| range.split_once('-')?.0.parse().ok());
    (first.unwrap_or(u64::MAX), range.and_then(|(_, total)| total.parse().ok()))
}
