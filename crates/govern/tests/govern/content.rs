//! What was said, where a policy has it kept: compared with the chain, exported when asked for, and erased.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use gptoss_govern::{
    Audit, ContentRule, Entry, EntryQuery, Erasure, Event, Journal, JournalError, NotVerified, Said, Spoken,
    Summary, Texts, erase_content, verify_export,
};
use rusqlite::{Connection, TransactionBehavior};

use super::{NOW, key, rules};

const CANARY: &str = "zanzibar7f3a";

fn spoken(text: &str) -> Option<Spoken> {
    Some(Spoken { text: text.to_owned(), bytes: text.len() as u64 })
}

fn entry(tenant: &str, id: &str) -> Entry {
    Entry { tenant: tenant.to_owned(), request_id: id.to_owned(), ..Entry::new(Event::RequestContent) }
}

/// Four entries, three of which have texts.
fn write(folder: &Path) -> Journal {
    let journal = Journal::open(Some(folder), NOW).unwrap();
    let keep = |tenant: &str, id: &str, said: &Said, now| {
        journal.record_said(entry(tenant, id), said, now).unwrap();
    };
    let long = format!("{CANARY} {}", "x".repeat(9_000));
    let prompt = spoken(CANARY);
    keep("a", "req-1", &Said { prompt: prompt.clone(), answer: spoken(&long), salt: [1; 32] }, NOW);
    journal.record(Entry::new(Event::LoginFailed), NOW + 1).unwrap();
    keep("b", "req-2", &Said { prompt: prompt.clone(), answer: None, salt: [2; 32] }, NOW + 2);
    keep(
        "b",
        "req-3",
        &Said { prompt: None, answer: spoken("\"quoted\"\n\u{1F600}"), salt: [3; 32] },
        NOW + 3,
    );
    journal
}

fn whole(folder: &Path) -> Summary {
    Audit::open(folder).unwrap().verify(None).unwrap()
}

fn exported(folder: &Path, texts: Texts) -> String {
    let mut out = Vec::new();
    Audit::open(folder).unwrap().export(&mut out, 0, texts).unwrap();
    String::from_utf8(out).unwrap()
}

/// Whether the word stands in any file of the folder.
fn is_there(folder: &Path, word: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|file| {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    })
}

#[test]
fn texts_are_kept_beside_the_chain_and_leave_it_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let journal = write(folder.path());
    let summary = whole(folder.path());
    assert_eq!((summary.num_entries, summary.num_said, summary.num_unsaid), (4, 3, 0));
    assert_eq!(journal.verify().unwrap(), summary);
    let entries = journal.entries(&EntryQuery::default()).unwrap();
    let prompt = |place: usize| entries[place].content.as_ref().unwrap().prompt.clone().unwrap();
    assert_eq!((prompt(0).bytes, prompt(0).kept), (12, 12));
    assert_ne!(prompt(0).sha256, prompt(2).sha256, "one text under two salts");
    let without = exported(folder.path(), Texts::Without);
    assert!(!without.contains(CANARY) && without.lines().count() == 5, "{without}");
    let found = verify_export(without.as_bytes(), 0).unwrap();
    assert_eq!((found.head, found.num_said, found.num_unsaid), (summary.head, 0, 3));
    let with = exported(folder.path(), Texts::With);
    assert_eq!((with.lines().count(), with.matches(CANARY).count()), (8, 3));
    assert_eq!(verify_export(with.as_bytes(), 0).unwrap(), summary);
}

