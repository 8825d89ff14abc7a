//! `key`, `policy` and `audit`: a file of rules from its first key on, what it says to requests, and a chain.

use std::fs;

use gptoss_govern::{Entry, Event, Journal, Rules};
use serde_json::Value;

use crate::program::run;

/// A moment. Units: milliseconds since 1970.
const NOW: i64 = 1_795_996_800_000;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_key_is_drawn_listed_rotated_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    let file = path.to_str().unwrap();
    let rules = || Rules::parse(&fs::read_to_string(&path).unwrap()).unwrap();
    fs::write(&path, "# Ours.\n[policies.p]\neffort_max = \"low\" # for now\n").unwrap();
    let flags = ["--policy", "p", "--scope", "infer,tools", "--rpm-limit", "60", "--expires", "90d"];
    let ran = run(&[&["key", "new", "clinic", "--rules", file][..], &flags].concat());
    assert!(ran.stderr.contains("this once"), "{}", ran.stderr);
    let secret = ran.ok();
    let secret = secret.trim_end();
    assert!(
        secret.starts_with("sk-gptoss-") && secret.len() == 71 && !secret.contains(char::is_whitespace),
        "{secret}"
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# Ours.\n[policies.p]\neffort_max = \"low\" # for now\n") && !text.contains(secret)
    );
    assert_eq!(rules().identify(secret, 0).unwrap().limits.rpm, Some(60));
    let listed = run(&["key", "list", "--rules", file]).ok();
    assert!(
        listed.contains("clinic") && listed.contains("in force") && listed.contains("infer,tools"),
        "{listed}"
    );
    let keys = json(&run(&["key", "list", "--rules", file, "--json"]).ok());
    assert_eq!((&keys[0]["name"], &keys[0]["policy"]), (&"clinic".into(), &"p".into()), "{keys}");
    assert!(!listed.contains(secret) && !keys.to_string().contains(secret));
    // A new secret at once: the old one is over.
    let rotated = json(&run(&["key", "rotate", "clinic", "--rules", file, "--grace", "0s", "--json"]).ok());
    let second = rotated["key"].as_str().unwrap();
    assert!(rules().identify(secret, seconds()).is_err());
    assert!(rules().identify(second, 0).is_ok());
    let revoked = run(&["key", "revoke", rotated["id"].as_str().unwrap(), "--rules", file]).ok();
    assert!(revoked.contains(rotated["id"].as_str().unwrap()), "{revoked}");
    assert!(rules().identify(second, seconds()).is_err());
    run(&["key", "revoke", "clinic", "--remove", "--rules", file]).ok();
    assert_eq!(rules().keys().len(), 0);
    assert!(fs::read_to_string(&path).unwrap().contains("# for now"));
}

