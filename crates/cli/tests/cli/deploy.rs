//! What is put around the server, held against a live one: the service manager's socket, the dashboard of
//! `deploy/`, the names of metrics that routers read.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::program::{ended, gptoss};
use crate::serve::Server;

/// How long a test waits for a word of the server.
const PATIENCE: Duration = Duration::from_secs(120);
/// Prefixes of the names that the server tells.
const PREFIXES: [&str; 3] = ["gptoss_", "vllm:", "process_"];
/// Labels that Prometheus itself gives, and the one of buckets.
const OUTER_LABELS: [&str; 3] = ["instance", "job", "le"];

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn next(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("a message");
    String::from_utf8(bytes[..length].to_vec()).expect("text")
}

/// systemd hears when the server is ready, again and again that its engine turns, and that it stops.
#[test]
fn the_supervisor_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = gptoss(&["serve", "--port", "0", "--quiet", "--stop-grace", "0"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "150000");
    let mut server = Server::of(command);
    assert_eq!(next(&socket), format!("READY=1\nSTATUS=at {}", server.address));
    for _ in 0..4 {
        assert_eq!(next(&socket), "WATCHDOG=1");
    }
    // The engine turns while it computes too.
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "What is 27 + 58?"}]});
    server.post("/v1/chat/completions", &body);
    assert_eq!(next(&socket), "WATCHDOG=1");
    kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
    while next(&socket) == "WATCHDOG=1" {}
    assert!(ended(&mut server.child).success());
}

/// Each name that the server tells, with its labels.
fn scraped() -> BTreeMap<String, BTreeSet<String>> {
    let folder = tempfile::tempdir().unwrap();
    let gateway = folder.path().join("gateway.toml");
    let upstream =
        "[[upstreams]]\nname = \"cloud\"\nbase_url = \"http://127.0.0.1:9/v1\"\nmodels = { big = \"big\" }\n";
    std::fs::write(&gateway, upstream).unwrap();
    let gateway = gateway.to_str().unwrap();
    let server = Server::start(&["--model", "demo", "--model", "tiny=synthetic:tiny", "--gateway", gateway]);
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "What is 27 + 58?"}]});
    server.post("/v1/chat/completions", &body);
    let page = server.ask("GET", "/metrics", "", "").unwrap();
    let (_, page) = page.split_once("\r\n\r\n").unwrap();
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#') && line.contains(' ')) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        names.entry(name.to_owned()).or_default().extend(label_names(labels));
    }
    names
}

/// The names before `=` in what stands between braces; no value here has a comma or a brace.
fn label_names(labels: &str) -> impl Iterator<Item = String> {
    let each = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
    each.map(|(name, _)| name.trim_end_matches(['!', '~']).trim().to_owned())
}

/// The queries of a dashboard, each with its panel.
fn queries(value: &Value, panel: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| queries(value, panel, found)),
        Value::Object(fields) => {
            let panel = fields.get("title").and_then(Value::as_str).unwrap_or(panel);
            for (name, value) in fields {
                match value.as_str().filter(|_| matches!(name.as_str(), "expr" | "query" | "definition")) {
                    Some(query) => found.push((panel.to_owned(), query.to_owned())),
                    None => queries(value, panel, found),
                }
            }
        }
        _ => {}
    }
}

/// Words of a query: names of metrics, functions and labels.
fn words(query: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    query.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect()
}

/// Every query of the dashboard asks for what a live server tells, by labels that it tells there, and the
/// source of the data is the reader's choice.
#[test]
fn the_dashboard_asks_for_what_is_told() {
    let names = scraped();
    let dashboard: Value = serde_json::from_str(&repository("deploy/grafana/gptoss.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let kinds: Vec<_> = variables.iter().map(|variable| (&variable["name"], &variable["type"])).collect();
    assert!(kinds.contains(&(&json!("datasource"), &json!("datasource"))), "{kinds:?}");
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
    let mut found = Vec::new();
    queries(&dashboard, "", &mut found);
    let mut num_names = 0;
    for (panel, query) in found.iter().filter(|(_, query)| query != "prometheus") {
        let asked: Vec<&str> = words(query)
            .into_iter()
            .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
            .collect();
        assert!(!asked.is_empty(), "{panel}: {query}: no name of ours");
        let mut labels: BTreeSet<&str> = OUTER_LABELS.into();
        for name in &asked {
            let told = names.get(*name).unwrap_or_else(|| panic!("{panel}: {query}: {name} is not told"));
            labels.extend(told.iter().map(String::as_str));
            num_names += 1;
        }
        let braces = query.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        let by = query.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
        let wanted = braces.flat_map(|(inside, _)| label_names(inside).collect::<Vec<_>>());
        let wanted =
            wanted.chain(by.flat_map(|(inside, _)| inside.split(',').map(|label| label.trim().to_owned())));
        for label in wanted {
            assert!(labels.contains(label.as_str()), "{panel}: {query}: no label {label}");
        }
    }
    assert!(num_names > 30, "{num_names} names: the dashboard was not read");
}

/// A line of `testdata/vllm/metrics.txt`: `must` where routers read it, its kind, its name, its labels.
struct Recorded<'a> {
    must: bool,
    kind: &'a str,
    labels: BTreeSet<String>,
}

fn recorded(text: &str) -> BTreeMap<&str, Recorded<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let parsed = lines.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [must, kind, name, labels] = words[..] else { panic!("{line}") };
        let labels = labels.split(',').map(str::to_owned).collect();
        (name, Recorded { must: must == "must", kind, labels })
    });
    parsed.collect()
}

/// Names and labels under `vllm:` are those that vLLM has, and what routers read is there.
#[test]
fn names_of_vllm_are_vllms() {
    let text = repository("testdata/vllm/metrics.txt");
    let (recorded, names) = (recorded(&text), scraped());
    let mut told = BTreeSet::new();
    for (sample, labels) in names.iter().filter(|(name, _)| name.starts_with("vllm:")) {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| sample.strip_suffix(part)).unwrap_or(sample);
        let theirs = recorded.get(whole).unwrap_or_else(|| panic!("vLLM has no {whole}"));
        assert_eq!(theirs.kind == "histogram", whole != sample, "{sample}: {}", theirs.kind);
        let labels: BTreeSet<String> = labels.iter().filter(|label| *label != "le").cloned().collect();
        // Of the pool's description routers read two numbers; the rest is vLLM's own configuration.
        match whole {
            "vllm:cache_config_info" => assert!(labels.is_subset(&theirs.labels), "{whole}: {labels:?}"),
            _ => assert_eq!(labels, theirs.labels, "{whole}"),
        }
        told.insert(whole.to_owned());
    }
    for (name, _) in recorded.iter().filter(|(_, recorded)| recorded.must) {
        assert!(told.contains(*name), "{name} is read by routers and not told");
    }
}