#[test]
fn any_byte_of_texts_that_is_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path()));
    let database = Connection::open(folder.path().join("govern.sqlite3")).unwrap();
    let check = |change: &str, at: Option<u64>| {
        database.execute_batch(&format!("SAVEPOINT one; {change}; RELEASE one")).unwrap();
        match Audit::open(folder.path()).unwrap().verify(None) {
            Err(NotVerified::Broken(found)) => assert_eq!(found.at, at, "{change}: {found}"),
            other => panic!("{change}: {other:?}"),
        }
    };
    let back = "UPDATE texts_1 SET prompt = (SELECT prompt FROM kept WHERE kept.seq = texts_1.seq),
        answer = (SELECT answer FROM kept WHERE kept.seq = texts_1.seq),
        salt = (SELECT salt FROM kept WHERE kept.seq = texts_1.seq)";
    database.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM texts_1").unwrap();
    for change in [
        "UPDATE texts_1 SET prompt = prompt || ' ' WHERE seq = 1",
        "UPDATE texts_1 SET answer = replace(answer, 'x', 'y') WHERE seq = 1",
        "UPDATE texts_1 SET answer = NULL WHERE seq = 1",
        "UPDATE texts_1 SET salt = zeroblob(32) WHERE seq = 1",
        "UPDATE texts_1 SET salt = x'00' WHERE seq = 1",
    ] {
        check(change, Some(1));
        database.execute_batch(back).unwrap();
    }
    check("UPDATE texts_1 SET answer = 'more' WHERE seq = 3", Some(3));
    database.execute_batch(back).unwrap();
    whole(folder.path());
    check("INSERT INTO texts_1 (seq, salt) VALUES (2, zeroblob(32))", None);
    check("DELETE FROM texts_1 WHERE seq >= 2", Some(3));
    // An export too, line by line.
    drop(database);
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path()));
    let text = exported(folder.path(), Texts::With);
    let (mut said, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        if !line.starts_with("{\"said\"") {
            continue;
        }
        said += 1;
        for place in (begin..at).step_by(1 + line.len() / 200) {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1;
            assert!(verify_export(bytes.as_slice(), 0).is_err(), "byte {place}: {}", &text[begin..place]);
        }
        let twice = format!("{}{line}{}", &text[..at], &text[at..]);
        assert!(verify_export(twice.as_bytes(), 0).is_err());
    }
    assert_eq!(said, 3);
}

/// The right to erasure: the texts are in no file any more, and the chain is as whole as before.
#[test]
fn texts_are_erased_and_the_chain_verifies() {
    let folder = tempfile::tempdir().unwrap();
    // The server goes on meanwhile.
    let journal = write(folder.path());
    assert!(is_there(folder.path(), CANARY));
    let erase = |erasure: Erasure<'_>| erase_content(folder.path(), &erasure, NOW + 9).unwrap();
    assert_eq!(erase(Erasure { tenant: Some("nobody"), ..Erasure::default() }), 0);
    assert_eq!(erase(Erasure { tenant: Some("b"), before_ms: Some(NOW + 3), ..Erasure::default() }), 1);
    assert!(exported(folder.path(), Texts::With).contains(CANARY), "of the other tenant");
    assert_eq!(erase(Erasure { request_id: Some("req-1"), ..Erasure::default() }), 1);
    assert!(!is_there(folder.path(), CANARY));
    let summary = whole(folder.path());
    assert_eq!((summary.num_entries, summary.num_said, summary.num_unsaid), (4, 1, 2));
    assert_eq!(erase(Erasure::default()), 1);
    assert_eq!(erase(Erasure::default()), 0);
    journal.record(Entry::new(Event::LoginFailed), NOW + 10).unwrap();
    assert_eq!((whole(folder.path()).num_entries, whole(folder.path()).num_unsaid), (5, 3));
    let export = exported(folder.path(), Texts::With);
    assert_eq!(export.lines().count(), 6, "{export}");
}

/// Pages that were split left copies in their gaps.
#[test]
fn nothing_is_left_of_many_texts() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    for number in 0..60_u8 {
        let text = format!("{CANARY} {}", "y".repeat(40 * usize::from(number)));
        let said = Said { prompt: spoken(&text), answer: spoken(&text), salt: [number; 32] };
        journal.record_said(entry("a", "req"), &said, NOW).unwrap();
    }
    assert_eq!(erase_content(folder.path(), &Erasure::default(), NOW).unwrap(), 60);
    assert!(!is_there(folder.path(), CANARY));
    assert_eq!(whole(folder.path()).num_unsaid, 60);
}

/// So many texts of a tenant's with the word, of so many bytes each.
fn fill(journal: &Journal, (tenant, word): (&str, &str), num: usize, bytes: usize) {
    for number in 0..num {
        let text = format!("{word} {number} {}", "y".repeat(number * bytes * 2 / num));
        let said = Said { prompt: spoken(&text[..text.len() / 9]), answer: spoken(&text), salt: [7; 32] };
        journal.record_said(entry(tenant, "req"), &said, NOW).unwrap();
    }
}

