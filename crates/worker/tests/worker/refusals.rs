//! What is refused, by which status, and what a router asks of the worker itself.

use gptoss_worker::{KvEvents, WorkerModel};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use vllm_proto::candidate_tokens::Select;
use vllm_proto::decoding_parameters::StructuredOutput;
use vllm_proto::generate_request::Prompt;
use vllm_proto::{
    CandidateTokens, DecodingParameters, GenerateRequest, GetKvEventSourcesRequest, GetModelInfoRequest,
    GetServerInfoRequest, IsPausedRequest, KvCacheParameters, ListLorasRequest, MediaItem,
    PauseGenerationRequest, RandomSampling, ResponseOptions, ShutdownRequest, StoppingCriteria, TokenIds,
};

use crate::fixture::{CONTEXT, at_once, demo, played, played_model, request, serve};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of requests")]
async fn bad_requests_are_told_what_and_where() {
    let served = demo().await;
    let base = || request(vec![1, 2, 3], 5);
    let sampling = |sampling| GenerateRequest { sampling: Some(sampling), ..base() };
    let decoding = |decoding| GenerateRequest { decoding: Some(decoding), ..base() };
    let stopping = |stopping| GenerateRequest { stopping: Some(stopping), ..base() };
    let response = |response| GenerateRequest { response: Some(response), ..base() };
    let kv = |kv| GenerateRequest { kv: Some(kv), ..base() };
    let form = |form| decoding(DecodingParameters { structured_output: Some(form), ..Default::default() });
    let candidates = |select| {
        let output_candidates = Some(CandidateTokens { select: Some(select) });
        response(ResponseOptions { output_candidates, ..Default::default() })
    };
    let words = |count: usize, length: usize| {
        let bad_words_token_ids = vec![TokenIds { ids: vec![1; length] }; count];
        decoding(DecodingParameters { bad_words_token_ids, ..Default::default() })
    };
    let cases = [
        (GenerateRequest { prompt: None, ..base() }, "prompt: there is neither text nor token_ids"),
        (request(Vec::new(), 5), "token_ids: the prompt is empty"),
        (request(vec![1, 99_999], 5), "token_ids: prompt token 1 has the id 99999"),
        (request(vec![1; CONTEXT], 5), "token_ids: 1024 tokens, but the context holds 1024"),
        (GenerateRequest { request_id: "x".repeat(257), ..base() }, "request_id: 257 bytes, but at most 256"),
        (GenerateRequest { media: vec![MediaItem::default()], ..base() }, "media: "),
        (GenerateRequest { temperature: Some(3.0), ..base() }, "temperature: 3, but it must be from 0 to 2"),
        (sampling(RandomSampling { num_sequences: 2, ..Default::default() }), "sampling.num_sequences: "),
        (sampling(RandomSampling { top_p: Some(0.0), ..Default::default() }), "sampling.top_p: 0"),
        (sampling(RandomSampling { top_p: Some(1.5), ..Default::default() }), "sampling.top_p: 1.5"),
        (sampling(RandomSampling { min_p: Some(-1.0), ..Default::default() }), "sampling.min_p: -1"),
        (
            decoding(DecodingParameters { presence_penalty: 9.0, ..Default::default() }),
            "decoding.presence_penalty: 9",
        ),
        (
            decoding(DecodingParameters { allowed_token_ids: vec![1, 70_000], ..Default::default() }),
            "decoding.allowed_token_ids: 70000 is no token",
        ),
        (words(1, 0), "decoding.bad_words_token_ids: an empty sequence"),
        (words(1025, 1), "decoding.bad_words_token_ids: 1025 sequences"),
        (words(1, 65), "decoding.bad_words_token_ids: 65 tokens of one"),
        (form(StructuredOutput::Json("{".into())), "decoding.json: it is not JSON"),
        (form(StructuredOutput::Json("{\"type\":\"what\"}".into())), "decoding.json: the answer's format"),
        (form(StructuredOutput::Regex("(".into())), "decoding.regex: the answer's format"),
        (form(StructuredOutput::Grammar("start".into())), "decoding.grammar: the answer's format"),
        (form(StructuredOutput::StructuralTag("{}".into())), "decoding.structural_tag: not held here"),
        (
            stopping(StoppingCriteria { max_new_tokens: 3, min_new_tokens: 4, ..Default::default() }),
            "stopping.min_new_tokens: 4 is more than max_new_tokens, 3",
        ),
        (
            stopping(StoppingCriteria { stop_strings: vec![String::new()], ..Default::default() }),
            "stopping.stop_strings: an empty string",
        ),
        (
            stopping(StoppingCriteria { stop_strings: vec!["a".repeat(1025)], ..Default::default() }),
            "stopping.stop_strings: 1025 bytes of one",
        ),
        (
            stopping(StoppingCriteria { stop_strings: vec!["a".into(); 17], ..Default::default() }),
            "stopping.stop_strings: 17 strings",
        ),
        (
            stopping(StoppingCriteria { stop_token_ids: vec![1; 257], ..Default::default() }),
            "stopping.stop_token_ids: 257 ids",
        ),
        (
            stopping(StoppingCriteria { thinking_token_budget: Some(5), ..Default::default() }),
            "stopping.thinking_token_budget: the prompt does not end in a turn",
        ),
        (
            stopping(StoppingCriteria { thinking_token_budget: Some(-2), ..Default::default() }),
            "stopping.thinking_token_budget: it is from 0",
        ),
        (
            response(ResponseOptions { prompt_logprobs: true, ..Default::default() }),
            "response.prompt_logprobs: ",
        ),
        (candidates(Select::TopN(21)), "response.output_candidates.top_n: 21 tokens, but at most 20"),
        (candidates(Select::All(true)), "response.output_candidates: "),
        (kv(KvCacheParameters { cache_salt: "x".repeat(257), ..Default::default() }), "kv.cache_salt: 257"),
        (
            kv(KvCacheParameters { kv_transfer_params: Some(Default::default()), ..Default::default() }),
            "kv.kv_transfer_params: ",
        ),
    ];
    // Nobody plays its engine: what would be begun would hang.
    let (refusing, _inbox) = played(8, std::time::Duration::ZERO).await;
    for (asked, words) in cases {
        let status = refusing.stream(asked.clone()).await.expect_err(words);
        assert_eq!(status.code(), Code::InvalidArgument, "{words}: {status}");
        assert!(status.message().starts_with(words), "{words}: {}", status.message());
        assert_eq!(
            refusing.inference().await.generate(asked).await.expect_err(words).message(),
            status.message()
        );
    }
    assert_eq!(refusing.engine.stats().accepted, 0, "nothing of it was begun");
    for asked in [
        GenerateRequest { model: "gpt-4".into(), ..base() },
        GenerateRequest { lora_name: "tuned".into(), ..base() },
    ] {
        let status = served.stream(asked).await.expect_err("unknown");
        assert_eq!(status.code(), Code::NotFound, "{status}");
        assert!(status.message().contains("this is demo without adapters"), "{status}");
    }
    for model in ["", "demo", "other", "/models/demo"] {
        served.stream(GenerateRequest { model: model.into(), ..base() }).await.expect(model);
    }
    // Longer than any message.
    let status = served.stream(request(vec![70_000; 2 << 20], 5)).await.expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    // The last tokens of a prompt that is too long for its client.
    let kept = GenerateRequest { truncate_prompt_tokens: 2, ..base() };
    let messages = served.stream(kept).await.expect("answers");
    assert_eq!(messages[0].prompt_info.as_ref().expect("first").num_prompt_tokens, 2);
    let text = GenerateRequest { prompt: Some(Prompt::Text("<|start|>".into())), ..base() };
    let messages = served.stream(text).await.expect("answers");
    assert!(
        messages[0].prompt_info.as_ref().expect("first").num_prompt_tokens > 1,
        "text is never a control token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_learns_what_it_needs() {
    let served = demo().await;
    let mut control = served.control().await;
    let server = control.get_server_info(GetServerInfoRequest {}).await.expect("tells").into_inner();
    assert_eq!((server.api_version.as_str(), server.proto_version.as_str()), ("vllm", vllm_proto::VERSION));
    assert_eq!(
        (server.max_model_len, server.kv_block_size, server.total_kv_blocks),
        (CONTEXT as u32, 32, 100)
    );
    assert_eq!((server.max_running_requests, server.max_batched_tokens), (4, 512));
    assert_eq!(server.parallelism.expect("told").world_size, 1);
    let other = demo().await;
    let again =
        other.control().await.get_server_info(GetServerInfoRequest {}).await.expect("tells").into_inner();
    assert_ne!(server.instance_id, again.instance_id);
    let model = control.get_model_info(GetModelInfoRequest {}).await.expect("tells").into_inner();
    assert_eq!((model.model_id.as_str(), model.served_model_name.as_str()), ("/models/demo", "demo"));
    assert!(model.supports_token_ids_input && !model.supports_lora && model.tool_call_parser.is_empty());
    let sources =
        control.get_kv_event_sources(GetKvEventSourcesRequest {}).await.expect("tells").into_inner();
    assert!(sources.sources.is_empty());
    let (model, _inbox) = played_model(1);
    let events = KvEvents {
        address: "0.0.0.0:5557".parse().expect("an address"),
        replay: Some("10.0.0.9:5558".parse().expect("an address")),
        topic: "kv@demo".into(),
        buffer_steps: 10_000,
        hwm: 1024,
        max_queue_size: 1024,
    };
    let telling = serve(WorkerModel { kv_events: Some(events), ..model }, at_once()).await;
    let told = telling.control().await.get_kv_event_sources(GetKvEventSourcesRequest {}).await;
    let source = told.expect("tells").into_inner().sources.remove(0);
    // Where the router has reached the worker.
    assert_eq!((source.endpoint.as_str(), source.topic.as_str()), ("tcp://127.0.0.1:5557", "kv@demo"));
    assert_eq!(source.replay_endpoint, "tcp://10.0.0.9:5558");
    assert_eq!((source.transport.as_str(), source.encoding.as_str()), ("zmq", "msgpack"));
    assert_eq!((source.buffer_steps, source.hwm, source.max_queue_size), (10_000, 1024, 1024));
    assert!(control.list_loras(ListLorasRequest {}).await.expect("tells").into_inner().adapters.is_empty());
    assert!(!control.is_paused(IsPausedRequest {}).await.expect("tells").into_inner().paused);
    let refused = control.shutdown(ShutdownRequest {}).await.expect_err("refuses");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let refused = control.pause_generation(PauseGenerationRequest::default()).await.expect_err("refuses");
    assert_eq!(refused.code(), Code::Unimplemented);

    let channel = tonic::transport::Endpoint::new(served.address.clone())
        .expect("one")
        .connect()
        .await
        .expect("connects");
    let mut health = HealthClient::new(channel);
    for service in ["", "vllm.Inference", "vllm.Control"] {
        let asked = HealthCheckRequest { service: service.into() };
        let status = health.check(asked).await.expect("tells").into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let asked = HealthCheckRequest { service: "vllm.Other".into() };
    assert_eq!(health.check(asked).await.expect_err("unknown").code(), Code::NotFound);
}
