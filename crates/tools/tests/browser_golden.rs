//! Displays of the browser beside those of the reference, over the pages in `testdata/browser`.
//!
//! Pages of text must be equal to the byte. Those of HTML are equal but for what `differences.txt` holds,
//! which is compared exactly: a difference that comes or goes fails.

use std::{fs, net::SocketAddr, path::PathBuf};

use gptoss_tools::browser::{Backend, Browser, Corpus, Limits, Service};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SITE: &str = "https://pages.example/";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/browser")
}

fn rows(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn replay(browser: &mut Browser, calls: &[Value]) -> Vec<(String, String, String)> {
    let mut results = Vec::new();
    for call in calls {
        let [function, arguments, expected] =
            ["function", "arguments", "text"].map(|key| call[key].as_str().unwrap());
        let got = browser.call(function, arguments).await.reply.text;
        results.push((format!("{function} {arguments}"), expected.to_owned(), got));
    }
    results
}

#[tokio::test]
async fn pages_of_text_are_equal_to_the_byte() {
    let pages = rows("text.jsonl");
    assert!(pages.len() >= 15);
    for page in pages {
        let corpus = Corpus::open(&folder().join("text"), Limits::default().page_bytes_max).unwrap();
        let mut browser = Browser::new(Backend::Corpus(corpus), Limits::default());
        for (call, expected, got) in replay(&mut browser, page["calls"].as_array().unwrap()).await {
            assert_eq!(got, expected, "{}: {call}", page["page"]);
        }
    }
}

#[tokio::test]
async fn pages_of_html_are_equal_but_for_known_differences() {
    let exa = exa().await;
    let pages = rows("html.jsonl");
    assert!(pages.len() >= 31);
    let (mut differences, mut different, mut lines, mut equal) = (String::new(), 0, 0, 0);
    for page in &pages {
        let mut browser = browser(exa);
        // The second call shows the whole page; the others are judged by the pages that are equal.
        let results = replay(&mut browser, page["calls"].as_array().unwrap()).await;
        let (_, expected, got) = &results[1];
        let (expected_lines, got_lines): (Vec<_>, Vec<_>) =
            (expected.lines().collect(), got.lines().collect());
        lines += expected_lines.len();
        equal += expected_lines.iter().zip(&got_lines).filter(|(expected, got)| expected == got).count();
        if expected != got {
            different += 1;
            differences.push_str(&format!(
                "{}\n{}",
                page["page"].as_str().unwrap(),
                diff(&expected_lines, &got_lines)
            ));
            continue;
        }
        for (call, expected, got) in results {
            assert_eq!(got, expected, "{}: {call}", page["page"]);
        }
    }
    let known = fs::read_to_string(folder().join("differences.txt")).unwrap();
    assert_eq!(differences, known);
    assert!(equal * 100 >= lines * 95, "{equal} of {lines} lines");
    assert!(different * 10 <= pages.len(), "{different}");
}

#[tokio::test]
async fn a_session_reads_as_the_reference_does() {
    let mut browser = browser(exa().await);
    for (call, expected, got) in replay(&mut browser, &rows("session.jsonl")).await {
        assert_eq!(got, expected, "{call}");
    }
}

/// The lines that differ, those of the reference first.
fn diff(expected: &[&str], got: &[&str]) -> String {
    let mut lines = String::new();
    for i in 0..expected.len().max(got.len()) {
        let (expected, got) = (expected.get(i), got.get(i));
        if expected != got {
            lines.push_str(&expected.map_or(String::new(), |line| format!("- {line}\n")));
            lines.push_str(&got.map_or(String::new(), |line| format!("+ {line}\n")));
        }
    }
    lines
}

fn browser(exa: SocketAddr) -> Browser {
    let service = Service::new(&format!("http://{exa}"), None).unwrap();
    Browser::new(Backend::Exa(service), Limits::default())
}

/// Exa's interface over the files.
async fn exa() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let (path, body): (String, Value) = loop {
        stream.read_buf(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_str(body) {
            break (head.split(' ').nth(1).unwrap().to_owned(), body);
        }
    };
    let results = match path.as_str() {
        "/search" if body["query"] == "nothing" => json!([]),
        "/search" => search_results(),
        "/contents" => {
            let name = body["urls"][0].as_str().unwrap().trim_start_matches(SITE).to_owned();
            match fs::read_to_string(folder().join("html").join(name)) {
                Ok(text) => json!([{"title": "", "text": text}]),
                Err(_) => json!([]),
            }
        }
        other => panic!("{other}"),
    };
    let body = json!({ "results": results }).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

/// As in `reference/make_browser.py`.
fn search_results() -> Value {
    let lists = format!("{SITE}lists.html");
    json!([
        {"title": "Lists of things", "url": lists, "summary": "Ordered and not."},
        {"title": "Same   place\nagain †", "url": lists, "summary": "  spaced\n out  "},
        {"title": "A paper", "url": "https://arxiv.org/abs/1706.03762", "summary": "It is a paper."},
        {"title": "【Odd】 title", "url": "https://other.example:8443/x?y=1#z", "summary": "With 【9†mark】."},
        {"title": "", "url": "https://empty.example/", "summary": "No title."},
        {"title": "No summary", "url": "http://plain.example/a%20b", "summary": ""},
    ])
}
