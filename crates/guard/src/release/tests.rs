//! Streams that are cut at random and judged whenever: what leaves of them.

use super::*;

const CANARY: &str = "the canary sings at midnight";
/// How many streams are cut.
const SPLITS: u64 = 500;

/// Numbers that look random and are the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((number ^ (number >> 31)) % bound as u64) as usize
    }
}

/// A text of some length with letters of several bytes, and maybe the canary in it.
fn text(numbers: &mut Numbers, canary: Option<usize>) -> String {
    const WORDS: [&str; 6] = ["plain ", "words, ", "über ", "lange ", "数字 ", "and the canary "];
    let mut text = String::new();
    let length = 40 + numbers.below(4000);
    while text.len() < length {
        text.push_str(WORDS[numbers.below(WORDS.len())]);
    }
    if let Some(part) = canary {
        let at = text.floor_char_boundary(text.len() * part / 100);
        text.insert_str(at, CANARY);
    }
    text
}

/// Cuts a text into deltas.
fn cut<'a>(numbers: &mut Numbers, mut text: &'a str) -> Vec<&'a str> {
    let most = [3, 12, 60, 900][numbers.below(4)];
    let mut cuts = Vec::new();
    while !text.is_empty() {
        let at = text.ceil_char_boundary((1 + numbers.below(most)).min(text.len()));
        let (delta, rest) = text.split_at(at);
        cuts.push(delta);
        text = rest;
    }
    cuts
}

/// What leaves of a stream, by stage, when the judge answers whenever it likes.
fn walk(numbers: &mut Numbers, stream: &[(Stage, &str)]) -> Vec<(Stage, String)> {
    let mut release = Release::default();
    let mut left: Vec<(Stage, String)> = Vec::new();
    let mut window = None;
    for &(stage, text) in stream {
        release.push(stage, text, (stage, text.to_owned()));
        if numbers.below(9) == 0 {
            release.pass((stage, String::new()));
        }
        step(numbers.below(3) == 0, &mut release, &mut window);
        left.extend(std::iter::from_fn(|| release.take()));
    }
    release.end();
    while !release.is_empty() {
        step(true, &mut release, &mut window);
        left.extend(std::iter::from_fn(|| release.take()));
    }
    left
}

fn step(has_answer: bool, release: &mut Release<(Stage, String)>, window: &mut Option<Window>) {
    if window.is_none() {
        *window = release.window();
    }
    if has_answer && let Some(Window { text, .. }) = window.take() {
        release.judged(!text.contains(CANARY));
    }
}

fn said(left: &[(Stage, String)], stage: Stage) -> String {
    left.iter().filter(|(of, _)| *of == stage).map(|(_, text)| text.as_str()).collect()
}

/// The canary of one stage never leaves, nor any of it, however the stream is cut; the other stage is whole.
#[test]
fn nothing_refused_leaves_however_a_stream_is_cut() {
    for seed in 0..SPLITS {
        let mut numbers = Numbers(seed);
        let refused = [None, Some(Stage::Reasoning), Some(Stage::Output)][numbers.below(3)];
        let place = |stage, numbers: &mut Numbers| (refused == Some(stage)).then(|| numbers.below(101));
        let canary = place(Stage::Reasoning, &mut numbers);
        let reasoning = text(&mut numbers, canary);
        let canary = place(Stage::Output, &mut numbers);
        let output = text(&mut numbers, canary);
        let mut stream: Vec<(Stage, &str)> = Vec::new();
        stream.extend(cut(&mut numbers, &reasoning).into_iter().map(|text| (Stage::Reasoning, text)));
        stream.extend(cut(&mut numbers, &output).into_iter().map(|text| (Stage::Output, text)));
        let left = walk(&mut numbers, &stream);
        for (stage, whole) in [(Stage::Reasoning, &reasoning), (Stage::Output, &output)] {
            let said = said(&left, stage);
            assert!(whole.starts_with(&said), "seed {seed}: out of order");
            match whole.find(CANARY) {
                Some(at) => assert!(said.len() <= at, "seed {seed}: {} of the canary left", said.len() - at),
                None => assert_eq!(&said, whole, "seed {seed}: something is missing"),
            }
        }
    }
}

#[test]
fn what_has_no_text_leaves_behind_what_came_before_it() {
    let mut release = Release::default();
    release.pass("first");
    assert_eq!(release.take(), Some("first"));
    release.push(Stage::Output, "said", "said");
    release.pass("after");
    assert_eq!((release.take(), release.window()), (None, None));
    release.end();
    assert_eq!(release.window(), Some(Window { stage: Stage::Output, text: "said".into() }));
    assert_eq!(release.window(), None);
    release.judged(true);
    assert_eq!((release.take(), release.take(), release.take()), (Some("said"), Some("after"), None));
    assert!(release.is_empty());
}

/// A summary that is refused takes nothing else with it.
#[test]
fn what_passes_by_stays_when_its_neighbor_is_refused() {
    let mut release = Release::default();
    release.push(Stage::Reasoning, "bad", "bad");
    release.pass("warning");
    release.push(Stage::Output, "good", "good");
    assert!(release.window().is_some());
    release.judged(false);
    assert_eq!(release.take(), Some("warning"));
    release.push(Stage::Reasoning, "more", "more");
    release.end();
    assert!(release.window().is_some());
    release.judged(true);
    assert_eq!((release.take(), release.take()), (Some("good"), None));
    assert!(release.is_empty());
}
