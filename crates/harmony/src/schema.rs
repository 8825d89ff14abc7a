//! How is a tool's JSON Schema told to the model?
//!
//! As a TypeScript type: [`write_type`] appends it to a text. What the vendor's crate renders is rendered the
//! same, character for character, its oddities included (an enum in an array gets no parentheses, a nested
//! object is not indented), because the models were trained on that. Where the vendor says `any`, this goes
//! on: local `$ref`s are resolved (a cycle is `any`), `anyOf` is a union, `allOf` an intersection, `const` a
//! literal. Depth, nodes and bytes are bounded, since a few `$ref`s can stand for exponential text.

use std::collections::HashSet;

use serde_json::Value;

use crate::limits::{SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SCHEMA_TEXT_BYTES_MAX};

/// A schema that is beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemaExcess {
    Depth,
    Nodes,
    Bytes,
}

/// Appends the type of `schema` to `out`.
pub(crate) fn write_type(out: &mut String, schema: &Value) -> Result<(), SchemaExcess> {
    let bytes_max = out.len() + SCHEMA_TEXT_BYTES_MAX;
    TypeWriter { root: schema, out, open_refs: Vec::new(), num_nodes: 0, bytes_max }.node(schema, "", 0)
}

struct TypeWriter<'a> {
    root: &'a Value,
    out: &'a mut String,
    /// The `$ref`s that are being expanded, outermost first.
    open_refs: Vec<&'a str>,
    num_nodes: usize,
    bytes_max: usize,
}

fn text<'a>(schema: &'a Value, field: &str) -> Option<&'a str> {
    schema.get(field)?.as_str()
}

fn list<'a>(schema: &'a Value, field: &str) -> Option<&'a Vec<Value>> {
    schema.get(field)?.as_array()
}

fn is_enum(schema: &Value) -> bool {
    list(schema, "enum").is_some_and(|values| !values.is_empty())
}

fn is_nullable(schema: &Value) -> bool {
    schema.get("nullable").and_then(Value::as_bool).unwrap_or(false)
}

/// A default as a comment says it: strings in quotes, except those of an enum, which `bare_enum` leaves bare.
fn default_comment(schema: &Value, bare_enum: bool) -> Option<String> {
    let default = schema.get("default")?;
    Some(match default.as_str() {
        Some(text) if !is_enum(schema) => format!("default: \"{text}\""),
        Some(text) if bare_enum => format!("default: {text}"),
        _ => format!("default: {default}"),
    })
}

/// The pointer in a URI fragment; `None` when it is no UTF-8. `~0` and `~1` are the pointer's own escapes and
/// stay.
fn percent_decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: &u8| char::from(*digit).to_digit(16);
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                ((hex(high)? * 16 + hex(low)?) as u8, after)
            }
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

