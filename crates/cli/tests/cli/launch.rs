//! `gptoss launch` with a stand-in for the client.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::program::gptoss;

/// A client that writes what it was given and ends with 7.
const CLIENT: &str = "#!/bin/sh\nfor word in \"$@\"; do echo \"argument $word\"; done\nenv\nexit 7\n";

fn with_client(folder: &Path, name: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = folder.join(name);
    fs::write(&program, CLIENT).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let output = gptoss(arguments)
        .current_dir(folder)
        .env("PATH", path)
        // Nobody listens there.
        .env("GPTOSS_PORT", "1")
        // And nobody there: a proxy is for other machines, which the server started here is not.
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_server_ends_with_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) =
        with_client(folder.path(), "codex", &["launch", "codex", "--", "exec", "hi"]);
    assert_eq!(code, Some(7), "{stdout}{stderr}");
    assert!(stdout.contains("argument exec\nargument hi\n"), "{stdout}");
    assert!(stdout.contains("argument model=\"demo\""), "{stdout}");
    assert!(stdout.contains("model_context_window=4096"), "{stdout}");
    let (_, rest) = stdout.split_once("base_url=\"http://").unwrap();
    let (address, _) = rest.split_once("/v1").unwrap();
    assert!(TcpStream::connect(address).is_err(), "{address} still listens");
    // The key that the client got is on no command line.
    let key = stdout.lines().find_map(|line| line.strip_prefix("GPTOSS_API_KEY=")).unwrap();
    assert!(key.len() == 64 && stdout.matches(key).count() == 1, "{stdout}");
}

#[test]
fn the_other_clients_get_variables_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, fact) in [("claude", "ANTHROPIC_MODEL=demo\n"), ("opencode", "OPENCODE_CONFIG_CONTENT={")] {
        let (code, stdout, stderr) = with_client(folder.path(), name, &["launch", name]);
        assert_eq!(code, Some(7), "{stdout}{stderr}");
        assert!(stdout.contains(fact) && !stdout.contains("argument"), "{stdout}");
    }
}

#[test]
fn what_cannot_be_launched_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let launch = |arguments: &[&str]| with_client(folder.path(), "other", arguments);
    let (code, _, stderr) = launch(&["launch", "codex"]);
    assert!(code == Some(1) && stderr.contains("npm install -g @openai/codex"), "{stderr}");
    let (code, _, stderr) = with_client(folder.path(), "codex", &["launch", "codex", "--model", "no/model"]);
    assert!(code == Some(1) && stderr.contains("gptoss pull no/model"), "{stderr}");
    let (code, _, stderr) = launch(&["launch", "codex", "--url", "http://127.0.0.1:1"]);
    assert!(code == Some(1) && stderr.contains("nobody answers at http://127.0.0.1:1"), "{stderr}");
    let (code, stdout, _) = launch(&["launch", "claude", "--print"]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("gptoss serve --model demo &\n"), "{stdout}");
    assert!(stdout.contains("export ANTHROPIC_BASE_URL=http://127.0.0.1:1\n"), "{stdout}");
}
