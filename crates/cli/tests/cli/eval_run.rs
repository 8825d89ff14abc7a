//! `eval`: a benchmark's questions put to a server that answers from a key, through every way in which an
//! answer can fail, a kill at any point, and to the demo.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Ran, ended, gptoss, run};

/// How long the server keeps a question that it does not answer.
const HANG: Duration = Duration::from_secs(5);
/// Longest time in which a run comes to the point at which it is killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the server does with a question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    /// Answers with this text.
    Says(&'static str),
    /// The same, after a limit of tokens has ended it.
    Cut(&'static str),
    /// Answers with this status, always.
    Refuses(u16),
    /// With 429 the first time, then rightly.
    IsBusyOnce,
    /// Not at all.
    Hangs,
    /// Rightly, but at low effort.
    NeedsEffort,
}

/// A server of Chat Completions that answers from a key: question N is `[N]`, and its answer N + 1.
struct Keyed {
    url: String,
    /// How often each question was asked.
    asked: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Keyed {
    fn start(does: impl Fn(usize) -> Does + Send + Sync + 'static, pause: Duration) -> Keyed {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(BTreeMap::new()));
        let (does, count) = (Arc::new(does), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (does, count) = (Arc::clone(&does), Arc::clone(&count));
                std::thread::spawn(move || while serve_one(&stream, &*does, &count, pause).is_some() {});
            }
        });
        Keyed { url, asked }
    }

    fn asked(&self) -> BTreeMap<usize, usize> {
        self.asked.lock().unwrap().clone()
    }

    fn total(&self) -> usize {
        self.asked().values().sum()
    }
}

/// Answers one request of a connection; None when it is over.
fn serve_one(
    mut stream: &TcpStream,
    does: &dyn Fn(usize) -> Does,
    asked: &Mutex<BTreeMap<usize, usize>>,
    pause: Duration,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let prompt = body["messages"].as_array()?.last()?["content"].as_str()?.to_owned();
    let number: usize = prompt.split_once('[')?.1.split_once(']')?.0.parse().ok()?;
    let times = {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(number).or_default();
        *times += 1;
        *times
    };
    let right = format!("So it is {0}.\n#### {0}", number + 1);
    let is_grader = prompt.contains("Right answer");
    let (status, text, reason) = match does(number) {
        _ if is_grader => (200, if prompt.contains("grade: So") { "A" } else { "B" }.to_owned(), "stop"),
        Does::Says("right") => (200, right, "stop"),
        Does::Says(text) => (200, text.to_owned(), "stop"),
        Does::Cut(text) => (200, text.to_owned(), "length"),
        Does::Refuses(status) => (status, String::new(), ""),
        Does::IsBusyOnce if times == 1 => (429, String::new(), ""),
        Does::IsBusyOnce => (200, right, "stop"),
        Does::NeedsEffort if body["reasoning_effort"] == "low" => (200, "#### 0".to_owned(), "stop"),
        Does::NeedsEffort => (200, right, "stop"),
        Does::Hangs => {
            std::thread::sleep(HANG);
            return None;
        }
    };
    std::thread::sleep(pause);
    let answer = match status {
        200 => json!({
            "choices": [{"message": {"role": "assistant", "content": text, "reasoning_content": "hm"}, "finish_reason": reason}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}},
        }),
        _ => json!({"error": {"message": format!("status {status} was asked for")}}),
    };
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nretry-after: 0\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all((head + &answer).as_bytes()).ok()
}

/// Rows of GSM8K's shape: row N asks `[N]`, and N + 1 is right.
fn rows(folder: &Path, count: usize) -> String {
    let row = |n: usize| json!({"question": format!("[{n}] and one?"), "answer": format!("#### {}", n + 1)});
    let text: String = (0..count).map(|n| format!("{}\n", row(n))).collect();
    let file = folder.join("rows.jsonl");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn arguments<'a>(server: &'a Keyed, data: &'a str, out: &'a str) -> Vec<&'a str> {
    let args = ["eval", "gsm8k", "--data", data, "--base-url", &server.url, "--model", "m", "--out", out];
    [&args[..], &["--json", "--retry-pause", "1ms"]].concat()
}

