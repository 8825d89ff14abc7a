//! Requests as upstreams of every kind get them.

use super::*;
use crate::plan::{Plan, Sources};

/// An upstream with a key, of a table's lines.
fn upstream(lines: &str) -> Upstream {
    let text =
        format!("[[upstreams]]\nname = \"u\"\napi_key_env = \"K\"\nmodels = {{ m = \"org/m\" }}\n{lines}");
    let key = |_: &str| Some("sk-canary".to_owned());
    let sources = Sources { file: Some(&|_| Err("none".to_owned())), variable: &key, personal: None };
    Plan::read(&text, &sources).unwrap().upstreams.remove(0)
}

fn sent(upstream: &Upstream, dialect: Dialect, body: &str) -> Result<Outgoing, ApiError> {
    let mut headers = HeaderMap::new();
    for name in ["authorization", "x-api-key", "api-key", "connection", "te", "cookie", "x-forwarded-for"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("client-canary"));
    }
    headers.insert("anthropic-beta", HeaderValue::from_static("a-beta"));
    let body = RawObject::parse(body.as_bytes()).unwrap();
    outgoing(upstream, Asked { dialect, body: &body, headers: &headers }, "org/m")
}

fn body(outgoing: &Outgoing) -> Value {
    serde_json::from_slice(&outgoing.body).unwrap()
}

const OPENAI: &str = "base_url = \"https://a.example/v1/\"";

#[test]
fn what_is_ours_is_taken_out_and_what_is_unknown_passes() {
    let text = r#"{"model":"m","messages":[{"role":"user","content":"x","tomorrow":1.50}],"cache_salt":"s","reasoning_visibility":"raw","max_reasoning_tokens":5,"tomorrow":{"a":[1.0]},"store":true,"stream":true}"#;
    let made = sent(&upstream(OPENAI), Dialect::Chat, text).unwrap();
    assert_eq!(made.uri, "https://a.example/v1/chat/completions");
    let expect = r#"{"model":"org/m","messages":[{"role":"user","content":"x","tomorrow":1.50}],"tomorrow":{"a":[1.0]},"store":false,"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(String::from_utf8_lossy(&made.body), expect);
    assert_eq!(made.headers["authorization"], "Bearer sk-canary");
    assert!(!format!("{:?}", made.headers).contains("canary"), "{:?}", made.headers);
    for name in ["x-api-key", "api-key", "connection", "te", "cookie", "x-forwarded-for", "anthropic-beta"] {
        assert!(!made.headers.contains_key(name), "{name}");
    }
}

