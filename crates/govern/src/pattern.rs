//! Names with `*` for any characters: which models, adapters, hosts a rule is about.

/// Patterns of which one must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// These patterns; none of them fits nothing.
    pub fn new(patterns: Vec<String>) -> Patterns {
        Patterns(patterns)
    }

    /// Whether one of them fits the whole name.
    pub fn fit(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, name))
    }

    /// As they were written, for messages.
    pub fn list(&self) -> String {
        match self.0.is_empty() {
            true => "none".to_owned(),
            false => self.0.join(", "),
        }
    }

    /// Each as it was written.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Whether `pattern` fits the whole of `name`. Work: their lengths multiplied, at worst.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where the last star stands, and how much of the name it takes; a star takes as little as it can.
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == name[from] => (at, from) = (at + 1, from + 1),
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += 1;
                    (at, from) = (*place + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_the_rest_is_itself() {
        let check = |pattern: &str, name: &str, expect: bool| {
            assert_eq!(fits(pattern, name), expect, "{pattern} {name}");
        };
        check("gpt-oss-20b", "gpt-oss-20b", true);
        check("gpt-oss-20b", "gpt-oss-120b", false);
        check("gpt-oss-*", "gpt-oss-120b", true);
        check("gpt-oss-*", "gpt-os", false);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("*.example.com", "a.b.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", "a.example.com.evil.test", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("**a", "bba", true);
        check("a**", "a", true);
        check("ä*", "äö", true);
    }

    #[test]
    fn one_that_fits_is_enough_and_none_fits_nothing() {
        let patterns = Patterns::new(vec!["a".into(), "b*".into()]);
        assert!(patterns.fit("bc") && !patterns.fit("c"));
        assert!(!Patterns::new(Vec::new()).fit("a"));
    }
}
