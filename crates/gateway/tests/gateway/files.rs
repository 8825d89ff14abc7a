//! Files that an operator has written wrongly: each is refused with its line and a reason.

use gptoss_gateway::{Plan, Problem, Sources};

const FILE: &str = r#"default_label = "any"

[local]
price = { input = 0.05, output = 0.2 }

[[detectors]]
kind = "card"
label = "local_only"

[[detectors]]
kind = "pattern"
name = "orchid"
pattern = "(?i)orchid"
label = "confidential"

[[upstreams]]
name = "router"
base_url = "https://openrouter.ai/api/v1"
kind = "openai"
api_key_env = "KEY"
models = { "gpt-oss-120b" = "openai/gpt-oss-120b" }
chat_only = true
timeout = "60s"
idle_timeout = "30s"
num_retries = 1
allowed_fails = 3
cooldown_time = "30s"
max_parallel = 64
context_window = 131072
price = { input = 0.04, output = 0.19 }
data_collection = "deny"
zdr = true
label_max = "internal"
tools = true
efforts = ["low", "medium", "high"]
hosted_tools = "refuse"
max_tokens_field = "max_tokens"
include_usage = true
send_reasoning = true
headers = { "x-title" = "clinic" }

[[upstreams]]
name = "claude"
base_url = "https://api.anthropic.com/v1"
kind = "anthropic"
api_key_file = "claude.key"
models = { claude = "claude-x" }
thinking = true

[[routes]]
name = "hard"
model = ["auto"]
label = ["any", "internal"]
tools = true
effort = ["high"]
prompt_tokens_min = 1
prompt_tokens_max = 100000
targets = ["local:gpt-oss-20b", "router:gpt-oss-120b", "claude:claude"]
strategy = "cost"
"#;

fn read(text: &str) -> Result<Plan, Problem> {
    let file = |path: &str| match path {
        "claude.key" => Ok("sk-canary-file".to_owned()),
        _ => Err("there is no such file".to_owned()),
    };
    let variable = |name: &str| (name == "KEY").then(|| "sk-canary-env".to_owned());
    Plan::read(text, &Sources { file: Some(&file), variable: &variable, personal: None })
}

#[test]
fn the_file_is_right_and_shows_no_key() {
    let plan = read(FILE).unwrap();
    assert_eq!((plan.upstreams.len(), plan.rules.len(), plan.detectors.len()), (2, 1, 2));
    assert!(!format!("{plan:?}").contains("canary"));
    let models = plan.models();
    let expect = [("gpt-oss-120b", "router"), ("claude", "claude"), ("auto", "gateway")];
    assert_eq!(models, expect.map(|(name, owner)| (name.to_owned(), owner.to_owned())));
}

/// Every line with a key, changed in six ways: some 250 files, none of which may be taken.
#[test]
fn what_is_written_wrongly_is_refused_with_its_line() {
    let lines: Vec<&str> = FILE.lines().collect();
    let mut num_files = 0;
    for (index, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let twisted = match value.as_bytes()[0] {
            b'"' => r#""\n""#,
            b'[' => r#"["\n"]"#,
            b'{' => r#"{ "\n" = "\n" }"#,
            b't' | b'f' => "\"yes\"",
            _ => "-1",
        };
        let unquoted = if value.starts_with('"') { "3" } else { "\"x" };
        for changed in [
            format!("{key}x = {value}"),
            format!("{key} = {twisted}"),
            format!("{key} = {unquoted}"),
            format!("{key} = ["),
            format!("{key} {value}"),
            format!("{line}\n{line}"),
        ] {
            // A pattern may well be of a line's end.
            let is_right = key == "pattern" && changed.contains(twisted);
            let mut text = lines.clone();
            text[index] = &changed;
            let text = text.join("\n");
            match read(&text) {
                Ok(_) => assert!(is_right, "taken: {changed}"),
                Err(problem) => {
                    let place = index + 1;
                    assert!(!problem.reason.is_empty() && !problem.reason.contains('\n'), "{problem}");
                    // A list that does not end is noticed below, a table that is not whole at its head.
                    assert!((1..=lines.len() + 2).contains(&problem.line), "{changed}: {problem}");
                    let is_near = problem.line.abs_diff(place) <= 1;
                    assert!(
                        is_near || changed.ends_with('[') || key == "name" || key == "models",
                        "{place} {changed}: {problem}"
                    );
                    assert!(!problem.to_string().contains("canary"), "{problem}");
                }
            }
            num_files += 1;
        }
    }
    assert!(num_files >= 200, "{num_files}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_line() {
    let check = |from: &str, to: &str, expect: &str| {
        assert!(FILE.contains(from), "{from}");
        let text = FILE.replacen(from, to, 1);
        let line = FILE[..FILE.find(from).unwrap()].matches('\n').count() + 1;
        let problem = read(&text).map(|_| ()).expect_err(to);
        assert!(problem.reason.contains(expect), "{to}: {problem}");
        assert!(problem.line.abs_diff(line) <= 1, "{to}: {problem}, expected line {line}");
    };
    check("https://openrouter.ai/api/v1", "http://openrouter.ai/api/v1", "in clear");
    check("https://openrouter.ai/api/v1", "ftp://openrouter.ai", "http://");
    check("https://openrouter.ai/api/v1", "https://me:pw@openrouter.ai", "password");
    check("https://openrouter.ai/api/v1", "https://openrouter.ai/v1?x=1", "behind its path");
    check("name = \"claude\"", "name = \"router\"", "two upstreams");
    check("name = \"claude\"", "name = \"local\"", "own engine");
    check("\"claude.key\"", "\"gone.key\"", "no such file");
    check("\"KEY\"", "\"GONE\"", "not set");
    check("label_max = \"internal\"", "label_max = \"local_only\"", "no upstream");
    check("label = \"local_only\"", "label = \"any\"", "does nothing");
    check("\"(?i)orchid\"", "\"(\"", "pattern");
    check("\"router:gpt-oss-120b\"", "\"rooter\"", "no upstream \"rooter\"");
    check("\"router:gpt-oss-120b\"", "\"router:other\"", "has no model");
    check("\"router:gpt-oss-120b\"", "\"router\"", "has no model \"auto\"");
    check("prompt_tokens_min = 1", "prompt_tokens_min = 200000", "for nothing");
    check("timeout = \"60s\"", "timeout = \"60\"", "a time is");
    check("timeout = \"60s\"", "timeout = \"0s\"", "a time is");
    check("max_parallel = 64", "max_parallel = 0", "max_parallel is 1");
    check("{ \"x-title\" = \"clinic\" }", "{ \"Authorization\" = \"Bearer x\" }", "cannot be set");
    check("kind = \"card\"", "kind = \"redact\"", "--redact");
    check("price = { input = 0.04", "price = { input = -0.04", "price");
    check("[\"low\", \"medium\", \"high\"]", "[\"loud\"]", "efforts");
}
