//! The text of a configuration file as settings, each with its place.
//!
//! Pure and total: any text gives settings and problems, and all problems come at once. Which keys there are
//! is given as data, so that this file knows no command line. Messages quote keys and never values: somebody
//! may have put a secret there.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// How alike two names must be for one to be suggested for the other, from 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Flag,
    /// A number.
    Number,
    /// A string.
    Text,
    /// A list of strings; one string is a list of one.
    List,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Flag => "true or false",
            Kind::Number => "a number",
            Kind::Text => "a string",
            Kind::List => "a list of strings",
        }
    }
}

/// A key that may be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The flag's long name.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
}

/// The keys of one command, which are also those of the table of its name.
#[derive(Debug, Clone)]
pub struct Section {
    /// The command.
    pub command: String,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// Where something stands in the file, counted from 1. Units of the column: characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character of the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A key and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The command whose table it stands in; `None` for those above the tables, which hold for every command
    /// that has the key.
    pub command: Option<String>,
    /// The key.
    pub key: String,
    /// One value, or those of a list, spelled as a flag's.
    pub values: Vec<String>,
    /// Where the value stands.
    pub place: Place,
}

/// Something that is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what would be right.
    pub what: String,
}

/// Everything that a text says.
#[derive(Debug, Default)]
pub struct Parsed {
    /// What is set, in the order of the file.
    pub settings: Vec<Setting>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Reads a text.
pub fn parse(text: &str, sections: &[Section]) -> Parsed {
    let mut parsed = Parsed::default();
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            // The library's own display shows the line, and with it a value.
            let what = error.message().to_owned();
            parsed.problems.push(Problem { place: place(text, error.span()), what });
            return parsed;
        }
    };
    for (name, value) in &table {
        let key: &str = name.get_ref();
        let at = place(text, Some(name.span()));
        match sections.iter().find(|section| section.command == key) {
            Some(section) => match value.get_ref() {
                DeValue::Table(inner) => parsed.section(text, section, inner, sections),
                other => {
                    let what = format!("`{key}` is a table of settings, found {}", kind_of(other));
                    parsed.problems.push(Problem { place: at, what });
                }
            },
            None => {
                let all = sections.iter().flat_map(|section| &section.keys);
                // What holds for all commands is what each of them takes.
                let mut known = all.clone().filter(|known| known.name == key);
                match known.clone().find(|known| known.kind != Kind::List).or_else(|| known.next()) {
                    Some(known) => parsed.set(text, None, known, value),
                    None => {
                        let names = all.map(|known| known.name.as_str());
                        let names = names.chain(sections.iter().map(|section| section.command.as_str()));
                        parsed.problems.push(Problem { place: at, what: unknown(key, "", names) });
                    }
                }
            }
        }
    }
    // A table is in the order of its keys.
    parsed.settings.sort_by_key(|setting| (setting.place.line, setting.place.column));
    parsed.problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
    parsed
}

impl Parsed {
    fn section(&mut self, text: &str, section: &Section, table: &DeTable<'_>, sections: &[Section]) {
        for (name, value) in table {
            let key: &str = name.get_ref();
            if let Some(known) = section.keys.iter().find(|known| known.name == key) {
                self.set(text, Some(&section.command), known, value);
                continue;
            }
            let has = |other: &&Section| other.keys.iter().any(|known| known.name == key);
            let owners: Vec<&str> = sections.iter().filter(has).map(|other| other.command.as_str()).collect();
            let what = match owners.is_empty() {
                true => {
                    let names = section.keys.iter().map(|known| known.name.as_str());
                    unknown(key, &format!(" of [{}]", section.command), names)
                }
                false => format!(
                    "`{key}` is not a key of [{}]: it belongs to {}",
                    section.command,
                    owners.join(" and ")
                ),
            };
            self.problems.push(Problem { place: place(text, Some(name.span())), what });
        }
    }

    fn set(&mut self, text: &str, command: Option<&str>, key: &Key, value: &toml::Spanned<DeValue<'_>>) {
        let place = place(text, Some(value.span()));
        match values(key.kind, value.get_ref()) {
            Some(values) => self.settings.push(Setting {
                command: command.map(str::to_owned),
                key: key.name.clone(),
                values,
                place,
            }),
            None => {
                let (name, expected) = (&key.name, key.kind.words());
                let what = format!("`{name}` takes {expected}, found {}", kind_of(value.get_ref()));
                self.problems.push(Problem { place, what });
            }
        }
    }
}

