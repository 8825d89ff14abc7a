//! Files of rules that can be meant and that cannot, and secrets.

use super::*;
use crate::key::{Amount, Budget, Limits};
use crate::period::Period;
use crate::policy::{Mode, Reasoning};
use crate::scope::Scope;
use crate::sensitivity::Sensitivity;

const SECRET: &str = "sk-gptoss-AAAAAAAAAAAA-secret";

/// A key of that secret with more fields.
fn key(secret: &str, id: &str, more: &str) -> String {
    let hash = Digest::of(secret).to_hex();
    format!("[[keys]]\nname = \"{id}\"\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n{more}\n")
}

const WHOLE: &str = r#"
# All there is.
[groups.clinics]
policy = "end-user"
models = ["gpt-oss-*"]
rpm_limit = 600
tpm_limit = 400_000
max_parallel_requests = 80
max_budget = { usd = 200 }
budget_duration = "1mo"

[policies.end-user]
mode = "enforce"
models = ["gpt-oss-20b"]
adapters = ["triage-*"]
effort_max = "medium"
reasoning = "hidden"
tools = ["function", "mcp:docs*"]
hosts = ["*.example.com"]
max_output_tokens = 4096
sensitivity = "local_only"
moderation = "medical"

[policies.trial]
mode = "shadow"

[prices."gpt-oss-20b"]
input = 0.07
cached_input = 0.035
output = 0.30
[prices."*"]
input = 1
output = 2
"#;

