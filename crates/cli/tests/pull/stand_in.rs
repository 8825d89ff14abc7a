//! A stand-in of the hub on this machine, for tests.
//!
//! It answers the requests that a pull makes as the hub does: the listing with sizes and hashes, the address
//! of each file with the hub's own headers, large files by a redirect to another host (`localhost` instead of
//! `127.0.0.1`), ranges. Each kind of [`Fault`] is one thing that goes wrong on the way; every request is
//! kept in a log, with the bytes that were sent for it.
//!
//! One thread per connection, one request per connection, HTTP/1.1 written by hand: no client's parser is
//! shared with the product.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const REPOSITORY: &str = "org/tiny";
pub const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";
pub const BRANCH: &str = "release/one";

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The connection closes after so many bytes of the file, once.
    Break { file: &'static str, after: usize },
    /// The connection falls silent after so many bytes of the file, once.
    Silence { file: &'static str, after: usize },
    /// A byte of the file is another one.
    Corrupt { file: &'static str },
    /// The file has another length than the listing says.
    Shorter { file: &'static str },
    /// The listing says that the file is larger than any disk.
    Enormous { file: &'static str },
    /// Ranges are not understood: the whole file comes.
    NoRanges,
    /// So many requests for files are answered 503 first.
    Busy { times: usize },
    /// Only this token may read.
    Gated { token: &'static str },
}

/// A request as it came, and what was sent for it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub host: String,
    pub range_start: Option<usize>,
    pub token: Option<String>,
    pub body_bytes: usize,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    log: Vec<Seen>,
}

/// The stand-in; it stops listening when dropped.
pub struct Hub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Hub {
    /// Listens on a free port with these files in [`REPOSITORY`].
    pub fn with_files(files: BTreeMap<String, Vec<u8>>) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port's number");
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if Arc::strong_count(&shared) == 1 {
                    break;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, address, &shared));
            }
        });
        Hub { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_faults(&self, faults: &[Fault]) {
        self.state().faults = faults.to_vec();
    }

    /// The requests since the last call, for paths that contain the word.
    pub fn take_log(&self, word: &str) -> Vec<Seen> {
        let log = std::mem::take(&mut self.state().log);
        log.into_iter().filter(|seen| seen.path.contains(word)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of the stand-in panicked")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // The listening thread wakes up, sees that nobody holds the state, and closes the port.
        self.state = Arc::default();
        let _ = TcpStream::connect(self.address);
    }
}

struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body after which something happens instead of the rest.
    stop_after: Option<(usize, Ending)>,
}

#[derive(Clone, Copy)]
enum Ending {
    Close,
    Silence,
}

fn answer(status: &'static str, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, headers: Vec::new(), body: body.into(), stop_after: None }
}

fn serve(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) {
    let Some(mut seen) = read_request(&stream) else { return };
    let answer = respond(&seen, address, &mut state.lock().expect("the state"));
    let mut head = format!(
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n",
        answer.status,
        answer.body.len()
    );
    answer.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    let num_bytes = answer.stop_after.map_or(answer.body.len(), |(after, _)| after.min(answer.body.len()));
    seen.body_bytes = num_bytes;
    // Before the bytes go out: whoever has them can rely on the log.
    state.lock().expect("the state").log.push(seen);
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&answer.body[..num_bytes]);
    let _ = stream.flush();
    if let Some((_, Ending::Silence)) = answer.stop_after {
        std::thread::sleep(Duration::from_secs(60));
    }
    let _ = stream.shutdown(Shutdown::Write);
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut seen = Seen { path, host: String::new(), range_start: None, token: None, body_bytes: 0 };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_lowercase().as_str() {
            "host" => seen.host = value.to_owned(),
            "authorization" => seen.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "range" => seen.range_start = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            _ => {}
        }
    }
    Some(seen)
}