/// The values as a flag's text; `None` for another type than the key's.
fn values(kind: Kind, value: &DeValue<'_>) -> Option<Vec<String>> {
    let one = |text: &str| Some(vec![text.to_owned()]);
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(flag)) => one(if *flag { "true" } else { "false" }),
        (Kind::Number, DeValue::Integer(number)) => {
            let number = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
            one(&number.to_string())
        }
        (Kind::Number, DeValue::Float(number)) => one(number.as_str()),
        (Kind::Text | Kind::List, DeValue::String(text)) => one(text),
        (Kind::List, DeValue::Array(list)) => {
            list.iter().map(|element| element.get_ref().as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn unknown<'a>(key: &str, of: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(key, known) {
        Some(near) => format!("`{key}` is not a key{of}; did you mean `{near}`?"),
        None => format!("`{key}` is not a key{of}"),
    }
}

/// The known name that is most like another, if any is.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Underscores are what other programs write.
    let name = name.replace('_', "-").to_lowercase();
    let scored = known.map(|other| (strsim::jaro_winkler(&name, other), other));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}

/// The place of a range's start; the end of the text for no range.
fn place(text: &str, span: Option<Range<usize>>) -> Place {
    let mut start = span.map_or(text.len(), |span| span.start.min(text.len()));
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |index| index + 1);
    Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> Vec<Section> {
        let key = |name: &str, kind| Key { name: name.to_owned(), kind };
        let model = key("model", Kind::Text);
        let serve = vec![
            model.clone(),
            key("port", Kind::Number),
            key("quiet", Kind::Flag),
            key("alias", Kind::List),
            key("api-key-file", Kind::Text),
        ];
        let chat = vec![model, key("effort", Kind::Text)];
        vec![
            Section { command: "serve".to_owned(), keys: serve },
            Section { command: "chat".to_owned(), keys: chat },
        ]
    }

    #[test]
    fn settings_have_values_and_places() {
        let text = "model = \"demo\"\n[serve]\nport = 0x1F90 # 8080\nquiet = true\nalias = [\"a\", \"b\"]\n\
                    [chat]\n  effort = \"high\"\n";
        let parsed = parse(text, &sections());
        assert_eq!(parsed.problems, []);
        let shown: Vec<String> = parsed
            .settings
            .iter()
            .map(|setting| {
                let command = setting.command.as_deref().unwrap_or("*");
                format!("{command} {} {} {}", setting.key, setting.values.join(","), setting.place)
            })
            .collect();
        let expect = [
            "* model demo 1:9",
            "serve port 8080 3:8",
            "serve quiet true 4:9",
            "serve alias a,b 5:9",
            "chat effort high 7:12",
        ];
        assert_eq!(shown, expect);
    }

    #[test]
    fn every_problem_has_a_place_and_a_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let problems = parse(text, &sections()).problems;
            let shown: Vec<String> =
                problems.iter().map(|problem| format!("{} {}", problem.place, problem.what)).collect();
            assert_eq!(shown, expect, "{text}");
        };
        check("prot = 1", &["1:1 `prot` is not a key; did you mean `port`?"]);
        check("\n\nzzz = 1", &["3:1 `zzz` is not a key"]);
        check("[serv]\nport = 1", &["1:2 `serv` is not a key; did you mean `serve`?"]);
        check(
            "[serve]\napi_key_file = 1",
            &["2:1 `api_key_file` is not a key of [serve]; did you mean `api-key-file`?"],
        );
        check("[serve]\neffort = \"low\"", &["2:1 `effort` is not a key of [serve]: it belongs to chat"]);
        check("port = \"8000\"", &["1:8 `port` takes a number, found a string"]);
        check(
            "quiet = 1\nalias = [1]\nmodel = []",
            &[
                "1:9 `quiet` takes true or false, found a number",
                "2:9 `alias` takes a list of strings, found a list",
                "3:9 `model` takes a string, found a list",
            ],
        );
        check("serve = 3", &["1:1 `serve` is a table of settings, found a number"]);
        check("port = 1\nport = 2", &["2:1 duplicate key"]);
    }

    /// The library shows the line it stumbles over.
    #[test]
    fn messages_hold_no_values() {
        for text in
            ["api-key = \"sk-secret", "port = sk-secret", "api-key = \"sk-secret\"", "port = \"sk-secret\""]
        {
            let problems = parse(text, &sections()).problems;
            assert!(!problems.is_empty(), "{text}");
            assert!(problems.iter().all(|problem| !problem.what.contains("sk-secret")), "{problems:?}");
        }
    }
}
