//! Items whose answers a program checks: HumanEval, SWE-bench, IFEval, BFCL.

use std::collections::HashMap;

use serde_json::Value;

use super::graded::message;
use super::{ItemPart, needed};
use crate::bfcl::{Ask as Wanted, Category, shown};
use crate::ifeval;
use crate::key::{CallsKey, Instruction, InstructionsKey, PatchKey, ProgramKey};
use crate::row::{Row, column, json, text, texts};
use crate::{Ask, Key};

/// What stands before a function of HumanEval, as simple-evals asks for it.
const CODE_PROMPT: &str = "Read the following function signature and docstring, and fully implement the function described. Your \
                           response should only contain the code for this function.\n";

/// A row of HumanEval.
pub fn human_eval(row: &Row) -> Result<ItemPart, String> {
    let key = ProgramKey {
        prompt: needed(row, &["prompt"])?,
        test: needed(row, &["test"])?,
        entry_point: needed(row, &["entry_point"])?,
    };
    let ask = Ask::user(format!("{CODE_PROMPT}{}", key.prompt));
    Ok(ItemPart { group: None, question: key.prompt.clone(), ask, key: Key::Program(key) })
}

/// What stands before an issue of SWE-bench.
const ISSUE_PROMPT: &str = "The folder holds a repository. Make the changes that resolve the issue below. The tests that check it are not \
                            there yet and are added afterwards; do not change tests.\n\n";

