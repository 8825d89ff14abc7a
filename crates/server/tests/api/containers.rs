//! Containers: files of the caller's lie in them before code runs, for their tenant and time alone, and what
//! comes out of one is labelled as what went in.

use std::sync::{Arc, Mutex, OnceLock};

use gptoss_gateway::{Gateway, Plan, Sources};
use gptoss_server::{App, Keys, Limits};
use serde_json::{Value, json};

use crate::abroad_tools::{Does, turn};
use crate::files::{form, post_form};
use crate::gateway::upstream::Upstream;
use crate::http::{Answer, raw, request};
use crate::scripted::Script;
use crate::server::Server;
use crate::tool_host::{LISTS, TestHost};
use crate::tools::{call, text_of};

const KEYS: &str = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b";
const A: (&str, &str) = ("authorization", "Bearer sk-0123456789abcdef");
const B: (&str, &str) = ("authorization", "Bearer sk-fedcba9876543210");
const ANSWER: &str = "<|channel|>final<|message|>So it is.<|return|>";

type Ended = Arc<Mutex<Vec<(String, String)>>>;

/// A model that says these, again and again.
fn served(texts: &[&str]) -> (Server, Ended) {
    let host = TestHost::default();
    let ended = Arc::clone(&host.ended);
    let change = |app: App| app.with_tools(Arc::new(host));
    (Server::changed(change, Script::new(texts), Limits::default(), Keys::parse(KEYS).unwrap()), ended)
}

fn ask(server: &Server, key: (&str, &str), method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request(server.address, method, path, &[key], &body)
}

