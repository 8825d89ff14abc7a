//! `load`: what it prints about a server, and what it refuses. How fast anything is, is no test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::program::{gptoss, run};

/// The demo model behind a free port; killed when dropped.
struct Demo {
    child: Child,
    url: String,
}

impl Demo {
    fn start() -> Demo {
        let mut command = gptoss(&["serve", "--port", "0", "--quiet"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("text");
            Some(line.split_once("is served at ")?.1.split_once(' ')?.0.to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        Demo { child, url: address.expect("a line with the address") }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers every request with the same bytes and hangs up; its threads end with the test.
fn stand_in(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // One read holds the whole request: it is small, and comes in one piece or in two.
                let mut request = vec![0; 1 << 16];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read(&mut request);
            });
        }
    });
    url
}

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn every_path_of_the_api_is_measured() {
    let demo = Demo::start();
    for endpoint in ["chat", "completions", "responses"] {
        let args = ["load", "--url", &demo.url, "--endpoint", endpoint, "--prompt-tokens", "160"];
        let more = ["--output-tokens", "8..16", "--concurrency", "1,3", "--requests", "5", "--json"];
        let object = object(&run(&[&args[..], &more].concat()).ok());
        assert_eq!((&object["model"], object["levels"].as_array().unwrap().len()), (&"demo".into(), 2));
        for level in object["levels"].as_array().unwrap() {
            assert_eq!((&level["completed"], &level["failed"]), (&5.into(), &0.into()), "{level}");
            assert_eq!(level["output_tokens_counted_by"], "usage", "{level}");
            let number = |name: &str| level[name].as_f64().unwrap_or_else(|| panic!("{name} in {level}"));
            for name in ["request_throughput", "output_throughput", "median_ttft_ms", "p99_e2el_ms"] {
                assert!(number(name) > 0.0, "{name} in {level}");
            }
            assert!(number("median_ttft_ms") <= number("median_e2el_ms"), "{level}");
            // Words cost the demo's tokenizer more than a token each; the two probes see how much on average.
            let share = number("total_input_tokens") / number("asked_input_tokens");
            assert!((0.8..1.2).contains(&share), "{share} in {level}");
        }
    }
}

#[test]
fn a_rate_is_a_table_and_a_picture() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    let [plot, output] = ["run.svg", "run.json"].map(|name| folder.path().join(name));
    let args = ["load", "--url", &demo.url, "--rate", "20,40", "--requests", "6", "--slo", "ttft=1h"];
    let files = ["--plot", plot.to_str().unwrap(), "--output", output.to_str().unwrap()];
    let table = run(&[&args[..], &files, &["--prompt-tokens", "128", "--output-tokens", "8"]].concat()).ok();
    for fact in ["rate 20/s: 6 answered, 0 failed", "goodput", "sent late", "output tokens/s\n  rate 20/s"] {
        assert!(table.contains(fact), "{fact:?} should be in: {table}");
    }
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("rate 40/s"), "{svg}");
    let object = object(&std::fs::read_to_string(output).unwrap());
    assert_eq!((&object["levels"][1]["request_rate"], &object["format"]), (&40.0.into(), &1.into()));
    assert_eq!(object["levels"][0]["request_goodput"], object["levels"][0]["request_throughput"]);
}

#[test]
fn failures_are_counted_by_kind_and_end_with_1() {
    let check = |url: &str, kind: &str| {
        let args = ["load", "--url", url, "--model", "m", "--requests", "3", "--warmup", "0", "--json"];
        let ran = run(&args);
        let errors = object(&ran.stdout)["levels"][0]["errors"].clone();
        assert_eq!(errors[kind]["count"], 3, "{errors}");
        ran.fails(1, &["no request was answered"]);
    };
    let token = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    check(&stand_in(token), "cut");
    check(&stand_in("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: {oops\n\n"), "malformed");
    check(&stand_in("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<html>"), "malformed");
    check(&stand_in("HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy"), "status 503");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    check(&format!("http://{closed}/v1"), "refused");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let refused = |args: &[&str], code: i32, facts: &[&str]| {
        run(&[&["load"], args].concat()).fails(code, facts);
    };
    refused(&["--url", "127.0.0.1:8000"], 2, &["not an address"]);
    refused(&["--api-key-env", "NOT_SET_ANYWHERE"], 2, &["NOT_SET_ANYWHERE"]);
    refused(&["--url", "http://127.0.0.1:1/v1"], 1, &["--model", "refused"]);
    let clap = |args: &[&str]| assert_eq!(run(&[&["load"], args].concat()).code, 2, "{args:?}");
    clap(&["--rate", "1", "--concurrency", "1"]);
    clap(&["--requests", "1", "--duration", "1s"]);
    clap(&["--rate", "0"]);
    clap(&["--prompt-tokens", "9..3"]);
    clap(&["--slo", "ttft"]);
    clap(&["--extra-body", "[]"]);
}
