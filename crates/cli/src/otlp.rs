//! Traces of requests, sent to an OpenTelemetry collector.
//!
//! A thread of its own makes the spans and sends them, in batches out of a bounded queue, so that a collector
//! that is slow or away costs a request nothing: a trace that finds the queue full, or that is not taken, is
//! counted and dropped, and the log says so once. The wire is OTLP over HTTP, as protobuf; what
//! OpenTelemetry's own variables say (headers, timeout, compression, the service's name and attributes) its
//! own crates read. Neither these traces nor the log go through `tracing`: both are made once, where an
//! answer ends, and eight more crates would carry the same data through levels and filters that nothing here
//! has.

mod client;
mod spans;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gptoss_egress::is_closed;
use gptoss_server::{Log, RequestTrace, Traces};
use hyper::Uri;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use crate::air_gap;
use crate::failure::usage;
use client::Client;
use spans::SpanWriter;

/// Requests whose spans may wait to be sent.
const QUEUE_MAX: usize = 2048;
/// Requests whose spans are sent at a time.
const BATCH_MAX: usize = 256;
/// How long the first request of a batch waits for others.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// How long the last traces may take, if the drain may take as long.
const LAST_MAX: Duration = Duration::from_secs(5);

/// Where traces go on a collector.
const TRACES_PATH: &str = "/v1/traces";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// A collector, and what is to be known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Where traces are posted.
    pub url: String,
    /// A variable that asks for another wire than the one that is spoken, and what it asks for.
    pub unspoken: Option<(&'static str, String)>,
}

impl Collector {
    /// That of the flag, or else of OpenTelemetry's variables, which `variable` reads; None when neither
    /// names one.
    ///
    /// Errors: what is no address.
    fn find(
        flag: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Collector>, NoAddress> {
        let set = |name| variable(name).filter(|value| !value.trim().is_empty());
        let is_off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let (source, url) = match flag {
            Some(address) => ("--otlp-endpoint", below(address)),
            None if is_off => return Ok(None),
            None => match (set(TRACES_ENDPOINT), set(ENDPOINT)) {
                (Some(url), _) => (TRACES_ENDPOINT, url),
                (None, Some(address)) => (ENDPOINT, below(&address)),
                (None, None) => return Ok(None),
            },
        };
        let is_address =
            |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        if url.parse::<Uri>().ok().filter(is_address).is_none() {
            return Err(NoAddress { source, url });
        }
        let unspoken = PROTOCOLS.into_iter().find_map(|name| Some((name, set(name)?)));
        Ok(Some(Collector { url, unspoken: unspoken.filter(|(_, wire)| wire != "http/protobuf") }))
    }

    /// As [`Collector::find`], with the program's environment, and what is to be known about it, if anything.
    /// What the environment says is for all programs, and one that cannot use it does its work without.
    ///
    /// Errors: a usage error, when the flag is no address, or nothing may leave.
    pub fn of_environment(flag: Option<&str>) -> Result<(Option<Collector>, Option<String>)> {
        match Collector::find(flag, |name| env::var(name).ok()) {
            Ok(Some(_)) if flag.is_some() && is_closed() => {
                air_gap::refused(gptoss_egress::check("--otlp-endpoint"))?;
                Ok((None, None))
            }
            Ok(Some(Collector { url, .. })) if is_closed() => {
                Ok((None, Some(format!("no traces are sent to {url}: --air-gap allows no connection"))))
            }
            Ok(found) => {
                let note = found.as_ref().and_then(Collector::note);
                Ok((found, note))
            }
            Err(NoAddress { source, url }) if flag.is_none() => {
                let note = format!(
                    "{source}: `{url}` is not an address such as http://127.0.0.1:4318: no traces are sent"
                );
                Ok((None, Some(note)))
            }
            Err(NoAddress { source, url }) => Err(usage(format!(
                "{source}: `{url}` is not an address\nwrite one such as http://127.0.0.1:4318"
            ))),
        }
    }

    /// What is to be known about it, if anything.
    fn note(&self) -> Option<String> {
        let (name, wire) = self.unspoken.as_ref()?;
        Some(format!("{name}={wire} is not spoken: traces go to {} as http/protobuf", self.url))
    }
}

/// What should name a collector, and does not.
#[derive(Debug, PartialEq, Eq)]
struct NoAddress {
    /// The flag or the variable.
    source: &'static str,
    url: String,
}

/// The address of traces on a collector, which may be given itself.
fn below(address: &str) -> String {
    let address = address.trim_end_matches('/');
    if address.ends_with(TRACES_PATH) { address.to_owned() } else { format!("{address}{TRACES_PATH}") }
}

/// The end of all sending.
pub struct Sent(Receiver<()>);

impl Sent {
    /// Waits for it, once no request can end any more, for a part of the time of a drain.
    pub fn wait(self, drain: Duration) {
        // Nothing is ever sent: what comes is the end of the thread, or of the patience.
        let _ = self.0.recv_timeout(LAST_MAX.min(drain));
    }
}

/// Starts the thread that sends traces to a collector.
///
/// Errors: OpenTelemetry's variables say what its crates cannot use.
pub fn start(collector: &Collector, log: Log) -> Result<(Traces, Sent)> {
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new(&collector.url, timeout(|name| env::var(name).ok())))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&collector.url)
        .build()
        .context("traces cannot be sent")?;
    exporter.set_resource(&resource());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let send = move |spans| runtime.block_on(exporter.export(spans)).map_err(|error| error.to_string());
    Ok(start_with(send, collector.url.clone(), log, QUEUE_MAX))
}

