//! Responses on a connection: their order, what is kept for it, what is refused, and how it ends.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message, WebSocket, client};

use crate::chat::{ANSWER, CALL};
use crate::http::{get, post};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;

/// How long a test waits for a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client.
pub struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(address: SocketAddr) -> Socket {
        Socket::with(address, &[]).expect("a connection")
    }

    pub fn with(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let mut request = format!("ws://{address}/v1/responses").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match client(request, stream) {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    pub fn create(&mut self, more: Value) {
        let mut body = json!({"type": "response.create", "model": "scripted", "input": "What is 27 + 58?"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.say(&body.to_string());
    }

    /// The next event; None is the end, with its code.
    pub fn event(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::Protocol(_) | Error::Io(_)) => return Err(None),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The events of one response, or the one error.
    pub fn events(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.event().expect("another event"));
            let kind = events.last().unwrap()["type"].as_str().unwrap();
            if ["response.completed", "response.incomplete", "response.failed", "error"].contains(&kind) {
                return events;
            }
        }
    }

    fn response(&mut self, more: Value) -> Value {
        self.create(more);
        let last = self.events().pop().unwrap();
        assert_eq!(last["type"], "response.completed", "{last}");
        last["response"].clone()
    }

    fn refused(&mut self, more: Value) -> (u64, String) {
        self.create(more);
        let error = self.event().unwrap();
        assert_eq!(error["type"], "error", "{error}");
        (error["status"].as_u64().unwrap(), error["error"]["code"].as_str().unwrap().to_owned())
    }
}

/// A server whose answers take long enough to be overtaken.
fn slow(limits: Limits) -> Server {
    let mut script = Script::new(&[]);
    script.texts = vec![format!("<|channel|>final<|message|>{}<|return|>", "word ".repeat(2000))];
    script.pause = Duration::from_millis(20);
    Server::with(script, limits, Keys::default())
}

fn not_found() -> (u64, String) {
    (400, "previous_response_not_found".to_owned())
}

#[test]
fn the_events_are_those_of_a_stream() {
    let server = Server::start(&[ANSWER]);
    let mut socket = Socket::open(server.address);
    for more in [json!({}), json!({"stream": true}), json!({"max_output_tokens": 6})] {
        socket.create(more.clone());
        let events = socket.events();
        let mut body = json!({"input": "What is 27 + 58?", "model": "scripted"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body["stream"] = json!(true);
        let streamed = post(server.address, "/v1/responses", &body).events();
        let names = |events: &[Value]| -> Vec<Value> {
            let mut names: Vec<Value> = events.iter().map(|event| event["type"].clone()).collect();
            names.dedup();
            names
        };
        assert_eq!(names(&events), names(&streamed));
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], json!(number));
        }
        let id = events[0]["response"]["id"].as_str().unwrap();
        assert_eq!(
            get(server.address, &format!("/v1/responses/{id}")).json(),
            events.last().unwrap()["response"]
        );
    }
}

#[test]
fn messages_wait_for_the_response_before_them() {
    let server = Server::start(&[ANSWER]);
    let mut socket = Socket::open(server.address);
    for lane in ["a", "b", "a"] {
        socket.create(json!({"stream_id": lane}));
    }
    for lane in ["a", "b", "a"] {
        let events = socket.events();
        assert!(events.iter().all(|event| event["stream_id"] == lane), "{events:?}");
        assert_eq!(events[0]["sequence_number"], 0);
    }
}

#[test]
fn more_messages_than_may_wait_are_refused() {
    let server = slow(Limits::default());
    let mut socket = Socket::open(server.address);
    socket.create(json!({}));
    eventually("the first begins", || !server.prompts.lock().unwrap().is_empty());
    for number in 0..9 {
        socket.create(json!({"stream_id": number.to_string()}));
    }
    let refusal = loop {
        let event = socket.event().unwrap();
        if event["type"] == "error" {
            break event;
        }
    };
    assert_eq!((refusal["status"].as_u64(), refusal["stream_id"].as_str()), (Some(429), Some("8")));
}

#[test]
fn what_is_not_stored_is_kept_for_the_connection() {
    let server = Server::start(&[ANSWER]);
    let mut socket = Socket::open(server.address);
    let first = socket.response(json!({"store": false}));
    let going_on = json!({"store": false, "previous_response_id": first["id"], "input": "And 2 more?"});
    let second = socket.response(going_on.clone());
    assert_eq!(second["previous_response_id"], first["id"]);
    let stored = post(server.address, "/v1/responses", &json!({"input": "What is 27 + 58?"})).json();
    let by_http = json!({"previous_response_id": stored["id"], "input": "And 2 more?"});
    assert_eq!(post(server.address, "/v1/responses", &by_http).status, 200);
    let prompts = server.prompts.lock().unwrap().clone();
    assert_eq!(prompts[1], prompts[3], "kept and stored give the same prompt");
    // Nobody else has it, and it was not stored.
    assert_eq!(Socket::open(server.address).refused(going_on.clone()), not_found());
    assert_eq!(post(server.address, "/v1/responses", &going_on).json()["error"]["code"], not_found().1);
    // A stored one goes on here too.
    socket.response(json!({"previous_response_id": stored["id"], "input": "And 2 more?"}));
}

