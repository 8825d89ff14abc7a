//! Rules are swapped whole or not at all.

use std::sync::Arc;

use serde_json::json;

use super::{admin, ask, audit, changed, governance, key, see};
use crate::chat::ANSWER;
use crate::scripted::Script;

/// As many mutated files.
const MUTATIONS: usize = 200;

fn rules() -> String {
    let policy = "[policies.small]\nmax_output_tokens = 50\ntools = [\"function\"]\nreasoning = \"hidden\"\n";
    let more = "scopes = [\"infer\"]\npolicy = \"small\"\nrpm_limit = 100000\nmodels = [\"scripted\"]";
    policy.to_owned() + &key("one", more) + &admin()
}

/// A small generator with a seed (splitmix64), so that every run sees the same files.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// A file with something cut, doubled, swapped or spoiled.
fn mutated(text: &str, draws: &mut Draws) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = draws.below(lines.len());
    match draws.below(5) {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        2 => lines.truncate(line),
        3 => lines[line].push_str(" ]"),
        _ => {
            let mut bytes = lines[line].clone().into_bytes();
            if bytes.is_empty() {
                bytes.push(b'x');
            }
            let at = draws.below(bytes.len());
            bytes[at] = b"\"[]=x9"[draws.below(6)];
            lines[line] = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn a_bad_reload_never_changes_what_is_served() {
    let whole = rules();
    let governance = governance(None, &whole);
    let server = changed(&governance, |app| app, Script::new(&[ANSWER]));
    let body = json!({"prompt": "hi"});
    let is_served_as_before = |place: &str| {
        assert_eq!(ask(server.address, "one", "/v1/tokenize", &body).status, 200, "{place}");
        assert_eq!(see(server.address, "one", "/metrics").status, 403, "{place}");
        assert_eq!(see(server.address, "two", "/v1/models").status, 401, "{place}");
        let asks_much = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 51});
        let answer = ask(server.address, "one", "/v1/chat/completions", &asks_much);
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (403, Some("refused_by_rules")),
            "{place}"
        );
    };
    is_served_as_before("at the start");
    let version = governance.rules().version().to_owned();
    let mut draws = Draws(0x18);
    let mut num_refused = 0;
    for number in 0..MUTATIONS {
        let text = mutated(&whole, &mut draws);
        match governance.reload(&text) {
            Err(problem) => {
                num_refused += 1;
                let num_lines = text.lines().count();
                assert!((1..=num_lines + 1).contains(&problem.line), "{number}: {problem}");
                assert!(!problem.problem.is_empty(), "{number}: {problem}");
                assert_eq!(governance.rules().version(), version, "{number}: {text}");
                is_served_as_before(&format!("{number}: {problem}\n{text}"));
            }
            Ok(other) => {
                assert_eq!(governance.rules().version(), other, "{number}");
                assert_eq!(governance.reload(&whole).as_ref(), Ok(&version), "{number}");
            }
        }
    }
    assert!(num_refused > MUTATIONS / 2, "{num_refused} of {MUTATIONS} were refused");
    let logs = audit(server.address);
    let named = |kind: &str| logs.iter().filter(|log| log["type"] == kind).count();
    assert_eq!(named("rules.refused"), num_refused);
    assert_eq!(named("rules.loaded"), 1 + 2 * (MUTATIONS - num_refused));
}

/// What holds is what was read last, for keys that are there, gone, and new; connections see it too.
#[test]
fn a_good_reload_holds_at_once() {
    let governance = governance(None, &(key("one", "") + &admin()));
    let server = changed(&governance, |app| app, Script::new(&[ANSWER]));
    let status = |name: &str| see(server.address, name, "/v1/models").status;
    assert_eq!((status("one"), status("two")), (200, 401));
    let revoked = key("one", "revoked_at = 2020-01-01T00:00:00Z");
    Arc::clone(&governance).reload(&(revoked + &key("two", "") + &admin())).unwrap();
    assert_eq!((status("one"), status("two")), (401, 200));
    let logs = audit(server.address);
    let of = |kind: &str| logs.iter().find(|log| log["type"] == kind).cloned().unwrap_or_default();
    assert_eq!(of("api_key.created")["api_key.created"]["data"]["name"], "two");
    assert_eq!(of("api_key.deleted")["api_key.deleted"]["data"]["name"], "one");
}