/// How long a batch may take, as the exporter has it.
fn timeout(variable: impl Fn(&str) -> Option<String>) -> Duration {
    let set = |name| variable(name)?.parse().ok();
    let millis = set("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or_else(|| set("OTEL_EXPORTER_OTLP_TIMEOUT"));
    millis.map_or(opentelemetry_otlp::OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, Duration::from_millis)
}

/// What stands for the program; a name of the environment's goes before ours.
fn resource() -> Resource {
    let builder = Resource::builder();
    let is_named = env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|list| list.contains("service.name="));
    let builder = if is_named { builder } else { builder.with_service_name("gptoss") };
    builder.with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}

fn start_with(
    send: impl Fn(Vec<SpanData>) -> Result<(), String> + Send + 'static,
    url: String,
    log: Log,
    queue_max: usize,
) -> (Traces, Sent) {
    let (sender, receiver): (SyncSender<RequestTrace>, _) = sync_channel(queue_max);
    let num_dropped = Arc::new(AtomicU64::new(0));
    // Without a thread there are no traces, and no reason not to serve.
    let (end, sent) = sync_channel(0);
    let counted = Arc::clone(&num_dropped);
    let work = move || {
        send_all(send, &receiver, &counted, (&url, &log));
        drop(end);
    };
    let _ = thread::Builder::new().name("traces".into()).spawn(work);
    let full = Arc::clone(&num_dropped);
    let take = move |trace| {
        if sender.try_send(trace).is_err() {
            full.fetch_add(1, Ordering::Relaxed);
        }
    };
    (Traces { take: Arc::new(take), num_dropped }, Sent(sent))
}

/// Sends until nothing more can come.
fn send_all(
    send: impl Fn(Vec<SpanData>) -> Result<(), String>,
    traces: &Receiver<RequestTrace>,
    num_dropped: &AtomicU64,
    (url, log): (&str, &Log),
) {
    let writer = SpanWriter::default();
    let mut is_failing = false;
    while let Some(batch) = batch(traces) {
        let spans: Vec<SpanData> = batch.iter().flat_map(|trace| writer.spans(trace)).collect();
        if spans.is_empty() {
            continue;
        }
        match send(spans) {
            Ok(()) => {
                if std::mem::take(&mut is_failing) {
                    log(&format!("traces: {url} takes them again"));
                }
            }
            Err(error) => {
                num_dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if !std::mem::replace(&mut is_failing, true) {
                    log(&format!(
                        "traces: {url} does not take them, and they are dropped until it does: {error}"
                    ));
                }
            }
        }
    }
}