/// A row of SWE-bench.
pub fn swe_bench(row: &Row) -> Result<ItemPart, String> {
    let tests = |name: &str| {
        let list = match json(row, &[name]) {
            Some(Value::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            _ => texts(row, &[name]),
        };
        list.ok_or_else(|| format!("it has no list `{}`", name.to_ascii_uppercase()))
    };
    let key = PatchKey {
        repository: needed(row, &["repo"])?,
        base_commit: needed(row, &["base_commit"])?,
        test_patch: needed(row, &["test_patch"])?,
        fail_to_pass: tests("fail_to_pass")?,
        pass_to_pass: tests("pass_to_pass")?,
    };
    if key.fail_to_pass.is_empty() {
        return Err("its list `FAIL_TO_PASS` is empty, so that no patch at all would be right".to_owned());
    }
    let question = needed(row, &["problem_statement"])?;
    let ask = Ask::user(format!("{ISSUE_PROMPT}{question}"));
    Ok(ItemPart { group: Some(key.repository.clone()), question, ask, key: Key::Patch(key) })
}

/// A row of IFEval.
pub fn if_eval(row: &Row) -> Result<ItemPart, String> {
    let question = needed(row, &["prompt"])?;
    let list = |name: &str| match json(row, &[name]) {
        Some(Value::Array(values)) => Ok(values),
        _ => Err(format!("it has no list `{name}`")),
    };
    let (kinds, arguments) = (list("instruction_id_list")?, list("kwargs")?);
    if kinds.len() != arguments.len() {
        return Err(format!("{} instructions have {} sets of arguments", kinds.len(), arguments.len()));
    }
    let instruction = |(kind, arguments): (Value, Value)| {
        let kind = kind.as_str().ok_or("an instruction has no name")?.to_owned();
        let Value::Object(mut arguments) = arguments else {
            return Err(format!("the arguments of `{kind}` are not an object"));
        };
        // Tables have a column for every argument of any instruction.
        arguments.retain(|_, value| !value.is_null());
        ifeval::Instruction::read(&kind, &arguments).map_err(|error| error.to_string())?;
        Ok(Instruction { kind, arguments })
    };
    let instructions: Vec<Instruction> =
        kinds.into_iter().zip(arguments).map(instruction).collect::<Result<_, String>>()?;
    let key = Key::Instructions(InstructionsKey { instructions });
    Ok(ItemPart { group: None, ask: Ask::user(question.clone()), question, key })
}

/// A row of BFCL, with its row of `possible_answer` joined to it where calls are wanted.
pub fn bfcl(row: &Row) -> Result<ItemPart, String> {
    let name = text(row, &["category", "test_category"]).map_or_else(|| needed(row, &["id"]), Ok)?;
    let category = Category::of(&name).ok_or_else(|| {
        format!("`{name}` is of a category that is not judged by its calls' parts: simple, multiple, parallel and relevance are")
    })?;
    let Some(Value::Array(functions)) = json(row, &["function", "functions"]) else {
        return Err("it has no list `function`".to_owned());
    };
    let expected = match (category.ask, json(row, &["ground_truth", "possible_answer"])) {
        (Wanted::Calls, Some(Value::Array(expected))) => expected,
        (Wanted::Calls, _) => {
            return Err("it has no `ground_truth`: give the file of the same name in `possible_answer` too"
                .to_owned());
        }
        (Wanted::NoCall | Wanted::SomeCall, _) => Vec::new(),
    };
    let turn = column(row, &["question"]).and_then(|turns| turns.get(0)).and_then(Value::as_array);
    let messages: Vec<_> =
        turn.into_iter().flatten().map(message).collect::<Option<_>>().ok_or("a message is malformed")?;
    let question =
        messages.last().map(|message| message.text.clone()).ok_or("its `question` has no message")?;
    let functions_shown = functions.iter().map(|function| shown(category.language, function)).collect();
    Ok(ItemPart {
        group: Some(group(&name).to_owned()),
        question,
        ask: Ask { messages, functions: functions_shown },
        key: Key::Calls(CallsKey { category: name, functions, expected }),
    })
}

/// BFCL's rows with what is wanted, which other files hold: rows without functions, under the same ids.
pub fn join_wanted(rows: Vec<Row>) -> Vec<Row> {
    let has_functions = |row: &Row| column(row, &["function", "functions"]).is_some();
    let (mut asked, wanted): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(has_functions);
    let wanted: HashMap<String, Value> = wanted
        .into_iter()
        .filter_map(|mut row| Some((text(&row, &["id"])?, row.remove("ground_truth")?)))
        .collect();
    for row in &mut asked {
        if let Some(calls) = text(row, &["id"]).and_then(|id| wanted.get(&id)) {
            row.insert("ground_truth".to_owned(), calls.clone());
        }
    }
    asked
}

/// The category in an id such as `live_simple_0-0-0`.
fn group(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').trim_end_matches('_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(json: Value) -> Row {
        json.as_object().expect("an object").clone()
    }

    #[test]
    fn wanted_calls_come_from_another_file() {
        let asked = json!({"id": "simple_python_7", "question": [[{"role": "user", "content": "Do it."}]],
            "function": [{"name": "a.f", "description": "", "parameters": {"properties": {}}}]});
        let error = bfcl(&row(asked.clone())).map(|_| ()).unwrap_err();
        assert!(error.starts_with("it has no `ground_truth`"), "{error}");
        let wanted = json!({"id": "simple_python_7", "ground_truth": [{"a.f": {}}]});
        let joined = join_wanted(vec![row(asked), row(wanted)]);
        assert_eq!(joined.len(), 1);
        let part = bfcl(&joined[0]).expect("an item");
        assert_eq!((part.group.as_deref(), part.question.as_str()), (Some("simple_python"), "Do it."));
        assert_eq!(part.ask.functions[0]["name"], "a_f");
        let Key::Calls(key) = part.key else { panic!("calls") };
        assert_eq!((key.category.as_str(), &key.expected[0]), ("simple_python_7", &json!({"a.f": {}})));
        let error = bfcl(&row(json!({"id": "memory_kv_1", "function": []}))).map(|_| ()).unwrap_err();
        assert!(error.starts_with("`memory_kv_1` is of a category"), "{error}");
    }

    #[test]
    fn instructions_are_checked_when_a_file_is_read() {
        let of = |kinds: Value, kwargs: Value| {
            if_eval(&row(json!({"key": 1, "prompt": "P", "instruction_id_list": kinds, "kwargs": kwargs})))
        };
        let part = of(json!(["startend:quotation"]), json!([{"num_words": null}])).expect("an item");
        let Key::Instructions(key) = part.key else { panic!("instructions") };
        assert!(key.instructions[0].arguments.is_empty());
        let error = |kinds: Value, kwargs: Value| of(kinds, kwargs).map(|_| ()).unwrap_err();
        assert_eq!(error(json!(["a"]), json!([])), "1 instructions have 0 sets of arguments");
        assert!(error(json!(["length_constraints:number_words"]), json!([{}])).contains("`relation`"));
    }

    #[test]
    fn a_function_is_asked_for_as_simple_evals_does() {
        let part = human_eval(&row(json!({"prompt": "def f():\n", "test": "t", "entry_point": "f"})))
            .expect("an item");
        let asked = &part.ask.messages[0].text;
        assert!(
            asked.starts_with("Read the following function") && asked.ends_with("this function.\ndef f():\n")
        );
    }
}
