//! Which vocabularies are there, and what happens to damaged ones?

use gptoss_harmony::{Control, Error, MultiDigit, O200K_SPLIT, Token, Vocab, limits};
use serde_json::{Value, json};

fn demo() -> Vocab {
    Vocab::truncated(2048, MultiDigit::Drop)
}

fn demo_json() -> Value {
    serde_json::from_slice(&demo().to_tokenizer_json()).unwrap()
}

fn text(vocab: &Vocab, id: u32) -> Option<&[u8]> {
    match vocab.token(id)? {
        Token::Text(token) => Some(vocab.bytes(token)),
        Token::Control(_) => None,
    }
}

fn error(file: &Value) -> String {
    Vocab::from_tokenizer_json(file.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn the_published_vocabulary() {
    let vocab = Vocab::o200k_harmony();
    assert_eq!(vocab.len(), 201_088);
    assert_eq!(vocab.control(Control::Start), 200_006);
    assert_eq!(vocab.stop_ids(), [200_002, 200_012, 199_999]);
    assert_eq!(vocab.encode_ids("assistant"), [173_781]);
    assert_eq!(vocab.encode_ids("commentary"), [12_606, 815]);
    assert_eq!(vocab.token(200_008), Some(Token::Control(Control::Message)));
    for reserved in [200_000, 200_004, 200_018, 201_087, 201_088, u32::MAX] {
        assert_eq!(vocab.token(reserved), None);
    }
    assert!(matches!(
        vocab.decode(&[17, 200_000]),
        Err(Error::UnknownToken { index: 1, id: 200_000, len: 201_088 })
    ));
    assert_eq!(vocab.decode(&[200_006, 173_781]).unwrap(), b"<|start|>assistant");
    assert!(vocab.encode_ids("<|start|><|endoftext|>").iter().all(|&id| id < 199_998));
}

#[test]
fn the_demos_vocabulary() {
    let vocab = demo();
    assert_eq!(vocab.len(), 2029);
    for (i, control) in Control::ALL.into_iter().enumerate() {
        assert_eq!(vocab.control(control), 2020 + i as u32);
    }
    assert_eq!(vocab.encode_ids("2048").len(), 4, "numbers are read digit by digit");
    assert_eq!(Vocab::truncated(2048, MultiDigit::Keep).len(), 2048 + 9);
    assert_eq!(Vocab::truncated(0, MultiDigit::Keep).len(), 256 + 9);
    assert_eq!(Vocab::truncated(usize::MAX, MultiDigit::Keep).len(), 199_998 + 9);
}

#[test]
fn a_written_file_reads_as_the_same_vocabulary() {
    let vocab = demo();
    let read = Vocab::from_tokenizer_json(&vocab.to_tokenizer_json()).unwrap();
    assert_eq!(read.len(), vocab.len());
    for id in 0..vocab.len() as u32 + 2 {
        assert_eq!(read.token(id), vocab.token(id));
        assert_eq!(text(&read, id), text(&vocab, id));
    }
    let sample = "What is 27 + 58?\n\n  naïve 你好 🙂 don't";
    assert_eq!(read.encode_ids(sample), vocab.encode_ids(sample));
    assert_eq!(read.to_tokenizer_json(), vocab.to_tokenizer_json(), "writing is a fixed point");
    assert_eq!(read.padded_to(4096).len(), 4096);
}

#[test]
fn the_published_vocabulary_survives_its_file() {
    let vocab = Vocab::o200k_harmony();
    let read = Vocab::from_tokenizer_json(&vocab.to_tokenizer_json()).unwrap();
    assert_eq!(read.len(), 200_013, "the highest id that a token has");
    let sample = include_str!("properties.rs");
    assert_eq!(read.encode_ids(sample), vocab.encode_ids(sample));
    assert_eq!(
        Control::ALL.map(|control| read.control(control)),
        Control::ALL.map(|control| vocab.control(control))
    );
}

#[test]
fn other_spellings_of_a_file_mean_the_same() {
    let sample = "The quick brown fox, 1234 times.";
    let expected = demo().encode_ids(sample);
    let mut file = demo_json();
    let merges = file["model"]["merges"].as_array_mut().unwrap();
    for merge in merges {
        *merge = format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()).into();
    }
    file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed".into();
    file["pre_tokenizer"]["pretokenizers"][0]["invert"] = true.into();
    let added = file["added_tokens"].as_array_mut().unwrap();
    added.push(json!({"id": 2040, "content": "<|reserved_2040|>", "special": true}));
    let read = Vocab::from_tokenizer_json(file.to_string().as_bytes()).unwrap();
    assert_eq!(read.encode_ids(sample), expected);
    assert_eq!(read.len(), 2041);
    assert_eq!(read.token(2040), None, "other added tokens are reserved");
    assert_eq!(read.token(2035), None);
}

/// A vocabulary whose pairs are listed sparsely, as trainers write them: only listed pairs merge, in the
/// order of the list.
#[test]
fn listed_merges_are_followed() {
    let mut file: Value =
        serde_json::from_slice(&Vocab::truncated(256, MultiDigit::Keep).to_tokenizer_json()).unwrap();
    for (i, token) in ["ab", "bc", "abc"].iter().enumerate() {
        file["model"]["vocab"][token] = (300 + i).into();
    }
    file["model"]["merges"] = json!([["b", "c"], ["a", "b"], ["ab", "c"]]);
    file["model"]["ignore_merges"] = false.into();
    let ids = |file: &Value, text: &str| {
        Vocab::from_tokenizer_json(file.to_string().as_bytes()).unwrap().encode_ids(text)
    };
    let a = ids(&file, "a")[0];
    assert_eq!(ids(&file, "abc"), [a, 301], "b c comes first, and a bc is no pair");
    assert_eq!(ids(&file, &"abc".repeat(40)), [a, 301].repeat(40), "long pieces alike");
    file["model"]["ignore_merges"] = true.into();
    assert_eq!(ids(&file, "abc"), [302], "a piece that is a token is that token");
}

#[test]
fn damaged_files_say_what_is_wrong() {
    let bytes = demo().to_tokenizer_json();
    for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let error = Vocab::from_tokenizer_json(&bytes[..len]).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer.json is damaged: ") && error.contains("line 1"), "{error}");
    }
    assert!(error(&json!([])).contains("damaged"));
    assert!(matches!(Vocab::from_tokenizer_json(b"\xff\xfe"), Err(Error::TokenizerSyntax { .. })));
    let too_long = vec![b' '; limits::TOKENIZER_JSON_BYTES_MAX + 1];
    assert!(matches!(Vocab::from_tokenizer_json(&too_long), Err(Error::TokenizerTooLarge { .. })));
}

