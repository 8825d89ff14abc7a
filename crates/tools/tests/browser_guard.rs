//! Addresses that a page must not come from, and the tricks to reach them, against listeners that count.
//!
//! The test plays the resolver and two kinds of servers: one that the guard lets through, at 127.0.0.2, and
//! those at 127.0.0.1 and ::1, to which no connection may come.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use gptoss_tools::browser::{Backend, Browser, Guard, Limits, Web};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PRIVATE: &str = "is not an address of the public internet";
const INVALID: &str = "it is not a valid URL";
const CREDENTIALS: &str = "a user name or a password";
const SCHEME: &str = "only http and https";
const PORT: &str = "is not one that pages are served at";
const UNRESOLVED: &str = "cannot be resolved";

/// Addresses, with `:P` for the port of the listeners, and why each is refused.
const TRICKS: [(&str, &str); 96] = [
    // As they are.
    ("http://127.0.0.1:P/", PRIVATE),
    ("https://127.0.0.1:P/", PRIVATE),
    ("http://127.255.255.254:P/", PRIVATE),
    ("http://0.0.0.0:P/", PRIVATE),
    ("http://0.1.2.3:P/", PRIVATE),
    ("http://10.0.0.1:P/", PRIVATE),
    ("http://10.255.255.255:P/", PRIVATE),
    ("http://100.64.0.1/", PRIVATE),
    ("http://100.100.100.200/", PRIVATE),
    ("http://100.127.255.255/", PRIVATE),
    ("http://168.63.129.16/", PRIVATE),
    ("http://169.254.169.254/latest/meta-data/", PRIVATE),
    ("http://169.254.170.2/", PRIVATE),
    ("http://172.16.0.1/", PRIVATE),
    ("http://172.31.255.255/", PRIVATE),
    ("http://192.0.0.192/", PRIVATE),
    ("http://192.0.2.1/", PRIVATE),
    ("http://192.88.99.1/", PRIVATE),
    ("http://192.168.0.1/", PRIVATE),
    ("http://198.18.0.1/", PRIVATE),
    ("http://198.19.255.255/", PRIVATE),
    ("http://198.51.100.1/", PRIVATE),
    ("http://203.0.113.1/", PRIVATE),
    ("http://224.0.0.1/", PRIVATE),
    ("http://239.255.255.250/", PRIVATE),
    ("http://240.0.0.1/", PRIVATE),
    ("http://255.255.255.255/", PRIVATE),
    // In other spellings.
    ("http://2130706433:P/", PRIVATE),
    ("http://0x7f000001:P/", PRIVATE),
    ("http://0x7F.0x0.0x0.0x1:P/", PRIVATE),
    ("http://0x7f.1:P/", PRIVATE),
    ("http://0177.0.0.1:P/", PRIVATE),
    ("http://017700000001:P/", PRIVATE),
    ("http://0177.0x0.1:P/", PRIVATE),
    ("http://127.1:P/", PRIVATE),
    ("http://127.0.1:P/", PRIVATE),
    ("http://0:P/", PRIVATE),
    ("http://127.0.0.1.:P/", PRIVATE),
    ("http://127%2e0%2e0%2e1:P/", PRIVATE),
    ("http://%31%32%37.0.0.1:P/", PRIVATE),
    ("http://１２７.０.０.１:P/", PRIVATE),
    ("http://127。0。0。1:P/", PRIVATE),
    ("http://①②⑦.⓪.⓪.①:P/", PRIVATE),
    ("http://3232235521/", PRIVATE),
    ("http://0xa9fea9fe/", PRIVATE),
    ("http://4294967296/", INVALID),
    ("http://256.0.0.1/", INVALID),
    ("http://127.0.0.0x/", PRIVATE),
    ("http:127.0.0.1:P/", PRIVATE),
    ("http:/127.0.0.1:P/", PRIVATE),
    ("http:\\\\127.0.0.1:P/", PRIVATE),
    ("HTTP://127.0.0.1:P/", PRIVATE),
    (" \thttp://127.0.\n0.1:P/ ", PRIVATE),
    // Of IPv6, and those that stand for others.
    ("http://[::1]:P/", PRIVATE),
    ("http://[0:0:0:0:0:0:0:1]:P/", PRIVATE),
    ("http://[::]:P/", PRIVATE),
    ("http://[::127.0.0.1]:P/", PRIVATE),
    ("http://[::ffff:127.0.0.1]:P/", PRIVATE),
    ("http://[::ffff:7f00:1]:P/", PRIVATE),
    ("http://[::ffff:0:127.0.0.1]:P/", PRIVATE),
    ("http://[::ffff:8.8.8.8]/", PRIVATE),
    ("http://[64:ff9b::127.0.0.1]:P/", PRIVATE),
    ("http://[64:ff9b:1::a00:1]/", PRIVATE),
    ("http://[2002:7f00:1::1]:P/", PRIVATE),
    ("http://[2001:0:7f00:1::]/", PRIVATE),
    ("http://[2001:db8::1]/", PRIVATE),
    ("http://[3fff::1]/", PRIVATE),
    ("http://[100::1]/", PRIVATE),
    ("http://[fc00::1]/", PRIVATE),
    ("http://[fd00:ec2::254]/", PRIVATE),
    ("http://[fe80::1]/", PRIVATE),
    ("http://[fec0::1]/", PRIVATE),
    ("http://[ff02::1]/", PRIVATE),
    ("http://[fe80::1%25lo]:P/", INVALID),
    // By names.
    ("http://localhost:P/", PRIVATE),
    ("http://LOCALHOST.:P/", PRIVATE),
    ("http://ⓛocalhost:P/", PRIVATE),
    ("http://loc%61lhost:P/", PRIVATE),
    ("http://private.test:P/", PRIVATE),
    ("http://private.test.:P/", PRIVATE),
    ("http://six.test:P/", PRIVATE),
    ("http://mapped.test:P/", PRIVATE),
    ("http://prívate.test:P/", PRIVATE),
    ("http://metadata.test/", PRIVATE),
    ("http://unknown.test:P/", UNRESOLVED),
    // With something before the host.
    ("http://user@127.0.0.1:P/", CREDENTIALS),
    ("http://pages.test:80@127.0.0.1:P/", CREDENTIALS),
    ("http://127.0.0.1:P#@pages.test/", PRIVATE),
    ("http://127.0.0.1:P\\@pages.test/", PRIVATE),
    ("http://pages.test:pass@pages.test:P/", CREDENTIALS),
    // For other programs, or elsewhere on the host.
    ("file:///etc/passwd", SCHEME),
    ("ftp://127.0.0.1:P/", SCHEME),
    ("gopher://127.0.0.1:P/_x", SCHEME),
    ("data:text/html,x", SCHEME),
    ("http://8.8.8.8:22/", PORT),
    ("http://[2606:4700::1111]:6379/", PORT),
];

