//! Text of strangers, as it may be shown.
//!
//! What could not be seen is taken out: control characters but line feeds and tabs, marks that turn the
//! direction of text, characters without width, and tags, in which instructions can be hidden. What is said
//! in plain sight stays: that a model is not to obey it is not decided here.

/// The text without what cannot be seen, cut to a length in bytes with a remark.
pub(super) fn cleaned(text: &str, bytes_max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(bytes_max));
    let text = text.replace("\r\n", "\n");
    for (at, char) in text.char_indices().filter(|(_, char)| is_seen(*char)) {
        if clean.len() + char.len_utf8() > bytes_max {
            clean.push_str(&format!("\n[cut: {} more bytes]", text.len() - at));
            break;
        }
        clean.push(char);
    }
    clean
}

/// The text on one line, for messages and names of things.
pub(super) fn one_line(text: &str, bytes_max: usize) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    cleaned(&line.join(" "), bytes_max).replace('\n', " ")
}

/// Whether the text has nothing that [`cleaned`] would take out, and no line feeds and tabs.
pub(super) fn is_plain(text: &str) -> bool {
    text.chars().all(|char| is_seen(char) && char != '\n' && char != '\t')
}

fn is_seen(char: char) -> bool {
    let is_control = char.is_control() && char != '\n' && char != '\t';
    !is_control && !is_hidden(char)
}

/// Whether nobody sees the character, which may change how others are read. The joiners 200C and 200D are
/// none of these: scripts and emoji need them.
pub fn is_hidden(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_taken_out() {
        let check = |text, expected| assert_eq!(cleaned(text, 100), expected, "{text:?}");
        check("plain\ttext\nof lines", "plain\ttext\nof lines");
        check("a\r\nb\rc\0d\u{7f}e\u{9b}f", "a\nbcdef");
        check("\u{1b}[31mred", "[31mred");
        check("ab\u{202e}dc\u{2066}x\u{200b}y\u{feff}", "abdcxy");
        // Letters of the tag block spell "obey" to a tokenizer and nothing to a reader.
        check("hi\u{e006f}\u{e0062}\u{e0065}\u{e0079}", "hi");
        check("\u{1f469}\u{200d}\u{1f680}", "\u{1f469}\u{200d}\u{1f680}");
        assert!(is_plain("read_file") && !is_plain("a\nb") && !is_plain("a\u{200b}b"));
        assert_eq!(one_line(" a\n b\t\u{1b}c ", 100), "a b c");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cleaned("abcdef", 6), "abcdef");
        assert_eq!(cleaned("abcdef", 4), "abcd\n[cut: 2 more bytes]");
        assert_eq!(cleaned("éé", 3), "é\n[cut: 2 more bytes]");
        assert_eq!(one_line("abcdef", 4), "abcd [cut: 2 more bytes]");
    }
}