fn report(ran: Ran, code: i32) -> Value {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

/// A report without the moment in which its run began.
fn timeless(mut report: Value) -> Value {
    report["started"] = Value::Null;
    report
}

fn columns(leg: &Value) -> [u64; 6] {
    ["n", "correct", "wrong", "no_answer", "cut", "error"].map(|name| leg[name].as_u64().unwrap())
}

#[test]
fn every_end_of_an_answer_has_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (rows(folder.path(), 13), folder.path().join("run"));
    let server = Keyed::start(
        |number| match number {
            5 | 6 => Does::Says("#### 999"),
            7 => Does::Says(" "),
            8 => Does::Cut("First I think"),
            9 => Does::Refuses(500),
            10 => Does::Hangs,
            11 => Does::IsBusyOnce,
            12 => Does::Refuses(400),
            _ => Does::Says("right"),
        },
        Duration::ZERO,
    );
    let args = arguments(&server, &data, out.to_str().unwrap());
    let args = [&args[..], &["--retries", "1", "--timeout", "1s"]].concat();
    let first = report(run(&[&args[..], &["--fail-under", "0.9"]].concat()), 3);
    let leg = &first["efforts"][0];
    assert_eq!(columns(leg), [13, 6, 2, 1, 1, 3], "{leg}");
    // Errors are nobody's answers: six of ten are right.
    assert_eq!((&leg["score"], &leg["effort"], &leg["missing"]), (&0.6.into(), &"default".into(), &0.into()));
    assert_eq!(leg["tokens"], json!({"prompt": 90, "completion": 50, "reasoning": 20}));
    let asked = server.asked();
    let times: Vec<usize> = (0..13).map(|number| asked[&number]).collect();
    assert_eq!(times, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1]);

    // Nothing is left: the same command asks nothing, and tells the same.
    let again = report(run(&[&args[..], &["--fail-under", "0.5"]].concat()), 0);
    assert_eq!((again, server.total()), (first.clone(), asked.values().sum()));
    // Errors are asked again when that is wanted, and then the row whose server is there counts.
    let retried = report(run(&[&args[..], &["--retry-errors"]].concat()), 0);
    assert_eq!(columns(&retried["efforts"][0]), [13, 6, 2, 1, 1, 3]);
    assert_eq!(server.total(), asked.values().sum::<usize>() + 5);
    files_are_there(&out);
    // Another run does not write here.
    let other = run(&[&args[..], &["--seed", "3"]].concat());
    other.fails(2, &["another run", "seed: 0 there, 3 now", "--out"]);
}

