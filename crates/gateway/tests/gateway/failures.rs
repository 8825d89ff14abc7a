//! Upstreams that hang, cut, limit and lie.

use std::time::Duration;

use futures_util::StreamExt;
use gptoss_gateway::{Cut, Dialect, Gateway};
use serde_json::Value;

use crate::asking::{Ask, Got, plan};
use crate::scripted::{Act, Asked, Then, Upstream, chat, chat_events};

const NUM_REQUESTS: usize = 1000;
const AT_ONCE: usize = 32;

/// The words of a request: `who` says them all, with the request's number in each.
fn words(who: &str, number: &str) -> String {
    (0..6).map(|index| format!("{who}{number}.{index} ")).collect::<String>().trim_end().to_owned()
}

fn number_of(asked: &Asked) -> String {
    asked.body["messages"][0]["content"].as_str().unwrap_or_default().to_owned()
}

fn well(who: &str, asked: &Asked) -> Act {
    let text = words(who, &number_of(asked));
    match asked.is_stream() {
        true => Act::Events(chat_events(&text), Then::End),
        false => Act::Whole(200, Vec::new(), chat(who, &text)),
    }
}

/// One failure of each kind in turn, and some that go well.
fn badly(who: &str, asked: &Asked) -> Act {
    let text = words(who, &number_of(asked));
    let events = chat_events(&text);
    match (asked.number % 13, asked.is_stream()) {
        (0, _) => Act::Whole(500, Vec::new(), "{}".to_owned()),
        (1, _) => Act::Whole(429, vec![("retry-after-ms", "20".to_owned())], "{}".to_owned()),
        (2, _) => Act::Hang,
        (3, _) => Act::Drop,
        (4, true) => Act::Events(events[..3].to_vec(), Then::Cut),
        (4, false) => Act::Whole(200, Vec::new(), "<html>".to_owned()),
        (5, true) => Act::Events(events[..4].to_vec(), Then::Hang),
        (5, false) => Act::Whole(200, Vec::new(), "{\"choices\":3}".to_owned()),
        (6, true) => Act::Events(vec!["data: {\"choi\n\n".to_owned()], Then::End),
        (6, false) => Act::Whole(503, Vec::new(), String::new()),
        (7, true) => Act::Events([&events[..3], &["data: {\"choices\": [".to_owned()]].concat(), Then::Cut),
        (7, false) => Act::Whole(401, Vec::new(), "{}".to_owned()),
        (8, true) => Act::Events(vec!["data: {\"error\":{\"message\":\"full\"}}\n\n".to_owned()], Then::End),
        (8, false) => Act::Whole(529, Vec::new(), "{}".to_owned()),
        (9, true) => Act::Events(events[..events.len() - 2].to_vec(), Then::End),
        _ => well(who, asked),
    }
}

const LINES: &str = "models = { m = \"m\" }\ntimeout = \"150ms\"\nidle_timeout = \"150ms\"\nnum_retries = 1\n\
    allowed_fails = 5\ncooldown_time = \"20ms\"\nmax_parallel = 100";

