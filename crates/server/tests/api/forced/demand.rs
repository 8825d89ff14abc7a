//! What a client may demand of an answer, and the bodies that demand it.

use serde_json::{Value, json};

/// What is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// A call of any of the tools.
    Required,
    /// A call of one tool.
    Named,
    /// A call of any of the tools, whose arguments are held to the letter.
    Strict,
    /// An answer of a schema.
    Schema,
    /// An answer that is a JSON object.
    Object,
}

/// All of them.
pub const DEMANDS: [Demand; 5] =
    [Demand::Required, Demand::Named, Demand::Strict, Demand::Schema, Demand::Object];

/// The API by which it is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// By which API.
    pub api: Api,
    /// What.
    pub demand: Demand,
    /// How much the model is to reason: low, medium, high.
    pub effort: &'static str,
    /// The client's limit. Units: tokens.
    pub max_tokens: Option<usize>,
    /// Of the sampler; it also chooses the question, the schema and the temperature.
    pub seed: u64,
}

const QUESTIONS: [&str; 4] =
    ["What is the weather in Paris?", "What is 27 + 58?", "Send 12 to 604.", "Which is larger, 518 or 581?"];

/// Objects, arrays, choices, bounds, patterns, references, unions and nothing at all, as clients send them.
fn schemas() -> [Value; 6] {
    let place = json!({
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": false
    });
    let order = json!({
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "kind": {"enum": ["first", "second"]},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
            "price": {"type": ["number", "null"]}
        },
        "required": ["tags", "kind", "code", "price"],
        "additionalProperties": false
    });
    let tree = json!({
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/node"}},
        "required": ["root"],
        "additionalProperties": false,
        "$defs": {"node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["name", "next"],
            "additionalProperties": false
        }}
    });
    let either = json!({
        "type": "object",
        "properties": {"at": {"anyOf": [
            {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"], "additionalProperties": false},
            {"type": "string", "format": "date"}
        ]}},
        "required": ["at"],
        "additionalProperties": false
    });
    let names: Vec<String> = (1..=24).map(|number| format!("field_number_{number}")).collect();
    let fields = names.iter().map(|name| (name.clone(), json!({"type": "string"})));
    let form = json!({
        "type": "object",
        "properties": fields.collect::<serde_json::Map<_, _>>(),
        "required": names,
        "additionalProperties": false
    });
    let nothing = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
    [place, order, tree, either, form, nothing]
}

impl Asked {
    /// The schema that the arguments or the answer must keep to.
    pub fn schema(&self) -> Value {
        match self.demand {
            Demand::Object => json!({"type": "object"}),
            // A few seeds ask for all of them.
            demand => schemas()[(self.seed as usize + demand as usize) % 6].clone(),
        }
    }

    /// The tools that a call may be of, by name.
    pub fn callable(&self) -> &'static [&'static str] {
        match self.demand {
            Demand::Required | Demand::Strict => &["get_weather", "send"],
            Demand::Named => &["send"],
            Demand::Schema | Demand::Object => &[],
        }
    }

    /// Where it is posted.
    pub fn path(&self) -> &'static str {
        match self.api {
            Api::Chat => "/v1/chat/completions",
            Api::Responses => "/v1/responses",
            Api::Messages => "/v1/messages",
        }
    }

    /// The body that is posted.
    pub fn body(&self, is_streamed: bool) -> Value {
        let question = QUESTIONS[self.seed as usize / 6 % QUESTIONS.len()];
        let is_hot = self.seed % 2 == 1;
        let temperature = if is_hot { 2.0 } else { 1.0 };
        let mut body = match self.api {
            Api::Chat => json!({
                "messages": [{"role": "user", "content": question}], "reasoning_effort": self.effort,
                "max_completion_tokens": self.max_tokens, "stream_options": {"include_usage": true},
            }),
            Api::Responses => json!({
                "input": question, "reasoning": {"effort": self.effort}, "max_output_tokens": self.max_tokens,
                "store": false,
            }),
            Api::Messages => json!({
                "messages": [{"role": "user", "content": question}],
                "output_config": {"effort": self.effort},
                "max_tokens": self.max_tokens,
            }),
        };
        if !is_streamed {
            body.as_object_mut().unwrap().remove("stream_options");
        }
        body["seed"] = json!(self.seed);
        body["temperature"] = json!(temperature);
        body["stream"] = json!(is_streamed);
        self.demand_in(&mut body);
        body
    }

    fn demand_in(&self, body: &mut Value) {
        let schema = self.schema();
        if self.callable().is_empty() {
            let is_strict = self.seed % 4 < 2;
            let inside = json!({"name": "answer", "schema": schema, "strict": is_strict});
            let mut format = json!({"type": "json_object"});
            if self.demand == Demand::Schema {
                format = match self.api {
                    Api::Chat => json!({"type": "json_schema", "json_schema": inside}),
                    Api::Responses | Api::Messages => {
                        let mut format = inside;
                        format["type"] = json!("json_schema");
                        format
                    }
                };
            }
            match self.api {
                Api::Chat => body["response_format"] = format,
                Api::Responses => body["text"] = json!({"format": format}),
                Api::Messages => body["output_config"]["format"] = format,
            }
            return;
        }
        let is_strict = self.demand == Demand::Strict;
        let tool = |name: &str| {
            let function =
                json!({"name": name, "description": "Does it.", "parameters": schema, "strict": is_strict});
            match self.api {
                Api::Chat => json!({"type": "function", "function": function}),
                Api::Responses => {
                    let mut flat = function;
                    flat["type"] = json!("function");
                    flat
                }
                Api::Messages => json!({"name": name, "description": "Does it.", "input_schema": schema}),
            }
        };
        body["tools"] = ["get_weather", "send"].map(tool).into();
        body["tool_choice"] = match (self.api, self.demand) {
            (Api::Chat, Demand::Named) => json!({"type": "function", "function": {"name": "send"}}),
            (Api::Responses, Demand::Named) => json!({"type": "function", "name": "send"}),
            (Api::Messages, Demand::Named) => json!({"type": "tool", "name": "send"}),
            (Api::Messages, _) => json!({"type": "any"}),
            _ => json!("required"),
        };
    }
}