fn upload(server: &Server, headers: &[(&str, &str)], content: &str) -> String {
    let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let answer = post_form(server.address, &head, &form(&[("purpose", "user_data")], Some(content)));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn response(model: &str, container: &Value, more: &Value) -> Value {
    let mut body = json!({"model": model, "input": "What is in it?",
        "include": ["code_interpreter_call.outputs"],
        "tools": [{"type": "code_interpreter", "container": container}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The container that code ran in, and what it printed.
fn ran(response: &Value) -> (String, String) {
    let items = response["output"].as_array().unwrap_or_else(|| panic!("{response}"));
    let code = items.iter().find(|item| item["type"] == "code_interpreter_call").unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{response}")).to_owned();
    (text(&code["container_id"]), text(&code["outputs"][0]["logs"]))
}

#[test]
fn files_of_the_callers_lie_in_its_container_as_long_as_that_goes_on() {
    let looks = call("python", LISTS);
    let texts: [&str; 11] =
        [&looks, ANSWER, &looks, ANSWER, ANSWER, &looks, ANSWER, &looks, ANSWER, &looks, ANSWER];
    let (server, _) = served(&texts);
    let (own, theirs) = (upload(&server, &[A], "mine"), upload(&server, &[B], "theirs"));
    let create = |body: &Value| ask(&server, A, "POST", "/v1/responses", body);
    let auto = json!({"type": "auto", "file_ids": [own, own], "memory_limit": "1g"});
    let first = create(&response("scripted", &auto, &json!({}))).json();
    let (container, printed) = ran(&first);
    assert_eq!(printed, "in.jsonl=mine -[] Some(1073741824)");
    assert!(text_of(&server.prompts).contains("Files of the user's in /mnt/data: in.jsonl (4 bytes)."));
    // It goes on behind the response, behind its items, and with another file; another begins another.
    let second = upload(&server, &[A], "more");
    let auto = |files: &[&str]| json!({"type": "auto", "file_ids": files});
    let behind = json!({"previous_response_id": first["id"]});
    let next = create(&response("scripted", &auto(&[]), &behind)).json();
    assert_eq!(ran(&next), (container.clone(), printed.clone()));
    // A response without the tool does not lose it.
    let without = json!({"input": "Hm.", "previous_response_id": next["id"]});
    let without = create(&without).json();
    let behind = json!({"previous_response_id": without["id"]});
    let more = create(&response("scripted", &auto(&[&second]), &behind)).json();
    assert_eq!(ran(&more).0, container);
    assert!(ran(&more).1.starts_with("in.jsonl=mine in-2.jsonl=more "), "{more}");
    let mut items = first["output"].as_array().unwrap().clone();
    items.push(json!({"role": "user", "content": "Again."}));
    assert_eq!(ran(&create(&response("scripted", &auto(&[]), &json!({"input": items}))).json()).0, container);
    let other = ran(&create(&response("scripted", &auto(&[]), &json!({}))).json());
    assert!(other.0 != container && other.1.starts_with(" -[]"), "{other:?}");
    // What is another's is as if it were not there.
    let refused = |id: &str| {
        let answer = create(&response("scripted", &auto(&[&own, id]), &json!({})));
        assert_eq!(answer.status, 400, "{}", answer.body);
        let error = answer.json()["error"].clone();
        assert_eq!(error["param"], "tools[0].container.file_ids[1]");
        error["message"].as_str().unwrap().replace(id, "ID")
    };
    assert_eq!(refused(&theirs), refused("file_of_nobody"));
    let gone = create(&response("scripted", &json!("cntr_of_nobody"), &json!({})));
    assert_eq!((gone.status, &gone.json()["error"]["code"]), (404, &json!("not_found")));
}

#[test]
fn containers_are_made_filled_read_and_ended() {
    let (server, ended) = served(&[&call("python", LISTS), ANSWER]);
    let file = upload(&server, &[A], "mine");
    let made = json!({"name": "work", "file_ids": [file], "expires_after": {"anchor": "last_active_at", "minutes": 5}});
    let made = ask(&server, A, "POST", "/v1/containers", &made).json();
    let expiry = json!({"anchor": "last_active_at", "minutes": 5});
    assert_eq!(
        (&made["object"], &made["status"], &made["expires_after"]),
        (&json!("container"), &json!("running"), &expiry)
    );
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/containers/{id}");
    assert_eq!(ask(&server, A, "GET", &path, &Value::Null).json()["name"], "work");
    assert_eq!(ask(&server, A, "GET", "/v1/containers", &Value::Null).json()["data"][0]["id"], id);
    assert_eq!(ask(&server, B, "GET", "/v1/containers", &Value::Null).json()["data"], json!([]));
    let files = format!("{path}/files");
    // The same again is the same; a form has a file of its own.
    let copy = ask(&server, A, "POST", &files, &json!({"file_id": file})).json();
    assert_eq!((&copy["path"], &copy["source"]), (&json!("/mnt/data/in.jsonl"), &json!("user")));
    let head = format!("{}: {}\r\ncontent-type: multipart/form-data; boundary=xx\r\n", A.0, A.1);
    let sent = raw(server.address, {
        let body = form(&[], Some("sent"));
        let length = body.len();
        format!(
            "POST {files} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n{body}"
        )
    });
    assert_eq!((sent.status, &sent.json()["path"]), (200, &json!("/mnt/data/in-2.jsonl")), "{}", sent.body);
    let listed = ask(&server, A, "GET", &files, &Value::Null).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let content = format!("{files}/{}/content", sent.json()["id"].as_str().unwrap());
    assert_eq!(ask(&server, A, "GET", &content, &Value::Null).body, "sent");
    assert_eq!(ask(&server, B, "GET", &content, &Value::Null).status, 404);
    let run = || ask(&server, A, "POST", "/v1/responses", &response("scripted", &json!(id), &json!({})));
    assert_eq!(ran(&run().json()).1, "in.jsonl=mine in-2.jsonl=sent -[] None");
    // Deleted here, it goes from the process too.
    let copy = format!("{files}/{}", copy["id"].as_str().unwrap());
    assert_eq!(ask(&server, A, "DELETE", &copy, &Value::Null).json()["deleted"], true);
    assert_eq!(ran(&run().json()).1, "in-2.jsonl=sent -[\"/mnt/data/in.jsonl\"] None");
    let deleted = ask(&server, A, "DELETE", &path, &Value::Null).json();
    assert_eq!(deleted, json!({"id": id, "object": "container.deleted", "deleted": true}));
    assert_eq!(*ended.lock().unwrap(), [("a".to_owned(), id.to_owned())]);
    assert_eq!(ask(&server, A, "GET", &files, &Value::Null).json()["data"], json!([]));
    assert_eq!((run().status, ask(&server, A, "GET", &path, &Value::Null).status), (404, 404));
    for (body, param) in [
        (json!({}), "name"),
        (json!({"name": "c", "memory_limit": "2g"}), "memory_limit"),
        (json!({"name": "c", "file_ids": ["file_of_nobody"]}), "file_ids"),
        (json!({"name": "c", "network_policy": {"type": "allowlist"}}), "network_policy"),
    ] {
        let refused = ask(&server, A, "POST", "/v1/containers", &body);
        assert_eq!(
            (refused.status, &refused.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            refused.body
        );
    }
}

/// What is done before a turn elsewhere is answered, by the number of turns before it.
type Hook = Arc<OnceLock<Box<dyn Fn(usize) + Send + Sync>>>;

/// A server whose model `big` is elsewhere, and calls the same code there.
fn abroad(texts: &[&str], hook: Hook) -> (Upstream, Server) {
    let upstream = Upstream::start(move |asked| {
        if let Some(act) = hook.get() {
            act(asked.number);
        }
        let has_result =
            asked.body.to_string().contains("in.jsonl=") || asked.body.to_string().contains(" -[]");
        match has_result {
            true => turn(asked, &Does::Says("Theirs.")),
            false => turn(asked, &Does::Calls(vec![("python", json!({"code": LISTS}))])),
        }
    });
    let table = upstream.table("cloud", "models = { big = \"org/big\" }\nnum_retries = 0");
    let detector = "\n[[detectors]]\nkind = \"pattern\"\nname = \"canary\"\npattern = \"canary\"\nlabel = \"local_only\"\n";
    let gateway = Gateway::new(Plan::read(&(table + detector), &Sources::none()).unwrap());
    let change = |app: App| app.with_gateway(Arc::new(gateway)).with_tools(Arc::new(TestHost::default()));
    let server = Server::changed(change, Script::new(texts), Limits::default(), Keys::default());
    (upstream, server)
}

#[test]
fn what_is_labelled_does_not_leave_through_a_container() {
    let (upstream, server) = abroad(&[&call("python", LISTS), ANSWER], Hook::default());
    let create = |body: &Value| ask(&server, A, "POST", "/v1/responses", body);
    let auto = |file: &str| json!({"type": "auto", "file_ids": [file]});
    // What nobody labels may go, as what is said in a request.
    let open = upload(&server, &[], "open");
    let answered = create(&response("big", &auto(&open), &json!({}))).json();
    assert_eq!(ran(&answered).1, "in.jsonl=open -[] None");
    let num_asked = upstream.asked().len();
    assert_eq!(num_asked, 2);
    let unknown = post_form(
        server.address,
        "x-gptoss-sensitivity: secret\r\n",
        &form(&[("purpose", "user_data")], Some("x")),
    );
    assert_eq!(unknown.status, 400);
    // By its upload's label, and by what detectors find in it: not even its name leaves.
    let label = ("x-gptoss-sensitivity", "local_only");
    for file in [upload(&server, &[label], "closed"), upload(&server, &[], "a canary")] {
        let refused = create(&response("big", &auto(&file), &json!({})));
        assert_eq!((refused.status, upstream.asked().len()), (503, num_asked), "{}", refused.body);
        // Nor does it with tools that ask others, if a model here is asked.
        let tools = json!({"tools": [{"type": "code_interpreter", "container": auto(&file)}, {"type": "web_search"}]});
        assert_eq!(create(&response("scripted", &auto(&file), &tools)).status, 403);
        // Here it is read.
        assert!(
            ran(&create(&response("scripted", &auto(&file), &json!({}))).json()).1.starts_with("in.jsonl=")
        );
    }
    // What ran for a model here is in its container.
    let named = json!("shared");
    assert_eq!(create(&response("big", &named, &json!({}))).status, 200);
    let num_asked = upstream.asked().len();
    assert_eq!(create(&response("scripted", &named, &json!({}))).status, 200);
    assert_eq!(
        (create(&response("big", &named, &json!({}))).status, upstream.asked().len()),
        (503, num_asked)
    );
    assert!(upstream.asked().iter().all(|asked| !asked.body.to_string().contains("canary")));
}

/// A file that comes into a container while a response runs there ends it before its words leave.
#[test]
fn a_result_raises_the_label_of_the_response_that_reads_it() {
    let hook = Hook::default();
    let (upstream, server) = abroad(&[ANSWER], Arc::clone(&hook));
    let made = ask(&server, A, "POST", "/v1/containers", &json!({"name": "c"})).json();
    let id = made["id"].as_str().unwrap().to_owned();
    let closed = upload(&server, &[("x-gptoss-sensitivity", "local_only")], "closed");
    // The upstream's first turn is answered when the file lies there.
    let (address, files) = (server.address, format!("/v1/containers/{id}/files"));
    let give = move |number| {
        if number == 0 {
            request(address, "POST", &files, &[], &json!({"file_id": closed}).to_string());
        }
    };
    assert!(hook.set(Box::new(give)).is_ok());
    let refused = ask(&server, A, "POST", "/v1/responses", &response("big", &json!(id), &json!({})));
    assert_eq!((refused.status, upstream.asked().len()), (403, 1), "{}", refused.body);
    assert!(refused.body.contains("raises the label"), "{}", refused.body);
}
