//! The chain under mutation: whatever is changed, removed, swapped or added is found, with its place.

use std::fs;
use std::path::Path;

use gptoss_govern::{
    Audit, Break, Charge, Entry, EntryQuery, Event, Head, Journal, JournalError, NotVerified, Record, Rules,
    Summary, Texts, Used, verify_export,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::Connection;

use super::{NOW, key, rules};

/// Entries of the chains below.
const ENTRIES: u64 = 12;

fn budgets() -> Rules {
    rules(
        "[groups.g]\nmax_budget = { tokens = 100000 }\n",
        &[("a", "group = \"g\"\nmax_budget = { tokens = 100000 }")],
    )
}

/// A journal of [`ENTRIES`] entries of several kinds.
fn write(folder: &Path) {
    let journal = Journal::open(Some(folder), NOW).unwrap();
    let rules = budgets();
    journal.record(Entry { reason: "ruleß".into(), ..Entry::new(Event::RulesLoaded) }, NOW).unwrap();
    for index in 1..ENTRIES {
        let now = NOW + index as i64;
        let ticket = journal.admit(key(&rules, "a"), Charge { tokens: 50, micro_usd: 5 }, now).unwrap();
        if index % 4 == 0 {
            journal.refund(ticket, now).unwrap();
            continue;
        }
        let entry = Entry {
            model: "gpt-oss-20b".into(),
            adapter: "triage".into(),
            policy_version: "0123456789ab".into(),
            decision: "allowed".into(),
            reason: "the key \"a\" has no policy".into(),
            route: "local".into(),
            used: Used { input: 7 * index, cached: index, output: 3, micro_usd: 2, ..Used::default() },
            status: 200,
            request_id: format!("req-{index}"),
            ..Entry::new(Event::Request)
        };
        journal.settle_and_record(ticket, entry, now).unwrap();
    }
}

fn database(folder: &Path) -> Connection {
    Connection::open(folder.join("govern.sqlite3")).unwrap()
}

/// Where the journal of the folder is broken.
fn broken(folder: &Path) -> Break {
    match Audit::open(folder).unwrap().verify(None) {
        Err(NotVerified::Broken(found)) => found,
        other => panic!("{other:?}"),
    }
}

fn whole(folder: &Path) -> Summary {
    Audit::open(folder).unwrap().verify(None).unwrap()
}

#[test]
fn a_chain_that_nobody_touched_verifies_and_its_entries_are_told() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let summary = whole(folder.path());
    assert_eq!((summary.head.count, summary.num_entries, summary.num_gaps), (ENTRIES, ENTRIES, 0));
    assert_eq!((summary.first_ms, summary.last_ms), (Some(NOW), Some(NOW + ENTRIES as i64 - 1)));
    let audit = Audit::open(folder.path()).unwrap();
    let ask = |query: EntryQuery<'_>| {
        audit.entries(&query).unwrap().iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    assert_eq!(ask(EntryQuery { limit: 2, newest_first: true, ..EntryQuery::default() }), [12, 11]);
    assert_eq!(ask(EntryQuery { after: Some(4), before: Some(7), ..EntryQuery::default() }), [5, 6]);
    assert_eq!(ask(EntryQuery { events: &[Event::RequestRefunded], ..EntryQuery::default() }), [5, 9]);
    assert_eq!(
        ask(EntryQuery { from_ms: Some(NOW + 10), until_ms: Some(NOW + 11), ..EntryQuery::default() }),
        [11]
    );
    assert_eq!(ask(EntryQuery { actors: &["b"], ..EntryQuery::default() }), [0; 0]);
    assert_eq!(ask(EntryQuery { tenants: &["a"], limit: 1, ..EntryQuery::default() }), [2]);
    let two = audit.entries(&EntryQuery { limit: 2, ..EntryQuery::default() }).unwrap();
    assert_eq!(two[1].prev, Head { count: 1, hash: two[0].hash }.to_hex());
}

