//! Pages of other origins: none may read an answer, unless the operator names theirs.

use gptoss_server::{CorsOrigin, Keys, Limits};
use serde_json::json;

use crate::chat::ANSWER;
use crate::http::{Answer, get, request};
use crate::scripted::Script;
use crate::server::Server;

const CHAT: &str = "https://chat.example";
const EVIL: &str = "https://evil.test";

fn server(origins: &[&str], keys: Keys) -> Server {
    let origins: Vec<CorsOrigin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    Server::changed(|app| app.with_cors_origins(origins), Script::new(&[ANSWER]), Limits::default(), keys)
}

/// What a browser asks before it sends a page's JSON.
fn preflight(server: &Server, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-stainless-lang"),
        ("access-control-request-private-network", "true"),
    ];
    request(server.address, "OPTIONS", "/v1/chat/completions", &headers, "")
}

fn ask(server: &Server, origin: &str, is_streamed: bool) -> Answer {
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "stream": is_streamed});
    request(server.address, "POST", "/v1/chat/completions", &[("origin", origin)], &body.to_string())
}

#[test]
fn no_page_may_read_an_answer_by_itself() {
    let server = server(&[], Keys::default());
    let asked = preflight(&server, CHAT);
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (403, None));
    let answer = ask(&server, "http://localhost:3000", false);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}

#[test]
fn pages_of_a_named_origin_may() {
    let server = server(&[CHAT, "http://localhost:5173"], Keys::default());
    let asked = preflight(&server, CHAT);
    assert_eq!(asked.status, 200);
    assert_eq!(asked.header("access-control-allow-origin"), Some(CHAT));
    let allowed = asked.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("x-stainless-lang"), "{allowed}");
    assert!(asked.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(asked.header("access-control-allow-private-network"), None);
    assert_eq!(asked.header("access-control-allow-credentials"), None);
    for is_streamed in [false, true] {
        let answer = ask(&server, CHAT, is_streamed);
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(CHAT)));
        assert!(answer.body.contains("85"), "{}", answer.body);
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("retry-after") && exposed.contains("x-request-id"), "{exposed}");
    }
    let asked = preflight(&server, EVIL);
    assert_eq!(asked.header("access-control-allow-origin"), None);
    let answer = ask(&server, EVIL, false);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    assert_eq!(get(server.address, "/v1/models").header("access-control-allow-origin"), None);
}

/// A page has to be able to read that its key is wrong; the browser asks beforehand without one.
#[test]
fn refusals_are_read_too() {
    let server = server(&["*"], Keys::parse("sk-0123456789abcdef name=app").unwrap());
    assert_eq!(preflight(&server, EVIL).status, 200);
    let answer = ask(&server, EVIL, false);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, Some("*")));
}
