//! Edits keep what they are not about, and make no file that would be refused.

use super::*;

/// A secret that is drawn of one byte.
fn secret(byte: u8) -> Secret {
    let draw = |bytes: &mut [u8]| {
        bytes.fill(byte);
        Ok::<(), ()>(())
    };
    Secret::draw(draw).unwrap()
}

/// By seconds after [`NOW`].
fn rotation(now: u64, old_until: u64) -> Rotation {
    Rotation { now: NOW + now, old_until: NOW + old_until, new_until: None }
}

const FILE: &str = "# Ours.\n[policies.p] # narrow\nmodels = [\"m\"]\n\n\
    # Prices of May.\n[prices.m]\ninput = 1\noutput = 2\n";
const NOW: u64 = 1_790_000_000;

fn with_two() -> String {
    let text =
        add(FILE, &NewKey { name: "a", scopes: &[Scope::Infer], ..NewKey::default() }, &secret(1), NOW)
            .unwrap();
    let key = NewKey {
        name: "b",
        scopes: &[Scope::Infer, Scope::Tools],
        policy: Some("p"),
        models: &["m".to_owned()],
        rpm_limit: Some(60),
        budget_tokens: Some(1000),
        budget_usd: Some(2.5),
        budget_duration: Some("1mo"),
        expires_at: Some(NOW + 1_000_000),
        ..NewKey::default()
    };
    add(&text, &key, &secret(2), NOW).unwrap()
}

#[test]
fn a_key_is_added_and_the_rest_stays() {
    let text = with_two();
    assert!(text.starts_with(FILE), "{text}");
    let rules = Rules::parse(&text).unwrap();
    let key = rules.identify(secret(2).reveal(), NOW).unwrap();
    assert_eq!((key.name.as_str(), key.id.as_str()), ("b", secret(2).id()));
    assert_eq!((key.created_at, key.expires_at), (Some(NOW), Some(NOW + 1_000_000)));
    assert_eq!(key.budgets.len(), 2);
    assert!(!text.contains(secret(2).reveal()), "the secret is not in the file");
}

#[test]
fn what_would_not_be_rules_is_not_written() {
    let check = |text: &str, key: NewKey<'_>, expect: &str| {
        let problem = add(text, &key, &secret(1), NOW).unwrap_err();
        assert!(problem.problem.contains(expect), "{problem}");
    };
    check(FILE, NewKey { name: "", ..NewKey::default() }, "a key is named");
    check(FILE, NewKey { name: "a", policy: Some("q"), ..NewKey::default() }, "no policy");
    check(FILE, NewKey { name: "a", budget_duration: Some("1d"), ..NewKey::default() }, "there is none");
    check("keys = []", NewKey { name: "a", ..NewKey::default() }, "[[keys]]");
    check("x = 1", NewKey { name: "a", ..NewKey::default() }, "unknown field");
    check(&with_two(), NewKey { name: "c", ..NewKey::default() }, "two keys");
}

#[test]
fn a_rotated_key_has_two_secrets_until_the_grace_ends() {
    let text = rotate(&with_two(), "b", &secret(3), rotation(10, 100)).unwrap();
    let rules = Rules::parse(&text).unwrap();
    let name = |byte: u8, now: u64| rules.identify(secret(byte).reveal(), now).map(|key| key.name.as_str());
    assert_eq!((name(2, NOW + 99), name(3, NOW + 99)), (Ok("b"), Ok("b")));
    assert!(name(2, NOW + 100).is_err());
    let new = rules.identify(secret(3).reveal(), NOW + 100).unwrap();
    assert_eq!(
        (new.limits.rpm, new.created_at, new.expires_at),
        (Some(60), Some(NOW + 10), Some(NOW + 1_000_000))
    );
    assert_eq!(name(1, NOW + 100), Ok("a"), "another tenant's is not touched");
    let longer = Rotation { new_until: Some(NOW + 9_000_000), ..rotation(10, 100) };
    let renewed = Rules::parse(&rotate(&with_two(), "b", &secret(3), longer).unwrap()).unwrap();
    assert!(renewed.identify(secret(3).reveal(), NOW + 8_999_999).is_ok());
    // Again, at once and by the public part: neither of the older two opens anything.
    let text = rotate(&text, secret(3).id(), &secret(4), rotation(20, 20)).unwrap();
    let rules = Rules::parse(&text).unwrap();
    let opens = |byte: u8| rules.identify(secret(byte).reveal(), NOW + 20).is_ok();
    assert_eq!([1, 2, 3, 4].map(opens), [true, false, false, true]);
    assert!(rotate(&text, "nobody", &secret(5), rotation(0, 0)).unwrap_err().problem.contains("no key"));
}

#[test]
fn a_revoked_key_opens_nothing_and_may_leave() {
    let (text, ids) = revoke(&with_two(), "a", NOW + 5, false).unwrap();
    assert_eq!(ids, [secret(1).id()]);
    let rules = Rules::parse(&text).unwrap();
    assert!(rules.identify(secret(1).reveal(), NOW + 5).is_err());
    assert!(rules.identify(secret(2).reveal(), NOW + 5).is_ok());
    assert!(revoke(&text, "a", NOW + 6, false).unwrap_err().problem.contains("no key"));
    assert!(rotate(&text, "a", &secret(9), rotation(6, 6)).is_err(), "what is revoked is not rotated");
    let (text, _) = revoke(&text, "a", NOW + 6, true).unwrap();
    assert_eq!(Rules::parse(&text).unwrap().keys().len(), 1);
    assert!(text.contains("# Prices of May."));
}
