//! A run as lm-eval writes its own: `results_DATE.json`, and `samples_TASK_DATE.jsonl` with a line an answer.
//!
//! There is a folder an effort, as lm-eval has one a model.

use gptoss_eval::Item;
use serde_json::{Map, Value, json};

use super::digest::sha256;
use super::leg::{Leg, expected, score, standard_error};
use super::run_record::RunRecord;
use super::sample::Sample;

/// The filter under which scores stand: answers are taken by this program's own rules.
const FILTER: &str = "none";

/// The names of a leg's two files.
pub fn names(record: &RunRecord, leg: &Leg) -> [String; 2] {
    let time = record.started().strftime("%Y-%m-%dT%H-%M-%S.000000");
    [format!("results_{time}.json"), format!("samples_{}_{time}.jsonl", leg.suite.name)]
}

/// The file of results.
pub fn results(record: &RunRecord, leg: &Leg) -> Value {
    let (task, started) = (leg.suite.name.as_str(), record.started().as_second());
    let of_task = |value: Value| Value::Object(Map::from_iter([(task.to_owned(), value)]));
    let mut scores = Map::from_iter([("alias".to_owned(), json!(task))]);
    let all = leg.scores().all;
    let metrics = [("acc", score(&all).0), ("acc_stderr", standard_error(&all))];
    scores.extend(metrics.map(|(name, value)| (format!("{name},{FILTER}"), json!(value))));
    let seconds: f64 = leg.answered().map(|(_, sample)| sample.seconds).sum();
    json!({
        "results": of_task(Value::Object(scores)),
        "group_subtasks": of_task(json!([])),
        "configs": of_task(json!({
            "task": task,
            "dataset_path": record.data(),
            "output_type": "generate_until",
            "num_fewshot": 0,
            "repeats": record.run.get("repeats"),
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": true}],
            "metadata": {"version": 1.0, "recipe": record.run.get("recipe")},
        })),
        "versions": of_task(json!(1.0)),
        "n-shot": of_task(json!(0)),
        "higher_is_better": of_task(json!({"acc": true})),
        "n-samples": of_task(json!({"original": leg.suite.items.len(), "effective": leg.answered().count()})),
        "config": {
            "model": "gptoss",
            "model_args": record.run,
            "batch_size": null,
            "limit": record.run.get("limit"),
            "random_seed": record.run.get("seed"),
        },
        "git_hash": null,
        "date": started,
        "task_hashes": {},
        "model_source": "gptoss",
        "model_name": leg.model,
        "model_name_sanitized": leg.model.replace(|c: char| "\"<>:/|\\?*[]".contains(c), "__"),
        "system_instruction": null,
        "chat_template": null,
        "start_time": started,
        "end_time": started as f64 + seconds,
        "total_evaluation_time_seconds": seconds.to_string(),
    })
}

/// The file of answers.
pub fn samples(leg: &Leg) -> String {
    let line =
        |(number, (item, sample)): (usize, (&Item, &Sample))| format!("{}\n", line(number, item, sample));
    leg.answered().enumerate().map(line).collect()
}

fn line(number: usize, item: &Item, sample: &Sample) -> Value {
    let (answer, target) = (&sample.response.response, expected(item));
    let prompt = serde_json::to_value(&item.ask.messages).unwrap_or_default().to_string();
    json!({
        "doc_id": number,
        "doc": {"id": item.id, "repeat": item.repeat, "group": item.group, "question": item.question},
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}},
        "resps": [[answer]],
        "filtered_resps": [sample.judgement.extracted.as_deref().unwrap_or("[invalid]")],
        "filter": FILTER,
        "metrics": ["acc"],
        "doc_hash": sha256(&item.question),
        "prompt_hash": sha256(&prompt),
        "target_hash": sha256(&target),
        "acc": sample.judgement.score,
    })
}
