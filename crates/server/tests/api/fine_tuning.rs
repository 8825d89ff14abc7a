//! Tuning jobs: their whole life over HTTP, with a trainer that follows the test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gptoss_harmony::Vocab;
use gptoss_server::{AdapterDoor, App, Keys, Limits, LoadedModel, Models, ServedModel};
use gptoss_turn::AdapterId;
use serde_json::{Value, json};

use crate::adapters::{engine, id};
use crate::chat::ANSWER;
use crate::files::{form, post_form};
use crate::http::{Answer, get, post, request, send};
use crate::scripted::{Prompts, Script};
use crate::server::{Server, assistant, model};
use crate::shutdown::eventually;
use crate::trainer::{FAILS, PANICS, STEPS, Trainer};

const JOBS: &str = "/v1/fine_tuning/jobs";
const KEYS: &str = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b";
const A: (&str, &str) = ("authorization", "Bearer sk-0123456789abcdef");
const B: (&str, &str) = ("authorization", "Bearer sk-fedcba9876543210");

fn start(folder: &Path, trainer: &Trainer) -> Server {
    Server::training(folder, trainer, Script::new(&[ANSWER]), Keys::default())
}

fn upload_as(address: SocketAddr, headers: &str, content: &str) -> String {
    let answer = post_form(address, headers, &form(&[("purpose", "fine-tune")], Some(content)));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let file = answer.json();
    assert_eq!((&file["purpose"], &file["expires_at"]), (&json!("fine-tune"), &Value::Null));
    file["id"].as_str().unwrap().to_owned()
}

fn upload(address: SocketAddr, content: &str) -> String {
    upload_as(address, "", content)
}

/// A file of so many rows.
fn rows(count: usize) -> String {
    (0..count).map(|n| format!("{}\n", json!({"messages": [{"role": "user", "content": n}]}))).collect()
}

