//! Adapters that come and go while the server runs, as vLLM has them.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use gptoss_harmony::Vocab;
use gptoss_server::{AdapterDoor, App, Keys, Limits, LoadedModel, Models, ServedModel};
use gptoss_turn::AdapterId;
use serde_json::{Value, json};

use crate::adapters::{engine, id};
use crate::http::{get, post, request};
use crate::scripted::Prompts;
use crate::server::{Server, assistant, model};

const LOAD: &str = "/v1/load_lora_adapter";
const UNLOAD: &str = "/v1/unload_lora_adapter";
const KEYS: &str = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b";
const A: (&str, &str) = ("authorization", "Bearer sk-0123456789abcdef");
const B: (&str, &str) = ("authorization", "Bearer sk-fedcba9876543210");

/// A server that reads adapters from `root`, of which those with a file `1` or `2` can be loaded; what left
/// the memory again is told.
fn start(root: Option<&Path>, keys: Keys, gone: &Arc<Mutex<Vec<AdapterId>>>) -> Server {
    let vocab = Vocab::o200k_harmony();
    let gone = Arc::clone(gone);
    let load = |folder: &Path| {
        let found = [1, 2].into_iter().find(|n| folder.join(n.to_string()).exists());
        found.map(id).ok_or_else(|| "it has no adapter_config.json".to_owned())
    };
    let loaded = LoadedModel {
        assistant: assistant(engine(&vocab), &vocab),
        unload: Box::new(|| {}),
        adapters: Some(AdapterDoor {
            load: Box::new(load),
            unload: Box::new(move |id| gone.lock().unwrap().push(id)),
        }),
    };
    let root = root.map(Path::to_owned);
    let change = |app: App| app.with_adapter_root(root);
    let models = Models::one(ServedModel { ..model() }, loaded);
    Server::run((None, models, Prompts::default()), change, Limits::default(), keys)
}

fn folders() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (folder, file) in [("one", "1"), ("sub/two", "2"), ("bad", "readme")] {
        fs::create_dir_all(root.path().join("root").join(folder)).unwrap();
        fs::write(root.path().join("root").join(folder).join(file), "").unwrap();
    }
    fs::create_dir_all(root.path().join("outside")).unwrap();
    fs::write(root.path().join("outside/1"), "").unwrap();
    std::os::unix::fs::symlink(root.path().join("outside"), root.path().join("root/link")).unwrap();
    root
}

#[test]
fn adapters_come_and_go() {
    let (folders, gone) = (folders(), Arc::default());
    let root = folders.path().join("root");
    let server = start(Some(&root), Keys::default(), &gone);
    let at = server.address;
    let said = |name: &str| {
        let body = json!({"model": name, "messages": [{"role": "user", "content": "Who are you?"}]});
        let answer = post(at, "/v1/chat/completions", &body);
        (answer.status, answer.json()["choices"][0]["message"]["content"].clone())
    };
    let load = |name: &str, path: &str| post(at, LOAD, &json!({"lora_name": name, "lora_path": path}));
    assert_eq!(said("sql").0, 404);
    let base = said("scripted");
    let loaded = load("sql", "one");
    assert_eq!((loaded.status, &*loaded.body), (200, "\"Success: LoRA adapter 'sql' added successfully.\""));
    let absolute = root.join("sub/two");
    assert_eq!(load("poems", absolute.to_str().unwrap()).status, 200);
    let (sql, poems) = (said("sql"), said("poems"));
    assert!(sql.0 == 200 && poems.0 == 200 && sql != poems && sql != base, "{sql:?} {poems:?} {base:?}");
    let names = |list: &Value| -> Vec<String> {
        let all = list["data"].as_array().unwrap().iter();
        all.map(|model| format!("{} of {}", model["id"], model["parent"])).collect()
    };
    let list = get(at, "/v1/models").json();
    assert_eq!(names(&list)[2..], ["\"sql\" of \"scripted\"", "\"poems\" of \"scripted\""]);
    assert_eq!(load("sql", "sub/two").status, 400, "its name is taken");
    let unload = |name: &str| post(at, UNLOAD, &json!({"lora_name": name})).status;
    assert_eq!((unload("sql"), said("sql").0, unload("sql"), unload("scripted")), (200, 404, 404, 404));
    assert_eq!(*gone.lock().unwrap(), [id(1)]);
    assert_eq!((load("again", "one").status, said("again").1), (200, sql.1), "a folder comes back");
}

#[test]
fn what_cannot_be_loaded_is_refused() {
    let (folders, gone) = (folders(), Arc::default());
    let server = start(Some(&folders.path().join("root")), Keys::default(), &gone);
    let refuse = |name: &str, path: &str, param: &str, words: &str| {
        let answer = post(server.address, LOAD, &json!({"lora_name": name, "lora_path": path}));
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["param"]), (400, &json!(param)), "{path}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{path}: {error}");
    };
    for path in ["../outside", "link", "/etc", ".", "nowhere", "one/1", "sub/../../outside"] {
        refuse("a", path, "lora_path", "in the operator's folder");
    }
    refuse("a", "", "lora_path", "is missing");
    refuse("a", "bad", "lora_path", "it has no adapter_config.json");
    for name in ["", "scripted", "ft:x", "a\nb"] {
        refuse(name, "one", "lora_name", "");
    }
    assert_eq!(
        get(server.address, "/v1/models").json()["data"].as_array().unwrap().len(),
        2,
        "its name and its alias"
    );
    let closed = start(None, Keys::default(), &gone);
    for path in [LOAD, UNLOAD] {
        let answer = post(closed.address, path, &json!({"lora_name": "a", "lora_path": "one"}));
        assert!(answer.status == 400 && answer.body.contains("--adapter-root"), "{}", answer.body);
    }
}

#[test]
fn an_adapter_is_its_tenants() {
    let (folders, gone) = (folders(), Arc::default());
    let server = start(Some(&folders.path().join("root")), Keys::parse(KEYS).unwrap(), &gone);
    let body = |name: &str| json!({"lora_name": name, "lora_path": "one"}).to_string();
    let sent = |path: &str, who: (&str, &str), name: &str| {
        request(server.address, "POST", path, &[who, ("content-type", "application/json")], &body(name))
            .status
    };
    assert_eq!(sent(LOAD, A, "mine"), 200);
    assert_eq!((sent(UNLOAD, B, "mine"), sent(LOAD, B, "mine")), (404, 200));
    assert_eq!((sent(UNLOAD, A, "mine"), sent(UNLOAD, A, "mine"), sent(UNLOAD, B, "mine")), (200, 404, 200));
}