/// Units: seconds since 1970.
fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_first_key_makes_the_file_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    let file = path.to_str().unwrap();
    run(&["key", "new", "a", "--rules", file]).ok();
    let text = fs::read_to_string(&path).unwrap();
    run(&["key", "new", "b", "--rules", file, "--group", "none"])
        .fails(1, &["rules.toml:", "no group \"none\""]);
    run(&["key", "new", "b", "--rules", file, "--scope", "root"]).fails(2, &["infer, raw_reasoning"]);
    run(&["key", "rotate", "nobody", "--rules", file]).fails(1, &["no key \"nobody\""]);
    run(&["key", "revoke", "nobody", "--rules", file]).fails(1, &["no key \"nobody\""]);
    run(&["key", "list", "--rules", "/no/such.toml"]).fails(1, &["cannot read", "/no/such.toml"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn rules_are_checked_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    let file = path.to_str().unwrap();
    fs::write(&path, "[policies.p]\neffort_max = \"medium\"\ntools = [\"mcp:docs\"]\n[groups.g]\n").unwrap();
    run(&["key", "new", "a", "--rules", file, "--policy", "p", "--scope", "infer,tools"]).ok();
    let checked = run(&["policy", "check", file]).ok();
    assert!(
        checked.contains("the rules are valid: version ") && checked.contains("1 keys, 1 groups"),
        "{checked}"
    );
    assert!(checked.contains("no key is in the group \"g\""), "{checked}");
    let ask = ["policy", "explain", file, "--key", "a", "--model", "m"];
    let explained = run(&[&ask[..], &["--effort", "low", "--tool", "mcp:docs"]].concat()).ok();
    assert!(explained.starts_with("allowed: the key \"a\" and the policy \"p\" pass"), "{explained}");
    let refused = run(&[&ask[..], &["--effort", "high", "--json"]].concat());
    assert_eq!(refused.code, 3, "{}", refused.stdout);
    let report = json(&refused.stdout);
    assert_eq!(report["reason"], "the policy \"p\": the effort \"high\" is above its effort_max \"medium\"");
    assert_eq!((&report["allowed"], &report["reasoning"]), (&false.into(), &"summary".into()));
    let refused = run(&[&ask[..], &["--tool", "python"]].concat());
    assert!(
        refused.code == 3 && refused.stdout.contains("the tool \"python\" is not among"),
        "{}",
        refused.stdout
    );
    run(&["key", "revoke", "a", "--rules", file]).ok();
    let over = run(&ask);
    assert!(over.code == 3 && over.stdout.starts_with("refused: the key \"a\" ("), "{}", over.stdout);
    assert!(over.stdout.contains("was revoked"), "{}", over.stdout);
    run(&["policy", "explain", file, "--key", "b", "--model", "m"]).fails(1, &["no key \"b\""]);
    run(&[&ask[..], &["--tool", "pyton"]].concat()).fails(2, &["python"]);
    fs::write(&path, "\n[policies.p]\neffort = 1\n").unwrap();
    run(&["policy", "check", file]).fails(1, &["rules.toml:3: unknown field `effort`"]);
    let wrong = run(&["policy", "check", file, "--json"]);
    assert_eq!((wrong.code, &json(&wrong.stdout)["problem"]["line"]), (1, &3.into()), "{}", wrong.stdout);
}

#[test]
fn a_chain_is_exported_verified_and_found_broken() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let [state_dir, file] =
        [&state, &folder.path().join("out.jsonl")].map(|path| path.to_str().unwrap().to_owned());
    let verify = ["audit", "verify", "--state-dir", &state_dir];
    run(&verify).fails(1, &["there is no journal here"]);
    let journal = Journal::open(Some(&state), NOW).unwrap();
    for _ in 0..3 {
        journal.record(Entry { reason: "for a test".into(), ..Entry::new(Event::RulesLoaded) }, NOW).unwrap();
    }
    // Beside the one who writes, and after it.
    let whole = run(&verify).ok();
    assert!(
        whole.contains("the chain is whole: 3 entries") && whole.contains("2026-11-30T00:00:00Z"),
        "{whole}"
    );
    drop(journal);
    let report = json(&run(&[&verify[..], &["--json"]].concat()).ok());
    let head = report["head"].as_str().unwrap();
    assert_eq!((&report["entries"], &report["gaps"]), (&3.into(), &0.into()), "{report}");
    run(&[&verify[..], &["--expect", head]].concat()).ok();
    let other = format!("3:{}", "00".repeat(32));
    assert_eq!(run(&[&verify[..], &["--expect", &other]].concat()).code, 1);
    let exported = run(&["audit", "export", "--state-dir", &state_dir]).ok();
    assert_eq!((exported.lines().count(), exported.lines().last().unwrap().contains("\"head\"")), (4, true));
    fs::write(&file, &exported).unwrap();
    let verify_file = ["audit", "verify", "--file", &file];
    run(&[&verify_file[..], &["--expect", head]].concat()).ok();
    fs::write(&file, exported.replacen("for a test", "for a text", 1)).unwrap();
    let broken = run(&verify_file);
    assert_eq!(broken.code, 1);
    assert_eq!(broken.stdout, "broken: entry 1: it was changed: its hash is another one\n");
    let part = run(&["audit", "export", "--state-dir", &state_dir, "--after", "2"]).ok();
    fs::write(&file, part).unwrap();
    let report = json(&run(&[&verify_file[..], &["--after", "2", "--json"]].concat()).ok());
    assert_eq!(report["entries"], 1);
    run(&["audit", "verify"]).fails(2, &["--state-dir"]);
}
