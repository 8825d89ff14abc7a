//! The kinds of instructions with their arguments, read from an item of the data.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// Whether a count is to stay under a number or to reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Fewer than the number.
    LessThan,
    /// The number or more.
    AtLeast,
}

impl Relation {
    /// Whether a count stands so to a number.
    pub fn holds(self, count: usize, number: usize) -> bool {
        match self {
            Relation::LessThan => count < number,
            Relation::AtLeast => count >= number,
        }
    }
}

/// One instruction. Patterns are those of the data, or their letters where they are no patterns.
#[derive(Debug, Clone)]
pub enum Instruction {
    /// `keywords:existence`: each is in the answer.
    Keywords(Vec<Regex>),
    /// `keywords:frequency`.
    KeywordFrequency(Regex, Relation, usize),
    /// `keywords:forbidden_words`: none is in the answer as a word.
    ForbiddenWords(Vec<Regex>),
    /// `keywords:letter_frequency`, whatever the case.
    LetterFrequency(char, Relation, usize),
    /// `language:response_language`, by its code of ISO 639-1.
    Language(String),
    /// `length_constraints:number_sentences`.
    Sentences(Relation, usize),
    /// `length_constraints:number_paragraphs`, with `***` between them.
    Paragraphs(usize),
    /// `length_constraints:number_words`.
    Words(Relation, usize),
    /// `length_constraints:nth_paragraph_first_word`, with empty lines between paragraphs.
    ParagraphFirstWord {
        /// Paragraphs that there are to be.
        num_paragraphs: usize,
        /// The one that is looked at, from 1.
        nth: usize,
        /// Its first word, in small letters.
        word: String,
    },
    /// `detectable_content:number_placeholders`: at least so many in square brackets.
    Placeholders(usize),
    /// `detectable_content:postscript`, by the mark it begins with.
    Postscript(Regex),
    /// `detectable_format:number_bullet_lists`: exactly so many points.
    Bullets(usize),
    /// `detectable_format:constrained_response`: one of three answers.
    ConstrainedResponse,
    /// `detectable_format:number_highlighted_sections`: at least so many between asterisks.
    Highlights(usize),
    /// `detectable_format:multiple_sections`: at least so many, each with a mark and a number before it.
    Sections(Regex, usize),
    /// `detectable_format:json_format`.
    Json,
    /// `detectable_format:title`, in double angular brackets.
    Title,
    /// `combination:two_responses`, with six asterisks between them.
    TwoResponses,
    /// `combination:repeat_prompt`: the prompt stands first.
    RepeatPrompt(String),
    /// `startend:end_checker`: the answer ends so.
    End(String),
    /// `startend:quotation`: the answer stands in quotation marks.
    Quotation,
    /// `change_case:capital_word_frequency`.
    CapitalWords(Relation, usize),
    /// `change_case:english_capital`.
    EnglishCapital,
    /// `change_case:english_lowercase`.
    EnglishLowercase,
    /// `punctuation:no_comma`.
    NoComma,
}

/// Why an instruction of the data cannot be checked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InstructionError {
    /// A kind that IFEval does not have.
    #[error("`{0}` is not one of IFEval's 25 kinds of instructions")]
    Kind(String),
    /// An argument is missing or of another type.
    #[error("the instruction `{id}` needs the argument `{name}`, {what}")]
    Argument {
        /// The kind.
        id: String,
        /// The argument.
        name: &'static str,
        /// What it is to be.
        what: &'static str,
    },
}

/// An instruction's arguments while they are read.
struct Arguments<'a> {
    id: &'a str,
    map: &'a Map<String, Value>,
}

impl Arguments<'_> {
    fn missing(&self, name: &'static str, what: &'static str) -> InstructionError {
        InstructionError::Argument { id: self.id.to_owned(), name, what }
    }

    fn number(&self, name: &'static str) -> Result<usize, InstructionError> {
        let value = self.map.get(name);
        // Tables keep counts with gaps as fractions.
        let whole = |value: &Value| {
            value
                .as_u64()
                .or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64))
        };
        let number = value.and_then(whole).and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.missing(name, "a whole number"))
    }

    fn text(&self, name: &'static str) -> Result<&str, InstructionError> {
        self.map.get(name).and_then(Value::as_str).ok_or_else(|| self.missing(name, "a text"))
    }

    fn texts(&self, name: &'static str) -> Result<Vec<&str>, InstructionError> {
        let texts = self.map.get(name).and_then(Value::as_array);
        let texts = texts.and_then(|texts| texts.iter().map(Value::as_str).collect());
        texts.ok_or_else(|| self.missing(name, "a list of texts"))
    }

    fn relation(&self, name: &'static str) -> Result<Relation, InstructionError> {
        match self.text(name)? {
            "less than" => Ok(Relation::LessThan),
            "at least" => Ok(Relation::AtLeast),
            _ => Err(self.missing(name, "`less than` or `at least`")),
        }
    }
}

