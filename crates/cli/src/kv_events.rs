//! `serve --kv-events`: the engine's events of kept blocks, told to routers as vLLM tells them.
//!
//! [`open`] binds the addresses before a model is loaded and starts the threads: one takes the engine's
//! batches, writes each as a message (`message.rs`), keeps it for those who have missed it (`replay.rs`) and
//! hands it to every subscriber (`publisher.rs`); one listens for subscribers and one for who asks again, by
//! the part of ZeroMQ that both need (`zmtp.rs`; decision 0027). The engine waits for none of them.
//!
//! Tokens are the prompt: whoever reaches the address reads what users have said, so the flag is for loopback
//! or a network of routers alone, and an air gap refuses it.

mod message;
mod publisher;
mod replay;
mod zmtp;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use gptoss_engine::limits::KV_EVENT_BATCHES_MAX;
use gptoss_engine::{KvEventSender, kv_event_channel};
use gptoss_worker::KvEvents;

use crate::args::ServeArgs;
use crate::failure::usage;
use publisher::{Publisher, QUEUE_MESSAGES_MAX};
use replay::REPLAY_MESSAGES_MAX;

/// What tells events, and where.
pub struct Told {
    /// The engine's end.
    pub sender: KvEventSender,
    /// What a worker tells routers of it.
    pub source: KvEvents,
}

/// Begins to tell events, if they are asked for: the addresses are bound and listened at.
///
/// Errors: a usage error for flags that do not go together; the system's, for an address.
pub fn open(args: &ServeArgs) -> Result<Option<Told>> {
    let Some(address) = args.kv_events else { return Ok(None) };
    check(args)?;
    if let Some(warning) = warning(args) {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    let listener = bind("--kv-events", address.0)?;
    let replay = args.kv_events_replay.map(|address| bind("--kv-events-replay", address.0)).transpose()?;
    let source = KvEvents {
        address: listener.local_addr()?,
        replay: replay.as_ref().map(TcpListener::local_addr).transpose()?,
        topic: args.kv_events_topic.clone(),
        buffer_steps: REPLAY_MESSAGES_MAX as u32,
        hwm: QUEUE_MESSAGES_MAX as u32,
        max_queue_size: KV_EVENT_BATCHES_MAX as u32,
    };
    let again = source.replay.map_or(String::new(), |address| format!(", again at tcp://{address}"));
    writeln!(io::stderr(), "note: blocks of the cache are told at tcp://{}{again}", source.address)?;
    let (sender, receiver) = kv_event_channel();
    let topic = args.kv_events_topic.clone().into_bytes();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Publisher::new(topic, now.as_micros() as u64, receiver.subscribers())
        .start(receiver, listener, replay)
        .context("cannot start threads for --kv-events")?;
    Ok(Some(Told { sender, source }))
}

/// Errors: a usage error for flags that do not go together.
pub fn check(args: &ServeArgs) -> Result<()> {
    if args.kv_events.is_some() && gptoss_egress::is_closed() {
        return Err(usage("--kv-events tells others what prompts say\nleave it out, or leave --air-gap out"));
    }
    if args.kv_events.is_some() && args.model.len() > 1 {
        return Err(usage(
            "--kv-events tells of one model's cache, and there are several\nstart a server for each model",
        ));
    }
    Ok(())
}

/// What the operator should know of who can read the events.
pub fn warning(args: &ServeArgs) -> Option<String> {
    let addresses = [args.kv_events, args.kv_events_replay];
    let open = addresses.into_iter().flatten().find(|address| !address.0.ip().is_loopback())?;
    Some(format!(
        "--kv-events: whoever reaches {} reads the tokens of prompts, in the clear and without a key",
        open.0
    ))
}

fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("{flag}: cannot listen at {address}"))
}
