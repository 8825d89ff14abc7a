//! The messages of `vllm.Control`, as far as it is answered.

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AboutServer {
    #[prost(string, tag = "1")]
    pub(crate) engine_version: String,
    #[prost(string, tag = "2")]
    pub(crate) api_version: String,
    #[prost(string, tag = "3")]
    pub(crate) instance_id: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) parallelism: Option<Parallelism>,
    #[prost(uint32, tag = "5")]
    pub(crate) max_model_len: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) kv_block_size: u32,
    #[prost(uint64, tag = "7")]
    pub(crate) total_kv_blocks: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) max_running_requests: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) max_batched_tokens: u64,
    #[prost(uint32, tag = "10")]
    pub(crate) max_loras: u32,
    #[prost(string, tag = "12")]
    pub(crate) proto_version: String,
    #[prost(uint64, optional, tag = "14")]
    pub(crate) effective_attention_block_size: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Parallelism {
    #[prost(uint32, tag = "1")]
    pub(crate) tensor_parallel_size: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) pipeline_parallel_size: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) data_parallel_size: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) data_parallel_rank: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) decode_context_parallel_size: u32,
    #[prost(uint64, tag = "6")]
    pub(crate) world_size: u64,
    #[prost(uint32, tag = "7")]
    pub(crate) data_parallel_size_local: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AboutModel {
    /// A folder in the Hugging Face layout, for whoever renders and tokenizes.
    #[prost(string, tag = "1")]
    pub(crate) model_id: String,
    #[prost(string, tag = "2")]
    pub(crate) served_model_name: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) served_model_aliases: Vec<String>,
    #[prost(bool, tag = "20")]
    pub(crate) supports_text_input: bool,
    #[prost(bool, tag = "21")]
    pub(crate) supports_token_ids_input: bool,
    #[prost(bool, tag = "22")]
    pub(crate) supports_lora: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AbortRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) request_ids: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListLorasResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) adapters: Vec<LoraAdapter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LoraAdapter {
    /// From 1.
    #[prost(int64, tag = "1")]
    pub(crate) lora_id: i64,
    #[prost(string, tag = "2")]
    pub(crate) lora_name: String,
    #[prost(string, tag = "3")]
    pub(crate) source_path: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct IsPausedResponse {
    #[prost(bool, tag = "1")]
    pub(crate) paused: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct IsSleepingResponse {
    #[prost(bool, tag = "1")]
    pub(crate) sleeping: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KvEventSources {
    #[prost(message, repeated, tag = "1")]
    pub(crate) sources: Vec<KvEventSource>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KvEventSource {
    #[prost(string, tag = "1")]
    pub(crate) transport: String,
    #[prost(string, tag = "2")]
    pub(crate) endpoint: String,
    #[prost(string, tag = "3")]
    pub(crate) topic: String,
    #[prost(string, tag = "4")]
    pub(crate) replay_endpoint: String,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) data_parallel_rank: Option<u32>,
    #[prost(string, tag = "6")]
    pub(crate) encoding: String,
    #[prost(uint32, tag = "7")]
    pub(crate) schema_version: u32,
    #[prost(uint32, tag = "8")]
    pub(crate) buffer_steps: u32,
    #[prost(uint32, tag = "9")]
    pub(crate) hwm: u32,
    #[prost(uint32, tag = "10")]
    pub(crate) max_queue_size: u32,
}
