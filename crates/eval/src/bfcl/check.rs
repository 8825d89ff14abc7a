//! Whether calls are those that an item wants, as BFCL's `ast_checker` judges them.
//!
//! Its rules are kept with their corners: an argument's value may have the type of the allowed values in the
//! place of the declared one (a variable's name), an allowed `""` makes an argument optional, and types are
//! looked at one level deep.

use serde_json::Value as Json;

use crate::bfcl::language::Language;
use crate::bfcl::value::{Type, Value};
use crate::bfcl::{Call, Category, Fault, java, javascript};

/// Checks calls against the functions on offer and the calls that are wanted, in the data's shape.
pub fn check(category: Category, functions: &[Json], wanted: &[Json], calls: &[Call]) -> Result<(), Fault> {
    if calls.len() != wanted.len() {
        return Err(Fault::WrongCount);
    }
    let named = |name: &str| functions.iter().find(|function| function["name"] == name);
    match category.is_parallel {
        false => {
            let (Some(call), Some((name, allowed))) = (calls.first(), wanted.first().and_then(only)) else {
                return Err(Fault::Item("one call is to be wanted"));
            };
            let function = if category.is_multiple { named(name) } else { functions.first() };
            check_call(category.language, function, allowed, call)
        }
        true => {
            let mut left: Vec<&Call> = calls.iter().collect();
            for answer in wanted {
                let (name, allowed) = only(answer).ok_or(Fault::Item("each wanted call has one name"))?;
                let is_it = |call: &&Call| check_call(category.language, named(name), allowed, call).is_ok();
                let at = left.iter().position(is_it).ok_or(Fault::NoMatch)?;
                left.remove(at);
            }
            Ok(())
        }
    }
}

/// The one member of a wanted call.
fn only(wanted: &Json) -> Option<(&String, &serde_json::Map<String, Json>)> {
    let (name, allowed) = wanted.as_object()?.iter().next()?;
    Some((name, allowed.as_object()?))
}

/// Checks one call against a function and the values that are allowed.
fn check_call(
    language: Language,
    function: Option<&Json>,
    allowed: &serde_json::Map<String, Json>,
    call: &Call,
) -> Result<(), Fault> {
    let function = function.ok_or(Fault::Item("a wanted function is not on offer"))?;
    let name = function["name"].as_str().unwrap_or_default();
    // OpenAI's names have no dots.
    if call.name != name && call.name != name.replace('.', "_") {
        return Err(Fault::WrongName);
    }
    let parameters = &function["parameters"];
    let given = |name: &str| call.arguments.iter().any(|(given, _)| given == name);
    let required = parameters["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    if required.iter().filter_map(Json::as_str).any(|name| !given(name)) {
        return Err(Fault::MissingRequired);
    }
    for (name, value) in &call.arguments {
        let declared = &parameters["properties"][name];
        let (Json::Object(_), Some(allowed)) = (declared, allowed.get(name)) else {
            return Err(Fault::UnexpectedArgument);
        };
        let Value::List(allowed) = Value::from(allowed) else {
            return Err(Fault::Item("allowed values are a list"));
        };
        check_argument(language, declared, &allowed, value)?;
    }
    let is_optional = |allowed: &Json| allowed.as_array().is_some_and(|allowed| allowed.contains(&"".into()));
    match allowed.iter().any(|(name, allowed)| !given(name) && !is_optional(allowed)) {
        true => Err(Fault::MissingOptional),
        false => Ok(()),
    }
}

/// Checks one argument's value.
fn check_argument(
    language: Language,
    declared: &Json,
    allowed: &[Value],
    value: &Value,
) -> Result<(), Fault> {
    let name = declared["type"].as_str().unwrap_or_default();
    let inner = declared["items"]["type"].as_str();
    let expected = language.kind(name).ok_or(Fault::Item("a declared type is not one of BFCL's"))?;
    let nested = match (language.is_nested(name), inner) {
        (false, _) => None,
        (true, Some(inner)) => {
            Some(language.kind(inner).ok_or(Fault::Item("a declared inner type is not one of BFCL's"))?)
        }
        (true, None) => return Err(Fault::Item("a declared list has no inner type")),
    };
    let value = match (language, value) {
        (Language::Python, Value::Tuple(values)) if name == "tuple" => Value::List(values.clone()),
        (Language::Python, Value::Int(whole)) if name == "float" => Value::Float(*whole as f64),
        (Language::Python, value) => value.clone(),
        (_, Value::Text(literal)) => read(language, literal, name, inner.filter(|_| nested.is_some())),
        (_, _) => return Err(Fault::WrongType),
    };
    let is_variable = is_of_type(&value, allowed, expected, nested)?;
    match (is_variable, expected, &value) {
        (false, Type::Dict, Value::Dict(members)) => check_dict(members, allowed),
        (false, Type::List, Value::List(values)) if nested == Some(Type::Dict) => {
            check_dicts(values, allowed)
        }
        (false, Type::Text, Value::Text(text)) => {
            let text = plain(text);
            match allowed.iter().filter_map(Value::text).any(|allowed| plain(allowed) == text) {
                true => Ok(()),
                false => Err(Fault::WrongText),
            }
        }
        (false, Type::List, Value::List(values)) => check_list(values, allowed),
        _ if allowed.contains(&value) => Ok(()),
        _ => Err(Fault::WrongValue),
    }
}