/// Listeners, and how many connections came to each kind.
struct Net {
    port: u16,
    open: Arc<AtomicUsize>,
    forbidden: Arc<AtomicUsize>,
    /// Names that were resolved.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Net {
    async fn new() -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let forbidden = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        serve(listener, &open);
        for address in ["127.0.0.1", "::1"] {
            // A machine without IPv6 has no ::1 to reach.
            if let Ok(listener) = TcpListener::bind((address, port)).await {
                serve(listener, &forbidden);
            }
        }
        Self { port, open, forbidden, asked: Arc::default() }
    }

    fn browser(&self) -> Browser {
        let asked = Arc::clone(&self.asked);
        let resolve = move |host: &str| {
            let mut asked = asked.lock().unwrap();
            asked.push(host.to_owned());
            let times = asked.iter().filter(|name| *name == host).count();
            let found = addresses(host, times);
            Box::pin(async move { Ok(found) }) as _
        };
        let allowed = SocketAddr::from(([127, 0, 0, 2], self.port));
        let guard = Guard::resolving_by(vec![allowed], Arc::new(resolve));
        Browser::new(Backend::Fetch(Web::new(guard)), Limits::default())
    }

    fn url(&self, pattern: &str) -> String {
        pattern.replace(":P", &format!(":{}", self.port))
    }

    fn counts(&self) -> (usize, usize) {
        (self.open.load(Ordering::SeqCst), self.forbidden.load(Ordering::SeqCst))
    }
}

/// What the test's resolver says when it is asked for the n-th time.
fn addresses(host: &str, times: usize) -> Vec<IpAddr> {
    let found: &[&str] = match host {
        "pages.test" => &["127.0.0.2"],
        "rebinding.test" if times == 1 => &["127.0.0.2"],
        "rebinding.test" | "localhost" | "localhost." => &["127.0.0.1"],
        "mixed.test" => &["127.0.0.1", "::1", "127.0.0.2"],
        "private.test" | "private.test." | "xn--prvate-4va.test" => &["127.0.0.1", "10.0.0.1"],
        "six.test" => &["::1"],
        "mapped.test" => &["::ffff:127.0.0.1"],
        "metadata.test" => &["169.254.169.254"],
        _ => &[],
    };
    found.iter().map(|address| address.parse().unwrap()).collect()
}

