//! What a router asks of the worker itself.

use std::net::{IpAddr, SocketAddr};

use tonic::Status;

use crate::wire::control::{
    AboutModel, AboutServer, KvEventSource, KvEventSources, ListLorasResponse, LoraAdapter, Parallelism,
};
use crate::worker::{KvEvents, Worker, WorkerAdapter};

/// The version of the protocol that is spoken.
const PROTO_VERSION: &str = "0.6.0";
/// What routers know this protocol by.
const API_VERSION: &str = "vllm";

pub(crate) fn server_info(worker: &Worker) -> AboutServer {
    let model = &worker.model;
    AboutServer {
        engine_version: concat!("gptoss-", env!("CARGO_PKG_VERSION")).to_owned(),
        api_version: API_VERSION.to_owned(),
        instance_id: worker.instance.clone(),
        parallelism: Some(Parallelism {
            tensor_parallel_size: 1,
            pipeline_parallel_size: 1,
            data_parallel_size: 1,
            data_parallel_rank: 0,
            decode_context_parallel_size: 1,
            world_size: 1,
            data_parallel_size_local: 1,
        }),
        max_model_len: number(model.engine.limits().max_context),
        kv_block_size: number(model.block_tokens),
        total_kv_blocks: model.num_blocks as u64,
        max_running_requests: model.max_sequences as u64,
        max_batched_tokens: model.step_tokens as u64,
        max_loras: number(model.adapters.len()),
        proto_version: PROTO_VERSION.to_owned(),
        effective_attention_block_size: Some(model.block_tokens as u64),
    }
}

pub(crate) fn model_info(worker: &Worker) -> AboutModel {
    let model = &worker.model;
    AboutModel {
        model_id: model.folder.to_string_lossy().into_owned(),
        served_model_name: model.name.clone(),
        served_model_aliases: model.aliases.clone(),
        supports_text_input: true,
        supports_token_ids_input: true,
        supports_lora: !model.adapters.is_empty(),
    }
}

pub(crate) fn loras(worker: &Worker) -> ListLorasResponse {
    let each = worker.model.adapters.iter().zip(1..);
    let adapter = |(WorkerAdapter { name, folder, .. }, lora_id): (&WorkerAdapter, i64)| LoraAdapter {
        lora_id,
        lora_name: name.clone(),
        source_path: folder.to_string_lossy().into_owned(),
    };
    ListLorasResponse { adapters: each.map(adapter).collect() }
}

/// Where events are told, for a router that reaches this machine at `reached`.
pub(crate) fn kv_event_sources(worker: &Worker, reached: IpAddr) -> KvEventSources {
    let endpoint = |address: SocketAddr| endpoint(address, reached);
    let source = |events: &KvEvents| KvEventSource {
        transport: "zmq".to_owned(),
        endpoint: endpoint(events.address),
        topic: events.topic.clone(),
        replay_endpoint: events.replay.map(endpoint).unwrap_or_default(),
        data_parallel_rank: Some(0),
        encoding: "msgpack".to_owned(),
        schema_version: 1,
        buffer_steps: events.buffer_steps,
        hwm: events.hwm,
        max_queue_size: events.max_queue_size,
    };
    KvEventSources { sources: worker.model.kv_events.iter().map(source).collect() }
}

/// An address that this program listens on, as one who reaches this machine at `reached` may connect to it.
fn endpoint(address: SocketAddr, reached: IpAddr) -> String {
    // One socket of both families calls a client of the older by an address of the newer.
    let ip = if address.ip().is_unspecified() { reached.to_canonical() } else { address.ip() };
    format!("tcp://{}", SocketAddr::new(ip, address.port()))
}

/// Who starts this program stops it.
pub(crate) fn shutdown() -> Status {
    Status::failed_precondition("this worker does not manage its process: send it SIGTERM, and it drains")
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_told_as_the_one_that_was_reached() {
        for (address, reached, expect) in [
            ("0.0.0.0:5557", "192.0.2.7", "tcp://192.0.2.7:5557"),
            ("[::]:5557", "::ffff:192.0.2.7", "tcp://192.0.2.7:5557"),
            ("[::]:5557", "2001:db8::7", "tcp://[2001:db8::7]:5557"),
            ("127.0.0.1:5557", "192.0.2.7", "tcp://127.0.0.1:5557"),
            ("[::1]:5557", "192.0.2.7", "tcp://[::1]:5557"),
        ] {
            let told = endpoint(address.parse().unwrap(), reached.parse().unwrap());
            assert_eq!(told, expect, "{address} reached at {reached}");
        }
    }
}