/// A job on twenty rows, with these fields besides.
fn create(address: SocketAddr, fields: Value) -> Value {
    let mut body = json!({"model": "scripted", "training_file": upload(address, &rows(20))});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let answer = post(address, JOBS, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn path(job: &Value) -> String {
    format!("{JOBS}/{}", job["id"].as_str().unwrap())
}

fn row(address: SocketAddr, job: &Value) -> Value {
    get(address, &path(job)).json()
}

/// The job when it has the status.
fn wait(address: SocketAddr, job: &Value, status: &str) -> Value {
    eventually(status, || row(address, job)["status"] == status);
    row(address, job)
}

fn steer(address: SocketAddr, job: &Value, word: &str) -> Answer {
    request(address, "POST", &format!("{}/{word}", path(job)), &[], "")
}

fn steered(address: SocketAddr, job: &Value, word: &str) -> Value {
    let answer = steer(address, job, word);
    assert_eq!(answer.status, 200, "{word}: {}", answer.body);
    answer.json()
}

/// What was told of a job, the oldest first.
fn messages(address: SocketAddr, job: &Value) -> Vec<String> {
    let list = get(address, &format!("{}/events?limit=100", path(job))).json();
    let told = list["data"].as_array().unwrap().iter().rev();
    told.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn num_steps(address: SocketAddr, job: &Value) -> usize {
    messages(address, job).iter().filter(|message| message.starts_with("Step ")).count()
}

fn result(address: SocketAddr, job: &Value) -> String {
    let file = job["result_files"][0].as_str().unwrap();
    assert_eq!(get(address, &format!("/v1/files/{file}")).json()["purpose"], "fine-tune-results");
    get(address, &format!("/v1/files/{file}/content")).body
}

#[test]
fn a_job_lives_as_openai_says() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(0));
    let server = start(folder.path(), &trainer);
    let at = server.address;
    let valid = upload(at, &rows(3));
    let fields = json!({
        "suffix": "lights", "seed": 5, "validation_file": valid, "metadata": {"n": "1"},
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"batch_size": 2}}},
        "gptoss": {"rank": 4},
    });
    let made = create(at, fields);
    assert_eq!((&made["status"], &made["object"]), (&json!("validating_files"), &json!("fine_tuning.job")));
    assert_eq!(
        (&made["hyperparameters"]["n_epochs"], &made["fine_tuned_model"]),
        (&json!("auto"), &Value::Null)
    );
    let running = wait(at, &made, "running");
    let numbers = json!({"batch_size": 2, "learning_rate_multiplier": 1.0, "n_epochs": 3});
    assert_eq!(running["hyperparameters"], numbers);
    assert_eq!(running["method"]["supervised"]["hyperparameters"], numbers);
    trainer.allowed.store(2, Ordering::Relaxed);
    eventually("two steps", || num_steps(at, &made) == 2);
    assert!(row(at, &made)["estimated_finish"].is_u64());
    trainer.allowed.store(STEPS, Ordering::Relaxed);
    let ended = wait(at, &made, "succeeded");
    let id = made["id"].as_str().unwrap();
    let name = format!("ft:scripted:local:lights:{}", &id[id.len() - 8..]);
    assert_eq!((&ended["fine_tuned_model"], &ended["trained_tokens"]), (&json!(name), &json!(40)));
    assert!(ended["finished_at"].is_u64() && ended["estimated_finish"].is_null() && ended["error"].is_null());
    assert_eq!((&ended["metadata"], &ended["seed"]), (&json!({"n": "1"}), &json!(5)));
    let training = made["training_file"].as_str().unwrap();
    let expect = [
        format!("Created fine-tuning job: {id}"),
        format!("Validating training file: {training} and validation file: {valid}"),
        "Files validated, moving job to queued state".to_owned(),
        "Fine-tuning job started".to_owned(),
        "Step 1/4: training loss=1.0000".to_owned(),
        "Step 2/4: training loss=0.5000".to_owned(),
        "Checkpoint created at step 2".to_owned(),
        "Step 3/4: training loss=0.3333".to_owned(),
        "Step 4/4: training loss=0.2500".to_owned(),
        "Checkpoint created at step 4".to_owned(),
        "all is well".to_owned(),
        format!("New fine-tuned model created: {name}"),
        "The job has successfully completed".to_owned(),
    ];
    assert_eq!(messages(at, &made), expect);
    let csv = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n\
               1,1,0.5,,\n2,0.5,0.5,,\n3,0.3333333333333333,0.5,,\n4,0.25,0.5,,\n";
    assert_eq!(result(at, &ended), csv);
    let order = trainer.orders.lock().unwrap()[0].clone();
    assert_eq!((order.seed, order.numbers.batch_size, order.data.options.rank), (5, 2, 4));
    assert_eq!((order.data.base.as_str(), order.numbers.learning_rate()), ("scripted", 2e-4));
    eventually("its state goes", || !order.work.exists());
    assert!(order.adapters.join("final").exists(), "adapters stay");
    for word in ["cancel", "pause", "resume"] {
        assert_eq!(steer(at, &made, word).status, 409, "{word}");
    }
}

/// The model, which says under which adapter it is asked: those of the second step and of the end can be
/// loaded.
fn adapted(folder: &Path, trainer: &Trainer, gone: &Arc<Mutex<Vec<AdapterId>>>) -> Server {
    let vocab = Vocab::o200k_harmony();
    let gone = Arc::clone(gone);
    let unload = move |id| gone.lock().unwrap().push(id);
    let load = |folder: &Path| match folder.file_name().and_then(|name| name.to_str()) {
        Some("step-2") if folder.is_dir() => Ok(id(1)),
        Some("final") if folder.is_dir() => Ok(id(2)),
        _ => Err("it is damaged".to_owned()),
    };
    let loaded = LoadedModel {
        assistant: assistant(engine(&vocab), &vocab),
        unload: Box::new(|| {}),
        adapters: Some(AdapterDoor { load: Box::new(load), unload: Box::new(unload) }),
    };
    let served = ServedModel { aliases: vec!["*".into()], ..model() };
    let runner = Arc::new(trainer.clone());
    let change = |app: App| app.with_training(runner, &folder.join("tuning")).unwrap();
    let models = Models::one(served, loaded);
    Server::run((Some(folder), models, Prompts::default()), change, Limits::default(), Keys::default())
}