/// A thousand requests, streams and not, while one upstream fails in twelve ways: each ends once, as one
/// upstream's own words, whole or cut with an error behind them, and each says which way it went.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_spliced() {
    let bad = Upstream::start(|asked| badly("a", asked));
    let good = Upstream::start(|asked| well("b", asked));
    let gateway = Gateway::new(plan(&(bad.table("a", LINES) + &good.table("b", LINES))));
    let ask = |index: usize| {
        let gateway = &gateway;
        async move {
            let stream = index.is_multiple_of(2);
            let body = format!(
                r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"n{index}"}}]}}"#
            );
            (index, Ask::of(Dialect::Chat).put(gateway, &body).await)
        }
    };
    let requests = futures_util::stream::iter((0..NUM_REQUESTS).map(ask)).buffer_unordered(AT_ONCE);
    let all: Vec<(usize, Got)> = requests.collect().await;
    assert_eq!(all.len(), NUM_REQUESTS);
    let (mut whole, mut cut) = ([0, 0], 0);
    for (index, got) in &all {
        let route = got.route.as_ref().unwrap_or_else(|| panic!("{index} has no route"));
        assert!(["a", "b"].contains(&route.name.as_str()) && !route.reason.is_empty(), "{route:?}");
        assert!(got.error.is_none() && got.status == 200, "{index}: {got:?}");
        let expect = words(&route.name, &format!("n{index}"));
        let ended = got.ended.unwrap_or_else(|| panic!("{index} has no end"));
        if !index.is_multiple_of(2) {
            assert_eq!(got.json()["choices"][0]["message"]["content"], Value::String(expect));
            whole[usize::from(route.name == "b")] += 1;
            continue;
        }
        assert_eq!(got.text.matches("[DONE]").count(), 1, "{}", got.text);
        assert!(got.text.ends_with("data: [DONE]\n\n"));
        let said = got.said();
        match got.events().iter().any(|event| event.get("error").is_some()) {
            true => {
                assert!(expect.starts_with(&said) && said != expect, "{said}");
                assert!(ended.cut == Some(Cut::Broken) && route.name == "a", "{ended:?}");
                cut += 1;
            }
            false => {
                assert_eq!(said, expect);
                assert!(ended.cut.is_none() && (ended.is_guess || ended.usage.completion == 5), "{ended:?}");
                whole[usize::from(route.name == "b")] += 1;
            }
        }
    }
    // How often the first is tried depends on how long it is left alone, so on the clock: some of each, not
    // how many.
    assert!(whole[0] > 3 && whole[1] > 200 && cut > 1, "{whole:?} {cut}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_left_is_one_error_with_a_wait() {
    let limits =
        Upstream::start(|_| Act::Whole(429, vec![("retry-after", "30".to_owned())], "{}".to_owned()));
    let gateway = Gateway::new(plan(&limits.table("a", LINES)));
    let body = r#"{"model":"m","messages":[]}"#;
    let got = Ask::of(Dialect::Chat).put(&gateway, body).await;
    let error = got.error.unwrap();
    assert_eq!((error.row().status, error.row().retry_seconds), (429, Some(30)), "{error}");
    // It is left alone for as long as it said.
    let got = Ask::of(Dialect::Chat).put(&gateway, body).await;
    let row = got.error.unwrap().row();
    assert!(row.status == 503 && row.retry_seconds.unwrap() >= 29);
    assert_eq!(limits.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_opens_and_closes() {
    let sick = Upstream::start(|asked| match asked.number < 3 {
        true => Act::Whole(500, Vec::new(), String::new()),
        false => well("a", asked),
    });
    let lines = "models = { m = \"m\" }\nnum_retries = 0\nallowed_fails = 3\ncooldown_time = \"50ms\"";
    let gateway = Gateway::new(plan(&sick.table("a", lines)));
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    for _ in 0..3 {
        assert_eq!(Ask::of(Dialect::Chat).put(&gateway, body).await.status, 502);
    }
    assert_eq!(Ask::of(Dialect::Chat).put(&gateway, body).await.status, 503, "nobody is sent there");
    assert_eq!(sick.asked().len(), 3);
    // The cooldown is what is waited for.
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(Ask::of(Dialect::Chat).put(&gateway, body).await.status, 200);
    assert_eq!(Ask::of(Dialect::Chat).put(&gateway, body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_at_fault_is_refused_once_in_its_own_words() {
    let refusal = r#"{"error":{"message":"messages: too few","type":"invalid_request_error","param":"messages","code":"x"}}"#;
    let strict = Upstream::start(move |_| Act::Whole(400, Vec::new(), refusal.to_owned()));
    let other = Upstream::start(|asked| well("b", asked));
    let gateway = Gateway::new(plan(&(strict.table("a", LINES) + &other.table("b", LINES))));
    let got = Ask::of(Dialect::Chat).put(&gateway, r#"{"model":"m","messages":[]}"#).await;
    assert_eq!((got.status, got.text.as_str()), (400, refusal));
    let message = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#;
    let got = Ask::of(Dialect::Messages).put(&gateway, message).await;
    assert_eq!((got.status, got.json()["error"]["message"].as_str()), (400, Some("messages: too few")));
    assert_eq!(other.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_is_too_small_sends_it_to_the_next() {
    let refusal = r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#;
    let small = Upstream::start(move |_| Act::Whole(400, Vec::new(), refusal.to_owned()));
    let large = Upstream::start(|asked| well("b", asked));
    let gateway = Gateway::new(plan(&(small.table("a", LINES) + &large.table("b", LINES))));
    let got = Ask::of(Dialect::Chat)
        .put(&gateway, r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#)
        .await;
    assert_eq!((got.status, got.route.unwrap().name.as_str()), (200, "b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_gives_way() {
    let gone = {
        let upstream = Upstream::start(|asked| well("a", asked));
        upstream.table("a", LINES)
    };
    let other = Upstream::start(|asked| well("b", asked));
    let gateway = Gateway::new(plan(&(gone + &other.table("b", LINES))));
    let got = Ask::of(Dialect::Chat)
        .put(&gateway, r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#)
        .await;
    let route = got.route.unwrap();
    assert_eq!((got.status, route.name.as_str()), (200, "b"));
    assert!(route.reason.contains("a gave none"), "{}", route.reason);
}