fn files_are_there(out: &Path) {
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let inside = names(out);
    for name in ["report.html", "report.json", "run.json", "samples-default.jsonl"] {
        assert!(inside.contains(&name.to_owned()), "{name} in {inside:?}");
    }
    assert!(inside.iter().any(|name| name.ends_with(".eval")), "{inside:?}");
    let beside = names(&out.join("lm-eval/default"));
    assert!(beside[0].starts_with("results_") && beside[1].starts_with("samples_gsm8k_"), "{beside:?}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("cut at limit") && !page.contains("src="), "{page}");
}

#[test]
fn efforts_are_runs_of_their_own_and_are_compared_in_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path(), 20);
    let server = Keyed::start(
        |number| if number < 8 { Does::NeedsEffort } else { Does::Says("right") },
        Duration::ZERO,
    );
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [both, low, high] = ["both", "low", "high"].map(out);
    let run_at = |out: &str, effort: &str| {
        report(run(&[&arguments(&server, &data, out)[..], &["--effort", effort]].concat()), 0)
    };
    let told = run_at(&both, "low,high");
    assert_eq!((&told["efforts"][0]["score"], &told["efforts"][1]["score"]), (&0.6.into(), &1.0.into()));
    assert_eq!(columns(&told["efforts"][0]), [20, 12, 8, 0, 0, 0]);
    let page = std::fs::read_to_string(Path::new(&both).join("report.html")).unwrap();
    assert!(page.contains("Score by effort") && page.contains("Tokens by effort"));
    run_at(&low, "low");
    run_at(&high, "high");
    let compared = |first: &str, second: &str, code: i32| {
        report(run(&["eval", "compare", first, second, "--fail-worse", "--json"]), code)
    };
    let better = compared(&low, &high, 0);
    let pair = &better["comparisons"][0];
    assert_eq!((&pair["items"], &pair["better"], &pair["worse"]), (&20.into(), &8.into(), &0.into()));
    assert_eq!((&pair["difference"], &pair["efforts"]), (&0.4.into(), &json!(["low", "high"])));
    assert_eq!(better["differ_in"], json!([r#"effort: ["low"] there, ["high"] now"#]));
    compared(&high, &low, 3);
    compared(&low, &both, 0);
    run(&["eval", "compare", &low, folder.path().to_str().unwrap()]).fails(1, &["run.json"]);
}

/// A run that is killed is gone on with: every answer that was kept is kept, none of them is asked again, and
/// the report is that of a run nobody killed.
#[test]
fn a_killed_run_goes_on_where_it_was() {
    const ROWS: usize = 24;
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path(), ROWS);
    let does =
        |number: usize| if number.is_multiple_of(3) { Does::Says("#### 0") } else { Does::Says("right") };
    let pause = Duration::from_millis(4);
    let server = Keyed::start(does, pause);
    let whole = folder.path().join("whole");
    let reference = timeless(report(run(&arguments(&server, &data, whole.to_str().unwrap())), 0));
    assert_eq!(columns(&reference["efforts"][0]), [ROWS as u64, 16, 8, 0, 0, 0]);
    let kills = kills();
    for kill in 0..kills {
        let out = folder.path().join(format!("killed-{kill}"));
        let server = Keyed::start(does, pause);
        let args = [&arguments(&server, &data, out.to_str().unwrap())[..], &["--concurrency", "3"]].concat();
        let mut child = gptoss(&args).stdout(std::process::Stdio::null()).spawn().expect("the binary starts");
        let start = Instant::now();
        while server.total() <= kill * ROWS / kills {
            assert!(start.elapsed() < PATIENCE, "the run does not come to question {}", kill * ROWS / kills);
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let kept = journal(&out);
        let before = server.asked();
        let mut expected = reference.clone();
        let told = timeless(report(run(&args), 0));
        // The address of each server is another one.
        expected["run"] = told["run"].clone();
        assert_eq!(told, expected, "killed at {kill}");
        let after = server.asked();
        for number in &kept {
            assert_eq!(before[number], after[number], "question {number} was answered before kill {kill}");
        }
        let twice = after.values().filter(|times| **times > 1).count();
        assert!(twice <= 3, "only those under way are asked twice: {after:?}");
        assert_eq!(journal(&out).len(), ROWS);
    }
}

/// Questions with a whole line in the journal.
fn journal(out: &Path) -> Vec<usize> {
    let text = std::fs::read_to_string(out.join("samples-default.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    let id =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().parse().unwrap();
    whole.lines().map(id).collect()
}

/// How often the test above kills; 20 by hand.
#[expect(clippy::disallowed_methods, reason = "how long the walk is, is told by who starts it")]
fn kills() -> usize {
    std::env::var("GPTOSS_EVAL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn ctrl_c_keeps_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (rows(folder.path(), 40), folder.path().join("run"));
    let server = Keyed::start(|_| Does::Says("right"), Duration::from_millis(20));
    let args = [&arguments(&server, &data, out.to_str().unwrap())[..], &["--concurrency", "2"]].concat();
    let mut child = gptoss(&args).stdout(std::process::Stdio::piped()).spawn().expect("the binary starts");
    let start = Instant::now();
    while server.total() < 6 {
        assert!(start.elapsed() < PATIENCE, "the run does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(ended(&mut child).code(), Some(130));
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    let [n, correct, ..] = columns(&report["efforts"][0]);
    assert!(n >= 4 && n == correct && n < 40, "{report}");
    assert_eq!(report["efforts"][0]["missing"], 40 - n);
}

#[test]
fn a_grader_at_an_address_grades() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("facts.jsonl");
    let row = |n: usize| json!({"problem": format!("[{n}] and one?"), "answer": (n + 1).to_string()});
    std::fs::write(&file, (0..4).map(|n| format!("{}\n", row(n))).collect::<String>()).unwrap();
    let (data, out) = (file.to_str().unwrap(), folder.path().join("run"));
    let does = |number: usize| if number == 0 { Does::Says("No idea") } else { Does::Says("right") };
    let server = Keyed::start(does, Duration::ZERO);
    let args = ["eval", "simpleqa", "--data", data, "--base-url", &server.url, "--model", "m", "--json"];
    let args = [&args[..], &["--out", out.to_str().unwrap()]].concat();
    run(&args).fails(2, &["--grader-url"]);
    let graded = [&args[..], &["--grader-url", &server.url, "--grader-model", "g"]].concat();
    let told = report(run(&graded), 0);
    assert_eq!(columns(&told["efforts"][0]), [4, 3, 1, 0, 0, 0], "{told}");
    let journal = std::fs::read_to_string(out.join("samples-default.jsonl")).unwrap();
    assert!(journal.contains(r#""grades":["A"]"#) && journal.contains(r#""grades":["B"]"#), "{journal}");
}

#[test]
fn a_specification_of_ones_own_is_put_to_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let [spec, data] = ["sums.toml", "sums.jsonl"].map(|name| folder.path().join(name));
    std::fs::write(
        &spec,
        "name = 'sums'\nkind = 'exact'\nprompt = 'What is {a} + {b}?'\nanswer = 'sum'\ngroup = 'size'\n",
    )
    .unwrap();
    let row = |(a, b): (u32, u32)| {
        let size = if a < 30 { "small" } else { "large" };
        json!({"a": a, "b": b, "sum": (a + b).to_string(), "size": size}).to_string() + "\n"
    };
    let text: String = [(27, 58), (3, 4), (12, 9), (44, 31)].map(row).concat();
    std::fs::write(&data, text).unwrap();
    let [spec, data, out] =
        [spec, data, folder.path().join("run")].map(|path| path.to_str().unwrap().to_owned());
    let args = ["eval", &spec, "--data", &data, "--out", &out, "--concurrency", "4"];
    let table = run(&args).ok();
    assert!(table.contains("demo at effort default: 4 of 4 questions") && table.contains("small"), "{table}");
    let told = report(run(&[&args[..], &["--json"]].concat()), 0);
    let leg = &told["efforts"][0];
    assert_eq!((&leg["n"], &leg["error"], &leg["cut"]), (&4.into(), &0.into(), &0.into()), "{leg}");
    assert!(leg["correct"].as_u64() >= Some(3) && leg["tokens"]["completion"].as_u64() > Some(4), "{leg}");
    let dry = run(&["eval", &spec, "--data", &data, "--dry-run"]).ok();
    assert!(
        dry.contains("What is 27 + 58?") && dry.contains("expected: 7") && !dry.contains("12 + 9"),
        "{dry}"
    );
}

#[test]
fn what_cannot_be_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path(), 1);
    let refused = |args: &[&str], code: i32, facts: &[&str]| {
        run(&[&["eval"], args].concat()).fails(code, facts);
    };
    refused(&["gsm9k", "--data", &data], 2, &["gsm9k", "gsm8k"]);
    refused(&["gsm8k"], 2, &["--data"]);
    refused(&["gsm8k", "--data", "/nowhere.jsonl"], 1, &["/nowhere.jsonl"]);
    refused(&["gsm8k", "--data", &data, "--recipe", "mine"], 2, &["simple-evals"]);
    refused(&["gsm8k", "--data", &data, "--base-url", "127.0.0.1:1"], 2, &["not an address"]);
    refused(&["gsm8k", "--data", &data, "--base-url", "http://127.0.0.1:1/v1"], 1, &["--model"]);
    let mine = folder.path().to_str().unwrap();
    refused(&["gsm8k", "--data", &data, "--out", mine], 2, &["something else", "rows.jsonl"]);
}