#[test]
fn every_column_of_every_row_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let connection = database(folder.path());
    let columns: Vec<(String, String)> = connection
        .prepare("SELECT name, type FROM pragma_table_info('entries') WHERE name != 'seq'")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(columns.len(), 24);
    for seq in 1..=ENTRIES as i64 {
        for (column, kind) in &columns {
            // Text and hashes by their last byte, numbers by one.
            let other = match (kind.as_str(), column.as_str()) {
                ("TEXT", "event") => "'login.failed'".to_owned(),
                ("TEXT", _) => format!("coalesce({column}, '') || 'x'"),
                ("BLOB", _) => format!(
                    "CAST(substr({column}, 1, 31) || iif(substr({column}, 32) = x'00', x'01', x'00') AS BLOB)"
                ),
                (_, "ticket") => format!("coalesce({column}, 0) + 1000"),
                _ => format!("{column} + 1"),
            };
            let change = format!("UPDATE entries SET {column} = {other} WHERE seq = {seq}");
            let kept =
                format!("CREATE TEMP TABLE kept AS SELECT {column} AS was FROM entries WHERE seq = {seq}");
            connection.execute_batch(&format!("{kept}; {change};")).unwrap();
            let verified = Audit::open(folder.path()).unwrap().verify(None);
            let Err(NotVerified::Broken(found)) = verified else { panic!("{column} of {seq}: {verified:?}") };
            assert_eq!(found.at, Some(seq as u64), "{column} of {seq}: {found}");
            let back = format!("UPDATE entries SET {column} = (SELECT was FROM kept) WHERE seq = {seq}");
            connection.execute_batch(&format!("{back}; DROP TABLE kept;")).unwrap();
        }
    }
    whole(folder.path());
}

/// One change of a chain by SQL, and the place at which it is found.
fn check(change: &str, expect: u64) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    database(folder.path()).execute_batch(change).unwrap();
    let found = broken(folder.path());
    assert_eq!(found.at, Some(expect), "{change}: {found}");
}

#[test]
fn rows_that_are_removed_swapped_repeated_or_added_are_found() {
    for seq in 1..=ENTRIES {
        check(&format!("DELETE FROM entries WHERE seq = {seq}"), seq);
        // Those behind moved up, so that no number is missing.
        let close = format!(
            "DELETE FROM entries WHERE seq = {seq};
             UPDATE entries SET seq = -seq WHERE seq > {seq}; UPDATE entries SET seq = -seq - 1 WHERE seq < 0"
        );
        check(&close, seq);
        if seq < ENTRIES {
            let swap = format!(
                "UPDATE entries SET seq = -1 WHERE seq = {seq};
                 UPDATE entries SET seq = {seq} WHERE seq = {seq} + 1;
                 UPDATE entries SET seq = {seq} + 1 WHERE seq = -1"
            );
            check(&swap, seq);
        }
    }
    let copy = "CREATE TEMP TABLE copy AS SELECT * FROM entries WHERE seq = 1;
        UPDATE copy SET seq = (SELECT max(seq) + 1 FROM entries); INSERT INTO entries SELECT * FROM copy;";
    check(copy, ENTRIES + 1);
    check("DELETE FROM entries", 1);
    check("DELETE FROM entries WHERE seq > 5", 6);
    check(
        "INSERT INTO entries SELECT 0, at_ms, admitted_ms, event, actor, tenant, team, model, adapter, \
        policy_version, decision, reason, route, input, cached, output, charged_tokens, charged_micro_usd, NULL, \
        status, request_id, hash, 0, 0, NULL FROM entries WHERE seq = 1",
        1,
    );
}

#[test]
fn a_budget_that_is_not_the_sum_of_its_entries_is_found() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    database(folder.path())
        .execute_batch("UPDATE windows SET spent = spent - 1 WHERE account = 'group:g'")
        .unwrap();
    let found = broken(folder.path());
    assert_eq!(found.at, None);
    assert!(found.why.contains("the budget of group:g says"), "{found}");
}

/// What was computed rightly and does not come from the server: the file beside and a head that was kept
/// elsewhere know where the chain ended.
#[test]
fn an_entry_that_was_forged_with_its_hash_is_past_the_end() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let kept = whole(folder.path()).head;
    let head = fs::read(folder.path().join("govern.head")).unwrap();
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    journal.record(Entry::new(Event::ServerStarted), NOW).unwrap();
    drop(journal);
    // The forger puts the file back, or takes it away, or has none.
    fs::write(folder.path().join("govern.head"), &head).unwrap();
    assert_eq!(broken(folder.path()).at, Some(ENTRIES + 1));
    fs::remove_file(folder.path().join("govern.head")).unwrap();
    assert!(broken(folder.path()).why.contains("missing"));
    fs::write(folder.path().join("govern.head"), "what?\n").unwrap();
    assert!(broken(folder.path()).why.contains("cannot be read"));
    // The server starts all the same, and the chain says what it found.
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    assert_eq!(journal.verify().unwrap().num_gaps, 1);
    drop(journal);
    assert_eq!(whole(folder.path()).num_gaps, 1);
    let audit = Audit::open(folder.path()).unwrap();
    assert!(audit.verify(Some(kept)).is_ok(), "the chain goes through the head that was kept");
    let other = Head { hash: [7; 32], ..kept };
    let Err(NotVerified::Broken(found)) = audit.verify(Some(other)) else { panic!() };
    assert_eq!(found.at, Some(ENTRIES));
    let Err(NotVerified::Broken(found)) = audit.verify(Some(Head { count: 99, ..kept })) else { panic!() };
    assert!(found.why.contains("the tail is cut: there were 99"), "{found}");
}

