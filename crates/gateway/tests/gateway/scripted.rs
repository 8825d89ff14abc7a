//! An upstream that does what a script says, and counts who comes.
//!
//! A thread a connection, HTTP/1.1 by hand: what is to be tested is what happens when an upstream does not
//! keep to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

/// What came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The body.
    pub body: Value,
    /// How many came before it.
    pub number: usize,
}

impl Asked {
    /// Whether a stream is asked for.
    pub fn is_stream(&self) -> bool {
        self.body["stream"] == true
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Act {
    /// A body with a status and more headers.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// Events, and what follows them.
    Events(Vec<String>, Then),
    /// Nothing, until the client goes or the upstream ends.
    Hang,
    /// The connection ends.
    Drop,
}

/// What follows events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The end that HTTP has.
    End,
    /// The connection ends in the middle.
    Cut,
    /// Nothing.
    Hang,
}

type Script = Arc<dyn Fn(&Asked) -> Act + Send + Sync>;

/// A scripted upstream.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    connections: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
    /// Set when the test has ended; whoever hangs wakes up.
    ended: (Mutex<bool>, Condvar),
    is_ended: AtomicBool,
}

impl Upstream {
    /// Begins to listen.
    pub fn start(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Arc::new(script),
            connections: AtomicUsize::new(0),
            asked: Mutex::default(),
            ended: (Mutex::new(false), Condvar::new()),
            is_ended: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.is_ended.load(Ordering::Relaxed) {
                    return;
                }
                of_thread.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Upstream { address, shared }
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The lines of an upstream's table, but for its models.
    pub fn table(&self, name: &str, lines: &str) -> String {
        format!("[[upstreams]]\nname = \"{name}\"\nbase_url = \"http://{}/v1\"\n{lines}\n", self.address)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::Relaxed);
        *self.shared.ended.0.lock().unwrap() = true;
        self.shared.ended.1.notify_all();
        // Whoever waits for a connection has one.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(body) = request(&mut reader) {
        let asked = {
            let mut all = shared.asked.lock().unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let number = all.len();
            all.push(Asked { body, number });
            all.last().unwrap().clone()
        };
        let act = (shared.script)(&asked);
        if act_out(&mut writer, act, shared).is_none() {
            let _ = writer.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// The body of the next request.
fn request(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// None: the connection is to end.
fn act_out(writer: &mut TcpStream, act: Act, shared: &Shared) -> Option<()> {
    match act {
        Act::Drop => None,
        Act::Hang => hang(shared),
        Act::Whole(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            write!(writer, "{head}content-length: {}\r\n\r\n{body}", body.len()).ok()
        }
        Act::Events(events, then) => {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            write!(writer, "{head}").ok()?;
            for event in events {
                write!(writer, "{:x}\r\n{event}\r\n", event.len()).ok()?;
                writer.flush().ok()?;
            }
            match then {
                Then::End => write!(writer, "0\r\n\r\n").ok(),
                Then::Cut => None,
                Then::Hang => hang(shared),
            }
        }
    }
}

fn hang(shared: &Shared) -> Option<()> {
    let (lock, condition) = &shared.ended;
    let mut ended = lock.lock().unwrap();
    while !*ended {
        ended = condition.wait(ended).unwrap();
    }
    None
}

/// A chat's answer, in words of `who`.
pub fn chat(who: &str, text: &str) -> String {
    format!(
        r#"{{"id":"x","object":"chat.completion","model":"{who}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}}}"#
    )
}

/// The same as events.
pub fn chat_events(text: &str) -> Vec<String> {
    let mut events = vec![
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
            .to_owned(),
    ];
    for word in text.split_inclusive(' ') {
        events.push(format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n"
        ));
    }
    events.push("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned());
    events.push(
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}\n\n"
            .to_owned(),
    );
    events.push("data: [DONE]\n\n".to_owned());
    events
}
