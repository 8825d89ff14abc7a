//! Files: what is uploaded comes back, to its tenant alone, within its limits.

use std::net::SocketAddr;

use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::http::{Answer, get, raw, request};
use crate::scripted::Script;
use crate::server::Server;

const KEYS: &str = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b";

/// A form of fields and a file.
pub fn form(fields: &[(&str, &str)], file: Option<&str>) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!("--xx\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    if let Some(file) = file {
        let head = "content-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"";
        body.push_str(&format!("--xx\r\n{head}\r\ncontent-type: text/plain\r\n\r\n{file}\r\n"));
    }
    body + "--xx--\r\n"
}

/// Posts a form.
pub fn post_form(address: SocketAddr, headers: &str, body: &str) -> Answer {
    let length = body.len();
    raw(
        address,
        format!(
            "POST /v1/files HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\
             content-type: multipart/form-data; boundary=xx\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
    )
}

/// Uploads a file for a batch.
pub fn upload(address: SocketAddr, content: &str) -> Value {
    let answer = post_form(address, "", &form(&[("purpose", "batch")], Some(content)));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[test]
fn a_file_comes_back_as_it_was() {
    let server = Server::start(&["x"]);
    // Longer than a part and than axum's own limit of a body.
    let content = "né\n".repeat(1_000_000);
    let file = upload(server.address, &content);
    assert_eq!((&file["bytes"], &file["filename"]), (&json!(content.len()), &json!("in.jsonl")));
    assert_eq!(file["expires_at"].as_u64().unwrap() - file["created_at"].as_u64().unwrap(), 30 * 24 * 3600);
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(get(server.address, &path).json(), file);
    let answer = get(server.address, &format!("{path}/content"));
    assert_eq!(answer.header("content-length"), Some(content.len().to_string().as_str()));
    assert!(answer.body == content);
    let deleted = request(server.address, "DELETE", &path, &[], "").json();
    assert_eq!(deleted, json!({"id": file["id"], "object": "file", "deleted": true}));
    for gone in [path.clone(), format!("{path}/content")] {
        assert_eq!(get(server.address, &gone).status, 404);
    }
}

#[test]
fn what_is_wrong_with_a_form_is_named() {
    let server = Server::with(
        Script::new(&["x"]),
        Limits { file_bytes_max: 10, ..Limits::default() },
        Keys::default(),
    );
    let check = |fields: &[(&str, &str)], file: Option<&str>, status: u16, param: Value| {
        let answer = post_form(server.address, "", &form(fields, file));
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (status, &param), "{}", answer.body);
    };
    let purpose = ("purpose", "user_data");
    check(&[purpose], None, 400, json!("file"));
    check(&[], Some("x"), 400, json!("purpose"));
    check(&[("purpose", "batch_output")], Some("x"), 400, json!("purpose"));
    check(&[purpose], Some("12345678901"), 413, Value::Null);
    check(&[purpose, ("expires_after[seconds]", "1")], Some("x"), 400, json!("expires_after.seconds"));
    let long = "x".repeat(5000);
    check(&[("purpose", &long)], Some("x"), 400, json!("purpose"));
    check(&[purpose], Some("1234567890"), 200, Value::Null);
    let broken = post_form(server.address, "", "--xx\r\ncontent-disposition: form-data; name=\"file\"");
    assert_eq!(broken.status, 400, "{}", broken.body);
    let json = request(server.address, "POST", "/v1/files", &[], "{}");
    assert!(json.status == 400 && json.body.contains("multipart/form-data"), "{}", json.body);
    // Nothing of what was refused is there.
    assert_eq!(get(server.address, "/v1/files").json()["data"].as_array().unwrap().len(), 1);
}

#[test]
fn lists_are_pages_by_purpose() {
    let server = Server::start(&["x"]);
    let ids: Vec<Value> = (0..3).map(|n| upload(server.address, &n.to_string())["id"].clone()).collect();
    assert_eq!(post_form(server.address, "", &form(&[("purpose", "user_data")], Some("x"))).status, 200);
    let list = |query: &str| get(server.address, &format!("/v1/files?{query}")).json();
    let read = |list: &Value| -> Vec<Value> {
        list["data"].as_array().unwrap().iter().map(|file| file["id"].clone()).collect()
    };
    let first = list("purpose=batch&order=asc&limit=2");
    assert_eq!((read(&first), &first["has_more"]), (ids[..2].to_vec(), &json!(true)));
    let next = list(&format!("purpose=batch&order=asc&after={}", first["last_id"].as_str().unwrap()));
    assert_eq!((read(&next), &next["has_more"]), (ids[2..].to_vec(), &json!(false)));
    assert_eq!(list("").as_object().unwrap()["data"].as_array().unwrap().len(), 4);
    assert_eq!(get(server.address, "/v1/files?limit=0").status, 400);
    assert_eq!(get(server.address, "/v1/files?after=file_x").status, 404);
}

#[test]
fn a_tenant_has_its_own_files_and_bytes() {
    let limits = Limits { files_bytes_max: Some(10), ..Limits::default() };
    let server = Server::with(Script::new(&["x"]), limits, Keys::parse(KEYS).unwrap());
    let (a, b) = ("x-api-key: sk-0123456789abcdef\r\n", "x-api-key: sk-fedcba9876543210\r\n");
    let post = |key: &str, file: &str| {
        post_form(server.address, key, &form(&[("purpose", "user_data")], Some(file)))
    };
    let made = post(a, "12345678").json();
    let full = post(a, "123");
    assert_eq!((full.status, &full.json()["error"]["code"]), (400, &json!("storage_quota_exceeded")));
    assert_eq!(post(b, "12345678").status, 200);
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    let with =
        |method: &str, key: &str| request(server.address, method, &path, &[("x-api-key", key)], "").status;
    assert_eq!(with("GET", "sk-fedcba9876543210"), 404);
    assert_eq!(with("DELETE", "sk-fedcba9876543210"), 404);
    assert_eq!(with("DELETE", "sk-0123456789abcdef"), 200);
    assert_eq!(post(a, "123").status, 200);
}

/// What a broken upload wrote has to go, or it would fill the tenant's bytes unseen.
#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::in_folder(Some(folder.path()), Script::new(&["x"]), Limits::default(), Keys::default());
    let address = server.address;
    let body = form(&[("purpose", "batch")], Some(&"x".repeat(3 << 20)));
    let half = &body[..body.len() - 100];
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: {address}\r\ncontent-type: multipart/form-data; boundary=xx\r\n\
         content-length: {}\r\n\r\n{half}",
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    drop(stream);
    let database = folder.path().join("gptoss.sqlite3");
    crate::shutdown::eventually("what was written goes", || {
        let database = rusqlite::Connection::open(&database).unwrap();
        let count: i64 = database.query_row("SELECT count(*) FROM file_parts", [], |row| row.get(0)).unwrap();
        let files: i64 = database.query_row("SELECT count(*) FROM files", [], |row| row.get(0)).unwrap();
        count == 0 && files == 0
    });
}
