//! Calls of the browser over a folder: what each answers, tells and counts.

use std::fs;

use gptoss_tools::browser::{Action, Backend, Browser, Corpus, CorpusError, Guard, Limits, Web};
use tempfile::TempDir;

const LIMITS: fn() -> Limits = Limits::default;

fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("Corpus 1").tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("deep er")).unwrap();
    write("a.txt", "Herons wait.\nA heron eats fish.\n");
    write("b.md", "# On boats\n\nBoats wait too, and wait.\n");
    write(
        "c.html",
        "<title>Gates</title><p>See <a href='a.txt'>herons</a> and <a href='https://x.example/'>more</a></p>",
    );
    write("deep er/d.txt", "Fish, fish, fish.");
    write("ignored.bin", "herons");
    folder
}

fn corpus_browser(folder: &TempDir, limits: Limits) -> (Browser, String) {
    let corpus = Corpus::open(folder.path(), limits.page_bytes_max).unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap().to_lowercase();
    let host: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    (Browser::new(Backend::Corpus(corpus), limits), format!("corpus://{host}"))
}

async fn ask(browser: &mut Browser, function: &str, arguments: &str) -> (bool, String) {
    let reply = browser.call(function, arguments).await.reply;
    (!reply.is_error, reply.text)
}

#[tokio::test]
async fn every_mistake_has_its_words() {
    let folder = folder();
    let (mut browser, site) = corpus_browser(&folder, LIMITS());
    let opened = format!(r#"{{"id": "{site}/a.txt"}}"#);
    for (function, arguments, expected) in [
        ("open", "{}", Err("No pages to access!")),
        ("find", r#"{"pattern": "x", "cursor": 3}"#, Err("No pages to access!")),
        ("open", &opened, Ok(())),
        ("open", r#"{"cursor": 7}"#, Err("Cursor `7` is out of range. Available cursor indices: [0 - 0].")),
        ("open", r#"{"cursor": -2}"#, Err("Cursor `-2` is out of range. Available cursor indices: [0 - 0].")),
        (
            "find",
            r#"{"pattern": "x", "cursor": -3}"#,
            Err("Cursor `-3` is out of range. Available cursor indices: [0 - 0]."),
        ),
        ("open", r#"{"cursor": "0"}"#, Err("`cursor` should be an integer, not `str`")),
        ("open", r#"{"cursor": 0.5}"#, Err("`cursor` should be an integer, not `float`")),
        ("open", r#"{"loc": [1]}"#, Err("`loc` should be an integer, not `list`")),
        ("open", r#"{"id": {}}"#, Err("`id` should be an integer, not `dict`")),
        ("open", r#"{"num_lines": true}"#, Err("`num_lines` should be an integer, not `bool`")),
        ("open", r#"{"id": 7}"#, Err("Invalid link id `7`.")),
        ("open", r#"{"id": 9223372036854775807}"#, Err("Invalid link id `9223372036854775807`.")),
        (
            "open",
            r#"{"loc": 500}"#,
            Err("Invalid location parameter: `500`. Cannot exceed page maximum of 4."),
        ),
        ("open", r#"{"loc": -5, "cursor": null, "id": -1.0, "num_lines": 0, "extra": 1}"#, Ok(())),
        ("find", r#"{"pattern": "HERON"}"#, Ok(())),
        ("find", r#"{"pattern": "x"}"#, Err("Cannot run `find` on search results page or find results page")),
        ("find", r#"{"pattern": 7, "cursor": 0}"#, Ok(())),
        ("find", "{}", Err(r#"{"error": "Invalid function arguments"}"#)),
        ("search", r#"{"query": null}"#, Err(r#"{"error": "Invalid function arguments"}"#)),
        ("search", "", Err(r#"{"error": "Invalid function arguments"}"#)),
        ("open", "nonsense", Err(r#"{"error": "Invalid function arguments"}"#)),
        ("open", "[1]", Err(r#"{"error": "Invalid function arguments"}"#)),
        ("click", "{}", Err(r#"{"error": "Unknown function: click"}"#)),
        (
            "open",
            r#"{"id": "corpus://elsewhere/a.txt"}"#,
            Err(
                "Error fetching URL `corpus://elsewhere/a.txt`: no file of the corpus has this address; a search \
                 tells those that have",
            ),
        ),
    ] {
        let (is_done, text) = ask(&mut browser, function, arguments).await;
        match expected {
            Ok(()) => assert!(is_done, "{function} {arguments}: {text}"),
            Err(expected) => {
                assert_eq!((is_done, text.as_str()), (false, expected), "{function} {arguments}")
            }
        }
    }
    // What failed took no cursor.
    let (_, text) = ask(&mut browser, "open", "{}").await;
    assert!(text.starts_with("[4] "), "{text}");
}

#[tokio::test]
async fn a_browser_without_a_search_says_so() {
    let mut browser = Browser::new(Backend::Fetch(Web::new(Guard::default())), LIMITS());
    let (is_done, text) = ask(&mut browser, "search", r#"{"query": "x"}"#).await;
    assert!(!is_done);
    assert_eq!(
        text,
        "Error during search for `x`: this browser has no search; open a page by its address instead"
    );
}

#[tokio::test]
async fn a_cursor_shows_what_it_showed() {
    let folder = folder();
    let (mut browser, site) = corpus_browser(&folder, LIMITS());
    let (_, first) = ask(&mut browser, "search", r#"{"query": "herons"}"#).await;
    ask(&mut browser, "search", r#"{"query": "boats"}"#).await;
    let (_, again) = ask(&mut browser, "open", r#"{"cursor": 0}"#).await;
    assert_eq!(again.replacen("[2]", "[0]", 1), first);
    let (_, page) = ask(&mut browser, "open", r#"{"cursor": 0, "id": 0}"#).await;
    assert!(page.contains("[3] Gates"), "{page}");
    let gates = format!("{site}/c.html");
    assert_eq!(browser.pages().collect::<Vec<_>>(), [(3, gates.as_str())]);
}

#[tokio::test]
async fn what_is_found_is_cited_by_its_page() {
    let folder = folder();
    let (mut browser, site) = corpus_browser(&folder, LIMITS());
    let herons = format!("{site}/a.txt");
    ask(&mut browser, "open", &format!(r#"{{"id": "{herons}"}}"#)).await;
    ask(&mut browser, "find", r#"{"pattern": "fish"}"#).await;
    assert_eq!(browser.pages().collect::<Vec<_>>(), [(0, herons.as_str()), (1, herons.as_str())]);
}

#[tokio::test]
async fn actions_are_told() {
    let folder = folder();
    let (mut browser, site) = corpus_browser(&folder, LIMITS());
    let url = |name: &str| format!("{site}/{name}");
    let search = |sources| Some(Action::Search { query: "fish".to_owned(), sources });
    let open = |url: String| Some(Action::OpenPage { url: Some(url) });
    let find = |url: String| Some(Action::FindInPage { pattern: "Fish".to_owned(), url: Some(url) });
    let found = vec![url("deep%20er/d.txt"), url("a.txt")];
    for (function, arguments, expected) in [
        ("search", r#"{"query": "fish"}"#, search(found)),
        ("open", r#"{}"#, Some(Action::OpenPage { url: None })),
        ("open", r#"{"id": 1}"#, open(url("a.txt"))),
        ("open", r#"{"loc": 1}"#, open(url("a.txt"))),
        ("find", r#"{"pattern": "Fish"}"#, find(url("a.txt"))),
        ("open", r#"{"id": 0}"#, open(url("a.txt"))),
        ("open", r#"{"id": 5}"#, None),
        ("nothing", "{}", None),
    ] {
        assert_eq!(browser.call(function, arguments).await.action, expected, "{function} {arguments}");
    }
}

#[tokio::test]
async fn a_folder_is_searched_the_same_way_every_time() {
    let folder = folder();
    let (mut browser, site) = corpus_browser(&folder, LIMITS());
    let host = site.trim_start_matches("corpus://");
    let (_, text) = ask(&mut browser, "search", r#"{"query": "fish WAIT"}"#).await;
    let expected = format!(
        "[0] fish WAIT\n**viewing lines [0 - 6] of 6**\n\nL0: \nL1: URL: \nL2: # Search Results\nL3: \n\
         L4:   * 【0†a.txt†{host}】 Herons wait. A heron eats fish. "
    );
    assert!(text.starts_with(&expected), "{text}");
    for _ in 0..3 {
        let (mut browser, _) = corpus_browser(&folder, LIMITS());
        assert_eq!(ask(&mut browser, "search", r#"{"query": "fish WAIT"}"#).await.1, text);
    }
}

#[tokio::test]
async fn files_are_pages_with_links_between_them() {
    let folder = folder();
    let (mut browser, site) = corpus_browser(&folder, LIMITS());
    let (_, text) = ask(&mut browser, "open", &format!(r#"{{"id": "{site}/c.html"}}"#)).await;
    assert!(text.contains("See 【0†herons】 and 【1†more†x.example】"), "{text}");
    let (_, text) = ask(&mut browser, "open", r#"{"id": 0}"#).await;
    assert!(text.starts_with("[1] a.txt ("), "{text}");
    let (_, text) = ask(&mut browser, "open", r#"{"cursor": 0, "view_source": true}"#).await;
    assert!(
        text.contains(&format!("Gates (view-source:{site}/c.html)")) && text.contains("<a href='a.txt'>"),
        "{text}"
    );
    let (is_done, _) = ask(&mut browser, "open", r#"{"id": "file:///etc/passwd"}"#).await;
    assert!(!is_done);
    let (is_done, _) = ask(&mut browser, "open", &format!(r#"{{"id": "{site}/../a.txt"}}"#)).await;
    assert!(!is_done);
}

#[cfg(unix)]
#[test]
fn links_out_of_a_folder_are_not_followed() {
    let (outside, folder) = (folder(), folder());
    std::os::unix::fs::symlink(outside.path().join("a.txt"), folder.path().join("z.txt")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("z")).unwrap();
    let corpus = Corpus::open(folder.path(), 1 << 20).unwrap();
    let shown = format!("{corpus:?}");
    assert!(shown.contains("/a.txt") && !shown.contains("/z"), "{shown}");
}

#[test]
fn folders_that_are_no_corpus_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Corpus::open(empty.path(), 1 << 20), Err(CorpusError::Empty(_))));
    assert!(matches!(Corpus::open(&empty.path().join("none"), 1 << 20), Err(CorpusError::Unreadable { .. })));
    let error = Corpus::open(folder().path(), 20).unwrap_err();
    assert!(error.to_string().ends_with("a page has at most 20 bytes; name a smaller folder"), "{error}");
}

#[tokio::test]
async fn a_session_is_bounded() {
    let folder = folder();
    let (mut browser, _) = corpus_browser(&folder, Limits { cursors_max: 2, ..LIMITS() });
    assert!(ask(&mut browser, "search", r#"{"query": "fish"}"#).await.0);
    assert!(ask(&mut browser, "open", "{}").await.0);
    let (is_done, text) = ask(&mut browser, "open", "{}").await;
    assert!(
        !is_done && text.starts_with("This session shows no more pages: it has had 2 displays."),
        "{text}"
    );

    let (mut browser, site) = corpus_browser(&folder, Limits { kept_bytes_max: 200, ..LIMITS() });
    assert!(ask(&mut browser, "open", &format!(r#"{{"id": "{site}/a.txt"}}"#)).await.0);
    let mut text = String::new();
    for _ in 0..4 {
        text = ask(&mut browser, "open", &format!(r#"{{"id": "{site}/a.txt"}}"#)).await.1;
    }
    assert!(text.starts_with("This session keeps no more pages: they are 200 bytes of text."), "{text}");
    // What is kept can still be read.
    assert!(ask(&mut browser, "open", r#"{"cursor": 0}"#).await.0);
}
