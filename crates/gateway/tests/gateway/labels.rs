//! What is labelled does not leave, whatever else is true.

use gptoss_api::ApiError;
use gptoss_gateway::{Dialect, Gateway, LABEL_HEADER, Label, LocalState};

use crate::asking::{Ask, plan};
use crate::scripted::{Act, Upstream, chat};

const UP: LocalState = LocalState { serves: true, is_up: true, load: 0.0, context_window: None };
const DOWN: LocalState = LocalState { serves: true, is_up: false, load: 0.0, context_window: None };
const NONE: LocalState = LocalState { serves: false, is_up: true, load: 0.0, context_window: None };

/// Rules that would all send it away.
const RULES: [&str; 5] = [
    "",
    "[[routes]]\nmodel = [\"*\"]\ntargets = [\"a\"]",
    "[[routes]]\nmodel = [\"m\"]\ntargets = [\"a\", \"local\"]",
    "[[routes]]\nlabel = [\"local_only\"]\ntargets = [\"a\"]\nstrategy = \"cost\"",
    "[[routes]]\ntargets = [\"local\", \"a:m\"]\nstrategy = \"load\"",
];
const DETECTORS: &str = "[[detectors]]\nkind = \"card\"\nlabel = \"local_only\"\n\
    [[detectors]]\nkind = \"email\"\nlabel = \"local_only\"\n\
    [[detectors]]\nkind = \"iban\"\nlabel = \"local_only\"\n\
    [[detectors]]\nkind = \"pattern\"\nname = \"orchid\"\npattern = \"(?i)orchid\"\nlabel = \"local_only\"\n";
const SECRETS: [&str; 6] = [
    "4111 1111 1111 1111",
    "a card 5500-0000-0000-0004 in words",
    "mail jane@example.com",
    "DE89 3704 0044 0532 0130 00",
    "Project Orchid",
    r"\u0050roject orch\u0069d",
];

/// Rules, strategies, fallbacks and a broken local engine, by every way to a label: nothing connects to the
/// upstream, and what nobody here can answer is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_local_only_never_leaves() {
    let upstream = Upstream::start(|_| Act::Whole(200, Vec::new(), chat("a", "hi")));
    let table = upstream.table(
        "a",
        "models = { m = \"m\" }\nlabel_max = \"confidential\"\nprice = { input = 0, output = 0 }",
    );
    let mut num_requests = 0;
    for rule in RULES {
        let gateway = Gateway::new(plan(&(DETECTORS.to_owned() + &table + rule)));
        for local in [UP, DOWN, NONE] {
            let mut check = |got: crate::asking::Got| {
                num_requests += 1;
                let route = got.route.unwrap();
                assert_eq!(route.label, Label::LocalOnly);
                match local.serves && local.is_up {
                    true => assert_eq!((got.status, route.name.as_str()), (0, "local"), "{rule}"),
                    false => {
                        assert!(
                            matches!(got.error, Some(ApiError::KeptHere { .. })),
                            "{rule} {:?}",
                            got.error
                        );
                        assert_eq!((got.status, route.name.as_str()), (503, ""));
                    }
                }
            };
            let plain = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
            let ask = Ask { local, ..Ask::of(Dialect::Chat) };
            check(Ask { label: Label::LocalOnly, ..ask }.put(&gateway, plain).await);
            check(Ask { headers: &[(LABEL_HEADER, "local_only")], ..ask }.put(&gateway, plain).await);
            let raised = [(LABEL_HEADER, "any")];
            check(Ask { label: Label::LocalOnly, headers: &raised, ..ask }.put(&gateway, plain).await);
            for secret in SECRETS {
                for body in [
                    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{secret}"}}]}}"#),
                    format!(
                        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"text":"{secret}","text":"x"}}]}}]}}"#
                    ),
                    format!(
                        r#"{{"model":"m","messages":[],"tools":[{{"function":{{"description":"{secret}"}}}}]}}"#
                    ),
                    format!(r#"{{"model":"m","messages":[],"metadata":{{"{secret}":"x"}}}}"#),
                ] {
                    check(Ask { headers: &raised, ..ask }.put(&gateway, &body).await);
                }
            }
        }
    }
    assert!(num_requests >= 400, "{num_requests}");
    assert_eq!(upstream.connections(), 0);
    // The same upstream is reached by what may go there.
    let gateway = Gateway::new(plan(&(DETECTORS.to_owned() + &table)));
    let got = Ask::of(Dialect::Chat).put(&gateway, r#"{"model":"m","messages":[]}"#).await;
    assert_eq!((got.status, upstream.connections()), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_above_an_upstreams_bound_stays_and_an_unknown_one_is_refused() {
    let upstream = Upstream::start(|_| Act::Whole(200, Vec::new(), chat("a", "hi")));
    let gateway =
        Gateway::new(plan(&upstream.table("a", "models = { m = \"m\" }\nlabel_max = \"internal\"")));
    let check = async |label: &str, expect: u16| {
        let headers = [(LABEL_HEADER, label)];
        let got = Ask { headers: &headers, ..Ask::of(Dialect::Chat) }
            .put(&gateway, r#"{"model":"m","messages":[]}"#)
            .await;
        assert_eq!(got.status, expect, "{label}: {:?}", got.error);
    };
    check("internal", 200).await;
    check("any", 200).await;
    check("confidential", 403).await;
    check("local_only", 503).await;
    check("Internal", 400).await;
    check("", 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_detector_cannot_look_at_is_refused() {
    let upstream = Upstream::start(|_| Act::Whole(200, Vec::new(), chat("a", "hi")));
    let detector = "[[detectors]]\nkind = \"card\"\nlabel = \"local_only\"\n";
    let gateway = Gateway::new(plan(&(detector.to_owned() + &upstream.table("a", "models = { m = \"m\" }"))));
    let deep =
        format!(r#"{{"model":"m","messages":{}"4111111111111111"{}}}"#, "[".repeat(200), "]".repeat(200));
    for body in [r#"{"model":"m","messages":[1e999,"4111111111111111"]}"#, &deep] {
        assert_eq!(Ask::of(Dialect::Chat).put(&gateway, body).await.status, 400);
    }
    assert_eq!(upstream.connections(), 0);
}