#[test]
fn impossible_files_say_what_is_wrong() {
    let cases: [(&str, Value, &str); 16] = [
        ("/model/type", "WordPiece".into(), "model.type is \"WordPiece\""),
        ("/model/byte_fallback", true.into(), "model.byte_fallback is true"),
        ("/model/end_of_word_suffix", "</w>".into(), "model.end_of_word_suffix"),
        ("/normalizer", json!({"type": "NFC"}), "normalizer is {\"type\":\"NFC\"}"),
        ("/pre_tokenizer", Value::Null, "pre_tokenizer is null"),
        ("/pre_tokenizer/pretokenizers/0/pattern/Regex", r"\w+".into(), r"split pattern is \w+"),
        ("/pre_tokenizer/pretokenizers/0/behavior", "Removed".into(), "pre_tokenizer is"),
        ("/pre_tokenizer/pretokenizers/1/add_prefix_space", true.into(), "pre_tokenizer is"),
        ("/added_tokens/5/content", "<|begin|>".into(), "added_tokens has no <|start|>"),
        ("/added_tokens/5/id", 2021.into(), "another control token has the same id"),
        ("/added_tokens/5/id", u64::MAX.into(), "id 18446744073709551615"),
        ("/added_tokens/5/id", 7.into(), "an added token has the id of another token"),
        ("/model/vocab/!", 1.into(), "another token has the same id"),
        ("/model/vocab/!", 5_000_000_000u64.into(), "the id is beyond"),
        ("/model/merges/0", json!(["!", "ĠĠĠĠ!"]), "merge 0 (\"! ĠĠĠĠ!\"): the right side is not a token"),
        ("/model/merges/0", "nospace".into(), "merge 0 (\"nospace\"): it has no space"),
    ];
    for (pointer, value, expected) in cases {
        let mut file = demo_json();
        *file.pointer_mut(pointer).unwrap() = value;
        let error = error(&file);
        assert!(error.starts_with("tokenizer.json: ") && error.contains(expected), "{pointer}: {error}");
    }
    let mut file = demo_json();
    file["model"]["vocab"].as_object_mut().unwrap().swap_remove("!");
    file["model"]["merges"] = json!([]);
    assert!(error(&file).contains("no token for the byte 0x21"));
    let mut file = demo_json();
    file["model"]["vocab"]["你"] = 2500.into();
    assert!(error(&file).contains("outside the byte alphabet"));
    let mut file = demo_json();
    file["model"]["vocab"][""] = 2500.into();
    assert!(error(&file).contains("it is empty"));
    let mut file = demo_json();
    file["model"]["vocab"]["!".repeat(limits::TOKEN_BYTES_MAX + 1)] = 2500.into();
    assert!(error(&file).contains("longer than any token"));
}

/// A file whose merges spell out a control token would let text become structure; it is refused.
#[test]
fn merges_cannot_make_an_added_token() {
    let mut file = demo_json();
    file["model"]["vocab"]["<|"] = 3000.into();
    file["model"]["vocab"]["<|start|>"] = file["added_tokens"][5]["id"].clone();
    let merges = file["model"]["merges"].as_array_mut().unwrap();
    merges.push(json!(["<|", "start|>"]));
    file["model"]["vocab"]["start|>"] = 3001.into();
    assert!(error(&file).contains("it makes an added token"));
    file["model"]["merges"].as_array_mut().unwrap().pop();
    let read = Vocab::from_tokenizer_json(file.to_string().as_bytes()).unwrap();
    let ids = read.encode_ids("<|start|>");
    assert!(!ids.contains(&read.control(Control::Start)), "nor does a whole piece: {ids:?}");
}

#[test]
fn the_split_expression_is_the_published_one() {
    assert_eq!(demo_json()["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"], O200K_SPLIT);
}