fn serve(listener: TcpListener, count: &Arc<AtomicUsize>) {
    let count = Arc::clone(count);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(stream));
        }
    });
}

/// `/to?ADDRESS` leads there, `/chain?N` to N - 1, and everything else is a page.
async fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap();
    let to = match target.split_once('?') {
        Some(("/to", to)) => Some(unhex(to)),
        Some(("/chain", "0")) | None => None,
        Some((_, n)) => Some(format!("/chain?{}", n.parse::<u32>().unwrap() - 1)),
    };
    let head = match to {
        Some(to) => format!("302 Found\r\nlocation: {to}"),
        None => "200 OK\r\ncontent-type: text/plain".to_owned(),
    };
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 7\r\nconnection: close\r\n\r\nreached");
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// An address as hexadecimal digits, so that it stands in a query as it is.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> String {
    let bytes = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

async fn open(browser: &mut Browser, url: &str) -> (bool, String) {
    let reply = browser.call("open", &json!({ "id": url }).to_string()).await.reply;
    (!reply.is_error, reply.text)
}

#[tokio::test]
async fn nothing_forbidden_is_reached() {
    let net = Net::new().await;
    let mut browser = net.browser();
    for (pattern, reason) in TRICKS {
        let (is_open, text) = open(&mut browser, &net.url(pattern)).await;
        assert!(!is_open && text.contains(reason), "{pattern}: {text}");
    }
    assert_eq!(net.counts(), (0, 0));
}

#[tokio::test]
async fn no_redirect_reaches_it_either() {
    let net = Net::new().await;
    let mut browser = net.browser();
    for (pattern, reason) in TRICKS {
        let to = net.url(pattern);
        let from = net.url(&format!("http://pages.test:P/to?{}", hex(&to)));
        let (is_open, text) = open(&mut browser, &from).await;
        // Only ASCII is read of a header; the rest is no redirect. One with a line end stops there.
        let expected = if to.is_ascii() { reason } else { "the server answered 302" };
        // Beside another address these two are paths of its own server.
        let is_path = pattern.starts_with("http:1") || pattern.starts_with("http:/1");
        assert!(is_path || !is_open && text.contains(expected), "{pattern}: {text}");
    }
    assert_eq!(net.counts().1, 0);
}

#[tokio::test]
async fn what_is_allowed_is_reached() {
    let net = Net::new().await;
    let mut browser = net.browser();
    let url = net.url("http://pages.test:P/page");
    let (is_open, text) = open(&mut browser, &url).await;
    assert_eq!(
        text,
        format!("[0] page ({url})\n**viewing lines [0 - 2] of 2**\n\nL0: \nL1: URL: {url}\nL2: reached")
    );
    assert!(is_open);
    assert_eq!(net.counts(), (1, 0));
    // Another port of an allowed host is not allowed.
    let (is_open, text) = open(&mut browser, "http://127.0.0.2:8080/").await;
    assert!(!is_open && text.contains(PRIVATE), "{text}");
}

#[tokio::test]
async fn a_name_that_changes_is_connected_to_as_it_was_checked() {
    let net = Net::new().await;
    let mut browser = net.browser();
    let url = net.url("http://rebinding.test:P/");
    assert!(open(&mut browser, &url).await.0);
    assert_eq!(net.asked.lock().unwrap().len(), 1, "one resolution");
    let (is_open, text) = open(&mut browser, &url).await;
    assert!(!is_open && text.contains(PRIVATE), "{text}");
    assert_eq!(net.counts(), (1, 0));

    // The same within one page: the redirect is resolved and checked anew.
    let net = Net::new().await;
    let to = hex(&net.url("http://rebinding.test:P/x"));
    let (is_open, text) =
        open(&mut net.browser(), &net.url(&format!("http://rebinding.test:P/to?{to}"))).await;
    assert!(!is_open && text.contains(PRIVATE), "{text}");
    assert_eq!(net.counts(), (1, 0));
}

#[tokio::test]
async fn of_several_addresses_only_the_open_ones_are_tried() {
    let net = Net::new().await;
    assert!(open(&mut net.browser(), &net.url("http://mixed.test:P/")).await.0);
    assert_eq!(net.counts(), (1, 0));
}

#[tokio::test]
async fn chains_of_redirects_end() {
    let net = Net::new().await;
    let mut browser = net.browser();
    assert!(open(&mut browser, &net.url("http://pages.test:P/chain?5")).await.0);
    let (is_open, text) = open(&mut browser, &net.url("http://pages.test:P/chain?6")).await;
    assert!(!is_open && text.contains("it leads on more than 5 times"), "{text}");
    assert_eq!(net.counts(), (12, 0));
}
