//! `cost`: the example of the documents, and what is said of a wrong file.

use std::fs;

use serde_json::Value;

use crate::program::run;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cost/");

#[test]
fn the_example_does_not_pay_beside_the_lowest_price() {
    let folder = tempfile::tempdir().unwrap();
    let [plot, sensitivity] = ["plot.svg", "sensitivity.svg"].map(|name| folder.path().join(name));
    let example = format!("{DOCS}example.toml");
    let files = ["--plot", plot.to_str().unwrap(), "--sensitivity", sensitivity.to_str().unwrap()];
    let text = run(&[&["cost", &example][..], &files].concat()).ok();
    assert!(text.starts_with("Does not pay: "), "{text}");
    assert!(text.contains("never") && text.contains("the speed is not from a measurement"), "{text}");
    for file in [plot, sensitivity] {
        assert!(fs::read_to_string(file).unwrap().contains("gpt-oss-120b, the lowest"));
    }
    let json: Value = serde_json::from_str(&run(&["cost", &example, "--json"]).ok()).unwrap();
    // 6,000,000 x 500 / 2,628,000 s are 1141.6 tokens a second, 2853.9 in the busiest hour: two machines and
    // a spare one at 2.5 x 730, and 800 for people.
    assert_eq!((&json["own"]["machines"], &json["pays"]), (&3.0.into(), &false.into()), "{json}");
    assert_eq!(json["own"]["monthly"], 3.0 * 2.5 * 730.0 + 800.0);
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.toml");
    fs::copy(format!("{DOCS}prices.toml"), folder.path().join("prices.toml")).unwrap();
    let example = fs::read_to_string(format!("{DOCS}example.toml")).unwrap();
    let fails = |from: &str, to: &str, facts: &[&str]| {
        let text = example.replace(from, to);
        assert_ne!(text, example, "{from} is in it");
        fs::write(&file, text).unwrap();
        run(&["cost", file.to_str().unwrap()]).fails(1, facts);
    };
    fails("peak_to_mean = 2.5", "peak_to_mean = 0.5", &["usage.peak_to_mean is 0.5"]);
    fails("requests = 6_000_000", "request = 1", &["case.toml", "request"]);
    fails("cached_share = 0.4", "cached_share = 40", &["usage.cached_share is 40", "from 0 to 1"]);
    fails("hourly_price = 2.50", "capital = 1.0", &["hourly_price", "life_years"]);
    fails("output_tokens_per_second = 2000", "load = \"none.json\"", &["cannot read", "none.json"]);
    fails("the lowest\"]", "the best\"]", &["no price of", "there are"]);
    run(&["cost", "/no/such.toml"]).fails(1, &["/no/such.toml"]);
}
