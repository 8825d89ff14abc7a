//! `serve --guard`: a real model judges, here and at another address, and what cannot be meant is told at the
//! start.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::program::{gptoss, run};
use crate::serve::Server;

const FORMS: [&str; 4] = ["label", "category", "rationale", "llama_guard"];

/// A policy in each form, judged by the demo, or by it at an address.
fn config(folder: &Path, address: Option<&str>) -> String {
    fs::write(folder.join("policy.txt"), "VIOLATES (1): a question about a sum (Q1). SAFE (0): all else.")
        .unwrap();
    let judge = match address {
        Some(address) => format!("model = \"demo\"\naddress = \"http://{address}/v1\"\n"),
        None => "model = \"demo\"\n".to_owned(),
    };
    let policy =
        |form: &str| format!("[[policy]]\nname = \"{form}\"\nfile = \"policy.txt\"\nform = \"{form}\"\n");
    let file = folder.join(if address.is_some() { "there.toml" } else { "here.toml" });
    fs::write(&file, judge + &FORMS.map(policy).concat()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn judged(server: &Server) -> Value {
    server.post("/v1/moderations", &json!({"input": "What is 27 + 58?"}))
}

#[test]
fn a_real_model_judges_in_every_form_here_and_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let here = Server::start(&["--guard", &config(folder.path(), None)]);
    let told = judged(&here);
    let scores = |told: &Value| FORMS.map(|form| told["results"][0]["category_scores"][form].as_f64());
    for (form, score) in FORMS.iter().zip(scores(&told)) {
        let score = score.unwrap_or_else(|| panic!("{form}: {told}"));
        assert!((0.0..=1.0).contains(&score), "{form}: {score}");
    }
    assert_eq!(scores(&judged(&here)), scores(&told), "a verdict is the same every time");
    let there = Server::start(&["--guard", &config(folder.path(), Some(&here.address))]);
    let told = judged(&there);
    // The forms that are JSON are held at the other address too.
    for form in ["category", "rationale"] {
        assert!(told["results"][0]["category_scores"][form].is_f64(), "{told}");
    }
}

#[test]
fn what_cannot_be_meant_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, expect: &str| {
        let file = folder.path().join("guard");
        fs::write(&file, text).unwrap();
        run(&["serve", "--port", "0", "--guard", file.to_str().unwrap()]).fails(1, &[expect]);
    };
    check(r#"{"input": {"guardrails": [{"name": "Hallucination Detection"}]}}"#, "Hallucination Detection");
    check("[[policy]]\nname = \"p\"\nfile = \"none.txt\"", "none.txt");
    check("outputs = \"block\"", "outputs");
    fs::write(folder.path().join("p.txt"), "No cats.").unwrap();
    check("[[policy]]\nname = \"p\"\nfile = \"p.txt\"\nmodel = \"gone\"", "add --model gone");
    let mut command = gptoss(&["serve", "--port", "0", "--guard", "/nowhere"]);
    let ended = command.output().unwrap();
    assert!(String::from_utf8_lossy(&ended.stderr).contains("/nowhere"), "{ended:?}");
}
