//! What is answered over the demo model: tokens, text, stops, log-probabilities, forms, and going on.

use gptoss_engine::{Event, Request, SamplingParams};
use gptoss_harmony::Control;
use vllm_proto::candidate_tokens::Select;
use vllm_proto::decoding_parameters::{StringChoices, StructuredOutput};
use vllm_proto::finish_info::{FinishReason, StopReason};
use vllm_proto::generate_request::Prompt;
use vllm_proto::{
    CandidateTokens, DecodingParameters, FinishInfo, GenerateRequest, GenerateResponse, KvCacheParameters,
    ResponseOptions, StoppingCriteria,
};

use crate::fixture::{Served, demo, joined, request};

const QUESTION: &str = "What is 27 + 58?";

fn finish(messages: &[GenerateResponse]) -> &FinishInfo {
    let infos: Vec<_> =
        messages.iter().filter_map(|message| message.outputs.as_ref()?.finish_info.as_ref()).collect();
    assert_eq!(infos.len(), 1, "one end");
    infos[0]
}

fn with_decoding(request: GenerateRequest, decoding: DecodingParameters) -> GenerateRequest {
    GenerateRequest { decoding: Some(decoding), ..request }
}

fn with_form(request: GenerateRequest, form: StructuredOutput) -> GenerateRequest {
    with_decoding(request, DecodingParameters { structured_output: Some(form), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_engines_tokens_and_their_text() {
    let served = demo().await;
    let prompt = served.asked(QUESTION);
    let messages = served.stream(request(prompt.clone(), 60)).await.expect("answers");
    let mut alone = served
        .engine
        .submit(Request {
            prompt: prompt.clone(),
            sampling: SamplingParams { seed: 7, ..Default::default() },
            stop_ids: served.vocab.stop_ids().to_vec(),
            max_new_tokens: 60,
            ..Default::default()
        })
        .expect("accepted");
    let mut expect = Vec::new();
    while let Some(event) = alone.next().await {
        if let Event::Token(token) = event {
            expect.push(token.id);
        }
    }
    let (tokens, text) = joined(&messages);
    assert_eq!(tokens, expect);
    let (last, before) = tokens.split_last().expect("tokens");
    let said = if served.vocab.stop_ids().contains(last) { before } else { &tokens };
    assert_eq!(text.as_bytes(), served.vocab.decode(said).expect("known ids"));
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(
            message.prompt_info.as_ref().map(|info| info.num_prompt_tokens as usize),
            (index == 0).then_some(prompt.len())
        );
        let output = message.outputs.as_ref().expect("outputs");
        assert_eq!((output.index, output.num_tokens as usize), (0, output.token_ids.len()));
    }
    assert_eq!(finish(&messages).num_output_tokens as usize, tokens.len());
    // As one message, it is the same.
    let whole = served.inference().await.generate(request(prompt, 60)).await.expect("answers").into_inner();
    assert_eq!(joined(std::slice::from_ref(&whole)), (tokens, text));
    assert_eq!(finish(&[whole]).finish_reason, finish(&messages).finish_reason);
}

/// A router that moves a request sends the prompt with what it was told behind it, and a lower limit.
async fn goes_on_exactly(served: &Served, original: GenerateRequest, num_prompt: usize) -> usize {
    let (tokens, text) = joined(&served.stream(original.clone()).await.expect("answers"));
    let mut pieces = vec![(0, String::new())];
    for message in served.stream(original.clone()).await.expect("answers") {
        let output = message.outputs.expect("outputs");
        let (count, said) = pieces.last().cloned().expect("one");
        if output.finish_info.is_none() {
            pieces.push((count + output.token_ids.len(), said + &output.text));
        }
    }
    for (told, said) in &pieces {
        let mut moved = original.clone();
        let Some(Prompt::TokenIds(ids)) = &mut moved.prompt else { panic!("token ids") };
        assert_eq!(ids.ids.len(), num_prompt);
        ids.ids.extend(&tokens[..*told]);
        moved.stopping.as_mut().expect("stopping").max_new_tokens -= *told as u32;
        let messages = served.stream(moved).await.expect("goes on");
        let (rest, rest_text) = joined(&messages);
        assert_eq!(rest, tokens[*told..], "after {told} of {}", tokens.len());
        assert_eq!(format!("{said}{rest_text}"), text, "after {told}");
    }
    pieces.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_request_goes_on_where_it_was() {
    let served = demo().await;
    let prompt = served.asked(QUESTION);
    let plain = request(prompt.clone(), 40);
    assert!(goes_on_exactly(&served, plain.clone(), prompt.len()).await > 10);
    // Everything that counts from the beginning of an answer.
    let mut counted = with_decoding(
        plain.clone(),
        DecodingParameters {
            presence_penalty: 0.7,
            frequency_penalty: 0.4,
            repetition_penalty: 1.1,
            ..Default::default()
        },
    );
    let stopping = counted.stopping.as_mut().expect("stopping");
    stopping.min_new_tokens = 25;
    stopping.stop_strings = vec!["= 8".into(), "zzz".into()];
    goes_on_exactly(&served, counted, prompt.len()).await;
    let schema = r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"enum":["x","y"]}},"required":["a","b"],"additionalProperties":false}"#;
    goes_on_exactly(&served, with_form(plain, StructuredOutput::Json(schema.into())), prompt.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_end_an_answer_and_are_told() {
    let served = demo().await;
    let prompt = served.asked(QUESTION);
    let run = async |stopping: StoppingCriteria| {
        let mut asked = request(prompt.clone(), 80);
        asked.temperature = Some(0.0);
        asked.stopping = Some(StoppingCriteria { max_new_tokens: 80, ..stopping });
        let messages = served.stream(asked).await.expect("answers");
        let (tokens, text) = joined(&messages);
        (tokens, text, finish(&messages).clone())
    };
    let (tokens, text, end) = run(StoppingCriteria::default()).await;
    let last = *tokens.last().expect("tokens");
    assert_eq!(last, served.vocab.control(Control::Return), "the demo answers: {text:?}");
    assert_eq!(
        (end.finish_reason(), end.stop_reason),
        (FinishReason::Stop, Some(StopReason::EosTokenId(last)))
    );
    assert!(text.contains("85"), "{text:?}");

    let stop = || StoppingCriteria { stop_strings: vec!["5<".into(), "85".into()], ..Default::default() };
    let (_, cut, end) = run(stop()).await;
    assert_eq!(cut, text[..text.find("85").expect("there")]);
    assert_eq!(end.stop_reason, Some(StopReason::StopString("85".into())));
    let (_, with, _) = run(StoppingCriteria { include_stop_strings: true, ..stop() }).await;
    assert_eq!(with, format!("{cut}85"));

    let message = served.vocab.control(Control::Message);
    let (tokens, _, end) =
        run(StoppingCriteria { stop_token_ids: vec![message], ..Default::default() }).await;
    assert_eq!((tokens.last(), end.stop_reason), (Some(&message), Some(StopReason::StopTokenId(message))));

    let (tokens, _, end) = run(StoppingCriteria { ignore_eos: true, ..Default::default() }).await;
    assert_eq!((tokens.len(), end.finish_reason()), (80, FinishReason::Length));
    let (tokens, _, _) = run(StoppingCriteria { min_new_tokens: 70, ..Default::default() }).await;
    let stops = served.vocab.stop_ids();
    assert!(tokens[..69].iter().all(|id| !stops.contains(id)) && tokens.len() >= 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_probabilities_stand_beside_their_tokens() {
    let served = demo().await;
    let mut asked = request(served.asked(QUESTION), 30);
    asked.response = Some(ResponseOptions {
        output_token_ids: true,
        output_logprobs: true,
        output_candidates: Some(CandidateTokens { select: Some(Select::TopN(4)) }),
        ..Default::default()
    });
    let messages = served.stream(asked.clone()).await.expect("answers");
    let mut ranks = Vec::new();
    for output in messages.iter().filter_map(|message| message.outputs.as_ref()) {
        let count = output.token_ids.len();
        assert_eq!([output.logprobs.len(), output.ranks.len(), output.candidate_tokens.len()], [count; 3]);
        for index in 0..count {
            let others = &output.candidate_tokens[index].tokens;
            assert!(others.iter().all(|other| other.id != output.token_ids[index]));
            assert_eq!(others.len(), if output.ranks[index] <= 4 { 3 } else { 4 });
            let better = others.iter().filter(|other| other.logprob > output.logprobs[index]).count();
            assert!(
                better < output.ranks[index] as usize,
                "{better} are better than rank {}",
                output.ranks[index]
            );
            ranks.push(output.ranks[index]);
        }
    }
    asked.temperature = Some(0.0);
    for output in served.stream(asked).await.expect("answers").iter().filter_map(|one| one.outputs.clone()) {
        assert!(output.ranks.iter().all(|&rank| rank == 1));
    }
    assert!(!ranks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_held() {
    let served = demo().await;
    let turn = request(served.asked("Say something."), 120);
    // In a turn the form is the answer's, and reasoning may come before.
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":99}},"required":["n"],"additionalProperties":false}"#;
    let (_, text) = joined(
        &served
            .stream(with_form(turn.clone(), StructuredOutput::Json(schema.into())))
            .await
            .expect("answers"),
    );
    let body = text.rsplit("<|message|>").next().expect("a body");
    let answer: serde_json::Value = serde_json::from_str(body).expect(&text);
    assert!(answer["n"].is_u64() && text.contains("<|channel|>final"), "{text}");
    // Elsewhere it begins at once.
    let plain = GenerateRequest { prompt: Some(Prompt::Text("Numbers: ".into())), ..turn.clone() };
    let check = async |form, allowed: &[&str]| {
        let (_, text) = joined(&served.stream(with_form(plain.clone(), form)).await.expect("answers"));
        assert!(allowed.contains(&text.as_str()), "{text:?} is none of {allowed:?}");
    };
    check(StructuredOutput::Regex("(17|23)x".into()), &["17x", "23x"]).await;
    let choices = vec!["a.b".to_owned(), "c(d".to_owned()];
    check(StructuredOutput::Choice(StringChoices { choices }), &["a.b", "c(d"]).await;
    check(StructuredOutput::Grammar("start: \"yes\" | \"no\"".into()), &["yes", "no"]).await;
    // Tokens that may and may not come.
    let digits = served.vocab.encode_ids("7");
    let only = DecodingParameters { allowed_token_ids: digits.clone(), ..Default::default() };
    let mut asked = with_decoding(plain.clone(), only);
    asked.stopping.as_mut().expect("stopping").max_new_tokens = 5;
    assert_eq!(joined(&served.stream(asked).await.expect("answers")).1, "77777");
    // A budget of reasoning.
    let mut asked = turn;
    asked.stopping.as_mut().expect("stopping").thinking_token_budget = Some(0);
    let (_, text) = joined(&served.stream(asked).await.expect("answers"));
    assert!(text.starts_with("<|channel|>final"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_salt_shares_what_is_kept() {
    let served = demo().await;
    let cached = async |question: &str, salt: &str, bypass_prefix_cache| {
        let kv = KvCacheParameters { cache_salt: salt.into(), bypass_prefix_cache, ..Default::default() };
        let asked = GenerateRequest { kv: Some(kv), ..request(served.asked(question), 4) };
        let messages = served.stream(asked).await.expect("answers");
        (finish(&messages).num_cached_tokens.expect("told"), joined(&messages).0)
    };
    let (first, tokens) = cached("Salted?", "a", false).await;
    assert_eq!(first, 0);
    let (again, same) = cached("Salted?", "a", false).await;
    assert!(again > 50 && same == tokens, "{again}");
    // Another question has the same beginning.
    assert!(cached("Or not?", "a", false).await.0 > 50);
    assert_eq!(cached("Salted?", "b", false).await, (0, tokens.clone()));
    assert_eq!(cached("Salted?", "a", true).await, (0, tokens));
    // Also where a stop string ends the answer before the engine does.
    let kv = KvCacheParameters { cache_salt: "c".into(), ..Default::default() };
    let stopping =
        StoppingCriteria { stop_strings: vec!["8".into()], max_new_tokens: 200, ..Default::default() };
    let asked = request(served.asked("What is 27 + 58?"), 200);
    let messages = served
        .stream(GenerateRequest { kv: Some(kv), stopping: Some(stopping), ..asked })
        .await
        .expect("answers");
    assert_eq!(finish(&messages).num_cached_tokens, Some(0));
    assert!(joined(&messages).0.len() < 199);
}