#[test]
fn a_tuned_model_can_be_asked_at_once() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(2));
    let gone = Arc::default();
    let server = adapted(folder.path(), &trainer, &gone);
    let at = server.address;
    let ask = |at: SocketAddr, name: &str| {
        let body = json!({"model": name, "messages": [{"role": "user", "content": "Who are you?"}], "input": "Who?"});
        let (chat, response) = (post(at, "/v1/chat/completions", &body), post(at, "/v1/responses", &body));
        assert_eq!(chat.status, response.status, "{} {}", chat.body, response.body);
        if chat.status != 200 {
            return chat.json()["error"]["code"].clone();
        }
        let (chat, response) = (chat.json(), response.json());
        let said = chat["choices"][0]["message"]["content"].clone();
        assert_eq!(response["output"][0]["content"][0]["text"], said, "{response}");
        assert_eq!((&chat["model"], &response["model"]), (&json!(name), &json!(name)));
        said
    };
    let job = create(at, json!({"suffix": "x"}));
    let job_id = job["id"].as_str().unwrap();
    let name = format!("ft:scripted:local:x:{}", &job_id[job_id.len() - 8..]);
    let step = |step: u64| format!("{name}:ckpt-step-{step}");
    eventually("a checkpoint", || messages(at, &job).len() == 7);
    assert_eq!(ask(at, &step(2)), "I am number one.");
    assert_eq!(ask(at, &name), "model_not_found", "and no other is taken for it");
    assert_eq!(ask(at, "scripted"), "I am the base.");
    assert_eq!(ask(at, "any"), "I am the base.");
    trainer.allowed.store(STEPS, Ordering::Relaxed);
    wait(at, &job, "succeeded");
    assert_eq!(ask(at, &name), "I am number two.");
    assert_eq!(ask(at, &step(4)), "model_not_loaded", "its adapter is damaged");
    let listed = |at: SocketAddr| {
        let list = get(at, "/v1/models").json()["data"].as_array().unwrap().clone();
        let tuned = list.into_iter().filter(|model| model["parent"] == "scripted");
        tuned.map(|model| model["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(at), [step(2), step(4), name.clone()]);
    assert_eq!(get(at, &format!("/v1/models/{name}")).json()["root"], "scripted");
    drop(server);
    let server = adapted(folder.path(), &trainer, &gone);
    let at = server.address;
    assert_eq!((ask(at, &name), ask(at, &step(2))), (json!("I am number two."), json!("I am number one.")));
    let deleted = request(at, "DELETE", &format!("/v1/models/{name}"), &[], "");
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    eventually("its adapter leaves", || *gone.lock().unwrap() == [id(2)]);
    assert_eq!(ask(at, &name), "model_not_found");
    assert_eq!(listed(at), [step(2), step(4)]);
    let adapters = trainer.orders.lock().unwrap()[0].adapters.clone();
    assert!(!adapters.join("final").exists() && adapters.join("step-2").exists());
}

#[test]
fn lists_come_in_pages_the_newest_first() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(9 * STEPS));
    let server = start(folder.path(), &trainer);
    let at = server.address;
    let jobs: Vec<Value> = (0..3)
        .map(|n| {
            let metadata = if n == 0 { Value::Null } else { json!({"n": n.to_string(), "all": "x y"}) };
            let made = create(at, json!({"metadata": metadata}));
            wait(at, &made, "succeeded")
        })
        .collect();
    let ids = |path: &str| {
        let list = get(at, path).json();
        assert_eq!(list["object"], "list", "{list}");
        let data = list["data"].as_array().unwrap();
        let ids: Vec<String> = data.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (ids, list["has_more"].as_bool().unwrap())
    };
    let id = |n: usize| jobs[n]["id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&format!("{JOBS}?limit=2")), (vec![id(2), id(1)], true));
    assert_eq!(ids(&format!("{JOBS}?limit=2&after={}", id(1))), (vec![id(0)], false));
    assert_eq!(ids(&format!("{JOBS}?metadata%5Bn%5D=1")), (vec![id(1)], false));
    assert_eq!(ids(&format!("{JOBS}?metadata[n]=1&metadata[all]=x+y")), (vec![id(1)], false));
    assert_eq!(ids(&format!("{JOBS}?metadata[all]=x%20y&limit=1")), (vec![id(2)], true));
    assert_eq!(ids(&format!("{JOBS}?metadata[n]=7")), (vec![], false));
    assert_eq!(ids(&format!("{JOBS}?metadata=null")), (vec![id(0)], false));
    assert_eq!(get(at, &format!("{JOBS}?limit=0")).status, 400);
    assert_eq!(get(at, &format!("{JOBS}?after=ftjob-nothing")).status, 404);
    let events = format!("{}/events", path(&jobs[0]));
    let (all, has_more) = ids(&events);
    assert!(!has_more && all[0].starts_with("ftevent-"), "{all:?}");
    let mut walked = Vec::new();
    let mut after = String::new();
    loop {
        let (page, has_more) = ids(&format!("{events}?limit=3{after}"));
        walked.extend(page);
        if !has_more {
            break;
        }
        after = format!("&after={}", walked.last().unwrap());
    }
    assert_eq!(walked, all);
    let list = get(at, &format!("{}/checkpoints?limit=1", path(&jobs[0]))).json();
    let first = &list["data"][0];
    assert_eq!((&first["step_number"], &list["has_more"]), (&json!(4), &json!(true)));
    assert_eq!((&list["first_id"], &list["last_id"]), (&first["id"], &first["id"]));
    assert!(
        first["id"].as_str().unwrap().starts_with("ftckpt_") && first["fine_tuning_job_id"] == jobs[0]["id"]
    );
    let name = format!("{}:ckpt-step-4", jobs[0]["fine_tuned_model"].as_str().unwrap());
    assert_eq!(
        (&first["fine_tuned_model_checkpoint"], &first["metrics"]["train_loss"]),
        (&json!(name), &json!(0.25))
    );
    let rest = format!("{}/checkpoints?after={}", path(&jobs[0]), first["id"].as_str().unwrap());
    let rest = get(at, &rest).json();
    assert_eq!((&rest["data"][0]["step_number"], &rest["has_more"]), (&json!(2), &json!(false)));
}

#[test]
fn one_is_trained_and_the_others_wait() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(1));
    let server = start(folder.path(), &trainer);
    let at = server.address;
    let jobs: Vec<Value> = (0..3).map(|_| create(at, json!({}))).collect();
    wait(at, &jobs[0], "running");
    wait(at, &jobs[1], "queued");
    wait(at, &jobs[2], "queued");
    // Who is paused makes room; who is resumed waits for it.
    steered(at, &jobs[0], "pause");
    wait(at, &jobs[1], "running");
    assert_eq!(steered(at, &jobs[0], "resume")["status"], "queued");
    assert_eq!(steered(at, &jobs[0], "resume")["status"], "queued", "a second time is nothing");
    steered(at, &jobs[1], "cancel");
    wait(at, &jobs[0], "running");
    trainer.allowed.store(99, Ordering::Relaxed);
    for job in [&jobs[0], &jobs[2]] {
        assert_eq!(num_steps(at, &wait(at, job, "succeeded")), STEPS as usize);
    }
    assert_eq!(row(at, &jobs[1])["status"], "cancelled");
}