impl<'a> TypeWriter<'a> {
    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.push_str(part);
        }
    }

    fn node(&mut self, schema: &'a Value, indent: &str, depth: usize) -> Result<(), SchemaExcess> {
        self.num_nodes += 1;
        if depth > SCHEMA_DEPTH_MAX {
            return Err(SchemaExcess::Depth);
        }
        if self.num_nodes > SCHEMA_NODES_MAX {
            return Err(SchemaExcess::Nodes);
        }
        if self.out.len() > self.bytes_max {
            return Err(SchemaExcess::Bytes);
        }
        if let Some(reference) = text(schema, "$ref") {
            return self.reference(reference, indent, depth);
        }
        if let Some(constant) = schema.get("const") {
            self.push(&[&constant.to_string()]);
            return Ok(());
        }
        if let Some(variants) = list(schema, "oneOf") {
            return self.one_of(variants, indent, depth);
        }
        match schema.get("type") {
            Some(Value::Array(types)) if types.iter().any(Value::is_string) => {
                let names: Vec<&str> = types
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|name| if name == "integer" { "number" } else { name })
                    .collect();
                self.push(&[&names.join(" | ")]);
                Ok(())
            }
            Some(Value::String(name)) => self.named(name, schema, indent, depth),
            _ => self.combined(schema, indent, depth),
        }
    }

    fn named(
        &mut self,
        name: &str,
        schema: &'a Value,
        indent: &str,
        depth: usize,
    ) -> Result<(), SchemaExcess> {
        match name {
            "object" => return self.object(schema, indent, depth),
            "string" => {
                let values = list(schema, "enum").into_iter().flatten().filter_map(Value::as_str);
                let values: Vec<String> = values.map(|value| format!("\"{value}\"")).collect();
                let union = values.join(" | ");
                self.push(&[if values.is_empty() { "string" } else { &union }]);
            }
            "number" | "integer" => self.push(&["number"]),
            "boolean" => self.push(&["boolean"]),
            "array" => match schema.get("items") {
                Some(items) => {
                    let start = self.out.len();
                    self.node(items, indent, depth + 1)?;
                    // Only the types that the vendor does not know are put in parentheses.
                    if ["anyOf", "allOf", "$ref"].iter().any(|field| items.get(field).is_some())
                        && self.out[start..].contains([' ', '\n'])
                    {
                        self.out.insert(start, '(');
                        self.push(&[")"]);
                    }
                    self.push(&["[]"]);
                }
                None => self.push(&["Array<any>"]),
            },
            _ => self.push(&["any"]),
        }
        Ok(())
    }

    /// What the vendor renders as `any`: unions, intersections, or really anything.
    fn combined(&mut self, schema: &'a Value, indent: &str, depth: usize) -> Result<(), SchemaExcess> {
        let (members, joint) = match (list(schema, "anyOf"), list(schema, "allOf")) {
            (Some(members), _) if !members.is_empty() => (members, " | "),
            (_, Some(members)) if !members.is_empty() => (members, " & "),
            _ => {
                self.push(&["any"]);
                return Ok(());
            }
        };
        let start = self.out.len();
        let mut seen: HashSet<String> = HashSet::new();
        for member in members {
            let member_start = self.out.len();
            if text(member, "type") == Some("null") {
                self.push(&["null"]);
            } else {
                self.node(member, indent, depth + 1)?;
                if is_nullable(member) && !self.out[member_start..].contains("null") {
                    self.push(&[" | null"]);
                }
            }
            let mut written = self.out.split_off(member_start);
            if joint == " & " && members.len() > 1 && written.contains(" | ") {
                written = format!("({written})");
            }
            if !seen.contains(&written) {
                if member_start > start {
                    self.push(&[joint]);
                }
                self.push(&[&written]);
                seen.insert(written);
            }
        }
        Ok(())
    }

    fn reference(&mut self, reference: &'a str, indent: &str, depth: usize) -> Result<(), SchemaExcess> {
        let pointer = reference.strip_prefix('#');
        // As it stands too, for those who put a name with a percent sign there unescaped.
        let decoded = pointer.and_then(percent_decoded).and_then(|pointer| self.root.pointer(&pointer));
        let target = decoded.or_else(|| self.root.pointer(pointer?));
        match target {
            Some(target) if !self.open_refs.contains(&reference) => {
                self.open_refs.push(reference);
                let result = self.node(target, indent, depth + 1);
                self.open_refs.pop();
                result
            }
            _ => {
                self.push(&["any"]);
                Ok(())
            }
        }
    }

    /// A value's type, with ` | null` for a nullable one.
    fn nullable_node(&mut self, schema: &'a Value, indent: &str, depth: usize) -> Result<(), SchemaExcess> {
        let start = self.out.len();
        self.node(schema, indent, depth + 1)?;
        if is_nullable(schema) && !self.out[start..].contains("null") {
            self.push(&[" | null"]);
        }
        Ok(())
    }

    /// `oneOf` anywhere but in a property: each variant on its own line, with its comments.
    fn one_of(&mut self, variants: &'a [Value], indent: &str, depth: usize) -> Result<(), SchemaExcess> {
        for variant in variants {
            self.push(&["\n", indent, " | "]);
            self.nullable_node(variant, &format!("{indent}   "), depth)?;
            let comments: Vec<String> = text(variant, "description")
                .map(String::from)
                .into_iter()
                .chain(default_comment(variant, false))
                .collect();
            if !comments.is_empty() {
                self.push(&[" // ", &comments.join(" ")]);
            }
        }
        Ok(())
    }

    fn object(&mut self, schema: &'a Value, indent: &str, depth: usize) -> Result<(), SchemaExcess> {
        if let Some(description) = text(schema, "description") {
            self.push(&[indent, "// ", description, "\n"]);
        }
        self.push(&["{\n"]);
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let required: HashSet<&str> =
                list(schema, "required").into_iter().flatten().filter_map(Value::as_str).collect();
            for (name, property) in properties {
                let mark = if required.contains(name.as_str()) { "" } else { "?" };
                self.property_comments(property, indent);
                match list(property, "oneOf") {
                    Some(variants) => self.property_one_of(name, mark, property, variants, indent, depth)?,
                    None => {
                        self.push(&[indent, name, mark, ": "]);
                        self.nullable_node(property, &format!("{indent}    "), depth)?;
                        self.push(&[","]);
                        if property.get("oneOf").is_none()
                            && let Some(default) = default_comment(property, true)
                        {
                            self.push(&[" // ", &default]);
                        }
                        self.push(&["\n"]);
                    }
                }
            }
        }
        self.push(&[indent, "}"]);
        Ok(())
    }

    /// Title, description and examples above a property.
    fn property_comments(&mut self, property: &Value, indent: &str) {
        if let Some(title) = text(property, "title") {
            self.push(&[indent, "// ", title, "\n", indent, "//\n"]);
        }
        if property.get("oneOf").is_none()
            && let Some(description) = text(property, "description")
        {
            self.push(&[indent, "// ", description, "\n"]);
        }
        if let Some(examples) = list(property, "examples").filter(|examples| !examples.is_empty()) {
            self.push(&[indent, "// Examples:\n"]);
            for example in examples.iter().filter_map(Value::as_str) {
                self.push(&[indent, "// - \"", example, "\"\n"]);
            }
        }
    }

    /// A property with variants: its description and default above, each variant on its own line, a comma on
    /// the last.
    fn property_one_of(
        &mut self,
        name: &str,
        mark: &str,
        property: &'a Value,
        variants: &'a [Value],
        indent: &str,
        depth: usize,
    ) -> Result<(), SchemaExcess> {
        let description = text(property, "description");
        let first_description = variants.first().and_then(|variant| text(variant, "description"));
        let description_above = description.filter(|_| description != first_description);
        if let Some(description) = description_above {
            self.push(&[indent, "// ", description, "\n"]);
        }
        if let Some(default) = default_comment(property, true) {
            self.push(&[indent, "// ", &default, "\n"]);
        }
        self.push(&[indent, name, mark, ":\n"]);
        for (i, variant) in variants.iter().enumerate() {
            self.push(&[indent, " | "]);
            self.nullable_node(variant, &format!("{indent}   "), depth)?;
            let is_described_above = i == 0 && description_above.is_some();
            let variant_description =
                text(variant, "description").filter(|&text| !is_described_above && Some(text) != description);
            let comments: Vec<String> = variant_description
                .map(String::from)
                .into_iter()
                .chain(default_comment(variant, true))
                .collect();
            if !comments.is_empty() {
                self.push(&[" // ", &comments.join(" ")]);
            }
            self.push(&["\n"]);
        }
        self.push(&[indent, ",\n"]);
        Ok(())
    }
}
