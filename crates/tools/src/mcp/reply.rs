//! What a call of a server's tool gave back, as a reply of ours.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use super::limits::{MCP_DESCRIPTION_BYTES_MAX, MCP_FILES_MAX};
use super::stranger_text::{cleaned, one_line};
use crate::reply::{ToolFile, ToolReply};

/// Endings of files by their type; others end in `bin`.
const ENDINGS: &[(&str, &str)] = &[
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/svg+xml", "svg"),
    ("audio/wav", "wav"),
    ("audio/mpeg", "mp3"),
    ("application/pdf", "pdf"),
    ("application/json", "json"),
    ("text/plain", "txt"),
    ("text/csv", "csv"),
];

/// The texts of a result one below the other; images and the like become files, named in the text.
pub(super) fn tool_reply(result: &CallToolResult, output_bytes: usize) -> ToolReply {
    let mut files = Vec::new();
    let mut texts: Vec<String> = result.content.iter().map(|block| text(block, &mut files)).collect();
    if let (true, Some(value)) = (texts.is_empty(), &result.structured_content) {
        texts.push(value.to_string());
    }
    let text = cleaned(&texts.join("\n"), output_bytes);
    let text = if text.is_empty() { "[nothing]".to_owned() } else { text };
    ToolReply { text, is_error: result.is_error == Some(true), files }
}

fn text(block: &ContentBlock, files: &mut Vec<ToolFile>) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => file("image", &image.mime_type, &image.data, files),
        ContentBlock::Audio(audio) => file("audio", &audio.mime_type, &audio.data, files),
        ContentBlock::Resource(resource) => match &resource.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => {
                format!("[{}]\n{text}", one_line(uri, MCP_DESCRIPTION_BYTES_MAX))
            }
            ResourceContents::BlobResourceContents { mime_type, blob, .. } => {
                file("resource", mime_type.as_deref().unwrap_or_default(), blob, files)
            }
            _ => "[a kind of resource that is not known here]".to_owned(),
        },
        ContentBlock::ResourceLink(link) => {
            let link = format!("{} at {}", link.name, link.uri);
            format!("[{}]", one_line(&link, MCP_DESCRIPTION_BYTES_MAX))
        }
        _ => "[a kind of content that is not known here]".to_owned(),
    }
}

/// Keeps a file and names it.
fn file(kind: &str, mime_type: &str, data: &str, files: &mut Vec<ToolFile>) -> String {
    let told = format!("{kind} {}", one_line(mime_type, 100));
    let Ok(bytes) = STANDARD.decode(data) else {
        return format!("[{told}: not valid base64]");
    };
    if files.len() == MCP_FILES_MAX {
        return format!("[{told}, {} bytes: left out, {MCP_FILES_MAX} files are kept]", bytes.len());
    }
    let ending = ENDINGS.iter().find(|(known, _)| *known == mime_type).map_or("bin", |(_, ending)| *ending);
    let path = format!("{kind}-{}.{ending}", files.len() + 1);
    let told = format!("[{told}, {} bytes: {path}]", bytes.len());
    files.push(ToolFile { path, bytes });
    told
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reply(result: Value, output_bytes: usize) -> ToolReply {
        tool_reply(&serde_json::from_value(result).expect("a result"), output_bytes)
    }

    #[test]
    fn texts_are_joined_and_the_rest_is_named() {
        let reply = reply(
            json!({"content": [
                {"type": "text", "text": "one\u{0}"},
                {"type": "image", "data": "AAEC", "mimeType": "image/png"},
                {"type": "image", "data": "!", "mimeType": "image/png"},
                {"type": "resource", "resource": {"uri": "file:///a\nb", "text": "inside"}},
                {"type": "resource", "resource": {"uri": "file:///c", "blob": "AA==", "mimeType": "x/../y"}},
                {"type": "resource_link", "uri": "file:///d", "name": "d"}
            ], "structuredContent": {"a": 1}}),
            1000,
        );
        let expected = "one\n[image image/png, 3 bytes: image-1.png]\n[image image/png: not valid base64]\n[file:///a b]\n\
            inside\n[resource x/../y, 1 bytes: resource-2.bin]\n[d at file:///d]";
        assert_eq!(reply.text, expected);
        assert!(!reply.is_error);
        assert_eq!(reply.files[0], ToolFile { path: "image-1.png".into(), bytes: vec![0, 1, 2] });
    }

    #[test]
    fn a_result_is_bounded_and_never_empty() {
        assert_eq!(
            reply(json!({"content": [{"type": "text", "text": "abcdef"}]}), 3).text,
            "abc\n[cut: 3 more bytes]"
        );
        assert_eq!(reply(json!({"content": []}), 9).text, "[nothing]");
        assert_eq!(reply(json!({"content": [], "structuredContent": {"a": 1}}), 9).text, r#"{"a":1}"#);
        let failed = reply(json!({"content": [{"type": "text", "text": "no"}], "isError": true}), 9);
        assert_eq!(failed, ToolReply::error("no"));
        let image = json!({"type": "image", "data": "AA==", "mimeType": "image/png"});
        let many = reply(json!({"content": vec![image; 17]}), 9999);
        assert_eq!(many.files.len(), 16);
        assert!(
            many.text.ends_with("[image image/png, 1 bytes: left out, 16 files are kept]"),
            "{}",
            many.text
        );
    }
}