#[test]
fn every_field_is_read() {
    let more = "group = \"clinics\"\npolicy = \"trial\"\nscopes = [\"infer\", \"tools\"]\nmodels = [\"a\"]\n\
        rpm_limit = 60\ntpm_limit = 40_000\nmax_parallel_requests = 8\n\
        max_budget = { tokens = 5_000_000, usd = 20.5 }\nbudget_duration = \"30d\"\n\
        created_at = 2026-01-01T00:00:00Z\nexpires_at = 2027-01-01T01:00:00+01:00\n";
    let text = WHOLE.to_owned() + &key(SECRET, "clinic", more);
    let rules = Rules::parse(&text).unwrap();
    let key = rules.identify(SECRET, 1_790_000_000).unwrap();
    assert_eq!((key.name.as_str(), key.id.as_str(), key.group_name()), ("clinic", "clinic", Some("clinics")));
    assert_eq!(key.scopes, [Scope::Infer, Scope::Tools]);
    assert_eq!(key.limits, Limits { rpm: Some(60), tpm: Some(40_000), parallel: Some(8) });
    let period = Period::from_name("30d").unwrap();
    let budgets = [Amount::Tokens(5_000_000), Amount::MicroUsd(20_500_000)];
    assert_eq!(key.budgets, budgets.map(|amount| Budget { amount, period }));
    assert_eq!((key.created_at, key.expires_at), (Some(1_767_225_600), Some(1_798_761_600)));
    let group = key.group.as_deref().unwrap();
    assert_eq!(group.budgets, [Budget { amount: Amount::MicroUsd(200_000_000), period: Period::Month }]);
    assert_eq!(key.policy.as_deref().unwrap().mode, Mode::Shadow);
    let policy = group.policy.as_deref().unwrap();
    assert_eq!((policy.reasoning, policy.max_output_tokens), (Some(Reasoning::Hidden), Some(4096)));
    assert_eq!((policy.sensitivity, policy.moderation.as_deref()), (Sensitivity::LocalOnly, Some("medical")));
    assert_eq!(policy.tools.as_ref().unwrap()[1].to_string(), "mcp:docs*");
    assert_eq!(
        rules.price("gpt-oss-20b"),
        Some(Price { input: 70_000, cached_input: 35_000, output: 300_000 })
    );
    assert_eq!(
        rules.price("other"),
        Some(Price { input: 1_000_000, cached_input: 1_000_000, output: 2_000_000 })
    );
    assert_eq!(rules.version(), &to_hex(&Sha256::digest(&text))[..12]);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_line() {
    let check = |text: &str, line: usize, expect: &str| {
        let problem = Rules::parse(text).unwrap_err();
        assert!(problem.problem.contains(expect), "{text}\n{problem}");
        assert_eq!(problem.line, line, "{text}\n{problem}");
    };
    let of_key = |more: &str, expect: &str| check(&key(SECRET, "a", more), 5, expect);
    let of_policy = |more: &str, expect: &str| check(&format!("[policies.p]\n{more}"), 2, expect);
    check("keys = 1", 1, "invalid type");
    check("[[keys]]\nname = \"a\"\nsecret = \"b\"", 3, "unknown field `secret`");
    check("[[key]]\nname = \"a\"", 1, "unknown field `key`");
    check("a = \n\n", 1, "");
    check(&(key(SECRET, "a", "") + &key("other", "a", "")), 8, "two keys with the id");
    check(&(key(SECRET, "a", "") + &key(SECRET, "b", "")), 9, "two keys with this hash");
    check(&key("", "a", ""), 4, "digest of nothing");
    check("[[keys]]\nname = \"a\"\nid = \"x\"\nhash = \"sha256:12\"", 4, "64 hex");
    check("[[keys]]\nname = \"a\"\nid = \"x-y\"\nhash = \"\"", 3, "letters and digits");
    check("[[keys]]\nname = \" a\"\nid = \"x\"\nhash = \"\"", 2, "no space");
    of_key("limit = 1", "unknown field `limit`");
    of_key("scopes = [\"root\"]", "a scope is \"root\", but must be infer");
    of_key("group = \"none\"", "no group \"none\"");
    of_key("policy = \"none\"", "no policy \"none\"");
    of_key("rpm_limit = -1", "rpm_limit is -1");
    of_key("rpm_limit = \"many\"", "invalid type");
    of_key("max_budget = {}", "tokens, usd or both");
    of_key("max_budget = { usd = -1 }", "a number of dollars");
    of_key("max_budget = { usd = nan }", "a number of dollars");
    of_key("max_budget = { euros = 1 }", "unknown field `euros`");
    of_key("budget_duration = \"1d\"", "there is none");
    of_key("budget_duration = \"1y\"\nmax_budget = { tokens = 1 }", "a length such as");
    of_key("expires_at = 2027-01-01", "a moment such as");
    of_key("expires_at = 2027-01-01T00:00:00", "a moment such as");
    check(&key(SECRET, "a", "max_budget = { usd = 1 }"), 1, "needs prices");
    of_policy("mode = \"off\"", "enforce or shadow");
    of_policy("effort_max = \"huge\"", "low, medium or high");
    of_policy("reasoning = \"loud\"", "raw, summary or hidden");
    of_policy("sensitivity = \"secret\"", "any or local_only");
    of_policy("tools = [\"pyton\"]", "one of function, python");
    of_policy("hosts = [\"https://a.test\"]", "without https://");
    of_policy("hosts = [\"A.test\"]", "small letters");
    of_policy("max_output_token = 1", "unknown field");
    check("[prices.m]\ninput = 1", 1, "missing field `output`");
    check("[prices.m]\ninput = \"1\"\noutput = 1", 2, "input must be");
    let two =
        "[policies.a]\nmoderation = \"x\"\n[policies.b]\nmoderation = \"y\"\n[groups.g]\npolicy = \"b\"\n";
    check(&(two.to_owned() + &key(SECRET, "k", "policy = \"a\"\ngroup = \"g\"")), 8, "judged by one");
}

#[test]
fn a_secret_is_known_expired_revoked_or_nothing() {
    let text = key(SECRET, "a", "expires_at = 2027-01-01T00:00:00Z")
        + &key("other-secret", "b", "revoked_at = 2026-01-01T00:00:00Z");
    let rules = Rules::parse(&text).unwrap();
    let at = 1_798_761_600;
    let check = |secret: &str, now: u64, expect: Result<&str, Unknown>| {
        assert_eq!(rules.identify(secret, now).map(|key| key.name.as_str()), expect);
    };
    check(SECRET, at - 1, Ok("a"));
    check(SECRET, at, Err(Unknown::Expired { name: "a".into(), id: "a".into(), at }));
    check("other-secret", at, Err(Unknown::Revoked { name: "b".into(), id: "b".into() }));
    check("else", at, Err(Unknown::NoSuchKey));
    check("", at, Err(Unknown::NoSuchKey));
    assert_eq!(Rules::parse("").unwrap().identify("", 0).map(|_| ()), Err(Unknown::NoSuchKey));
}

/// The structure that makes the time say nothing: whichever is right, every digest is taken, and none is
/// compared but by the function whose time is constant.
#[test]
fn every_digest_is_compared_whichever_is_right() {
    let digests: Vec<Digest> = (0..100).map(|index| Digest::of(&index.to_string())).collect();
    let check = |given: &str, expect: u32| {
        let mut taken = 0;
        let found = place(digests.iter().inspect(|_| taken += 1), &Digest::of(given));
        assert_eq!((found, taken), (expect, digests.len()), "{given}");
    };
    check("0", 0);
    check("50", 50);
    check("99", 99);
    check("no", u32::MAX);
}

/// Files that something has happened to: each is rules, or is refused with a line that it has and a reason.
#[test]
fn two_thousand_mutated_files_are_rules_or_refused_with_their_line() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    let whole = WHOLE.to_owned() + &key(SECRET, "clinic", "group = \"clinics\"\nmax_budget = { usd = 1.5 }");
    let parts =
        ["]", "[", "\"", "=", "\n", "-1", "{", "nan", "99999999999999999999", "\u{0}", "\u{feff}", "#", "é"];
    let mut random = StdRng::seed_from_u64(18);
    let mut num_refused = 0;
    for _ in 0..2_000 {
        let mut text = whole.clone();
        for _ in 0..random.random_range(1..=3) {
            let from = text.floor_char_boundary(random.random_range(0..text.len()));
            let to = text.floor_char_boundary((from + random.random_range(0..12)).min(text.len())).max(from);
            text.replace_range(from..to, parts[random.random_range(0..parts.len())]);
        }
        if let Err(problem) = Rules::parse(&text) {
            num_refused += 1;
            assert!((1..=text.lines().count() + 1).contains(&problem.line), "{text}\n{problem}");
            assert!(!problem.problem.is_empty() && !problem.problem.contains('\n'), "{text}\n{problem}");
        }
    }
    assert!((500..2_000).contains(&num_refused), "{num_refused} were refused");
}

#[test]
fn the_example_of_the_documents_is_rules() {
    let rules = Rules::parse(include_str!("../../../../docs/governance/rules.toml")).unwrap();
    let key = &rules.keys()[0];
    assert_eq!((rules.keys().len(), key.name.as_str(), key.budgets.len()), (3, "clinic-a", 2));
    let group = key.group.as_deref().unwrap();
    assert_eq!((group.limits.rpm, group.budgets[0].period), (Some(600), Period::Month));
}