#[test]
fn a_job_is_stopped_wherever_it_is() {
    for word in ["pause", "cancel"] {
        let status = if word == "pause" { "paused" } else { "cancelled" };
        let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(3));
        let server = start(folder.path(), &trainer);
        let at = server.address;
        // While its files are looked through.
        trainer.checks.store(0, Ordering::Relaxed);
        let job = create(at, json!({}));
        eventually("the looking", || messages(at, &job).len() == 2);
        assert_eq!(steered(at, &job, word)["status"], status);
        assert_eq!(steered(at, &job, word)["status"], status, "a second time is nothing");
        trainer.checks.store(1, Ordering::Relaxed);
        // While it is trained, and while it waits.
        let (trained, waiting) = (create(at, json!({})), create(at, json!({})));
        eventually("three steps", || num_steps(at, &trained) == 3);
        wait(at, &waiting, "queued");
        assert_eq!(steered(at, &waiting, word)["status"], status);
        assert_eq!(steered(at, &trained, word)["status"], status);
        let work = trainer.orders.lock().unwrap()[0].work.clone();
        trainer.allowed.store(99, Ordering::Relaxed);
        let all = [&job, &trained, &waiting];
        if word == "pause" {
            for job in all {
                assert_eq!(row(at, job)["status"], "paused");
                steered(at, job, "resume");
            }
            for job in all {
                let ended = wait(at, job, "succeeded");
                assert_eq!(num_steps(at, job), STEPS as usize, "{ended}");
            }
            // The steps that were taken are not taken again.
            assert_eq!(trainer.taken.load(Ordering::Relaxed), 3 * STEPS);
        } else {
            for job in all {
                let ended = row(at, job);
                assert!(ended["status"] == "cancelled" && ended["finished_at"].is_u64(), "{ended}");
                assert_eq!(steer(at, job, "resume").status, 409);
            }
            eventually("its state goes", || !work.exists());
            let made = get(at, &format!("{}/checkpoints", path(&trained))).json();
            assert_eq!(made["data"].as_array().unwrap().len(), 1, "what there is stays");
            // Nothing comes of it any more.
            let next = create(at, json!({}));
            wait(at, &next, "succeeded");
            assert_eq!(num_steps(at, &trained), 3);
        }
    }
}