impl Instruction {
    /// Reads one of an item: its `instruction_id_list` and `kwargs` in step. Other arguments, and those that
    /// are null, count as not there.
    pub fn read(id: &str, kwargs: &Map<String, Value>) -> Result<Self, InstructionError> {
        let args = Arguments { id, map: kwargs };
        Ok(match id {
            "keywords:existence" => {
                Self::Keywords(args.texts("keywords")?.into_iter().map(pattern).collect())
            }
            "keywords:frequency" => Self::KeywordFrequency(
                pattern(args.text("keyword")?.trim()),
                args.relation("relation")?,
                args.number("frequency")?,
            ),
            "keywords:forbidden_words" => Self::ForbiddenWords(
                args.texts("forbidden_words")?.into_iter().map(|word| framed(r"\b", word, r"\b")).collect(),
            ),
            "keywords:letter_frequency" => {
                let mut letters = args.text("letter")?.trim().chars().flat_map(char::to_lowercase);
                let (Some(letter), None) = (letters.next(), letters.next()) else {
                    return Err(args.missing("letter", "one letter"));
                };
                Self::LetterFrequency(letter, args.relation("let_relation")?, args.number("let_frequency")?)
            }
            "language:response_language" => Self::Language(args.text("language")?.to_owned()),
            "length_constraints:number_sentences" => {
                Self::Sentences(args.relation("relation")?, args.number("num_sentences")?)
            }
            "length_constraints:number_paragraphs" => Self::Paragraphs(args.number("num_paragraphs")?),
            "length_constraints:number_words" => {
                Self::Words(args.relation("relation")?, args.number("num_words")?)
            }
            "length_constraints:nth_paragraph_first_word" => Self::ParagraphFirstWord {
                num_paragraphs: args.number("num_paragraphs")?,
                nth: args.number("nth_paragraph")?.max(1),
                word: args.text("first_word")?.to_lowercase(),
            },
            "detectable_content:number_placeholders" => Self::Placeholders(args.number("num_placeholders")?),
            "detectable_content:postscript" => Self::Postscript(postscript(args.text("postscript_marker")?)),
            "detectable_format:number_bullet_lists" => Self::Bullets(args.number("num_bullets")?),
            "detectable_format:constrained_response" => Self::ConstrainedResponse,
            "detectable_format:number_highlighted_sections" => {
                Self::Highlights(args.number("num_highlights")?)
            }
            "detectable_format:multiple_sections" => {
                Self::Sections(sections(args.text("section_spliter")?.trim()), args.number("num_sections")?)
            }
            "detectable_format:json_format" => Self::Json,
            "detectable_format:title" => Self::Title,
            "combination:two_responses" => Self::TwoResponses,
            "combination:repeat_prompt" => {
                Self::RepeatPrompt(args.text("prompt_to_repeat")?.trim().to_lowercase())
            }
            "startend:end_checker" => Self::End(args.text("end_phrase")?.trim().to_lowercase()),
            "startend:quotation" => Self::Quotation,
            "change_case:capital_word_frequency" => {
                Self::CapitalWords(args.relation("capital_relation")?, args.number("capital_frequency")?)
            }
            "change_case:english_capital" => Self::EnglishCapital,
            "change_case:english_lowercase" => Self::EnglishLowercase,
            "punctuation:no_comma" => Self::NoComma,
            _ => return Err(InstructionError::Kind(id.to_owned())),
        })
    }
}

/// What the data gives as a pattern, whatever the case.
fn pattern(text: &str) -> Regex {
    framed("", text, "")
}

/// The same between two patterns of ours.
fn framed(before: &str, text: &str, after: &str) -> Regex {
    build(&format!("{before}{text}{after}"))
        .unwrap_or_else(|| build_own(&format!("{before}{}{after}", regex::escape(text))))
}

/// What begins a postscript, of an answer in small letters.
fn postscript(marker: &str) -> Regex {
    match marker.trim() {
        "P.P.S" => build_own(r"p\.\s?p\.\s?s"),
        "P.S." => build_own(r"p\.\s?s\."),
        marker => pattern(&marker.to_lowercase()),
    }
}

/// What stands before a section. Its case counts.
fn sections(splitter: &str) -> Regex {
    let build = |text: &str| Regex::new(&format!(r"\s?{text}\s?\d+\s?"));
    build(splitter).or_else(|_| build(&regex::escape(splitter))).unwrap_or_else(|_| build_own("$^"))
}

fn build(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).case_insensitive(true).build().ok()
}

/// A pattern that is one; letters too many for a pattern are found nowhere.
fn build_own(pattern: &str) -> Regex {
    build(pattern).unwrap_or_else(|| Regex::new("[^\\s\\S]").expect("a constant that is a pattern"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(id: &str, kwargs: Value) -> Result<Instruction, String> {
        let kwargs = kwargs.as_object().expect("an object");
        Instruction::read(id, kwargs).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_told() {
        let told = |id: &str, kwargs: Value| read(id, kwargs).unwrap_err();
        assert_eq!(
            told("length_constraints:number_words", json!({"relation": "at least", "num_words": null})),
            "the instruction `length_constraints:number_words` needs the argument `num_words`, a whole number"
        );
        assert!(
            told("keywords:frequency", json!({"keyword": "a", "relation": "at most", "frequency": 1}))
                .ends_with("`relation`, `less than` or `at least`")
        );
        assert!(told("keywords:letter_frequency", json!({"letter": "ab"})).ends_with("`letter`, one letter"));
        assert!(told("startend:start", json!({})).starts_with("`startend:start` is not one of"));
    }

    #[test]
    fn a_keyword_that_is_not_a_pattern_is_its_letters() {
        let Ok(Instruction::Keywords(words)) =
            read("keywords:existence", json!({"keywords": ["f(x", "a.c"]}))
        else {
            panic!("keywords");
        };
        assert!(words[0].is_match("F(X)") && words[1].is_match("abc"));
        assert!(read("detectable_format:number_bullet_lists", json!({"num_bullets": 3.0})).is_ok());
    }
}
