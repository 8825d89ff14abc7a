//! JSON Schemas as clients send them.
//!
//! [`random_schema`] draws one from what they use: objects with required and optional properties, arrays,
//! enums, bounds, patterns, formats, unions, references, also recursive ones. Every schema has an instance of
//! moderate size.

use serde_json::{Map, Value, json};

use crate::draw::Random;

/// A schema with definitions, whose root is an object, an array, a union or a reference.
pub fn random_schema(random: &mut Random) -> Value {
    let mut root = match random.below(8) {
        0 => json!({"$ref": "#/$defs/tree"}),
        1 => array(random, 2),
        2 => union(random, 2),
        3 => {
            json!({"allOf": [object(random, 1), {"type": "object", "properties": {"extra": scalar(random)}}]})
        }
        _ => object(random, 3),
    };
    let definitions = json!({
        "leaf": scalar(random),
        "tree": {
            "type": "object",
            "properties": {"value": {"$ref": "#/$defs/leaf"}, "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
            "required": ["value", "next"],
            "additionalProperties": false
        }
    });
    if let Value::Object(root) = &mut root {
        root.insert("$defs".into(), definitions);
    }
    root
}

fn schema(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 10 }) {
        0..=5 => scalar(random),
        6 => array(random, depth - 1),
        7 => union(random, depth - 1),
        8 => json!({"$ref": *random.choose(&["#/$defs/leaf", "#/$defs/tree"])}),
        _ => object(random, depth - 1),
    }
}

fn object(random: &mut Random, depth: usize) -> Value {
    const NAMES: [&str; 8] = ["name", "id", "größe", "is_on", "a/b", "quote\"d", "items", "not"];
    let mut properties = Map::new();
    let mut required = Vec::new();
    for name in NAMES {
        if random.chance(35) {
            properties.insert(name.into(), schema(random, depth));
            if random.chance(60) {
                required.push(name);
            }
        }
    }
    let mut object = json!({"type": "object", "properties": properties, "required": required});
    match random.below(5) {
        0 => {}
        1 => object["additionalProperties"] = scalar(random),
        2 => object["patternProperties"] = json!({"^x_[a-z]+$": scalar(random)}),
        _ => object["additionalProperties"] = json!(false),
    }
    object
}

fn array(random: &mut Random, depth: usize) -> Value {
    let low = random.below(3);
    let mut array = json!({"type": "array", "items": schema(random, depth), "minItems": low});
    if random.chance(60) {
        array["maxItems"] = json!(low + random.below(4));
    }
    if random.chance(20) {
        array["prefixItems"] = json!([scalar(random), scalar(random)]);
    }
    array
}

fn union(random: &mut Random, depth: usize) -> Value {
    match random.below(3) {
        0 => json!({"anyOf": [schema(random, depth), schema(random, depth), {"type": "null"}]}),
        1 => json!({"oneOf": [{"type": "string", "maxLength": 9}, integer(random), {"type": "boolean"}]}),
        _ => json!({"type": ["string", "null", "integer"], "maxLength": 12}),
    }
}

fn integer(random: &mut Random) -> Value {
    let low = random.below(2000) as i64 - 1000;
    let mut integer =
        json!({"type": "integer", "minimum": low, "maximum": low + 20 + random.below(500) as i64});
    if random.chance(25) {
        integer["multipleOf"] = json!(random.below(9) + 1);
    }
    integer
}

fn scalar(random: &mut Random) -> Value {
    const PATTERNS: [&str; 6] = [
        "^[A-Z]{2}-[0-9]{3}$",
        "^(red|green|blue)+$",
        "[aeiou]",
        r"^\w+@\w+\.com$",
        r"^\d+(\.\d{2})?$",
        "^[^\"]*$",
    ];
    const FORMATS: [&str; 8] = ["date", "time", "date-time", "uuid", "email", "ipv4", "duration", "hostname"];
    match random.below(14) {
        0 => json!({"type": "boolean"}),
        1 => json!({"type": "null"}),
        2..=3 => integer(random),
        4 => json!({"type": "number", "minimum": -1.5, "exclusiveMaximum": 200}),
        5 => json!({"type": "string", "pattern": random.choose(&PATTERNS)}),
        6 => json!({"type": "string", "format": random.choose(&FORMATS)}),
        7 => json!({"type": "string", "minLength": random.below(4), "maxLength": 4 + random.below(20)}),
        8 => json!({"enum": ["a", "ab", "b c", 1, 2.5, null, true, {"k": [1, "v"]}, "ü\n\"\\"]}),
        9 => json!({"const": random.choose(&[json!("fixed"), json!(7), json!({"a": []}), json!(false)])}),
        10 => json!({"type": "string", "enum": ["low", "medium", "high"], "description": "how much"}),
        11 => json!({"type": "integer", "exclusiveMinimum": 0, "maximum": 9}),
        _ => json!({"type": "string"}),
    }
}
