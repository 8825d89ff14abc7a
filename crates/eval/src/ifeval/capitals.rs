//! Words in capital letters, counted as the tokens of NLTK's `word_tokenize` are.

/// Characters that are tokens of their own, or parts of one without a letter.
const APART: &str = "«»“”‘’„`\"?!;@#$%&*[](){}<>\u{2012}\u{2013}\u{2014}\u{2015}";
/// Ends that are tokens of their own.
const CLITICS: [&str; 7] = ["'S", "'M", "'D", "'LL", "'RE", "'VE", "N'T"];
/// Words that are two tokens.
const CONTRACTIONS: [&str; 9] =
    ["CANNOT", "D'YE", "GIMME", "GONNA", "GOTTA", "LEMME", "MORE'N", "WANNA", "'TIS"];

/// How many tokens have capital letters and no small ones.
pub fn num_capital_words(text: &str) -> usize {
    // What joins words that are apart for NLTK.
    let text = text.replace("--", " ").replace("..", " ").replace("''", " ");
    let words = text.split(|c: char| c.is_whitespace() || APART.contains(c));
    words.flat_map(split_commas).map(num_tokens).sum()
}

/// A word's parts between its commas and colons; one before a digit joins.
fn split_commas(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, _) in word.match_indices([',', ':']) {
        if !word[at + 1..].starts_with(|c: char| c.is_numeric()) {
            parts.push(&word[from..at]);
            from = at + 1;
        }
    }
    parts.push(&word[from..]);
    parts
}

/// Of a word: none if it has a small letter or no capital one, and two with what is joined to it.
fn num_tokens(word: &str) -> usize {
    let word = word.trim_end_matches('.');
    let clitic = CLITICS.iter().find(|clitic| word.len() > clitic.len() && word.ends_with(**clitic));
    if let Some(clitic) = clitic {
        return 1 + num_tokens(&word[..word.len() - clitic.len()]);
    }
    if CONTRACTIONS.contains(&word) {
        return 2;
    }
    usize::from(word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_tokens() {
        for (text, expect) in [
            ("HELLO World, I AM here.", 3),
            ("WELL-KNOWN U.S.A. A1 12 x", 3),
            ("DON'T. IT'S (OK) \"YES\"NO", 7),
            ("ONE,TWO 1,000 A,1 A:B THE...END X--Y", 9),
            ("I CANNOT; McDonald's'S", 4),
            ("É ß", 1),
        ] {
            assert_eq!(num_capital_words(text), expect, "{text}");
        }
    }
}