/// How long the longest of many small changes by a writer of its own took, until it is told to end.
fn longest_wait(folder: &Path, busy: Duration, ends: &AtomicBool) -> Result<Duration, rusqlite::Error> {
    let mut database = Connection::open(folder.join("govern.sqlite3"))?;
    database.busy_timeout(busy)?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    // A new table takes a page of a text's, and would leave a copy in it.
    database.query_row("PRAGMA secure_delete = FAST", [], |_| Ok(()))?;
    database.execute_batch("CREATE TABLE IF NOT EXISTS probe (number INTEGER)")?;
    let mut longest = Duration::ZERO;
    while !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute("INSERT INTO probe VALUES (1)", [])?;
        change.commit()?;
        longest = longest.max(begun.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(longest)
}

/// `VACUUM` kept requests waiting for a second or so for each 100 MB, and those that waited for more than
/// their patience failed. A writer of little patience goes on beside the erasure, and texts that come
/// meanwhile stay. It cannot flake but on a machine that stands still for a fifth of a second in a step.
#[test]
fn a_writer_of_little_patience_goes_on_while_much_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    for _ in 0..4 {
        fill(&journal, ("a", CANARY), 100, 50_000);
        fill(&journal, ("b", "other"), 100, 10_000);
    }
    let size = || fs::metadata(folder.path().join("govern.sqlite3")).unwrap().len();
    assert!(is_there(folder.path(), CANARY));
    let ends = AtomicBool::new(false);
    let num_written = thread::scope(|scope| {
        let probe = scope.spawn(|| longest_wait(folder.path(), Duration::from_millis(200), &ends));
        let writer = scope.spawn(|| {
            let mut num = 0;
            while !ends.load(Ordering::Relaxed) {
                fill(&journal, ("a", "meanwhile"), 1, 100);
                num += 1;
                thread::sleep(Duration::from_millis(1));
            }
            num
        });
        let erasure = Erasure { tenant: Some("a"), before_ms: Some(NOW + 1), ..Erasure::default() };
        let num = erase_content(folder.path(), &erasure, NOW);
        ends.store(true, Ordering::Relaxed);
        probe.join().unwrap().unwrap();
        let (num, written) = (num.unwrap(), writer.join().unwrap());
        assert!((400..=400 + written).contains(&num), "{num} of 400 and some of {written}");
        400 + 400 + written
    });
    assert!(!is_there(folder.path(), CANARY));
    let summary = whole(folder.path());
    assert_eq!(summary.num_said + summary.num_unsaid, num_written);
    assert!(exported(folder.path(), Texts::With).matches("other 99").count() == 8);
    // The room is given back, and nothing of the rest stays.
    let before = size();
    assert_eq!(erase_content(folder.path(), &Erasure::default(), NOW).unwrap(), summary.num_said);
    assert!(!is_there(folder.path(), "other 99") && !is_there(folder.path(), "meanwhile"));
    assert!(before < 16_000_000 && size() < before / 2, "{before} {}", size());
}

/// A pass that a kill broke off: its rows are in both tables, and the next goes on.
#[test]
fn what_a_pass_left_is_moved_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    fill(&journal, ("a", CANARY), 50, 3_000);
    let database = Connection::open(folder.path().join("govern.sqlite3")).unwrap();
    database
        .execute_batch(
            "UPDATE texts_place SET place = 1;
             INSERT INTO texts_2 (seq, salt, prompt, answer)
                 SELECT seq, salt, prompt, answer FROM texts_1 WHERE seq <= 20;
             DELETE FROM texts_1 WHERE seq <= 20;",
        )
        .unwrap();
    drop(database);
    fill(&journal, ("b", "other"), 5, 10);
    assert_eq!(whole(folder.path()).num_said, 55);
    let of_a = Erasure { tenant: Some("a"), ..Erasure::default() };
    assert_eq!(erase_content(folder.path(), &of_a, NOW).unwrap(), 50);
    assert!(!is_there(folder.path(), CANARY) && is_there(folder.path(), "other"));
    assert_eq!((whole(folder.path()).num_said, whole(folder.path()).num_unsaid), (5, 50));
}

/// Texts that a program before wrote into the one table that it had.
#[test]
fn texts_of_version_2_are_read_and_erased() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    fill(&journal, ("a", CANARY), 60, 3_000);
    let summary = whole(folder.path());
    drop(journal);
    let database = Connection::open(folder.path().join("govern.sqlite3")).unwrap();
    database
        .execute_batch(
            "INSERT INTO contents (seq, salt, prompt, answer) SELECT seq, salt, prompt, answer FROM texts_1;
             DROP VIEW said; DROP TABLE texts_1; DROP TABLE texts_2; DROP TABLE texts_place;
             PRAGMA user_version = 2",
        )
        .unwrap();
    assert_eq!(whole(folder.path()), summary, "as it lies");
    drop(database);
    let one = Erasure { before_ms: Some(NOW), ..Erasure::default() };
    assert_eq!(erase_content(folder.path(), &one, NOW).unwrap(), 0);
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    assert_eq!(journal.verify().unwrap(), summary);
    fill(&journal, ("a", CANARY), 3, 30);
    assert_eq!(erase_content(folder.path(), &Erasure::default(), NOW).unwrap(), 63);
    assert!(!is_there(folder.path(), CANARY));
    assert_eq!(whole(folder.path()).num_unsaid, 63);
}

