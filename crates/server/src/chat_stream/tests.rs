//! However the model's text is cut into pieces, the deltas add up to the same message.

use super::*;
use crate::piece::Tokens;

fn text(voice: Voice, text: &str) -> Piece {
    Piece::Text { voice, text: text.to_owned(), logprobs: Vec::new() }
}

fn said(visibility: Visibility, pieces: Vec<Piece>, end: End) -> Choice {
    let mut machine = ChatChoice::new(0, Tools::default(), visibility, false);
    let mut choice = Choice::default();
    fold(&mut choice, machine.begin());
    for piece in pieces {
        if let Some(chunk) = machine.push(piece) {
            fold(&mut choice, chunk);
        }
    }
    fold(&mut choice, machine.finish(end));
    choice
}

/// The message as text, without the ids of calls.
fn plain(choice: &Choice) -> String {
    let mut value = serde_json::to_value(choice).unwrap();
    for call in value["message"]["tool_calls"].as_array_mut().into_iter().flatten() {
        call["id"] = "call".into();
    }
    value.to_string()
}

/// Everything a turn can say, each text cut at `at` of its characters.
fn cut(at: usize) -> Vec<Piece> {
    let halves = |make: &dyn Fn(&str) -> Piece, whole: &str| {
        let border = whole.char_indices().nth(at).map_or(whole.len(), |(index, _)| index);
        [make(&whole[..border]), make(&whole[border..])]
    };
    let mut pieces = Vec::new();
    pieces.extend(halves(&|part| text(Voice::Reasoning, part), "Look ü up"));
    pieces.extend(halves(&|part| Piece::Summary(part.to_owned()), "It looked"));
    pieces.extend(halves(&|part| text(Voice::Preamble, part), "One moment"));
    pieces.push(Piece::CallStarted { name: "look".into() });
    pieces.extend(halves(&|part| Piece::CallArguments(part.to_owned()), "{\"key\": \"é\"}"));
    pieces.push(Piece::Called);
    pieces
}

#[test]
fn every_cut_adds_up_to_the_same() {
    for visibility in [Visibility::Raw, Visibility::Summary, Visibility::Hidden] {
        let whole = plain(&said(visibility, cut(0), End::Call));
        for at in 0..14 {
            assert_eq!(plain(&said(visibility, cut(at), End::Call)), whole, "{visibility:?} cut at {at}");
        }
    }
}

#[test]
fn each_visibility_shows_its_own() {
    let check = |visibility, reasoning: Option<&str>| {
        let message = said(visibility, cut(0), End::Call).message;
        assert_eq!(message.reasoning.as_deref(), reasoning);
        assert_eq!(message.reasoning, message.reasoning_content);
        assert!(message.reasoning_details.is_some(), "a summary is marked");
    };
    check(Visibility::Raw, Some("Look ü up"));
    check(Visibility::Summary, Some("It looked"));
    let without: Vec<Piece> =
        cut(0).into_iter().filter(|piece| !matches!(piece, Piece::Summary(_))).collect();
    let hidden = said(Visibility::Hidden, without, End::Call).message;
    assert!(hidden.reasoning.is_none() && hidden.reasoning_details.is_none());
}

#[test]
fn what_is_said_twice_has_a_line_between() {
    let pieces = vec![text(Voice::Preamble, "First"), text(Voice::Answer, "then")];
    assert_eq!(said(Visibility::Raw, pieces, End::Answer).message.content.as_deref(), Some("First\n\nthen"));
}

#[test]
fn a_model_that_says_nothing_says_an_empty_text() {
    let choice = said(Visibility::Raw, vec![text(Voice::Reasoning, "Hm")], End::NoAnswer);
    assert_eq!((choice.message.content.as_deref(), choice.finish_reason), (Some(""), Some("stop")));
    let cut_short = said(Visibility::Raw, vec![text(Voice::Reasoning, "Hm")], End::Length);
    assert_eq!(cut_short.finish_reason, Some("length"));
}

#[test]
fn choices_count_their_prompt_once() {
    let mut tokens = Tokens::default();
    let one = Tokens { prompt: 10, cached: 3, completion: 4, reasoning: 1 };
    tokens.add_choice(one);
    tokens.add_choice(one);
    let usage = tokens.chat_usage();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (10, 8, 18));
}
