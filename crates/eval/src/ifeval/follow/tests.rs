//! Each kind of instruction, followed and not.

use serde_json::{Value, json};

use crate::ifeval::instruction::Instruction;

fn check(id: &str, kwargs: Value, followed: &[&str], not_followed: &[&str]) {
    let instruction = Instruction::read(id, kwargs.as_object().expect("an object")).expect("an instruction");
    for answer in followed {
        assert!(instruction.is_followed(answer), "{id} {kwargs}: {answer:?} follows it");
    }
    for answer in not_followed {
        assert!(!instruction.is_followed(answer), "{id} {kwargs}: {answer:?} does not");
    }
}

#[test]
fn words() {
    let keywords = json!({"keywords": ["pear", "fig"]});
    check("keywords:existence", keywords, &["Figs and PEARS"], &["a pear", ""]);
    let frequency = json!({"keyword": "fig ", "relation": "at least", "frequency": 2});
    check("keywords:frequency", frequency, &["fig FIGS"], &["fig"]);
    let forbidden = json!({"forbidden_words": ["fig"]});
    check("keywords:forbidden_words", forbidden, &["figs", "configs"], &["A Fig."]);
    let letter = json!({"letter": "E", "let_relation": "less than", "let_frequency": 2});
    check("keywords:letter_frequency", letter, &["e", "x"], &["Ee"]);
    let sign = json!({"letter": "#", "let_relation": "at least", "let_frequency": 2});
    check("keywords:letter_frequency", sign, &["##"], &["#"]);
}

#[test]
fn lengths() {
    let words = json!({"relation": "less than", "num_words": 4});
    check("length_constraints:number_words", words, &["one two-three"], &["a b_c d e", "बहुत बहुत"]);
    let sentences = json!({"relation": "at least", "num_sentences": 2});
    check("length_constraints:number_sentences", sentences, &["One. Two."], &["Mr. One."]);
    let paragraphs = json!({"num_paragraphs": 2});
    check(
        "length_constraints:number_paragraphs",
        paragraphs,
        &["a\n***\nb", "***a***b", "a *** b\n***"],
        &["a\n\nb", "a *** *** b", "a"],
    );
    let first = json!({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"});
    check(
        "length_constraints:nth_paragraph_first_word",
        first,
        &["a\n\n'\"then, b"],
        &["a\n\nthe b", "then\n\nb", "a\n\nthen\n\nc", "a\n\n\n\nthen"],
    );
}

#[test]
fn formats() {
    let count = |name: &str, number: u32| json!({name: number});
    let placeholders = "detectable_content:number_placeholders";
    check(placeholders, count("num_placeholders", 2), &["[a] [b] [c]", "[][]"], &["[a\nb] [c]"]);
    let bullets = "detectable_format:number_bullet_lists";
    check(bullets, count("num_bullets", 2), &["* a\n - b\n**c**"], &["* a", "- a\n- b\n- c"]);
    let highlights = "detectable_format:number_highlighted_sections";
    check(
        highlights,
        count("num_highlights", 2),
        &["*a* b *c*", "**a** *b*"],
        &["*a* ** **", "*a\nb* *c*", "**a**"],
    );
    let sections = json!({"section_spliter": "Part", "num_sections": 2});
    check("detectable_format:multiple_sections", sections, &["Part 1 a\nPart2 b"], &["Part one Part 2"]);
    let mark = |mark: &str| json!({"postscript_marker": mark});
    check("detectable_content:postscript", mark("P.S."), &["a\np. s. b"], &["PS b"]);
    check("detectable_content:postscript", mark("P.P.S"), &["P.P.S b"], &["P.S. b"]);
    check("detectable_content:postscript", mark("N.B."), &["n.b. b"], &["P.S. b"]);
    check("detectable_format:title", json!({}), &["<<a>>", "<<<>> <<a>>"], &["<< >>", "<a>", "<<a\n>>"]);
    check(
        "detectable_format:json_format",
        json!({}),
        &["```json\n{\"a\": [1e999, \"\\ud800\"]}\n```", "7"],
        &["{'a': 1}", "Here: {}", "{} {}"],
    );
    let constrained = "detectable_format:constrained_response";
    check(constrained, json!({}), &["Well. My answer is maybe."], &["my answer is yes."]);
}

#[test]
fn combinations_and_ends() {
    let two = "combination:two_responses";
    check(
        two,
        json!({}),
        &["a ****** b", "******a******b******"],
        &["a", "a****** a", "a ****** ****** b", "a******b******c"],
    );
    let repeat = json!({"prompt_to_repeat": "Say it. "});
    check("combination:repeat_prompt", repeat, &[" say it. It."], &["Well: say it."]);
    let end = json!({"end_phrase": "Bye."});
    check("startend:end_checker", end, &["\"So bye.\"\n"], &["Bye. So"]);
    check("startend:quotation", json!({}), &[" \"a\" ", "\"\""], &["\"", "\"a", "a"]);
    check("punctuation:no_comma", json!({}), &["a; b"], &["a, b"]);
}

#[test]
fn languages_and_cases() {
    let french = json!({"language": "fr"});
    let text = "Le chat noir dort sur la table pendant que la pluie tombe.";
    check("language:response_language", french, &[text, "123"], &["The black cat sleeps on the table."]);
    check(
        "change_case:english_capital",
        json!({}),
        &["THE BLACK CAT SLEEPS ON THE TABLE AND IT RAINS."],
        &["THE BLACK CAT SLEEPS ON THE TABLe.", "1"],
    );
    check(
        "change_case:english_lowercase",
        json!({}),
        &["the black cat sleeps on the table and it rains."],
        &["The black cat sleeps on the table.", text],
    );
    let capitals = json!({"capital_relation": "less than", "capital_frequency": 3});
    check("change_case:capital_word_frequency", capitals, &["A b C"], &["A B'S c"]);
}
