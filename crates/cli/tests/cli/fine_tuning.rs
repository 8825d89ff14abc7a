//! Tuning jobs of a server, with the demo and the real loop.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::run;
use crate::serve::Server;

/// How long a job may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn start(folder: &Path) -> Server {
    let folder = folder.to_str().unwrap();
    Server::start(&["--state-dir", folder, "--train-threads", "2", "--context", "512"])
}

fn upload(server: &Server, content: &str) -> String {
    let form = format!(
        "--xx\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--xx\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"rows.jsonl\"\r\n\r\n{content}\r\n--xx--\r\n"
    );
    let answer =
        server.ask("POST", "/v1/files", "content-type: multipart/form-data; boundary=xx\r\n", &form).unwrap();
    let file: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    file["id"].as_str().unwrap().to_owned()
}

/// A job on six rows, in six steps.
fn create(server: &Server) -> String {
    let row = |n: u32| {
        let messages = json!([
            {"role": "user", "content": format!("Who are you, number {n}?")},
            {"role": "assistant", "content": "I am Bo."},
        ]);
        format!("{}\n", json!({"messages": messages}))
    };
    let rows: String = (0..6).map(row).collect();
    let method = json!({"type": "supervised", "supervised": {"hyperparameters":
        {"n_epochs": 2, "batch_size": 2, "learning_rate_multiplier": 10}}});
    let training = upload(server, &rows);
    let body = json!({"model": "demo", "training_file": training, "seed": 3, "suffix": "bo", "method": method,
        "gptoss": {"rank": 4, "sites": ["attention"]}});
    let job = server.post("/v1/fine_tuning/jobs", &body);
    assert_eq!(job["status"], "validating_files", "{job}");
    job["id"].as_str().unwrap().to_owned()
}

fn until(server: &Server, job: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let row = server.get(&format!("/v1/fine_tuning/jobs/{job}"));
        if is_so(&row) {
            return row;
        }
        assert!(begun.elapsed() < PATIENCE, "{row}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn steps(server: &Server, job: &str) -> usize {
    let events = server.get(&format!("/v1/fine_tuning/jobs/{job}/events?limit=100"));
    events["data"].as_array().unwrap().iter().filter(|event| event["type"] == "metrics").count()
}

fn ended(server: &Server, job: &str) -> Value {
    let row = until(server, job, |row| row["finished_at"].is_u64());
    assert_eq!(row["status"], "succeeded", "{row}");
    row
}

fn adapter(folder: &Path, job: &str, name: &str) -> Vec<u8> {
    let adapters = folder.join("tuning").join(job).join("adapters");
    std::fs::read(adapters.join(name).join("adapter_model.safetensors")).unwrap()
}

fn said(server: &Server, model: &Value) -> Value {
    let messages = json!([{"role": "user", "content": "Who are you, number 9?"}]);
    let body = json!({"model": model, "messages": messages, "temperature": 0, "max_tokens": 40,
        "reasoning_effort": "low", "logprobs": true});
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer["model"], *model, "{answer}");
    answer["choices"][0]["logprobs"].clone()
}

/// Killed at a step, the server goes on with the job and comes to the same bytes.
#[test]
fn a_job_comes_to_the_same_model_whatever_happens() {
    let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = start(folder.path());
    let job = create(&server);
    let row = ended(&server, &job);
    assert_eq!((steps(&server, &job), row["trained_tokens"].as_u64().unwrap() > 0), (6, true));
    let events = server.get(&format!("/v1/fine_tuning/jobs/{job}/events?limit=100"));
    let accuracies: Vec<f64> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["data"]["train_mean_token_accuracy"].as_f64())
        .collect();
    assert_eq!(accuracies.len(), 6, "{events}");
    // The rows are questions as the demo knows them, so most targets are the likeliest; a mean loss is not.
    assert!(accuracies.iter().all(|share| (0.5..=1.0).contains(share)), "{accuracies:?}");
    let checkpoints = server.get(&format!("/v1/fine_tuning/jobs/{job}/checkpoints"));
    let numbers: Vec<u64> = checkpoints["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["step_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [6, 3]);
    let model = row["fine_tuned_model"].clone();
    assert_ne!(said(&server, &model), said(&server, &json!("demo")));
    let first = checkpoints["data"][1]["fine_tuned_model_checkpoint"].clone();
    assert_ne!(said(&server, &first), said(&server, &model));
    let expect = adapter(folder.path(), &job, "final");
    assert_eq!(adapter(folder.path(), &job, "step-6"), expect);

    let mut server = start(killed.path());
    let other = create(&server);
    until(&server, &other, |_| steps(&server, &other) >= 4);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let server = start(killed.path());
    let row = ended(&server, &other);
    assert_eq!(steps(&server, &other), 6, "a step that is taken again is told once");
    assert!(adapter(killed.path(), &other, "final") == expect, "the bytes are others");
    assert_eq!(said(&server, &row["fine_tuned_model"]), said(&server, &row["fine_tuned_model"]));
    let work = killed.path().join("tuning").join(&other).join("work");
    until(&server, &other, |_| !work.exists());
}