#[test]
fn one_erases_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path()));
    let lock = fs::File::create(folder.path().join("govern.erase.lock")).unwrap();
    lock.lock().unwrap();
    let error = erase_content(folder.path(), &Erasure::default(), NOW).unwrap_err();
    assert!(matches!(error, JournalError::Erasing { .. }), "{error}");
    lock.unlock().unwrap();
    assert_eq!(erase_content(folder.path(), &Erasure::default(), NOW).unwrap(), 3);
}

/// 600 MB: `--ignored --nocapture much_is_erased` tells the longest wait of a writer beside it.
#[test]
#[ignore = "a measurement of minutes"]
fn much_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    let num: usize = 600 * 16;
    fill(&journal, ("a", CANARY), num, 64 << 10);
    let file = folder.path().join("govern.sqlite3");
    println!("{} bytes", fs::metadata(&file).unwrap().len());
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let probe = scope.spawn(|| longest_wait(folder.path(), Duration::from_secs(5), &ends));
        let begun = Instant::now();
        let erased = erase_content(folder.path(), &Erasure::default(), NOW);
        ends.store(true, Ordering::Relaxed);
        println!("{} erased in {:?}", erased.unwrap(), begun.elapsed());
        println!("longest wait of a writer: {:?}", probe.join().unwrap().unwrap());
    });
    println!("{} bytes", fs::metadata(&file).unwrap().len());
    assert!(!is_there(folder.path(), CANARY));
}

/// A journal of before there were texts: its hashes are what they were, for a reader and for a server.
#[test]
fn a_journal_of_version_1_is_read_and_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    journal.record(entry("a", "req-1"), NOW).unwrap();
    let head = journal.head();
    drop(journal);
    let database = Connection::open(folder.path().join("govern.sqlite3")).unwrap();
    database
        .execute_batch(
            "DROP VIEW said; DROP TABLE texts_1; DROP TABLE texts_2; DROP TABLE texts_place;
             DROP TABLE contents; DROP INDEX entries_content; ALTER TABLE entries DROP COLUMN content;
             ALTER TABLE entries DROP COLUMN judged_input; ALTER TABLE entries DROP COLUMN judged_output;
             PRAGMA user_version = 1",
        )
        .unwrap();
    let version = || database.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((whole(folder.path()).head, version()), (head, 1));
    assert_eq!(exported(folder.path(), Texts::With).lines().count(), 2);
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    assert_eq!((journal.verify().unwrap().head, version()), (head, 3));
    database.execute_batch("PRAGMA user_version = 4").unwrap();
    assert!(Audit::open(folder.path()).unwrap_err().to_string().contains("version 4"));
}

#[test]
fn what_is_kept_is_what_each_policy_that_says_anything_keeps() {
    let policies = "[policies.both]\naudit_content = \"both\"\naudit_content_max_bytes = 100\n\
        [policies.prompt]\naudit_content = \"prompt\"\n[policies.none]\naudit_content = \"none\"\n\
        [policies.silent]\n[policies.shadow]\nmode = \"shadow\"\naudit_content = \"both\"\n\
        [groups.g]\npolicy = \"both\"\n";
    let key_of = |name, more| (name, more);
    let rules = rules(
        policies,
        &[
            key_of("plain", ""),
            key_of("own", "policy = \"prompt\""),
            key_of("ofgroup", "group = \"g\""),
            key_of("silent", "group = \"g\"\npolicy = \"silent\""),
            key_of("lesser", "group = \"g\"\npolicy = \"prompt\""),
            key_of("none", "group = \"g\"\npolicy = \"none\""),
            key_of("shadow", "policy = \"shadow\""),
        ],
    );
    let check = |name, expect: Option<(bool, bool, usize)>| {
        let expect = expect.map(|(has_prompt, has_answer, max_bytes)| ContentRule {
            has_prompt,
            has_answer,
            max_bytes,
        });
        assert_eq!(rules.content(key(&rules, name)), expect, "{name}");
    };
    check("plain", None);
    check("own", Some((true, false, 256 << 10)));
    check("ofgroup", Some((true, true, 100)));
    check("silent", Some((true, true, 100)));
    check("lesser", Some((true, false, 100)));
    check("none", None);
    check("shadow", None);
    let wrong = |line: &str| {
        let problem = gptoss_govern::Rules::parse(&format!("[policies.p]\n{line}\n")).unwrap_err();
        assert_eq!(problem.line, 2, "{problem}");
    };
    wrong("audit_content = \"all\"");
    wrong("audit_content_max_bytes = 0");
    wrong("audit_content_max_bytes = 16777217");
}