#[test]
fn a_server_that_stops_goes_on_where_it_was() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(3));
    let server = start(folder.path(), &trainer);
    let (job, waiting) = (create(server.address, json!({})), create(server.address, json!({})));
    eventually("three steps", || num_steps(server.address, &job) == 3);
    wait(server.address, &waiting, "queued");
    drop(server);
    trainer.allowed.store(99, Ordering::Relaxed);
    let server = start(folder.path(), &trainer);
    for job in [&job, &waiting] {
        wait(server.address, job, "succeeded");
        assert_eq!(num_steps(server.address, job), STEPS as usize);
    }
    assert_eq!(trainer.taken.load(Ordering::Relaxed), 2 * STEPS, "no step is taken twice");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// What the disk has at some moment is what a kill at that moment leaves: the third step is lost there, and
/// told again.
#[test]
fn a_killed_server_goes_on_at_the_last_state() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(3));
    let server = start(folder.path(), &trainer);
    let job = create(server.address, json!({}));
    eventually("three steps", || num_steps(server.address, &job) == 3);
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    drop(server);
    let again = Trainer::allowed(99);
    let server = start(copy.path(), &again);
    let ended = wait(server.address, &job, "succeeded");
    assert_eq!(again.taken.load(Ordering::Relaxed), 2, "steps three and four");
    assert_eq!(num_steps(server.address, &job), STEPS as usize, "and none is told twice");
    assert_eq!(result(server.address, &ended).lines().count(), 1 + STEPS as usize);
    let made = get(server.address, &format!("{}/checkpoints", path(&job))).json();
    assert_eq!(made["data"].as_array().unwrap().len(), 2);
}

#[test]
fn a_wrong_file_is_told_by_line() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(99));
    let server = start(folder.path(), &trainer);
    let at = server.address;
    let check = |training: &str, validation: Option<&str>, fields: Value| {
        let mut body = json!({"training_file": upload(at, training)});
        body["validation_file"] = validation.map(|text| upload(at, text)).into();
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let job = create(at, body);
        eventually("an end", || row(at, &job)["finished_at"].is_u64());
        (row(at, &job), messages(at, &job))
    };
    let (job, told) = check(&(rows(2) + "{}\n" + &rows(1) + "x\n"), None, json!({}));
    assert_eq!(job["status"], "failed");
    let expect = json!({
        "code": "invalid_training_file", "param": "training_file",
        "message": "line 3: it has no messages (1 more lines are wrong: see the events)",
    });
    assert_eq!(job["error"], expect);
    assert!(told.contains(&"training_file, line 5: it has no messages".to_owned()), "{told:?}");
    let (job, _) = check(&rows(2), Some("{}\n"), json!({}));
    assert_eq!(
        (&job["error"]["code"], &job["error"]["param"]),
        (&json!("invalid_validation_file"), &json!("validation_file"))
    );
    let long = "{\"long\": 1}\n";
    let (job, told) = check(&(rows(2) + long), None, json!({}));
    assert_eq!(job["status"], "succeeded", "a row that is left out is no fault");
    assert!(told.contains(&"training_file, line 3: it is too long".to_owned()), "{told:?}");
    let (job, _) = check(long, None, json!({}));
    assert_eq!(job["error"]["message"], "nothing can be learned of it: no row is left");
    let (_, told) = check(&long.repeat(150), None, json!({}));
    assert!(told.contains(&"50 more rows are left out".to_owned()), "{told:?}");
    let (job, _) = check(&rows(2), Some(long), json!({}));
    assert_eq!(job["error"]["code"], "invalid_validation_file");
    let (job, _) = check(&rows(2), None, json!({"gptoss": {"rank": 99}}));
    assert_eq!(
        (&job["error"]["code"], &job["error"]["message"]),
        (&json!("validation_failed"), &json!("no model has the rank 99"))
    );
    let orders = trainer.orders.lock().unwrap().clone();
    eventually("no state stays", || orders.iter().all(|order| !order.work.exists()));
}