#[test]
fn a_failure_ends_its_chain_and_not_the_connection() {
    let server = Server::start(&[ANSWER]);
    let mut socket = Socket::open(server.address);
    let first = socket.response(json!({"store": false}));
    let output = json!([{"type": "function_call_output", "call_id": "call_0", "output": "3"}]);
    let failing = json!({"store": false, "previous_response_id": first["id"], "input": output});
    assert_eq!(socket.refused(failing).0, 400);
    let going_on = json!({"store": false, "previous_response_id": first["id"]});
    assert_eq!(socket.refused(going_on), not_found());
    socket.response(json!({}));
}

#[test]
fn calls_and_their_results_go_over_one_connection() {
    let mut script = Script::new(&[CALL, ANSWER]);
    script.follows_calls = true;
    let server = Server::with(script, Limits::default(), Keys::default());
    let mut socket = Socket::open(server.address);
    let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
    let first = socket.response(json!({"store": false, "tools": tools}));
    let call = first["output"].as_array().unwrap().last().unwrap();
    let output = json!([{"type": "function_call_output", "call_id": call["call_id"], "output": "85"}]);
    let second =
        json!({"store": false, "tools": tools, "previous_response_id": first["id"], "input": output});
    let second = socket.response(second);
    assert_eq!(second["output"][1]["content"][0]["text"], "It is 85, né.");
}

#[test]
fn a_response_without_output_is_gone_on_from() {
    let server = Server::start(&[ANSWER]);
    let mut socket = Socket::open(server.address);
    for store in [false, true] {
        let prepared = socket.response(json!({"generate": false, "store": store}));
        assert_eq!((&prepared["output"], &prepared["usage"]["output_tokens"]), (&json!([]), &json!(0)));
        socket.response(json!({"previous_response_id": prepared["id"], "input": "And 2 more?"}));
    }
    let prompts = server.prompts.lock().unwrap().clone();
    assert_eq!((prompts.len(), &prompts[0]), (2, &prompts[1]), "nothing was generated to prepare");
    drop(prompts);
    let whole = json!({"input": [{"role": "user", "content": "What is 27 + 58?"}, {"role": "user", "content": "And 2 more?"}]});
    post(server.address, "/v1/responses", &whole);
    let prompts = server.prompts.lock().unwrap();
    assert_eq!(prompts[0], prompts[2]);
}

