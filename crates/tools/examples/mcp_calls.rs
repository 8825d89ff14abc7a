//! Calls every tool of a server over HTTP once, with numbers where it wants numbers: the client under test of
//! the official conformance suite (`tests/conformance/tool_servers.py`).

#![expect(clippy::disallowed_methods, reason = "a program of its own")]

use std::process::ExitCode;

use gptoss_tools::mcp::limits::McpLimits;
use gptoss_tools::mcp::{McpClient, McpError, parse_mcp_servers};
use serde_json::{Map, Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::args().next_back().unwrap_or_default();
    let entry = json!({"mcpServers": {"tested": {"url": url}}}).to_string();
    let config = match parse_mcp_servers(&entry, &|_| None) {
        Ok(mut servers) => servers.remove(0),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let client = McpClient::new(config, McpLimits::default());
    let ended = call_all(&client).await;
    client.close().await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn call_all(client: &McpClient) -> Result<(), McpError> {
    for tool in &client.listing().await?.tools {
        let wanted = tool.input_schema["properties"].as_object().cloned().unwrap_or_default();
        let arguments: Map<String, Value> = wanted
            .iter()
            .map(|(name, schema)| {
                (name.clone(), if schema["type"] == "string" { json!("a") } else { json!(2) })
            })
            .collect();
        let reply = client.call(&tool.function, &Value::Object(arguments).to_string()).await;
        println!("{}: {}", tool.function, reply.text);
    }
    Ok(())
}