/// The next requests; None when no more can come.
fn batch(traces: &Receiver<RequestTrace>) -> Option<Vec<RequestTrace>> {
    let mut batch = vec![traces.recv().ok()?];
    let until = Instant::now() + BATCH_TIME;
    while batch.len() < BATCH_MAX {
        match traces.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(trace) => batch.push(trace),
            // Late, or the last: either way it is sent.
            Err(_) => break,
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_collector_is_found_as_the_variables_say() {
        let check = |flag: Option<&str>, variables: &[(&str, &str)], expect: Option<&str>| {
            let find = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let found = Collector::find(flag, find).unwrap();
            assert_eq!(found.map(|collector| collector.url).as_deref(), expect, "{flag:?} {variables:?}");
        };
        check(None, &[], None);
        check(None, &[(ENDPOINT, " ")], None);
        check(Some("http://a:4318"), &[(ENDPOINT, "http://b")], Some("http://a:4318/v1/traces"));
        check(Some("https://a/v1/traces"), &[], Some("https://a/v1/traces"));
        check(None, &[(ENDPOINT, "http://b/base/")], Some("http://b/base/v1/traces"));
        check(None, &[(ENDPOINT, "http://b"), (TRACES_ENDPOINT, "http://c/t")], Some("http://c/t"));
        check(None, &[(ENDPOINT, "http://b"), ("OTEL_SDK_DISABLED", "True")], None);
        check(None, &[(ENDPOINT, "http://b"), ("OTEL_TRACES_EXPORTER", "none")], None);
        check(Some("http://a"), &[("OTEL_SDK_DISABLED", "true")], Some("http://a/v1/traces"));
    }

    #[test]
    fn what_is_no_address_or_another_wire_is_said() {
        for wrong in ["", "collector:4317", "grpc://a", "http://"] {
            let error = Collector::find(Some(wrong), |_| None).unwrap_err();
            assert_eq!(error.source, "--otlp-endpoint", "{wrong}");
        }
        let wrong = |name: &str| (name == TRACES_ENDPOINT).then(|| "collector:4317".to_owned());
        let error = NoAddress { source: TRACES_ENDPOINT, url: "collector:4317".to_owned() };
        assert_eq!(Collector::find(None, wrong), Err(error));
        let grpc = |name: &str| (name == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| "grpc".to_owned());
        let note = Collector::find(Some("http://a"), grpc).unwrap().unwrap().note().unwrap();
        assert!(
            note.contains("OTEL_EXPORTER_OTLP_PROTOCOL=grpc") && note.contains("http://a/v1/traces"),
            "{note}"
        );
    }

    #[test]
    fn a_batch_has_the_time_that_the_variables_give() {
        let check = |name: &'static str, expect| {
            let found = timeout(|asked| (asked == name).then(|| "250".to_owned()));
            assert_eq!(found, expect, "{name}");
        };
        check("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", Duration::from_millis(250));
        check("OTEL_EXPORTER_OTLP_TIMEOUT", Duration::from_millis(250));
        check("OTHER", Duration::from_secs(10));
    }

    /// The thread holds one batch, the queue as many as it holds, and everything else is dropped and counted;
    /// nobody waits, or the test would not end.
    #[test]
    fn a_collector_that_is_stuck_stops_nobody() {
        let (open, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let send = move |_| {
            // An error is the end of the wait for ever.
            let _ = gate.lock().unwrap().recv();
            Err("stuck".to_owned())
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let log: Log = Arc::new(move |line| heard.lock().unwrap().push(line.to_owned()));
        let (traces, sent) = start_with(send, "http://a".to_owned(), log, 4);
        for _ in 0..1000 {
            (traces.take)(spans::tests::trace(200));
        }
        drop(open);
        let num_dropped = Arc::clone(&traces.num_dropped);
        drop(traces);
        sent.0.recv_timeout(Duration::from_secs(60)).unwrap_err();
        assert_eq!(num_dropped.load(Ordering::Relaxed), 1000);
        assert_eq!(said.lock().unwrap().len(), 1);
    }
}
