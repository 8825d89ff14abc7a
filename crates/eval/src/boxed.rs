//! What a `\boxed{}` holds.

/// The content of the last box whose braces close, which may be nested; `\fbox` counts too.
pub fn last(text: &str) -> Option<&str> {
    let opens = |name: &'static str| text.rmatch_indices(name).map(move |(at, _)| at + name.len());
    let mut starts: Vec<usize> = opens(r"\boxed{").chain(opens(r"\fbox{")).collect();
    starts.sort_unstable();
    starts.into_iter().rev().find_map(|start| {
        let mut depth = 1;
        for (at, c) in text[start..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(&text[start..start + at]);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_counted() {
        assert_eq!(last(r"\boxed{1} and \boxed{\frac{1}{2}}."), Some(r"\frac{1}{2}"));
        assert_eq!(last(r"\boxed{1} and \boxed{2"), Some("1"));
        assert_eq!(last(r"\fbox{a}"), Some("a"));
        assert_eq!(last("none"), None);
    }
}