#[test]
fn a_training_that_fails_says_why() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(99));
    let server = start(folder.path(), &trainer);
    let at = server.address;
    for (seed, message) in [(FAILS, "a number was not finite"), (PANICS, "the training broke off")] {
        let ended = wait(at, &create(at, json!({"seed": seed})), "failed");
        let expect = json!({"code": "training_failed", "message": message, "param": null});
        assert_eq!(ended["error"], expect);
        assert_eq!(result(at, &ended).lines().count(), 3, "the steps that were taken");
        assert!(messages(at, &ended).contains(&format!("The job failed: {message}")));
        assert!(ended["fine_tuned_model"].is_null() && ended["finished_at"].is_u64());
    }
    // Others are not held up.
    wait(at, &create(at, json!({})), "succeeded");
}

#[test]
fn training_gives_way_to_requests() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(1));
    let mut script = Script::new(&[ANSWER]);
    let is_busy = Arc::new(AtomicBool::new(true));
    script.is_busy = Arc::clone(&is_busy);
    let server = Server::training(folder.path(), &trainer, script, Keys::default());
    let at = server.address;
    let job = create(at, json!({}));
    eventually("a step", || num_steps(at, &job) == 1);
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true}).to_string();
    let stream = send(at, "POST", "/v1/chat/completions", &[], &body);
    let runs = || get(at, "/metrics").body.lines().any(|line| line == "gptoss_turns_running 1");
    eventually("the turn runs", runs);
    // A look at the seat that came before the turn may still lead to a step.
    trainer.allowed.store(99, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(50));
    let taken = trainer.taken.load(Ordering::Relaxed);
    assert!(taken <= 2, "{taken}");
    thread::sleep(Duration::from_millis(200));
    assert_eq!(trainer.taken.load(Ordering::Relaxed), taken, "no step beside a turn");
    is_busy.store(false, Ordering::Relaxed);
    drop(stream);
    wait(at, &job, "succeeded");
}

#[test]
fn what_is_of_one_tenant_is_not_there_for_another() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(99));
    let keys = Keys::parse(KEYS).unwrap();
    let server = Server::training(folder.path(), &trainer, Script::new(&[ANSWER]), keys);
    let at = server.address;
    let file = upload_as(at, "authorization: Bearer sk-0123456789abcdef\r\n", &rows(9));
    let body = json!({"model": "scripted", "training_file": file}).to_string();
    assert_eq!(request(at, "POST", JOBS, &[B], &body).status, 404, "another's file");
    let job = request(at, "POST", JOBS, &[A], &body).json();
    assert_eq!(job["organization_id"], "a");
    let as_a = |path: &str| request(at, "GET", path, &[A], "");
    eventually("an end", || as_a(&path(&job)).json()["status"] == "succeeded");
    for (method, rest) in [
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/checkpoints"),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
    ] {
        let answer = request(at, method, &format!("{}{rest}", path(&job)), &[B], "");
        assert_eq!(answer.status, 404, "{rest}: {}", answer.body);
    }
    assert_eq!(request(at, "GET", JOBS, &[B], "").json()["data"], json!([]));
    let name = as_a(&path(&job)).json()["fine_tuned_model"].as_str().unwrap().to_owned();
    assert!(name.starts_with("ft:scripted:a::"), "{name}");
    let model = format!("/v1/models/{name}");
    let lists = |key| request(at, "GET", "/v1/models", &[key], "").body.contains(&name);
    assert!(lists(A) && !lists(B));
    assert_eq!(request(at, "GET", &model, &[B], "").status, 404);
    assert_eq!(request(at, "DELETE", &model, &[B], "").status, 404);
    let deleted = request(at, "DELETE", &model, &[A], "").json();
    assert_eq!(deleted, json!({"id": name, "object": "model", "deleted": true}));
    assert_eq!(request(at, "DELETE", &model, &[A], "").status, 404);
    let result = as_a(&path(&job)).json()["result_files"][0].as_str().unwrap().to_owned();
    assert_eq!(request(at, "GET", &format!("/v1/files/{result}/content"), &[B], "").status, 404);
}