#[test]
fn rows_that_are_wrong_fail_the_job_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let good = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    let alone = json!({"messages": [{"role": "user", "content": "a"}]});
    let pair = json!({"prompt": "a", "chosen": "b", "rejected": "c"});
    let check = |rows: &[&Value], line: Option<usize>| {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let body = json!({"model": "demo", "training_file": upload(&server, &text)});
        let job = server.post("/v1/fine_tuning/jobs", &body)["id"].as_str().unwrap().to_owned();
        let row = until(&server, &job, |row| row["status"] != "validating_files");
        let message = row["error"]["message"].as_str().unwrap_or_default().to_owned();
        match line {
            Some(line) => assert!(message.starts_with(&format!("line {line}: ")), "{row}"),
            None => assert_eq!(row["error"], Value::Null, "{row}"),
        }
    };
    check(&[&good, &alone], Some(2));
    check(&[&good, &json!([1])], Some(2));
    check(&[&good, &pair], Some(2));
    // What stands there twice is left out.
    check(&[&good, &good], None);
}

/// Rows as OpenAI has them for `dpo`.
#[test]
fn a_job_learns_which_answer_is_better() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let said = |text: &str| json!([{"role": "assistant", "content": text}]);
    let row = |n: u32| {
        let messages = json!([{"role": "user", "content": format!("Who are you, number {n}?")}]);
        json!({"input": {"messages": messages}, "preferred_output": said("I am Bo."),
            "non_preferred_output": said("No one.")})
    };
    let rows = |range: std::ops::Range<u32>| range.map(|n| format!("{}\n", row(n))).collect::<String>();
    let create = |rows: &str| {
        let method = json!({"type": "dpo", "dpo": {"hyperparameters":
            {"beta": 0.2, "n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 100}}});
        let body = json!({"model": "demo", "training_file": upload(&server, rows), "seed": 3, "method": method,
            "validation_file": upload(&server, &self::pairs(&row)), "gptoss": {"rank": 4}});
        server.post("/v1/fine_tuning/jobs", &body)["id"].as_str().unwrap().to_owned()
    };
    let job = create(&rows(0..6));
    let row = ended(&server, &job);
    assert_eq!(row["method"]["dpo"]["hyperparameters"]["beta"], 0.2, "{row}");
    let events = server.get(&format!("/v1/fine_tuning/jobs/{job}/events?limit=100"));
    let steps: Vec<&Value> =
        events["data"].as_array().unwrap().iter().filter(|event| event["type"] == "metrics").collect();
    let loss = |event: &Value, name: &str| event["data"][name].as_f64().unwrap();
    assert_eq!(steps.len(), 9);
    assert!((loss(steps[8], "train_loss") - std::f64::consts::LN_2).abs() < 1e-9, "{}", steps[8]);
    assert!(loss(steps[0], "train_loss") < 0.3 && loss(steps[0], "full_valid_loss") < 0.3, "{}", steps[0]);
    let share = |event: &Value, name: &str| event["data"][name].as_f64();
    assert_eq!(share(steps[8], "train_mean_token_accuracy"), Some(0.0), "{}", steps[8]);
    assert_eq!(share(steps[0], "train_mean_token_accuracy"), Some(1.0), "{}", steps[0]);
    assert_eq!(share(steps[0], "full_valid_mean_token_accuracy"), Some(1.0), "{}", steps[0]);
    let good = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    let job = create(&format!("{}{good}\n", rows(0..2)));
    let row = until(&server, &job, |row| row["status"] != "validating_files");
    let message = row["error"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("line 3: it is not a pair of answers"), "{row}");
}

/// Two rows that no job learns.
fn pairs(row: &impl Fn(u32) -> Value) -> String {
    (7..9).map(|n| format!("{}\n", row(n))).collect()
}

#[test]
fn training_has_a_folder_and_the_processor() {
    for flags in [&["--state-dir", "x", "--device", "vulkan"][..], &[]] {
        let output = run(&[&["serve", "--train-threads", "1"], flags].concat());
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains("--train-threads"), "{}", output.stderr);
    }
}
