//! The settings' file and the environment, and `gptoss config check`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::{gptoss, run};

/// Runs the program in a folder, with these variables.
fn ended(mut command: Command, folder: &Path, variables: &[(&str, &str)]) -> (i32, String, String) {
    let output = command.current_dir(folder).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The key's value and origin in `config check --json`.
fn value(report: &str, key: &str) -> (String, String) {
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    let values = report["values"].as_array().unwrap();
    let found =
        values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("{key} in {report}"));
    (found["values"].to_string(), found["origin"].as_str().unwrap().to_owned())
}

#[test]
fn what_holds_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gptoss.toml"), "threads = 2\n[serve]\nport = 9000\n").unwrap();
    let check = || gptoss(&["config", "check", "--json"]);
    let (code, report, stderr) = ended(check(), folder.path(), &[("GPTOSS_THREADS", "1")]);
    assert_eq!(code, 0, "{report}{stderr}");
    assert_eq!(value(&report, "port"), (r#"["9000"]"#.to_owned(), "file".to_owned()));
    assert_eq!(value(&report, "threads"), (r#"["1"]"#.to_owned(), "environment".to_owned()));
    assert_eq!(value(&report, "max-body"), (r#"["10"]"#.to_owned(), "default".to_owned()));
    // An empty name reads no file; the user's own is the last that is looked for.
    let (_, report, _) = ended(check(), folder.path(), &[("GPTOSS_CONFIG", "")]);
    assert_eq!(value(&report, "port").1, "default");
    let home = folder.path().to_str().unwrap();
    fs::create_dir_all(folder.path().join(".config/gptoss")).unwrap();
    fs::rename(folder.path().join("gptoss.toml"), folder.path().join(".config/gptoss/gptoss.toml")).unwrap();
    let (_, report, _) = ended(check(), folder.path(), &[("HOME", home)]);
    assert_eq!(value(&report, "port").1, "file");
}

#[test]
fn a_wrong_file_stops_the_commands_that_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    fs::write(&file, "[serve]\nprot = 1\nthreads = \"two\"\n[run]\neffort = \"max\"\n").unwrap();
    let path = file.to_str().unwrap();
    let facts = [
        "wrong.toml:2:1: `prot`",
        "did you mean `port`",
        "wrong.toml:3:11: `threads` takes a number",
        "wrong.toml:5:10:",
    ];
    run(&["run", "hi", "--config", path]).fails(2, &facts);
    let checked = run(&["config", "check", path]);
    assert_eq!(checked.code, 1);
    for fact in facts {
        assert!(checked.stdout.contains(fact), "{fact} in {}", checked.stdout);
    }
    run(&["run", "hi", "--config", "/no/such/file.toml"]).fails(1, &["/no/such/file.toml"]);
    // Commands without settings do not look.
    let (code, _, stderr) = ended(gptoss(&["tokenize", "hi"]), folder.path(), &[("GPTOSS_CONFIG", path)]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn what_a_file_names_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(folder.path().join("gptoss.toml"), text).unwrap();
    let check = || ended(gptoss(&["config", "check"]), folder.path(), &[]);
    for (text, fact) in [
        ("model = \"no/such-model\"", "gptoss pull no/such-model"),
        ("[serve]\nhost = \"0.0.0.0\"", "no API key is asked for"),
        ("[serve]\napi-key-file = \"keys\"", "cannot read"),
        ("[serve]\nstate-dir = \"gptoss.toml\"", "is a file"),
        ("precision = \"exact\"\ndense = \"q8\"", "leave one of them out"),
        ("kv-disk-size = \"1GB\"", "give --kv-disk DIR too"),
        ("context = 100000", "more than demo holds"),
    ] {
        write(text);
        let (code, stdout, _) = check();
        assert!(code == 1 && stdout.contains(fact), "{text}: {stdout}");
        assert!(stdout.contains("the configuration is not valid"), "{stdout}");
    }
    // Keys are read and never shown.
    fs::write(folder.path().join("keys"), "sk-very-secret-key-0123456789abcdef name=me\n").unwrap();
    write("[serve]\nhost = \"0.0.0.0\"\napi-key-file = \"keys\"");
    let (code, stdout, stderr) = check();
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("keys") && !stdout.contains("very-secret"), "{stdout}");
}

#[test]
fn run_takes_its_settings_below_its_flags() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gptoss.toml"), "max-tokens = 1\n").unwrap();
    let (code, _, stderr) = ended(gptoss(&["run", "What is 27 + 58?"]), folder.path(), &[]);
    assert!(code == 1 && stderr.contains("--max-tokens"), "{stderr}");
    let flags = ["run", "What is 27 + 58?", "--max-tokens", "500"];
    let (code, stdout, _) = ended(gptoss(&flags), folder.path(), &[]);
    assert_eq!((code, stdout.as_str()), (0, "85\n"));
}
