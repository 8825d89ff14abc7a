//! Words that are looked for as words, in any case; as openai-guardrails' Keyword Filter does.

/// Words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keywords(Vec<String>);

impl Keywords {
    /// Of a list; punctuation at the end of a word is left out.
    ///
    /// Errors: a word that is empty then, by its place; there is none.
    pub fn new(words: &[String]) -> Result<Keywords, String> {
        let is_end = |letter: char| matches!(letter, '.' | ',' | '!' | '?' | ';' | ':');
        let words: Vec<String> =
            words.iter().map(|word| word.trim_end_matches(is_end).to_lowercase()).collect();
        match words.iter().position(String::is_empty) {
            Some(index) => Err(format!("keyword {index} says nothing")),
            None if words.is_empty() => Err("there are no keywords".to_owned()),
            None => Ok(Keywords(words)),
        }
    }

    /// Whether one stands in the text, not within a longer word.
    pub fn is_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.0.iter().any(|word| {
            let is_alone = |(at, _): (usize, &str)| {
                let (before, after) = (&text[..at], &text[at + word.len()..]);
                let parts = |outer: Option<char>, inner: Option<char>| {
                    !(inner.is_some_and(is_of_word) && outer.is_some_and(is_of_word))
                };
                parts(before.chars().next_back(), word.chars().next())
                    && parts(after.chars().next(), word.chars().next_back())
            };
            text.match_indices(word.as_str()).any(is_alone)
        })
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_as_words() {
        let check = |words: &[&str], text: &str, expect: bool| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(Keywords::new(&words).unwrap().is_in(text), expect, "{words:?} in {text:?}");
        };
        check(&["foo"], "Foo!", true);
        check(&["foo"], "food", false);
        check(&["foo"], "food and foo", true);
        check(&["internal use only."], "for INTERNAL use only", true);
        check(&["$5"], "a$5b", false);
        check(&["$5"], "a$5", true);
        check(&["straße"], "STRASSE straße", true);
        assert!(Keywords::new(&[]).is_err());
        assert!(Keywords::new(&["...".to_owned()]).is_err());
    }
}
