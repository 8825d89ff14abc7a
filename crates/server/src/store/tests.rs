//! Tests of the store.

use std::time::Duration;

use gptoss_api::wire::files::FileObject;
use gptoss_harmony::Message;
use serde_json::json;

use super::*;

fn row(id: &str, created: u64) -> Row {
    Row {
        id: id.into(),
        tenant: "a".into(),
        created,
        is_unfinished: false,
        body: json!({"id": id, "output": [{"id": format!("{id}-out")}]}),
        items: vec![json!({"id": format!("{id}-in")})],
        entries: vec![Entry { message: Message::function_call("f", "{}"), call_id: Some("call_1".into()) }],
        events: r#"[{"type":"response.created"}]"#.into(),
        label: None,
    }
}

fn of(tenant: &str, row: Row) -> Row {
    Row { tenant: tenant.into(), ..row }
}

fn store(limits: Limits) -> Store {
    Store::open(None, &limits).unwrap()
}

fn is_there(store: &Store, tenant: &str, id: &str, now: u64) -> bool {
    match store.find(Kind::Response, tenant, id, now) {
        Err(ApiError::NotFound { .. }) => false,
        found => found.map(|_| true).unwrap(),
    }
}

/// A folder that is gone with the test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_is_kept_comes_back_to_its_tenant() {
    let store = store(Limits::default());
    store.put(Kind::Response, &row("r", 5), 5).unwrap();
    assert_eq!(store.find(Kind::Response, "a", "r", 5).unwrap(), row("r", 5));
    assert_eq!(store.item("a", "r-out", 5).unwrap(), Some(json!({"id": "r-out"})));
    assert!(!is_there(&store, "b", "r", 5));
    assert_eq!(store.item("b", "r-out", 5).unwrap(), None);
    let unknown = ApiError::NotFound { what: "conversation", id: "r".into() };
    assert_eq!(store.find(Kind::Conversation, "a", "r", 5), Err(unknown));
    assert!(!store.delete(Kind::Response, "b", "r", 5).unwrap());
    assert!(store.delete(Kind::Response, "a", "r", 5).unwrap());
    assert_eq!(store.item("a", "r-in", 1).unwrap(), None);
}

/// Of several items with an id that a client chose, any was taken. Writing a row again makes what it had
/// before no newer.
#[test]
fn of_items_with_one_id_the_newest_is_meant() {
    let store = store(Limits::default());
    let with = |id: &str, texts: &[&str]| {
        let items = texts.iter().map(|text| json!({"id": "m", "text": text})).collect();
        Row { items, ..row(id, 1) }
    };
    let is_found = |tenant: &str, text: &str| {
        assert_eq!(store.item(tenant, "m", 1).unwrap(), Some(json!({"id": "m", "text": text})));
    };
    // By its owner's id the first would come last, and by its place in a table the other way round.
    for (id, text) in [("z", "1"), ("a", "2"), ("m", "3")] {
        store.put(Kind::Response, &with(id, &[text]), 1).unwrap();
        is_found("a", text);
    }
    store.put(Kind::Response, &of("b", with("of-b", &["b"])), 1).unwrap();
    is_found("a", "3");
    is_found("b", "b");
    store.put(Kind::Response, &with("z", &["1"]), 1).unwrap();
    is_found("a", "3");
    store.put(Kind::Response, &with("z", &["1", "4"]), 1).unwrap();
    is_found("a", "4");
    store.put(Kind::Response, &Row { items: vec![], ..row("z", 1) }, 1).unwrap();
    is_found("a", "3");
}

#[test]
fn rows_are_hidden_by_age_and_refused_by_size() {
    let limits = Limits { state_age_max: Duration::from_secs(100), ..Limits::default() };
    let store = store(limits);
    store.put(Kind::Response, &row("1", 1), 1).unwrap();
    assert!(is_there(&store, "a", "1", 101) && !is_there(&store, "a", "1", 102));
    assert!(
        store.item("a", "1-in", 101).unwrap().is_some() && store.item("a", "1-in", 102).unwrap().is_none()
    );
    let store = Store::open(None, &Limits { state_row_bytes_max: 10, ..Limits::default() }).unwrap();
    let error = store.put(Kind::Response, &row("1", 1), 1).unwrap_err();
    assert!(error.to_string().contains("at most 10 are stored"), "{error}");
}

