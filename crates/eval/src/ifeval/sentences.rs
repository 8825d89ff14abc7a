//! Sentences of English as NLTK's punkt counts them, by its procedure with short word lists of our own in the
//! place of its trained ones.
//!
//! A sentence ends at `.`, `?` or `!` before white space or some punctuation. A full stop after an
//! abbreviation, an initial, a number or in an ellipsis ends one only before what may begin another. An empty
//! line ends none.

/// What ends a sentence.
const ENDS: [char; 3] = ['.', '?', '!'];
/// What cannot be within a word, and ends a sentence's last one.
const NOT_IN_WORDS: &str = ")\";}]*:@'({[!?";
/// What goes with the sentence before it.
const CLOSING: [char; 5] = ['"', '\'', ')', ']', '}'];
/// What cannot begin a word.
const NOT_FIRST: &str = "(\"`{[:;&#*@)}]-,";

/// Words with a full stop that is theirs, without it. `e.g` and `etc` are none for punkt.
const ABBREVIATIONS: &str = "
    a.d a.m adm ariz aug ave bros calif co col colo conn corp cos ct d.c dec dr feb fla fri ft ga gen ill inc jan jr
    kan ky l.a lt ltd maj messrs mg mich minn mr mrs ms n.c n.d n.h n.j n.m n.y nev nov oct okla ore p.m pa ph.d
    prof r.i rep reps s.a s.c sen sep sept sr st sw tenn tues u.k u.n u.s u.s.a u.s.s.r v va vs vt w.va wash wed wis
    yr
";
/// Letters that are always initials; others only before a name, and these are more often marks of a list.
const INITIALS: &str = "cdefghklmnprstvw";
const MARKS: &str = "abi";
/// Words that begin a sentence when they have a capital letter and follow an abbreviation.
const STARTERS: &str = "
    according although among ask being both but consider despite does either even finally he however i if in indeed
    instead it many meanwhile moreover most neither nevertheless nonetheless nor note please remember same separately
    similarly since so some still such the there these they this though thus try under unless very were when whether
    which while yesterday yet your
";
/// Words that are names neither: they begin one after a letter.
const COMMON: &str = "
    a after all also an and another are as at because before by can could did do during each for from had has have
    her here his how is its last later let my no not now of on once one or other our see several she should that
    their then those three to today two until was we what where who why with would you
";

/// How many sentences a text has.
pub fn num_sentences(text: &str) -> usize {
    let mut slices = Vec::new();
    let mut from = 0;
    let mut num = 0;
    for end in ends(text) {
        slices.push((from, end.at));
        from = end.next;
    }
    slices.push((from, text.trim_end().len().max(from)));
    // Closing marks go back to the sentence before; what is empty then is none.
    let mut skip = 0;
    for (at, (from, to)) in slices.iter().enumerate() {
        num += usize::from(from + skip < *to);
        skip = slices.get(at + 1).map_or(0, |(from, to)| num_closing_bytes(&text[*from..*to]));
    }
    num
}

/// Where a sentence ends, and where the next one begins.
struct End {
    at: usize,
    next: usize,
}

fn ends(text: &str) -> Vec<End> {
    let mut found: Vec<End> = Vec::new();
    // Of several in one word the last one counts.
    let mut candidate: Option<(usize, End)> = None;
    let word_of = |at: usize| text[..at].rfind(char::is_whitespace).map_or(0, |space| space + 1);
    for (at, _) in text.match_indices(ENDS) {
        let after = &text[at + 1..];
        let rest = after.trim_start();
        let next = match after.chars().next() {
            Some(next) if NOT_IN_WORDS.contains(next) => at + 1,
            Some(next) if next.is_whitespace() && !rest.is_empty() => text.len() - rest.len(),
            _ => continue,
        };
        let word = word_of(at);
        if let Some((before, end)) = candidate.take()
            && before != word
            && ends_sentence(&text[before..end.at], &text[end.at..])
        {
            found.push(end);
        }
        candidate = Some((word, End { at: at + 1, next }));
    }
    found.extend(
        candidate
            .filter(|(word, end)| ends_sentence(&text[*word..end.at], &text[end.at..]))
            .map(|(_, end)| end),
    );
    found
}