#[test]
fn what_is_wrong_with_a_job_is_named() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(0));
    let server = start(folder.path(), &trainer);
    let at = server.address;
    let file = upload(at, &rows(3));
    let check = |field: &str, value: Value, status: u16, param: Value| {
        let mut body = json!({"model": "scripted", "training_file": file});
        body[field] = value;
        let answer = post(at, JOBS, &body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (status, &param),
            "{field}: {}",
            answer.body
        );
    };
    check("model", Value::Null, 400, json!("model"));
    check("model", json!("gpt-4o-mini"), 404, json!("model"));
    check("model", json!("ft:scripted:local::12345678"), 400, json!("model"));
    check("training_file", Value::Null, 400, json!("training_file"));
    check("training_file", json!("file_nothing"), 404, Value::Null);
    check("validation_file", json!("file_nothing"), 404, Value::Null);
    let batch = crate::files::upload(at, "{}")["id"].clone();
    check("training_file", batch.clone(), 400, json!("training_file"));
    check("validation_file", batch, 400, json!("validation_file"));
    check("suffix", json!("a b"), 400, json!("suffix"));
    check("method", json!({"type": "reinforcement"}), 400, json!("method.type"));
    check("unknown", json!(1), 200, Value::Null);
    // Its file is read until it ends.
    let delete = || request(at, "DELETE", &format!("/v1/files/{file}"), &[], "").status;
    assert_eq!(delete(), 409);
    let job = get(at, JOBS).json()["data"][0].clone();
    assert_eq!(get(at, JOBS).json()["data"].as_array().unwrap().len(), 1, "what is refused is not kept");
    steered(at, &job, "cancel");
    assert_eq!(delete(), 200);
    assert_eq!(get(at, &format!("{JOBS}/ftjob-nothing")).status, 404);
    assert_eq!(request(at, "DELETE", "/v1/models/scripted", &[], "").status, 400);
    for path in ["checkpoints/ft:x/permissions", "alpha/graders/run", "alpha/graders/validate"] {
        let answer = post(at, &format!("/v1/fine_tuning/{path}"), &json!({}));
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 404);
        assert!(message.contains("graders") || message.contains("checkpoints"), "{message}");
    }
}

#[test]
fn a_server_on_which_nobody_trains_says_so() {
    let server = Server::start(&[ANSWER]);
    for (method, rest, body) in
        [("GET", "", ""), ("POST", "", "not JSON"), ("GET", "/ftjob-1", ""), ("POST", "/ftjob-1/cancel", "")]
    {
        let answer = request(server.address, method, &format!("{JOBS}{rest}"), &[], body);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("unknown_url")), "{rest}");
        assert!(answer.body.contains("started without fine-tuning"), "{}", answer.body);
    }
    assert!(!get(server.address, "/openapi.json").body.contains("fine_tuning/jobs"));
}

#[test]
fn steps_have_the_room_that_files_have() {
    let (folder, trainer) = (tempfile::tempdir().unwrap(), Trainer::allowed(99));
    let runner = Arc::new(trainer);
    let tuning = folder.path().join("tuning");
    let limits = Limits { files_bytes_max: Some(2000), ..Limits::default() };
    let change = |app: App| app.with_training(runner, &tuning).unwrap();
    let server = Server::changed(change, Script::new(&[ANSWER]), limits, Keys::default());
    let ended = wait(server.address, &create(server.address, json!({})), "failed");
    assert!(ended["error"]["message"].as_str().unwrap().contains("2000 bytes"), "{ended}");
}
