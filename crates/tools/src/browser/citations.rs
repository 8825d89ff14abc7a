//! Citations of displays in a final answer: `【3†L9-L11】` becomes a link, and is told beside the text.
//!
//! A mark of a display that there is not, or whose page has no address, is left as the model wrote it. Over a
//! stream what may yet become a mark is held back, so its readers get the same text and the same places,
//! however the stream was cut.

use percent_encoding::percent_decode_str;

use super::limits::CITATION_CHARS_MAX;

/// The addresses that displays can be cited by: those of a session so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Citations {
    /// By cursor; empty where there is none.
    pub(super) urls: Vec<String>,
}

/// A place of a text that stands for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlCitation {
    /// Its first character in the text with links. Units: characters.
    pub start_index: usize,
    /// The character after its last. Units: characters.
    pub end_index: usize,
    /// The address.
    pub url: String,
    /// Its host.
    pub title: String,
}

/// A part of an answer, with links in the place of citations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cited {
    /// The text to show.
    pub text: String,
    /// The citations in it, whose places count from the start of the whole answer.
    pub annotations: Vec<UrlCitation>,
}

impl Citations {
    /// Each cursor that can be cited, with its address.
    pub fn pages(&self) -> impl Iterator<Item = (usize, &str)> {
        self.urls
            .iter()
            .enumerate()
            .filter(|(_, url)| !url.is_empty())
            .map(|(cursor, url)| (cursor, url.as_str()))
    }

    /// A whole answer at once.
    pub fn rewrite(&self, text: &str) -> Cited {
        let mut stream = CitationStream::new(self.clone());
        let mut cited = stream.push(text);
        let rest = stream.finish();
        cited.text.push_str(&rest.text);
        cited
    }
}

/// Rewrites an answer as it comes.
#[derive(Debug, Clone)]
pub struct CitationStream {
    citations: Citations,
    held: Mark,
    /// Characters given out so far.
    num_chars: usize,
}

impl CitationStream {
    /// The start of an answer.
    pub fn new(citations: Citations) -> Self {
        Self { citations, held: Mark::default(), num_chars: 0 }
    }

    /// Takes the next part of the answer and gives what can be shown of it.
    pub fn push(&mut self, text: &str) -> Cited {
        let mut cited = Cited::default();
        for c in text.chars() {
            self.take(c, &mut cited);
        }
        cited
    }

    /// Gives what was held back: the answer ended within it, so it is no citation.
    pub fn finish(&mut self) -> Cited {
        let text = std::mem::take(&mut self.held).text;
        self.num_chars += text.chars().count();
        Cited { text, annotations: Vec::new() }
    }

    fn take(&mut self, c: char, cited: &mut Cited) {
        // What a refused mark held may hold the start of another: it is taken again, but for its bracket.
        let mut queue = vec![c];
        while let Some(c) = queue.pop() {
            match self.held.push(c) {
                Grown::Nothing => self.show(&c.to_string(), cited),
                Grown::Partly => {}
                Grown::Whole => {
                    let mark = std::mem::take(&mut self.held);
                    self.cite(&mark, cited);
                }
                Grown::Refused => {
                    let mark = std::mem::take(&mut self.held);
                    self.show("【", cited);
                    queue.extend(mark.text.chars().skip(1).collect::<Vec<_>>().into_iter().rev());
                }
            }
        }
    }

    fn show(&mut self, text: &str, cited: &mut Cited) {
        cited.text.push_str(text);
        self.num_chars += text.chars().count();
    }

    fn cite(&mut self, mark: &Mark, cited: &mut Cited) {
        // The cursor as it is displayed: `07` is not 7.
        let number = mark.cursor.parse::<usize>().ok().filter(|number| number.to_string() == mark.cursor);
        let url = number.and_then(|number| self.citations.urls.get(number)).filter(|url| !url.is_empty());
        let Some(url) = url.cloned() else { return self.show(&mark.text, cited) };
        let decoded = percent_decode_str(&url).decode_utf8_lossy();
        let title = decoded.split('/').nth(2).unwrap_or(&url).to_owned();
        let start_index = self.num_chars;
        self.show(&format!(" ([{title}]({url})) "), cited);
        cited.annotations.push(UrlCitation { start_index, end_index: self.num_chars, url, title });
    }
}

/// What may yet become `【cursor†place】` or `【cursor†place†more】`.
#[derive(Debug, Clone, Default)]
struct Mark {
    text: String,
    num_chars: usize,
    cursor: String,
    /// Daggers so far, and whether something stands after the last one.
    daggers: u8,
    filled: bool,
}