/// OpenAI keeps what does not say otherwise, and others refuse a field that they do not know.
#[test]
fn nothing_is_stored_where_it_might_be() {
    let chat = r#"{"model":"m","messages":[]}"#;
    let store = |lines: &str, dialect, text: &str| {
        body(&sent(&upstream(lines), dialect, text).unwrap()).get("store").cloned()
    };
    let openai = "base_url = \"https://api.openai.com/v1\"";
    let azure = "base_url = \"https://r.openai.azure.com/openai/v1\"\nkind = \"azure\"";
    assert_eq!(store(openai, Dialect::Chat, chat), Some(json!(false)));
    assert_eq!(store(azure, Dialect::Chat, chat), Some(json!(false)));
    assert_eq!(
        store(openai, Dialect::Messages, r#"{"model":"m","max_tokens":1,"messages":[]}"#),
        Some(json!(false))
    );
    assert_eq!(store(OPENAI, Dialect::Chat, chat), None);
    assert_eq!(store(&format!("{openai}\ndata_collection = \"allow\""), Dialect::Chat, chat), None);
    assert_eq!(store(openai, Dialect::Completions, r#"{"model":"m","prompt":"x"}"#), None);
}

#[test]
fn azure_has_two_forms() {
    let new = upstream("base_url = \"https://r.openai.azure.com/openai/v1\"\nkind = \"azure\"");
    let made = sent(&new, Dialect::Chat, r#"{"model":"m","messages":[]}"#).unwrap();
    assert_eq!(made.uri, "https://r.openai.azure.com/openai/v1/chat/completions");
    assert_eq!(made.headers["api-key"], "sk-canary");
    assert!(!made.headers.contains_key("authorization"));
    let old = upstream(
        "base_url = \"https://r.openai.azure.com\"\nkind = \"azure\"\napi_version = \"2024-10-21\"\nchat_only = true",
    );
    let made = sent(&old, Dialect::Chat, r#"{"model":"m","messages":[]}"#).unwrap();
    let expect =
        "https://r.openai.azure.com/openai/deployments/org%2Fm/chat/completions?api-version=2024-10-21";
    assert_eq!(made.uri, expect);
}

#[test]
fn lengths_and_efforts_are_called_what_the_upstream_calls_them() {
    let check = |lines: &str, text: &str, expect: &str| {
        let made = sent(&upstream(&format!("{OPENAI}\n{lines}")), Dialect::Chat, text).unwrap();
        assert_eq!(String::from_utf8_lossy(&made.body), expect);
    };
    check("", r#"{"model":"m","max_tokens":5}"#, r#"{"model":"org/m","max_tokens":5}"#);
    check(
        "max_tokens_field = \"max_completion_tokens\"",
        r#"{"model":"m","max_tokens":5}"#,
        r#"{"model":"org/m","max_completion_tokens":5}"#,
    );
    check(
        "",
        r#"{"model":"m","reasoning":{"effort":"low"}}"#,
        r#"{"model":"org/m","reasoning_effort":"low"}"#,
    );
    check(
        "",
        r#"{"model":"m","reasoning":{"effort":"low","exclude":true}}"#,
        r#"{"model":"org/m","reasoning":{"effort":"low","exclude":true}}"#,
    );
}

#[test]
fn nothing_is_kept_there_unless_the_operator_says_so() {
    let denies = upstream(OPENAI);
    let made = sent(&denies, Dialect::Responses, r#"{"model":"m","input":"x"}"#).unwrap();
    assert_eq!(body(&made)["store"], json!(false));
    for field in [r#""previous_response_id":"r""#, r#""conversation":"c""#, r#""background":true"#] {
        let text = format!(r#"{{"model":"m","input":"x",{field}}}"#);
        assert!(sent(&denies, Dialect::Responses, &text).is_err(), "{field}");
    }
    let allows = upstream(&format!("{OPENAI}\ndata_collection = \"allow\""));
    let made = sent(&allows, Dialect::Responses, r#"{"model":"m","input":"x","previous_response_id":"r"}"#);
    assert!(body(&made.unwrap()).get("store").is_none());
    let router = upstream("base_url = \"https://openrouter.ai/api/v1\"\nzdr = true");
    let text = r#"{"model":"m","messages":[],"provider":{"order":["x"],"data_collection":"allow"}}"#;
    let made = sent(&router, Dialect::Chat, text).unwrap();
    assert_eq!(body(&made)["provider"], json!({"order": ["x"], "data_collection": "deny", "zdr": true}));
}

#[test]
fn tools_that_run_elsewhere_are_the_operators_to_allow() {
    let text = r#"{"model":"m","input":"x","tools":[{"type":"web_search"},{"type":"function","name":"f"}]}"#;
    let error = sent(&upstream(OPENAI), Dialect::Responses, text).unwrap_err().to_string();
    assert!(error.contains("tools[0]") && error.contains("web_search"), "{error}");
    let drops = upstream(&format!("{OPENAI}\nhosted_tools = \"drop\""));
    let made = sent(&drops, Dialect::Responses, text).unwrap();
    assert_eq!(body(&made)["tools"].as_array().unwrap().len(), 1);
    let allows = upstream(&format!("{OPENAI}\nhosted_tools = \"allow\""));
    let made = sent(&allows, Dialect::Responses, text).unwrap();
    assert_eq!(body(&made)["tools"].as_array().unwrap().len(), 2);
    let deep = format!(r#"{{"model":"m","input":"x","tools":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(sent(&upstream(OPENAI), Dialect::Responses, &deep).is_err(), "what cannot be looked at");
}

#[test]
fn an_upstream_of_anthropics_gets_messages() {
    let claude = upstream("base_url = \"https://api.anthropic.com/v1\"\nkind = \"anthropic\"");
    let text = r#"{"model":"m","max_tokens":9,"messages":[],"tomorrow":1,"thinking":{"type":"adaptive"}}"#;
    let made = sent(&claude, Dialect::Messages, text).unwrap();
    assert_eq!(
        (made.uri.as_str(), made.spoken),
        ("https://api.anthropic.com/v1/messages", Dialect::Messages)
    );
    assert_eq!(String::from_utf8_lossy(&made.body), text.replace("\"m\"", "\"org/m\""));
    assert_eq!(made.headers["x-api-key"], "sk-canary");
    assert_eq!(made.headers["anthropic-beta"], "a-beta");
    assert_eq!(made.headers["anthropic-version"], ANTHROPIC_VERSION);
    let made = sent(&claude, Dialect::Responses, r#"{"model":"m","input":"x","reasoning":{"effort":"low"}}"#);
    let made = body(&made.unwrap());
    assert_eq!((&made["model"], &made["stream"]), (&json!("org/m"), &json!(true)));
    assert_eq!(made["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}]));
    assert!(sent(&claude, Dialect::Completions, r#"{"model":"m","prompt":"x"}"#).is_err());
}

#[test]
fn an_upstream_with_chat_alone_gets_chats() {
    let chat = upstream(&format!("{OPENAI}\nchat_only = true"));
    let made = sent(&chat, Dialect::Responses, r#"{"model":"m","input":"x","max_output_tokens":3}"#).unwrap();
    let expect = json!({"messages": [{"role": "user", "content": "x"}], "model": "org/m", "stream": true,
        "stream_options": {"include_usage": true}, "max_tokens": 3});
    assert_eq!(body(&made), expect);
    assert!(!made.is_stream);
}