/// Whether a word with its mark ends a sentence before what follows.
fn ends_sentence(word: &str, after: &str) -> bool {
    let Some(stem) = word.strip_suffix('.') else {
        return true;
    };
    let is_ellipsis = stem.ends_with('.');
    let stem = last_token(stem);
    let lower = stem.to_lowercase();
    let mut chars = stem.chars();
    let is_initial = !is_ellipsis && chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none();
    let is_abbreviation = !is_ellipsis && {
        let part = lower.rsplit('-').next().unwrap_or_default();
        ABBREVIATIONS.split_whitespace().any(|word| word == lower || word == part)
    };
    let next = Next::of(after);
    if is_initial {
        return match next {
            Next::Small | Next::Punctuation => false,
            Next::Name => MARKS.contains(&lower),
            Next::Starter | Next::Common | Next::Unclear => !INITIALS.contains(&lower),
        };
    }
    if is_ellipsis || is_abbreviation {
        return next == Next::Starter;
    }
    let is_number = stem.starts_with(|c: char| c.is_ascii_digit())
        && stem.chars().all(|c| c.is_ascii_digit() || ",.-".contains(c));
    !is_number || !matches!(next, Next::Small | Next::Punctuation)
}

/// What follows a mark.
#[derive(PartialEq, Eq)]
enum Next {
    /// A word with a small letter first.
    Small,
    /// Punctuation that stands within sentences.
    Punctuation,
    /// A word that begins sentences.
    Starter,
    /// Another word that is not a name.
    Common,
    /// Another word with a capital letter.
    Name,
    /// Anything else.
    Unclear,
}

impl Next {
    fn of(after: &str) -> Self {
        let rest = after.trim_start();
        let Some(first) = rest.chars().next() else { return Self::Unclear };
        if ";:,.!?".contains(first) {
            return Self::Punctuation;
        }
        if NOT_FIRST.contains(first) {
            return Self::Unclear;
        }
        let word = rest.split(|c: char| c.is_whitespace() || NOT_IN_WORDS.contains(c) || c == ',').next();
        let word = word.unwrap_or_default().trim_end_matches('.').to_lowercase();
        let is_in = |words: &str| words.split_whitespace().any(|other| other == word);
        match (first.is_lowercase(), first.is_uppercase()) {
            (true, _) => Self::Small,
            (_, true) if is_in(STARTERS) => Self::Starter,
            (_, true) if is_in(COMMON) => Self::Common,
            (_, true) => Self::Name,
            _ => Self::Unclear,
        }
    }
}

/// The last token of a word; an apostrophe stays with what follows it.
fn last_token(word: &str) -> &str {
    match word.char_indices().rev().find(|(_, c)| NOT_IN_WORDS.contains(*c)) {
        Some((at, '\'' | '!' | '?')) => &word[at..],
        Some((at, _)) => &word[at + 1..],
        None => word.rsplit("--").next().unwrap_or(word),
    }
}

/// The closing marks at the beginning of a sentence with the white space after them, if they stand alone.
fn num_closing_bytes(sentence: &str) -> usize {
    let rest = sentence.trim_start_matches(CLOSING);
    let stands_alone = rest.is_empty() || rest.starts_with(char::is_whitespace) || rest.starts_with("--");
    if rest.len() == sentence.len() || !stands_alone {
        return 0;
    }
    sentence.len() - rest.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_punkt_ends_them() {
        for (text, expect) in [
            ("", 0),
            ("   ", 0),
            ("One. Two? Three!", 3),
            ("Wow!!! I promise.", 2),
            ("Mr. Smith and Dr. J. Lee met at 5 p.m. They left.", 2),
            ("It cost 3.50, e.g. here. Then more", 3),
            ("\"Hello!\" he said. (It was late.) Bye.", 4),
            ("He said \"Go.\"", 1),
            ("1. First thing\n2. Second thing", 3),
            ("A title\n\nNo stop in it\nthree lines. End.", 2),
            ("Wait... what? Well... The end.", 3),
            ("See www.example.com/a.b for it. Ok.", 2),
            ("We chose X. The rest followed J. Jones.", 2),
            ("A. Outline\nB. Text\nC. End", 3),
            ("Vitamin C. The rest in Inc. Then U.S. But no.", 2),
            ("no space.After it. One", 2),
        ] {
            assert_eq!(num_sentences(text), expect, "{text}");
        }
    }
}
