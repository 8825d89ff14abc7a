//! What services are asked, and what is made of their answers, whatever those are.

use std::net::SocketAddr;

use gptoss_tools::browser::{Backend, Browser, Guard, Key, Limits, Service, ServiceError, Web};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

/// A server that answers its first request with fixed bytes, and tells the request.
async fn server(status: &str, body: &str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, requests) = mpsc::channel(1);
    let answer =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        loop {
            let mut bytes = Vec::new();
            stream.read_buf(&mut bytes).await.unwrap();
            request.push_str(&String::from_utf8(bytes).unwrap());
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() == length.parse::<usize>().unwrap() {
                break;
            }
        }
        told.send(request).await.unwrap();
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    (address, requests)
}

fn service(address: SocketAddr) -> Service {
    Service::new(&format!("http://{address}"), Some(Key::new("secret-key").unwrap())).unwrap()
}

async fn ask(backend: Backend, function: &str, arguments: &str) -> String {
    Browser::new(backend, Limits::default()).call(function, arguments).await.reply.text
}

#[tokio::test]
async fn each_service_is_asked_in_its_words() {
    type Make = fn(Service) -> Backend;
    let searxng: Make = |service| Backend::Searxng(service, Web::new(Guard::default()));
    let search = r#"{"query": "a b&c"}"#;
    let page = r#"{"id": "https://x.example/p"}"#;
    let found = "【0†One†x.example】 first second";
    let cases: [(Make, &str, &str, &str, &str, &str); 5] = [
        (
            Backend::Exa,
            search,
            r#"{"results":[{"title":"One","url":"https://x.example/","summary":"first second"}]}"#,
            "POST /search HTTP/1.1",
            r#"{"query":"a b&c","numResults":20,"contents":{"text":true,"summary":true}}"#,
            found,
        ),
        (
            Backend::YouCom,
            search,
            r#"{"results":{"web":[{"title":"One","url":"https://x.example/","snippets":["first","second"]}],
                "news":[{"title":"Two","url":"https://y.example/","description":"new"}]}}"#,
            "GET /v1/search?query=a+b%26c&count=20 HTTP/1.1",
            "",
            "【0†One†x.example】 first second\nL5:   * 【1†Two†y.example】 new",
        ),
        (
            searxng,
            search,
            r#"{"results":[{"title":"One","url":"https://x.example/","content":"first second"}]}"#,
            "GET /search?q=a+b%26c&format=json HTTP/1.1",
            "",
            found,
        ),
        (
            Backend::Exa,
            page,
            r#"{"results":[{"title":"T","text":"<p>Hello</p>"}]}"#,
            "POST /contents HTTP/1.1",
            r#"{"urls":["https://x.example/p"],"text":{"includeHtmlTags":true}}"#,
            "[0] T (https://x.example/p)\n**viewing lines [0 - 2] of 2**\n\nL0: \nL1: URL: https://x.example/p\nL2: Hello",
        ),
        (
            Backend::YouCom,
            page,
            r#"[{"title":null,"html":"<title>Own</title><p>Hello</p>"}]"#,
            "POST /v1/contents HTTP/1.1",
            r#"{"urls":["https://x.example/p"],"livecrawl_formats":"html"}"#,
            "[0] Own (https://x.example/p)",
        ),
    ];
    for (make, arguments, body, line, sent, shown) in cases {
        let (address, mut requests) = server("200 OK", body).await;
        let function = if arguments == page { "open" } else { "search" };
        let text = ask(make(service(address)), function, arguments).await;
        assert!(text.contains(shown), "{line}: {text}");
        let request = requests.recv().await.unwrap();
        let (head, got) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!((head.lines().next().unwrap(), got), (line, sent));
        assert!(
            head.contains("x-api-key: secret-key") && head.contains(&format!("host: {address}")),
            "{head}"
        );
    }
}

#[tokio::test]
async fn what_a_service_gets_wrong_is_told() {
    for (status, body, expected) in [
        ("401 Unauthorized", "bad key", "Exa answered 401 Unauthorized: bad key"),
        ("302 Found", "", "Exa answered 302 Found: "),
        (
            "200 OK",
            "<html>",
            "Exa answered something else than it is known to: expected value at line 1 column 1",
        ),
        ("200 OK", r#"{"results":[]}"#, "No contents returned for https://x.example/"),
        ("200 OK", r#"{"error":"x"}"#, "No contents returned for https://x.example/"),
    ] {
        let (address, _requests) = server(status, body).await;
        let text = ask(Backend::Exa(service(address)), "open", r#"{"id": "https://x.example/"}"#).await;
        assert_eq!(text, format!("Error fetching URL `https://x.example/`: {expected}"));
    }
    let (address, _requests) = server("200 OK", "[{}]").await;
    let text = ask(Backend::YouCom(service(address)), "open", r#"{"id": "https://x.example/"}"#).await;
    assert!(text.ends_with("No HTML returned for https://x.example/"), "{text}");
}

#[tokio::test]
async fn services_are_given_only_addresses_of_pages() {
    let (address, mut requests) = server("200 OK", "{}").await;
    for url in ["file:///etc/passwd", "https://user:pass@x.example/", "view-source:", "nothing"] {
        let text = ask(Backend::Exa(service(address)), "open", &format!(r#"{{"id": "{url}"}}"#)).await;
        assert!(text.starts_with("Error fetching URL"), "{text}");
    }
    assert!(requests.try_recv().is_err());
}

#[test]
fn keys_are_shown_to_nobody() {
    let service = Service::new("https://x.example", Some(Key::new("secret-key").unwrap())).unwrap();
    assert!(!format!("{service:?}").contains("secret"));
    assert_eq!(Key::new(" "), Err(ServiceError::Key));
    assert_eq!(Key::new("two\nlines"), Err(ServiceError::Key));
    assert!(Service::new("x.example", None).is_err());
}