#[test]
fn what_cannot_be_understood_is_refused_and_the_connection_goes_on() {
    let server = Server::start(&[ANSWER]);
    let mut socket = Socket::open(server.address);
    let check = |socket: &mut Socket, text: &str, param: Value| {
        socket.say(text);
        let error = socket.event().unwrap();
        assert_eq!((&error["type"], &error["status"]), (&json!("error"), &json!(400)), "{error}");
        assert_eq!(error["error"]["param"], param, "{error}");
    };
    check(&mut socket, "{", Value::Null);
    check(&mut socket, r#"{"type": "response.steer"}"#, json!("type"));
    check(&mut socket, r#"{"type": "response.create", "background": true}"#, json!("background"));
    check(
        &mut socket,
        r#"{"type": "response.create", "input": "hi", "temperature": 9}"#,
        json!("temperature"),
    );
    check(&mut socket, r#"{"type": "response.create"}"#, json!("input"));
    assert_eq!(socket.refused(json!({"model": "gpt-9"})).0, 404);
    socket.response(json!({}));
    let log = server.logged(|line| line.contains(" GET /v1/responses 200 ") && line.ends_with("written"));
    assert!(log.contains("GET /v1/responses 101") && log.contains("GET /v1/responses 400"), "{log}");
}

#[test]
fn a_connection_ends_with_a_reason() {
    let limits = Limits { body_bytes_max: 1000, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let check = |message: Message, status: u16, code: u16| {
        let mut socket = Socket::open(server.address);
        socket.0.send(message).unwrap();
        let error = socket.event().unwrap();
        assert_eq!((error["type"].as_str(), error["status"].as_u64()), (Some("error"), Some(status.into())));
        assert_eq!(socket.event(), Err(Some(code)));
    };
    check(Message::text("x".repeat(1001)), 413, 1009);
    check(Message::binary("{}".as_bytes().to_vec()), 400, 1003);
}

#[test]
fn a_connection_is_open_for_its_time() {
    let limits = Limits { socket_time: Duration::from_millis(300), ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let mut socket = Socket::open(server.address);
    socket.response(json!({}));
    assert_eq!(socket.event().unwrap()["error"]["code"], "websocket_connection_limit_reached");
    assert_eq!(socket.event(), Err(Some(1001)));
}

#[test]
fn a_silent_connection_is_asked_whether_it_is_there() {
    let limits = Limits { keep_alive: Duration::from_millis(20), ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let mut socket = Socket::open(server.address);
    assert!(matches!(socket.0.read(), Ok(Message::Ping(_))));
    socket.response(json!({}));
}

/// A stop waited for connections of HTTP alone.
#[test]
fn a_server_that_stops_lets_the_response_end_and_says_why() {
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_millis(20);
    let mut server = Server::with(script, Limits::default(), Keys::default());
    let (mut idle, mut busy) = (Socket::open(server.address), Socket::open(server.address));
    busy.create(json!({}));
    assert_eq!(busy.event().unwrap()["type"], "response.created");
    busy.create(json!({"stream_id": "later"}));
    server.tell_to_stop();
    assert_eq!(idle.event().unwrap()["error"]["code"], "shutting_down");
    assert_eq!(idle.event(), Err(Some(1001)));
    assert_eq!(busy.events().last().unwrap()["type"], "response.completed");
    let refused = busy.event().unwrap();
    assert_eq!((&refused["status"], &refused["stream_id"]), (&json!(503), &json!("later")));
    assert_eq!(busy.event().unwrap()["error"]["code"], "shutting_down");
    assert_eq!(busy.event(), Err(Some(1001)));
    drop((idle, busy));
    server.join();
}

#[test]
fn a_client_that_goes_away_ends_its_turn() {
    let server = slow(Limits::default());
    let mut socket = Socket::open(server.address);
    socket.create(json!({}));
    assert_eq!(socket.event().unwrap()["type"], "response.created");
    drop(socket);
    let is_over =
        || get(server.address, "/metrics").body.lines().any(|line| line == "gptoss_turns_running 0");
    eventually("the turn ends", is_over);
}

#[test]
fn a_connection_has_the_key_it_was_opened_with() {
    let keys = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b reasoning=hidden";
    let server = Server::with(Script::new(&[ANSWER]), Limits::default(), Keys::parse(keys).unwrap());
    let open = |key: &str| Socket::with(server.address, &[("authorization", &format!("Bearer {key}"))]);
    assert_eq!(Socket::with(server.address, &[]).err(), Some(401));
    assert_eq!(open("sk-else").err(), Some(401));
    let first = open("sk-0123456789abcdef").unwrap().response(json!({}));
    let mut other = open("sk-fedcba9876543210").unwrap();
    assert_eq!(other.refused(json!({"previous_response_id": first["id"]})), not_found());
    assert_eq!(other.response(json!({}))["output"][0]["content"], json!([]), "its reasoning is hidden");
}

#[test]
fn a_page_of_another_site_opens_nothing() {
    let server = Server::start(&[ANSWER]);
    assert_eq!(Socket::with(server.address, &[("origin", "https://evil.test")]).err(), Some(403));
    assert!(Socket::with(server.address, &[("origin", "http://localhost:3000")]).is_ok());
    assert_eq!(get(server.address, "/v1/responses").status, 405);
}

/// WebSockets stay open while nobody says a word: all together they have half of the places.
#[test]
fn connections_have_half_of_the_places() {
    let limits = Limits { connections_max: 4, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let mut first = Socket::open(server.address);
    let second = Socket::open(server.address);
    assert_eq!(Socket::with(server.address, &[]).err(), Some(429));
    first.response(json!({}));
    assert_eq!(get(server.address, "/health").status, 200);
    drop(second);
    // The place is free when the server has seen the end.
    eventually("a place is free", || Socket::with(server.address, &[]).is_ok());
}

/// Places were given back when the connection stopped being HTTP, so their number had no bound.
#[test]
fn a_connection_holds_its_place() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let server = Server::with(Script::new(&[ANSWER]), limits, Keys::default());
    let mut socket = Socket::open(server.address);
    socket.response(json!({}));
    let waiting = TcpStream::connect(server.address).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let request = format!("ws://{}/v1/responses", server.address).into_client_request().unwrap();
    assert!(client(request, waiting).is_err(), "there is one place, and it is taken");
    socket.response(json!({}));
    drop(socket);
    Socket::open(server.address).response(json!({}));
}
