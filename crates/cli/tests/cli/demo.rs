//! The embedded demo model: it needs nothing, says what it is, and gives the same answer every time.

use serde_json::Value;

use crate::program::run;

/// The first thing that the README promises.
#[test]
fn it_adds() {
    assert_eq!(run(&["run", "What is 27 + 58?"]).ok(), "85\n");
}

/// Its own generation_config.json says that it takes its likeliest token, so no seed is needed to repeat an
/// answer.
#[test]
fn without_any_flag_the_same_question_gets_the_same_answer() {
    let ask =
        || -> Value { serde_json::from_str(&run(&["run", "What is 27 + 58?", "--json"]).ok()).unwrap() };
    let (one, two) = (ask(), ask());
    assert_eq!(
        (&one["model"], &one["demo"], &one["temperature"]),
        (&"demo".into(), &true.into(), &0.0.into())
    );
    assert_ne!(
        one["seed"], two["seed"],
        "a seed is drawn all the same, and does not matter at temperature 0"
    );
    assert_eq!(one["messages"], two["messages"]);
    let hot: Value =
        serde_json::from_str(&run(&["run", "What is 27 + 58?", "--json", "--temperature", "1"]).ok())
            .unwrap();
    assert_eq!(hot["temperature"], 1.0);
}

#[test]
fn it_is_called_a_demo_where_a_user_sees_it() {
    assert!(run(&["--help"]).ok().contains("embedded demo model"));
    assert!(run(&["run", "--help"]).ok().contains("embedded demo model"));
    assert!(run(&["inspect"]).ok().starts_with("demo (the embedded demo model)"));
}
