//! Variables in a text of servers: `${NAME}` and `${NAME:-default}`; `$${` is `${` itself.

/// The text as one that has no variables and means the same.
pub(super) fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// The text with its variables' values, or what is wrong.
pub(super) fn expanded(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("${");
            rest = after;
            continue;
        }
        let (inside, behind) = after.split_once('}').ok_or_else(|| "`${` has no `}`".to_owned())?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if name.is_empty() || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') {
            return Err(format!("{inside:?} is not a name of a variable"));
        }
        done.push_str(before);
        match (lookup(name).filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => done.push_str(&value),
            (None, Some(default)) => done.push_str(default),
            (None, None) => {
                return Err(format!("the variable {name} is not set; `${{{name}:-}}` would allow that"));
            }
        }
        rest = behind;
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_once() {
        let lookup = |name: &str| match name {
            "KEY" => Some("${HOME}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let check = |text, expected: Result<&str, &str>| {
            assert_eq!(expanded(text, &lookup).as_deref().map_err(String::as_str), expected, "{text}");
        };
        check("plain $KEY {KEY}", Ok("plain $KEY {KEY}"));
        check("Bearer ${KEY}!", Ok("Bearer ${HOME}!"));
        check("a$${KEY} ${KEY}", Ok("a${KEY} ${HOME}"));
        let plain = literal("${KEY}$${");
        check(&plain, Ok("${KEY}$${"));
        check("${NONE:-a}${EMPTY:-b}${EMPTY}${NONE:-}", Ok("ab"));
        check("${NONE}", Err("the variable NONE is not set; `${NONE:-}` would allow that"));
        check("${KEY", Err("`${` has no `}`"));
        check("${a b}", Err(r#""a b" is not a name of a variable"#));
    }
}
