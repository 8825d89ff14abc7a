//! Keys and passwords: words with a known beginning, or with as much disorder as a key has; as
//! openai-guardrails' Secret Keys has it, with its three thresholds.

use regex_lite::Regex;

/// Beginnings of keys.
const PREFIXES: [&str; 15] = [
    "key-", "sk-", "sk_", "pk_", "pk-", "ghp_", "AKIA", "xox", "SG.", "hf_", "api-", "apikey-", "token-",
    "secret-", "SHA:",
];
/// Ends of names of files, which are no keys however they look.
const FILE_ENDS: [&str; 44] = [
    ".py", ".js", ".html", ".css", ".json", ".md", ".txt", ".csv", ".xml", ".yaml", ".yml", ".ini", ".conf",
    ".config", ".log", ".sql", ".sh", ".bat", ".dll", ".so", ".dylib", ".jar", ".war", ".php", ".rb", ".go",
    ".rs", ".ts", ".jsx", ".vue", ".cpp", ".c", ".h", ".cs", ".fs", ".vb", ".doc", ".docx", ".xls", ".xlsx",
    ".pdf", ".jpg", ".jpeg", ".png",
];
/// Letters that part what stands in an address or in JSON.
const BETWEEN: [char; 14] = ['/', '?', '&', '=', '#', ':', '@', ',', ';', '"', '\'', '(', ')', '\\'];

/// How alike a key a word has to be.
#[derive(Debug, Clone)]
pub struct SecretKeys {
    /// Units: characters.
    min_length: usize,
    min_entropy: f64,
    min_diversity: usize,
    /// Whether names of files count too.
    is_strict: bool,
    /// Patterns of the operator's.
    patterns: Vec<Regex>,
}

impl SecretKeys {
    /// By the name of the threshold, with more patterns.
    ///
    /// Errors: a threshold that is not known, a pattern that is none.
    pub fn new(threshold: &str, patterns: &[String]) -> Result<SecretKeys, String> {
        let (min_length, min_entropy, min_diversity, is_strict) = match threshold {
            "strict" => (10, 3.5, 2, true),
            "balanced" => (15, 3.8, 3, false),
            "permissive" => (20, 4.0, 3, false),
            other => {
                return Err(format!("threshold is {other:?}, but must be strict, balanced or permissive"));
            }
        };
        let compiled = |pattern: &String| {
            Regex::new(&format!("^(?:{pattern})"))
                .map_err(|error| format!("custom_regex {pattern:?}: {error}"))
        };
        let patterns = patterns.iter().map(compiled).collect::<Result<_, _>>()?;
        Ok(SecretKeys { min_length, min_entropy, min_diversity, is_strict, patterns })
    }

    /// Whether the text has one.
    pub fn are_in(&self, text: &str) -> bool {
        let words = text.split_whitespace().map(|word| word.replace(['*', '#'], ""));
        words.into_iter().any(|word| {
            let is_address = word.contains("://");
            let has_one = !is_address && self.is_key(&word, self.is_strict);
            // What an address or a call holds is looked at by itself: a key in it is one by its beginning.
            let mut parts = word.split(BETWEEN);
            has_one || parts.any(|part| self.has_prefix(part) && self.is_key(part, false))
        })
    }

    fn has_prefix(&self, word: &str) -> bool {
        PREFIXES.iter().any(|prefix| word.starts_with(prefix)) || self.is_of_pattern(word)
    }

    fn is_of_pattern(&self, word: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(word))
    }

    fn is_key(&self, word: &str, may_be_file: bool) -> bool {
        if self.is_of_pattern(word) {
            return true;
        }
        let small = word.to_lowercase();
        if !may_be_file && FILE_ENDS.iter().any(|end| small.ends_with(end)) {
            return false;
        }
        word.chars().count() >= self.min_length
            && diversity(word) >= self.min_diversity
            && (self.has_prefix(word) || entropy(word) >= self.min_entropy)
    }
}

/// How many kinds of characters: small and great letters, digits, others.
fn diversity(word: &str) -> usize {
    let kinds: [fn(char) -> bool; 4] =
        [char::is_lowercase, char::is_uppercase, char::is_numeric, |letter| !letter.is_alphanumeric()];
    kinds.iter().filter(|kind| word.chars().any(**kind)).count()
}

/// Shannon's entropy of the characters. Units: bits.
fn entropy(word: &str) -> f64 {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    let total = letters.len() as f64;
    let of = |same: &[char]| {
        let part = same.len() as f64 / total;
        -part * part.log2()
    };
    letters.chunk_by(|left, right| left == right).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_words() {
        let check = |threshold: &str, text: &str, expect: bool| {
            let keys = SecretKeys::new(threshold, &["internal-[a-z0-9]{4}-key".to_owned()]).unwrap();
            assert_eq!(keys.are_in(text), expect, "{threshold} {text:?}");
        };
        check("balanced", "the key is sk-abc123DEF456ghi789", true);
        check("balanced", "an extraordinarily long word", false);
        check("balanced", "read the configuration-2024-Final.yaml", false);
        check("balanced", "https://example.com/Some-Page-2024?x=1", false);
        check("balanced", "https://example.com/?token=sk-abc123DEF456ghi789", true);
        check("balanced", "{\"key\":\"sk-abc123DEF456ghi789\"}", true);
        check("balanced", "an internal-ab12-key here", true);
        check("permissive", "sk-abc123DEF4", false);
        check("strict", "sk-abc123DEF4", true);
        check("balanced", "", false);
        assert!(SecretKeys::new("loose", &[]).is_err());
        assert!(SecretKeys::new("strict", &["(".to_owned()]).is_err());
    }
}