fn respond(seen: &Seen, address: SocketAddr, state: &mut State) -> Answer {
    let path = seen.path.split('?').next().unwrap_or_default();
    if let Some(name) = path.strip_prefix("/cdn/") {
        return content(name, seen.range_start, state);
    }
    let allowed = state.faults.iter().all(|fault| match fault {
        Fault::Gated { token } => seen.token.as_deref() == Some(token),
        _ => true,
    });
    if !allowed {
        return answer("401 Unauthorized", "Access to this model is restricted.");
    }
    let revision = path.strip_prefix(&format!("/api/models/{REPOSITORY}/revision/"));
    if let Some(revision) = revision.map(|revision| revision.replace("%2F", "/")) {
        return match seen.path.ends_with("?blobs=true")
            && ["main", BRANCH, COMMIT].contains(&revision.as_str())
        {
            true => answer("200 OK", listing(state).to_string()),
            false => answer("404 Not Found", "Revision not found"),
        };
    }
    match path.strip_prefix(&format!("/{REPOSITORY}/resolve/{COMMIT}/")) {
        Some(name) => resolve(name, seen.range_start, address, state),
        None => answer("404 Not Found", "Repository not found"),
    }
}

fn is_large(name: &str) -> bool {
    [".safetensors", ".bin", ".gguf"].iter().any(|end| name.ends_with(end))
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn git_blob(bytes: &[u8]) -> String {
    let hash = Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn listing(state: &State) -> Value {
    let sibling = |(name, bytes): (&String, &Vec<u8>)| {
        let is_enormous =
            state.faults.iter().any(|fault| matches!(fault, Fault::Enormous { file } if file == name));
        let size = if is_enormous { 1 << 60 } else { bytes.len() };
        match is_large(name) {
            true => json!({"rfilename": name, "size": size, "blobId": git_blob(b"a pointer"),
                "lfs": {"sha256": sha256(bytes), "size": size, "pointerSize": 134}}),
            false => json!({"rfilename": name, "size": size, "blobId": git_blob(bytes)}),
        }
    };
    let siblings: Vec<Value> = state.files.iter().map(sibling).collect();
    json!({"id": REPOSITORY, "sha": COMMIT, "private": false, "siblings": siblings})
}

/// The hub's own host: small files at once, large ones elsewhere.
fn resolve(name: &str, start: Option<usize>, address: SocketAddr, state: &mut State) -> Answer {
    for fault in &mut state.faults {
        if let Fault::Busy { times } = fault
            && *times > 0
        {
            *times -= 1;
            return answer("503 Service Unavailable", "busy");
        }
    }
    let Some(bytes) = state.files.get(name) else { return answer("404 Not Found", "Entry not found") };
    if !is_large(name) {
        let etag = git_blob(bytes);
        let mut found = content(name, start, state);
        found.headers.push(("ETag", format!("\"{etag}\"")));
        found.headers.push(("X-Repo-Commit", COMMIT.to_owned()));
        return found;
    }
    let mut redirect = answer("302 Found", "");
    redirect.headers = vec![
        ("Location", format!("http://localhost:{}/cdn/{name}", address.port())),
        ("X-Repo-Commit", COMMIT.to_owned()),
        ("X-Linked-Size", bytes.len().to_string()),
        ("X-Linked-Etag", format!("\"{}\"", sha256(bytes))),
    ];
    redirect
}

/// The bytes of a file from a start, with whatever goes wrong on the way.
fn content(name: &str, start: Option<usize>, state: &mut State) -> Answer {
    let mut bytes = state.files[name].clone();
    let mut start = start;
    let mut stop_after = None;
    let mut spent = None;
    for (index, fault) in state.faults.iter().enumerate() {
        match fault {
            Fault::Corrupt { file } if *file == name => bytes[0] ^= 1,
            Fault::Shorter { file } if *file == name => bytes.truncate(bytes.len() - 1),
            Fault::NoRanges => start = None,
            Fault::Break { file, after } if *file == name => {
                (stop_after, spent) = (Some((*after, Ending::Close)), Some(index))
            }
            Fault::Silence { file, after } if *file == name => {
                (stop_after, spent) = (Some((*after, Ending::Silence)), Some(index));
            }
            _ => {}
        }
    }
    spent.map(|index| state.faults.remove(index));
    let total = bytes.len();
    let Some(start) = start else { return Answer { stop_after, ..answer("200 OK", bytes) } };
    if start >= total {
        return answer("416 Range Not Satisfiable", "");
    }
    let range = ("Content-Range", format!("bytes {start}-{}/{total}", total - 1));
    Answer { headers: vec![range], stop_after, ..answer("206 Partial Content", &bytes[start..]) }
}