/// Log-probabilities came back with another last digit.
#[test]
fn numbers_come_back_as_they_were() {
    let store = store(Limits::default());
    // The numbers of a sequence of Weyl's: all sizes of mantissas, the same in every run.
    let numbers: Vec<f64> = (1..10_000_u64)
        .map(|n| -((n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64) / 2_f64.powi(50))
        .collect();
    let kept = Row { body: json!({"logprobs": numbers}), ..row("r", 1) };
    store.put(Kind::Response, &kept, 1).unwrap();
    let found = store.find(Kind::Response, "a", "r", 1).unwrap();
    assert_eq!(found.body.to_string(), kept.body.to_string());
}

/// A clock that jumped 31 days ahead for one write deleted everything for good, and rows written while it was
/// behind were gone when it was right again.
#[test]
fn a_clock_that_jumps_loses_nothing() {
    const DAY: u64 = 24 * 3600;
    let store = store(Limits::default());
    let today = 1_000 * DAY;
    store.put(Kind::Response, &row("old", today), today).unwrap();
    store.put(Kind::Response, &row("ahead", today + 31 * DAY), today + 31 * DAY).unwrap();
    store.put(Kind::Response, &row("behind", today - 400 * DAY), today - 400 * DAY).unwrap();
    for id in ["old", "ahead", "behind"] {
        assert!(is_there(&store, "a", id, today), "{id}");
    }
}

/// After one write far ahead of the time, all that followed was as far ahead and stayed for ever. The clock
/// of the test is the test's own, so nothing is waited for.
#[test]
fn a_clock_that_was_ahead_once_keeps_nothing_for_ever() {
    const DAY: u64 = 24 * 3600;
    let store = store(Limits::default());
    let (start, today) = (Instant::now(), 1_000 * DAY);
    let sweep = |days: u64, now: u64| {
        let instant = start + Duration::from_secs(days * DAY);
        let mut database = store.lock();
        let Database { connection, clock } = &mut *database;
        store.retention.sweep(connection, clock, (instant, now)).unwrap();
    };
    let left = |now: u64| ["old", "ahead", "behind"].map(|id| is_there(&store, "a", id, now));
    store.put(Kind::Response, &row("old", today), today).unwrap();
    let years = today + 10 * 365 * DAY;
    store.put(Kind::Response, &row("ahead", years), years).unwrap();
    store.put(Kind::Response, &row("behind", today), today).unwrap();
    sweep(0, years);
    sweep(0, today);
    assert_eq!(left(today), [true; 3], "a jump deletes nothing");
    // The clock has been right for two days: what is from the future is from now.
    sweep(2, today + 2 * DAY);
    assert_eq!(left(today + 30 * DAY), [true; 3], "nothing is deleted early");
    assert_eq!(left(today + 31 * DAY), [false, true, true]);
    assert_eq!(left(today + 33 * DAY), [false; 3], "nothing stays for ever");
    sweep(33, today + 33 * DAY);
    let count = "SELECT count(*) FROM rows";
    assert_eq!(store.lock().connection.query_row(count, [], |row| row.get(0)), Ok(0));
    // And the next is of its own time.
    store.put(Kind::Response, &row("next", today), today + 33 * DAY).unwrap();
    assert!(!is_there(&store, "a", "next", today + 64 * DAY));
}

/// The number of rows was counted over all tenants: one of them could push out everything of the others.
#[test]
fn a_tenant_with_too_many_rows_loses_its_own() {
    let store = store(Limits { state_rows_max: 3, ..Limits::default() });
    store.put(Kind::Response, &of("b", row("b1", 1)), 1).unwrap();
    for n in 2..10 {
        store.put(Kind::Response, &row(&format!("a{n}"), n), n).unwrap();
    }
    assert!(is_there(&store, "b", "b1", 9));
    let left: Vec<u64> = (2..10).filter(|n| is_there(&store, "a", &format!("a{n}"), 9)).collect();
    assert_eq!(left, [7, 8, 9]);
}

/// There was no bound on bytes: 10,000 rows of 16 MiB fitted. The oldest of whoever holds the most leave.
#[test]
fn the_largest_tenant_makes_room() {
    let store = store(Limits { state_bytes_max: Some(20_000), ..Limits::default() });
    let large = |id: &str| Row { body: json!({"text": "x".repeat(4_000)}), ..row(id, 1) };
    store.put(Kind::Response, &of("b", large("b1")), 1).unwrap();
    for n in 1..10 {
        store.put(Kind::Response, &large(&format!("a{n}")), 1).unwrap();
    }
    assert!(is_there(&store, "b", "b1", 1));
    let left: Vec<u64> = (1..10).filter(|n| is_there(&store, "a", &format!("a{n}"), 1)).collect();
    assert_eq!(left, [7, 8, 9]);
    let held: i64 =
        store.lock().connection.query_row("SELECT sum(bytes) FROM rows", [], |row| row.get(0)).unwrap();
    let counted: i64 =
        store.lock().connection.query_row("SELECT sum(bytes) FROM tenants", [], |row| row.get(0)).unwrap();
    assert_eq!(held, counted);
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let store = store(Limits::default());
    let result = store.change(5, |change| {
        change.put(Kind::Response, &row("r", 5))?;
        change.find(Kind::Conversation, "a", "none").map(|_| ())
    });
    assert_eq!(result, Err(ApiError::NotFound { what: "conversation", id: "none".into() }));
    assert!(!is_there(&store, "a", "r", 5));
}

/// A row was read under one lock and written under another: of 64 items added at once, 55 were kept.
#[test]
fn parallel_updates_keep_every_item() {
    let store = std::sync::Arc::new(store(Limits::default()));
    store.put(Kind::Conversation, &Row { items: vec![], ..row("c", 1) }, 1).unwrap();
    let threads: Vec<_> = (0..64)
        .map(|n| {
            let store = std::sync::Arc::clone(&store);
            std::thread::spawn(move || {
                store.change(1, |change| {
                    let mut row = change.find(Kind::Conversation, "a", "c")?;
                    row.items.push(json!({"id": format!("item-{n}")}));
                    change.put(Kind::Conversation, &row)
                })
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    assert_eq!(store.find(Kind::Conversation, "a", "c", 1).unwrap().items.len(), 64);
}

/// A row that was nested 123 levels deep was stored and could never be read.
#[test]
fn what_is_nested_too_deep_to_be_read_is_not_stored() {
    let store = store(Limits::default());
    let nested = |levels: usize| {
        let mut value = json!("[\"}");
        for _ in 0..levels {
            value = json!([value]);
        }
        Row { body: value, ..row("r", 1) }
    };
    store.put(Kind::Response, &nested(STATE_DEPTH_MAX), 1).unwrap();
    assert!(is_there(&store, "a", "r", 1));
    let error = store.put(Kind::Response, &nested(STATE_DEPTH_MAX + 1), 1).unwrap_err();
    assert!(error.to_string().contains("nested 121 levels deep"), "{error}");
}

/// A row whose events did not fit beside the rest was not stored at all.
#[test]
fn events_that_do_not_fit_leave_the_rest() {
    let store = Store::open(None, &Limits { state_row_bytes_max: 1_000, ..Limits::default() }).unwrap();
    let nested = format!("{}{}", "[".repeat(STATE_DEPTH_MAX + 1), "]".repeat(STATE_DEPTH_MAX + 1));
    for events in [format!("[\"{}\"]", "x".repeat(990)), nested] {
        store.put(Kind::Response, &Row { events, ..row("r", 1) }, 1).unwrap();
        let found = store.find(Kind::Response, "a", "r", 1).unwrap();
        assert_eq!(found, Row { events: NO_EVENTS.into(), ..row("r", 1) });
    }
}

/// A full disk was told to nobody.
#[test]
fn a_full_disk_is_an_error_and_harms_nothing() {
    let folder = folder();
    let store = Store::open(Some(folder.path()), &Limits::default()).unwrap();
    store.put(Kind::Response, &row("r", 1), 1).unwrap();
    let pages: i64 = store.lock().connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    store.lock().connection.pragma_update(None, "max_page_count", pages + 1).unwrap();
    let large = Row { body: json!("x".repeat(100_000)), ..row("large", 1) };
    let error = store.put(Kind::Response, &large, 1).unwrap_err();
    assert_eq!(error, ApiError::DiskFull);
    assert!(is_there(&store, "a", "r", 1) && !is_there(&store, "a", "large", 1));
}

#[test]
fn a_file_keeps_what_was_in_it() {
    let folder = folder();
    let open = || Store::open(Some(folder.path()), &Limits::default()).unwrap();
    open().put(Kind::Conversation, &row("c", 7), 7).unwrap();
    assert_eq!(open().find(Kind::Conversation, "a", "c", 7).unwrap(), row("c", 7));
}

/// Two servers on one folder lost items of each other's conversations.
#[test]
fn a_folder_in_use_is_refused() {
    let folder = folder();
    let store = Store::open(Some(folder.path()), &Limits::default()).unwrap();
    let error = Store::open(Some(folder.path()), &Limits::default()).unwrap_err();
    let (error, holder) = (error.to_string(), format!("process {} since ", std::process::id()));
    for word in
        ["another server uses this folder", &holder, folder.path().to_str().unwrap(), "stop it, or choose"]
    {
        assert!(error.contains(word), "{error}");
    }
    drop(store);
    Store::open(Some(folder.path()), &Limits::default()).unwrap();
}

/// Every local user could read the conversations.
#[cfg(unix)]
#[test]
fn other_users_can_read_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let above = folder();
    let folder = above.path().join("state");
    let store = Store::open(Some(&folder), &Limits::default()).unwrap();
    store.put(Kind::Response, &row("r", 1), 1).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// A damaged file opened, answered 500 and kept nothing; an empty one began anew without a word.
#[test]
fn a_damaged_or_empty_file_is_refused() {
    let folder = folder();
    let file = folder.path().join("gptoss.sqlite3");
    let store = Store::open(Some(folder.path()), &Limits::default()).unwrap();
    for n in 0..50 {
        store.put(Kind::Response, &row(&format!("r{n}"), 1), 1).unwrap();
    }
    drop(store);
    let whole = std::fs::read(&file).unwrap();
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[4096..middle].fill(0x5a);
    for (bytes, words) in
        [(&broken[..], "malformed|damaged"), (&[], "the file is empty"), (b"text", "not a database")]
    {
        std::fs::write(&file, bytes).unwrap();
        let error = Store::open(Some(folder.path()), &Limits::default()).unwrap_err().to_string();
        assert!(words.split('|').any(|word| error.contains(word)), "{error}");
        assert!(
            error.contains("restore it from a copy") && error.contains("choose another --state-dir"),
            "{error}"
        );
    }
    std::fs::write(&file, &whole).unwrap();
    assert!(is_there(&Store::open(Some(folder.path()), &Limits::default()).unwrap(), "a", "r1", 1));
}

/// What stood in a row was believed, whatever the disk had made of it.
#[test]
fn a_row_that_is_not_as_it_was_written_is_refused() {
    let store = store(Limits::default());
    for id in ["whole", "other", "old"] {
        store.put(Kind::Response, &row(id, 1), 1).unwrap();
    }
    let change = |sql: &str| assert_eq!(store.lock().connection.execute(sql, []).unwrap(), 1);
    change("UPDATE rows SET events = '[1]' WHERE id = 'other'");
    change("UPDATE rows SET events = '[1]', sum = NULL WHERE id = 'old'");
    let error = store.find(Kind::Response, "a", "other", 1).unwrap_err();
    assert_eq!(error, ApiError::Damaged { what: "response", id: "other".into() });
    change("UPDATE items SET item = '{}' WHERE id = 'other-in'");
    let error = store.item("a", "other-in", 1).unwrap_err();
    assert_eq!(error, ApiError::Damaged { what: "item", id: "other-in".into() });
    assert!(store.item("a", "other-out", 1).unwrap().is_some());
    // Rows of before version 4 have no checksum.
    assert!(is_there(&store, "a", "whole", 1) && is_there(&store, "a", "old", 1));
    store.put(Kind::Response, &row("other", 1), 1).unwrap();
    assert!(is_there(&store, "a", "other", 1));
}

/// What serde_json says of a value quotes it, and what clients are told goes to the log too.
#[test]
fn what_cannot_be_read_is_not_quoted() {
    let store = store(Limits::default());
    store.put(Kind::Response, &row("r", 1), 1).unwrap();
    for text in [r#""canary""#, r#"{"canary": 1}"#, r#"[{"canary": "canary"}, canary]"#] {
        let sql = "UPDATE rows SET sum = NULL, entries = ?1";
        store.lock().connection.execute(sql, [text]).unwrap();
        let error = store.find(Kind::Response, "a", "r", 1).unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, ApiError::State { .. }), "{words}");
        assert!(words.contains("column") && !words.contains("canary"), "{words}");
    }
    // Nor does SQLite's own look at a value of another type.
    store.lock().connection.execute("UPDATE rows SET entries = CAST(x'63616e617279ff' AS TEXT)", []).unwrap();
    let words = store.find(Kind::Response, "a", "r", 1).unwrap_err().to_string();
    assert!(words.contains("the state database") && !words.contains("canary"), "{words}");
}

/// A file that was deleted while it was read through was told as damaged.
#[test]
fn a_file_that_goes_while_it_is_read_is_not_damaged() {
    let store = store(Limits::default());
    let file = |id: &str| FileObject {
        id: id.into(),
        object: "file".into(),
        bytes: 4,
        created_at: 1,
        expires_at: Some(10),
        filename: "f".into(),
        purpose: "batch".into(),
        status: "processed".into(),
        status_details: None,
    };
    for id in ["deleted", "expired", "cut"] {
        store.begin_file(id, "a", 1).unwrap();
        store.add_part(id, "a", (0, b"1234"), 1).unwrap();
        store.finish_file(&file(id), 1).unwrap();
        store.check_file("a", &file(id), 1).unwrap();
    }
    store.delete_file("a", "deleted", 1).unwrap();
    store.lock().connection.execute("DELETE FROM file_parts", []).unwrap();
    let check = |id: &str, now: u64| store.check_file("a", &file(id), now).unwrap_err();
    assert_eq!(check("deleted", 1), ApiError::NotFound { what: "file", id: "deleted".into() });
    assert_eq!(check("expired", 10), ApiError::NotFound { what: "file", id: "expired".into() });
    assert_eq!(check("cut", 9), ApiError::Damaged { what: "file", id: "cut".into() });
}

/// The tables of version 3 had no checksums.
#[test]
fn a_file_of_version_3_is_taken_over() {
    let folder = folder();
    let open = || Store::open(Some(folder.path()), &Limits::default()).unwrap();
    open().put(Kind::Response, &row("r", 1), 1).unwrap();
    let old = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    old.execute_batch(
        "ALTER TABLE rows DROP COLUMN sum; ALTER TABLE rows DROP COLUMN label; ALTER TABLE items DROP COLUMN sum;
         ALTER TABLE batch_results DROP COLUMN sum; DROP TABLE tuning_events; DROP TABLE tuning_checkpoints;
         DROP TABLE tuning_jobs; DROP TABLE tuned_models; ALTER TABLE file_parts DROP COLUMN sum; ALTER TABLE batches DROP COLUMN sum;
         ALTER TABLE batches DROP COLUMN key_id; ALTER TABLE files DROP COLUMN label; PRAGMA user_version = 3;",
    )
    .unwrap();
    drop(old);
    let store = open();
    assert!(is_there(&store, "a", "r", 1));
    store.put(Kind::Response, &row("s", 1), 1).unwrap();
    assert!(is_there(&store, "a", "s", 1));
}

/// A crash before the tables were made left an empty file, and no server started on the folder again.
#[test]
fn an_empty_file_of_a_first_start_is_new() {
    let folder = folder();
    for name in ["gptoss.sqlite3", "gptoss.lock"] {
        File::create(folder.path().join(name)).unwrap();
    }
    let open = || Store::open(Some(folder.path()), &Limits::default());
    open().unwrap().put(Kind::Response, &row("r", 1), 1).unwrap();
    assert!(is_there(&open().unwrap(), "a", "r", 1));
    // From then on an empty file is a loss.
    File::create(folder.path().join("gptoss.sqlite3")).unwrap();
    assert!(open().unwrap_err().to_string().contains("the file is empty"));
}

/// The tables of version 0.1.0, with a reference that led to itself: following it overflowed the stack at
/// every restart.
#[test]
fn a_file_of_the_first_version_is_taken_over() {
    let folder = folder();
    let old = Connection::open(folder.path().join("gptoss.sqlite3")).unwrap();
    old.execute_batch(
        r#"CREATE TABLE rows (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, created INTEGER NOT NULL,
            body TEXT NOT NULL, items TEXT NOT NULL, entries TEXT NOT NULL, events TEXT NOT NULL) STRICT;
        CREATE INDEX rows_created ON rows (created);
        CREATE TABLE items (id TEXT NOT NULL, tenant TEXT NOT NULL, owner TEXT NOT NULL, item TEXT NOT NULL,
            PRIMARY KEY (tenant, id)) STRICT;
        CREATE INDEX items_owner ON items (owner);
        INSERT INTO rows VALUES ('r', 'a', 'response', 5, '{"id":"r"}', '[]', '[]', '[]');
        INSERT INTO items VALUES ('m1', 'a', 'r', '{"type":"item_reference","id":"m1"}');
        INSERT INTO items VALUES ('m2', 'a', 'r', '{"type":"message","id":"m2"}');"#,
    )
    .unwrap();
    drop(old);
    let store = Store::open(Some(folder.path()), &Limits::default()).unwrap();
    assert_eq!(store.find(Kind::Response, "a", "r", 5).unwrap().body, json!({"id": "r"}));
    assert_eq!(store.item("a", "m1", 1).unwrap(), None);
    assert_eq!(store.item("a", "m2", 1).unwrap(), Some(json!({"type": "message", "id": "m2"})));
    assert!(store.delete(Kind::Response, "a", "r", 5).unwrap());
    assert_eq!(store.item("a", "m2", 1).unwrap(), None);
}
