//! The result of a line, as a line of the output or of the error file.

use serde_json::Value;

/// What a line came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResult {
    /// The status of the answer.
    pub status: u16,
    /// The line, without its end.
    pub line: String,
}

impl BatchResult {
    /// Whether it belongs to the output.
    pub fn is_answer(&self) -> bool {
        self.status == 200
    }
}

/// The line of a request that was answered, well or not; `body` is the answer's own JSON.
pub fn answered(id: &str, custom_id: &str, (status, request_id): (u16, &str), body: &str) -> BatchResult {
    let (id, custom_id, request_id) = (quoted(id), quoted(custom_id), quoted(request_id));
    let response = format!(r#"{{"status_code":{status},"request_id":{request_id},"body":{body}}}"#);
    let line = format!(r#"{{"id":{id},"custom_id":{custom_id},"response":{response},"error":null}}"#);
    BatchResult { status, line }
}

/// The line of a request that was not answered before the batch's time was up.
pub fn expired(id: &str, custom_id: &str) -> String {
    let (id, custom_id) = (quoted(id), quoted(custom_id));
    let message = quoted("This request was not answered before the completion window ended.");
    let error = format!(r#"{{"code":"batch_expired","message":{message}}}"#);
    format!(r#"{{"id":{id},"custom_id":{custom_id},"response":null,"error":{error}}}"#)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_result_is_one_line_of_json() {
        let whole = answered("batch_req_1", "a\"b\n", (200, "req_1"), r#"{"x":1.50}"#);
        assert!(whole.is_answer() && !whole.line.contains('\n') && whole.line.contains(r#"{"x":1.50}"#));
        let expect = json!({
            "id": "batch_req_1", "custom_id": "a\"b\n", "error": null,
            "response": {"status_code": 200, "request_id": "req_1", "body": {"x": 1.5}},
        });
        assert_eq!(serde_json::from_str::<Value>(&whole.line).unwrap(), expect);
        let late: Value = serde_json::from_str(&expired("batch_req_1", "a")).unwrap();
        assert_eq!((&late["error"]["code"], &late["response"]), (&json!("batch_expired"), &Value::Null));
    }
}
