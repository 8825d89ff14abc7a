//! An upstream that answers at once, for measurements: `upstream PORT`.
//!
//! Chat Completions, whole or as a stream of `max_tokens` words, without a model behind it.

#![expect(clippy::disallowed_methods, reason = "a program of its own: it reads its arguments")]

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const TOKENS_MAX: u64 = 4096;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let server = hyper::server::conn::http1::Builder::new();
            // A client that breaks off is nothing to tell.
            let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_list = request.method() == hyper::Method::GET;
    let bytes = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if is_list {
        let list = json!({"object": "list", "data": [{"id": "stub", "object": "model"}]}).to_string();
        return Ok(Response::new(Full::from(list)));
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let length = ["max_completion_tokens", "max_tokens"].into_iter().find_map(|name| body[name].as_u64());
    let length = length.unwrap_or(8).min(TOKENS_MAX);
    let usage = json!({"prompt_tokens": 8, "completion_tokens": length, "total_tokens": length + 8});
    let (kind, text) = match body["stream"] == true {
        true => ("text/event-stream", stream(length, &usage)),
        false => {
            let message = json!({"role": "assistant", "content": "word ".repeat(length as usize)});
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            (
                "application/json",
                json!({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})
                    .to_string(),
            )
        }
    };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

fn stream(length: u64, usage: &Value) -> String {
    let mut text = String::new();
    let mut event = |value: Value| text.push_str(&format!("data: {value}\n\n"));
    for _ in 0..length {
        event(json!({"choices": [{"index": 0, "delta": {"content": "word "}}]}));
    }
    event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    event(json!({"choices": [], "usage": usage}));
    text.push_str("data: [DONE]\n\n");
    text
}