/// A literal's value by its declared type; the text itself where it is not a literal of that type.
fn read(language: Language, literal: &str, name: &str, inner: Option<&str>) -> Value {
    match language {
        Language::Python => Value::Text(literal.to_owned()),
        Language::Java => java::read(literal, name, inner),
        Language::JavaScript => javascript::read(literal, name, inner),
    }
}

/// Whether a value has the type of the allowed ones in the place of the declared one, where it has one of
/// them.
fn is_of_type(value: &Value, allowed: &[Value], expected: Type, nested: Option<Type>) -> Result<bool, Fault> {
    let of_allowed = allowed.iter().find(|allowed| allowed.text() != Some("")).map(Value::kind);
    let is_variable = of_allowed.is_some_and(|kind| kind != expected);
    if value.kind() != expected {
        return if of_allowed == Some(value.kind()) { Ok(true) } else { Err(Fault::WrongType) };
    }
    let (Some(nested), Value::List(values)) = (nested, value) else {
        return Ok(is_variable);
    };
    let fits = |allowed: &Value| match allowed {
        Value::List(allowed) => values.iter().all(|value| is_of_type(value, allowed, nested, None).is_ok()),
        _ => true,
    };
    if allowed.iter().any(fits) { Ok(is_variable) } else { Err(Fault::WrongInnerType) }
}

/// A text without what writers differ in.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| !" ,./-_*^".contains(*c)).collect();
    text.to_lowercase().replace('\'', "\"")
}

/// A value with its text plain, if it is one.
fn plain_value(value: &Value) -> Value {
    value.text().map_or_else(|| value.clone(), |text| Value::Text(plain(text)))
}

/// What Python takes one by one of an allowed value: a text's letters too.
fn items(allowed: &Value) -> Result<Vec<Value>, Fault> {
    match allowed {
        Value::List(values) => Ok(values.iter().map(plain_value).collect()),
        Value::Text(text) => Ok(text.chars().map(|c| Value::Text(plain(&c.to_string()))).collect()),
        Value::Dict(members) if members.is_empty() => Ok(Vec::new()),
        _ => Err(Fault::Item("an allowed value is neither a list nor a text")),
    }
}

fn check_list(values: &[Value], allowed: &[Value]) -> Result<(), Fault> {
    let values: Vec<Value> = values.iter().map(plain_value).collect();
    let allowed: Vec<Vec<Value>> = allowed.iter().map(items).collect::<Result<_, _>>()?;
    if allowed.contains(&values) { Ok(()) } else { Err(Fault::WrongList) }
}

/// A dictionary: each of its members allowed, and none missing that is not optional.
fn check_dict(members: &[(String, Value)], allowed: &[Value]) -> Result<(), Fault> {
    let mut fault = Fault::NoDict;
    for allowed in allowed.iter().filter(|allowed| allowed.text() != Some("")) {
        let Value::Dict(allowed) = allowed else {
            return Err(Fault::Item("an allowed value is not a dictionary"));
        };
        match check_members(members, allowed)? {
            None => return Ok(()),
            Some(found) => fault = found,
        }
    }
    Err(fault)
}

fn check_members(members: &[(String, Value)], allowed: &[(String, Value)]) -> Result<Option<Fault>, Fault> {
    let mut fault = None;
    for (name, value) in members {
        let Some((_, allowed)) = allowed.iter().find(|(allowed, _)| allowed == name) else {
            fault = Some(Fault::DictKey);
            break;
        };
        if !items(allowed)?.contains(&plain_value(value)) {
            fault = Some(Fault::DictValue);
            break;
        }
    }
    for (name, allowed) in allowed {
        let is_optional = match allowed {
            Value::List(values) => values.iter().any(|value| value.text() == Some("")),
            Value::Dict(members) => members.iter().any(|(name, _)| name.is_empty()),
            Value::Text(_) => true,
            _ => return Err(Fault::Item("an allowed value is neither a list nor a text")),
        };
        if !is_optional && !members.iter().any(|(given, _)| given == name) {
            return Ok(Some(Fault::DictKey));
        }
    }
    Ok(fault)
}

/// A list of dictionaries, in their order.
fn check_dicts(values: &[Value], allowed: &[Value]) -> Result<(), Fault> {
    let mut fault = Fault::NoDict;
    'allowed: for allowed in allowed {
        let allowed: &[Value] = match allowed {
            Value::List(allowed) => allowed,
            Value::Text(text) if text.is_empty() => &[],
            _ => return Err(Fault::Item("an allowed value is not a list of dictionaries")),
        };
        if values.len() != allowed.len() {
            fault = Fault::DictCount;
            continue;
        }
        for (value, allowed) in values.iter().zip(allowed) {
            let Value::Dict(members) = value else { return Err(Fault::WrongInnerType) };
            match check_dict(members, std::slice::from_ref(allowed)) {
                Err(found @ Fault::Item(_)) => return Err(found),
                Err(found) => {
                    fault = found;
                    continue 'allowed;
                }
                Ok(()) => {}
            }
        }
        return Ok(());
    }
    Err(fault)
}

#[cfg(test)]
mod tests;
