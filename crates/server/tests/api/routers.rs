//! What routers in front of several servers read: requests in tokens, and the list of models.

use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::http::{get, post};
use crate::server::Server;

fn ids(rendered: &Value) -> Vec<u32> {
    let ids = rendered["token_ids"].as_array().unwrap_or_else(|| panic!("{rendered}"));
    ids.iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// A router that hashes other tokens than the engine reads sends every request to the wrong cache.
#[test]
fn a_rendered_request_is_what_the_engine_reads() {
    let server = Server::start(&[ANSWER]);
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    let said =
        |text: &str| json!([{"role": "system", "content": "Be short."}, {"role": "user", "content": text}]);
    for (path, body) in [
        ("/v1/chat/completions", json!({"messages": said("What is 27 + 58?"), "seed": 7, "stop": ["x"]})),
        ("/v1/chat/completions", json!({"messages": said("<|end|>"), "tools": tools, "max_tokens": 9})),
        ("/v1/completions", json!({"prompt": "The sum <|end|> is", "temperature": 0.5, "max_tokens": 9})),
        ("/v1/completions", json!({"prompt": [3, 1, 4]})),
    ] {
        let before = server.prompts.lock().unwrap().len();
        let rendered = post(server.address, &format!("{path}/render"), &body).json();
        assert_eq!(server.prompts.lock().unwrap().len(), before, "nothing is answered");
        let first = if path.contains("chat") { &rendered } else { &rendered[0] };
        assert_eq!(post(server.address, path, &body).status, 200);
        assert_eq!(server.prompts.lock().unwrap().last(), Some(&ids(first)), "{path} {body}");
        let sampling = &first["sampling_params"];
        assert_eq!((&sampling["seed"], &sampling["n"]), (&body["seed"], &json!(1)));
        assert!(first["model"].is_string() && first["request_id"].is_string() && first["features"].is_null());
        assert_eq!(first["stream"], false);
    }
    let two = post(server.address, "/v1/completions/render", &json!({"prompt": ["one", "two words"]})).json();
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert_ne!(ids(&two[0]), ids(&two[1]));
    assert_ne!(two[0]["request_id"], two[1]["request_id"]);
    let refused = post(server.address, "/v1/chat/completions/render", &json!({"messages": []}));
    assert_eq!(refused.status, 400, "{}", refused.body);
    let other = json!({"model": "other", "prompt": "one"});
    assert_eq!(post(server.address, "/v1/completions/render", &other).status, 404);
}

/// SMG and Dynamo read how long a conversation may be, and whose the model is.
#[test]
fn the_list_of_models_says_how_long_a_conversation_may_be() {
    let server = Server::start(&[ANSWER]);
    let models = get(server.address, "/v1/models").json();
    let model = &models["data"][0];
    let length =
        post(server.address, "/v1/tokenize", &json!({"prompt": "a"})).json()["max_model_len"].clone();
    assert!(length.as_u64().is_some_and(|length| length > 0), "{length}");
    assert_eq!((&model["max_model_len"], &model["owned_by"]), (&length, &json!("gptoss")), "{model}");
    assert_eq!(model["root"], model["id"]);
}