#[test]
fn a_chain_is_read_beside_the_server_that_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let journal = Journal::open(Some(folder.path()), NOW).unwrap();
    let audit = Audit::open(folder.path()).unwrap();
    assert!(audit.is_in_use());
    for count in 1..5 {
        journal.record(Entry::new(Event::LoginFailed), NOW).unwrap();
        assert_eq!(audit.verify(None).unwrap().head.count, ENTRIES + count);
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Audit::open(empty.path()), Err(JournalError::Missing { .. })));
}

fn export(folder: &Path, after: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Audit::open(folder).unwrap().export(&mut out, after, Texts::Without).unwrap();
    out
}

fn exported(bytes: &[u8], after: u64) -> Result<Summary, Break> {
    verify_export(bytes, after).map_err(|error| match error {
        NotVerified::Broken(found) => found,
        NotVerified::Journal(error) => panic!("{error}"),
    })
}

#[test]
fn any_byte_of_an_export_that_is_changed_is_found_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let bytes = export(folder.path(), 0);
    assert_eq!(exported(&bytes, 0).unwrap(), whole(folder.path()));
    let mut line = 1;
    for place in 0..bytes.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[place] ^= bit;
            let found = exported(&changed, 0).unwrap_err();
            assert_eq!(found.at, Some(line), "byte {place}: {found}");
        }
        line += u64::from(bytes[place] == b'\n');
    }
    assert_eq!(line, ENTRIES + 2);
}

#[test]
fn lines_of_an_export_that_are_removed_swapped_repeated_or_added_are_found() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let bytes = export(folder.path(), 0);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let check = |lines: Vec<&[u8]>, expect: usize| {
        let found = exported(&lines.concat(), 0).unwrap_err();
        assert_eq!(found.at, Some(expect as u64 + 1), "{found}");
    };
    for at in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(at);
        check(removed, at);
        let mut repeated = lines.clone();
        repeated.insert(at, lines[at]);
        check(repeated, if at < ENTRIES as usize { at + 1 } else { at });
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            check(swapped, at);
        }
        check(lines[..at].to_vec(), at);
        let mut added = lines.clone();
        added.insert(at, b"{}\n");
        check(added, at);
    }
    for end in ["x", "\n", "{}"] {
        let mut more = lines.clone();
        more.push(end.as_bytes());
        check(more, ENTRIES as usize);
    }
}

#[test]
fn a_part_of_a_chain_is_verified_from_where_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let part = export(folder.path(), 5);
    let summary = exported(&part, 5).unwrap();
    assert_eq!((summary.num_entries, summary.head), (ENTRIES - 5, whole(folder.path()).head));
    assert_eq!(exported(&part, 0).unwrap_err().at, Some(1));
    assert_eq!(exported(&part, 4).unwrap_err().at, Some(5));
    assert_eq!(exported(&export(folder.path(), 99), ENTRIES).unwrap().num_entries, 0);
    assert_eq!(exported(b"", 0).unwrap_err().at, Some(1));
}

/// Bytes of the file itself, wherever they lie: either it is found, or what is read is what was written.
#[test]
fn bytes_of_the_file_that_are_changed_are_found_or_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    database(folder.path()).execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let path = folder.path().join("govern.sqlite3");
    let bytes = fs::read(&path).unwrap();
    let all = |audit: &Audit| -> Option<Vec<Record>> { audit.entries(&EntryQuery::default()).ok() };
    let expect = all(&Audit::open(folder.path()).unwrap()).unwrap();
    let mut random = StdRng::seed_from_u64(18);
    let mut num_found = 0;
    for _ in 0..300 {
        let place = random.random_range(0..bytes.len());
        let mut changed = bytes.clone();
        changed[place] ^= 1 << random.random_range(0..8);
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(folder.path().join(format!("govern.sqlite3{end}")));
        }
        fs::write(&path, &changed).unwrap();
        let verified = Audit::open(folder.path()).map_err(NotVerified::from).and_then(|audit| {
            audit.verify(None)?;
            Ok(all(&audit))
        });
        match verified {
            Ok(found) => assert_eq!(found.as_ref(), Some(&expect), "byte {place}"),
            Err(_) => num_found += 1,
        }
    }
    assert!(num_found > 15, "{num_found} were found: most of a small file is empty");
}