enum Grown {
    /// There is no mark, and this starts none.
    Nothing,
    /// It may become one.
    Partly,
    /// It is one.
    Whole,
    /// It cannot become one; all of it is in the text.
    Refused,
}

impl Mark {
    fn push(&mut self, c: char) -> Grown {
        if self.text.is_empty() && c != '【' {
            return Grown::Nothing;
        }
        self.text.push(c);
        self.num_chars += 1;
        if self.num_chars == 1 {
            return Grown::Partly;
        }
        if self.num_chars > CITATION_CHARS_MAX {
            return Grown::Refused;
        }
        match c {
            '0'..='9' if self.daggers == 0 => self.cursor.push(c),
            '†' if self.daggers == 0 && !self.cursor.is_empty() => self.daggers = 1,
            '†' if self.daggers == 1 && self.filled => (self.daggers, self.filled) = (2, false),
            '】' if self.filled => return Grown::Whole,
            '†' | '】' => return Grown::Refused,
            _ if self.daggers == 0 => return Grown::Refused,
            _ => self.filled = true,
        }
        Grown::Partly
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn citations() -> Citations {
        let urls = ["", "https://a.org/x%20y?q=1", "corpus://docs/é.md"];
        Citations { urls: urls.map(str::to_owned).to_vec() }
    }

    const ANSWERS: [(&str, &str, usize); 14] = [
        ("plain", "plain", 0),
        ("so 【1†L9-L11】.", "so  ([a.org](https://a.org/x%20y?q=1)) .", 1),
        (
            "é𝄞【1†L3】【2†L1†more】",
            "é𝄞 ([a.org](https://a.org/x%20y?q=1))  ([docs](corpus://docs/é.md)) ",
            2,
        ),
        ("search 【0†L1】", "search 【0†L1】", 0),
        ("unknown 【9†L1】 【01†L1】", "unknown 【9†L1】 【01†L1】", 0),
        ("【【1†L3】", "【 ([a.org](https://a.org/x%20y?q=1)) ", 1),
        ("【1††【2†x】", "【1†† ([docs](corpus://docs/é.md)) ", 1),
        ("【1†a【2†b】", " ([a.org](https://a.org/x%20y?q=1)) ", 1),
        ("【1†a†b†【1†L3】", "【1†a†b† ([a.org](https://a.org/x%20y?q=1)) ", 1),
        ("【1】【†L3】【1†】", "【1】【†L3】【1†】", 0),
        ("cut 【", "cut 【", 0),
        ("cut 【1†L3", "cut 【1†L3", 0),
        ("【99999999999999999999999†L3】", "【99999999999999999999999†L3】", 0),
        ("\n【1†L3\n】】", "\n ([a.org](https://a.org/x%20y?q=1)) 】", 1),
    ];

    #[test]
    fn citations_become_links() {
        for (answer, expected, num) in ANSWERS {
            let cited = citations().rewrite(answer);
            assert_eq!((cited.text.as_str(), cited.annotations.len()), (expected, num), "{answer}");
            for citation in &cited.annotations {
                let (start, end) = (citation.start_index, citation.end_index);
                let place: String = cited.text.chars().skip(start).take(end - start).collect();
                assert_eq!(place, format!(" ([{}]({})) ", citation.title, citation.url), "{answer}");
            }
        }
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same() {
        for (answer, ..) in ANSWERS {
            let expected = citations().rewrite(answer);
            let cuts: Vec<usize> = (0..=answer.len()).filter(|&i| answer.is_char_boundary(i)).collect();
            for &first in &cuts {
                for &second in cuts.iter().filter(|&&second| second >= first) {
                    let mut stream = CitationStream::new(citations());
                    let mut got = Cited::default();
                    let parts = [&answer[..first], &answer[first..second], &answer[second..]];
                    for part in parts.map(|part| stream.push(part)).into_iter().chain([stream.finish()]) {
                        got.text.push_str(&part.text);
                        got.annotations.extend(part.annotations);
                    }
                    assert_eq!(got, expected, "{answer} at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn nothing_but_a_possible_mark_is_held_back() {
        let mut stream = CitationStream::new(citations());
        assert_eq!(stream.push("see 【1").text, "see ");
        assert_eq!(stream.push("x").text, "【1x");
        assert_eq!(stream.push(" 【1†L").text, " ");
        assert_eq!(stream.push("9】!").text, " ([a.org](https://a.org/x%20y?q=1)) !");
    }

    #[test]
    fn a_mark_without_an_end_is_not_held_forever() {
        let mut stream = CitationStream::new(citations());
        let text = format!("【1†{}", "x".repeat(CITATION_CHARS_MAX));
        assert_eq!(stream.push(&text).text, text);
    }
}
