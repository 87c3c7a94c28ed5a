//! An S3 server in memory on loopback, in the part of the protocol that the sink uses, with faults on demand: one
//! thread for a connection, until the test ends.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status and code of S3, instead of doing it.
    Error(u16, &'static str),
    /// This status, header lines and body, instead of doing it.
    Raw(u16, &'static str, &'static str),
    /// The connection is reset in the middle of the request.
    Reset,
    /// It is done, but the connection ends without an answer.
    LostAnswer,
    /// It is done, but this is answered.
    DoneBut(u16, &'static str),
    /// There is never an answer.
    Silence,
    /// All is well.
    None,
}

/// What the server holds, knows and was asked.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// By method, or `LIST`: what happens to the next requests.
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    /// By method, or `LIST`: what happens to all requests that no other fault happens to.
    always: BTreeMap<&'static str, Fault>,
    /// `PUT /logs/shop/a`, in order.
    pub(crate) requests: Vec<String>,
    /// The headers of all requests, as they came.
    pub(crate) heads: Vec<String>,
    /// The only access key and session token that it knows.
    pub(crate) key: &'static str,
    pub(crate) token: Option<&'static str>,
    pub(crate) ignores_create_only: bool,
    /// Keys in one page of a listing.
    pub(crate) page: usize,
}

/// The server.
pub(crate) struct FakeS3 {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stopped: Arc<AtomicBool>,
}

impl FakeS3 {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            faults: BTreeMap::new(),
            always: BTreeMap::new(),
            requests: Vec::new(),
            heads: Vec::new(),
            key: "key",
            token: None,
            ignores_create_only: false,
            page: 1000,
        }));
        let stopped = Arc::new(AtomicBool::new(false));
        let server = Self {
            address,
            state: state.clone(),
            stopped: stopped.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, state) = (stream.unwrap(), state.clone());
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// What happens to the next requests of a method.
    pub(crate) fn fail(&self, method: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.with(|state| state.faults.entry(method).or_default().extend(faults));
    }

    /// What happens to all requests of a method.
    pub(crate) fn fail_always(&self, method: &'static str, fault: Fault) {
        self.with(|state| state.always.insert(method, fault));
    }

    /// How many requests of a method came.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.with(|state| {
            let of_method = |request: &&String| request.starts_with(&format!("{method} "));
            state.requests.iter().filter(of_method).count()
        })
    }
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // Wakes the listener up.
    }
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// What faults and counts go by.
    fn kind(&self) -> &str {
        if self.query.contains_key("list-type") {
            "LIST"
        } else {
            &self.method
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_head(&mut reader, state) {
        let kind = request.kind().to_owned();
        let fault = {
            let mut state = state.lock().unwrap();
            state.requests.push(format!("{kind} {}", request.path));
            let next = state.faults.get_mut(kind.as_str());
            let next = next.and_then(VecDeque::pop_front);
            next.or_else(|| state.always.get(kind.as_str()).cloned())
        };
        if matches!(fault, Some(Fault::Reset)) {
            return; // What was sent and is not read makes it a reset.
        }
        let length = request.header("content-length").parse().unwrap_or(0);
        request.body = vec![0; length];
        if reader.read_exact(&mut request.body).is_err() {
            return;
        }
        let answer = match fault {
            Some(Fault::Error(status, code)) => error(status, code),
            Some(Fault::Raw(status, headers, body)) => raw(status, headers, body.as_bytes()),
            Some(Fault::LostAnswer) => {
                answer(&request, state);
                return;
            }
            Some(Fault::DoneBut(status, code)) => {
                answer(&request, state);
                error(status, code)
            }
            Some(Fault::Silence) => {
                // Until the client gives up.
                drop(reader.read(&mut [0]));
                return;
            }
            Some(Fault::Reset | Fault::None) | None => answer(&request, state),
        };
        let answer = if request.method == "HEAD" {
            let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            answer[..end.unwrap() + 4].to_vec()
        } else {
            answer
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn read_head(reader: &mut BufReader<&TcpStream>, state: &Mutex<State>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    state.lock().unwrap().heads.push(head.clone());
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), decode(value))
    });
    let headers = lines.filter_map(|line| line.split_once(": "));
    Some(Request {
        method,
        path: decode(path),
        query: query.collect(),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: Vec::new(),
    })
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
            let hex = std::str::from_utf8(&hex).unwrap();
            decoded.push(u8::from_str_radix(hex, 16).unwrap());
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).unwrap()
}

fn answer(request: &Request, state: &Mutex<State>) -> Vec<u8> {
    let mut state = state.lock().unwrap();
    let authorization = request.header("authorization");
    if !authorization.contains(&format!("Credential={}/", state.key)) {
        return error(403, "InvalidAccessKeyId");
    }
    if request.header("x-amz-security-token") != state.token.unwrap_or_default() {
        return error(400, "ExpiredToken");
    }
    let bucket_and_key = request.path.trim_start_matches('/');
    let (bucket, key) = bucket_and_key
        .split_once('/')
        .unwrap_or((bucket_and_key, ""));
    if bucket != "logs" {
        return error(404, "NoSuchBucket");
    }
    match request.kind() {
        "LIST" => list(request, &state),
        "PUT" => {
            let create_only = request.header("if-none-match") == "*" && !state.ignores_create_only;
            if create_only && state.objects.contains_key(key) {
                return error(412, "PreconditionFailed");
            }
            state.objects.insert(key.to_owned(), request.body.clone());
            raw(200, "etag: \"1\"\r\n", b"")
        }
        "DELETE" => {
            state.objects.remove(key);
            raw(204, "", b"")
        }
        _ => match state.objects.get(key) {
            Some(bytes) => object(request, bytes),
            None => error(404, "NoSuchKey"),
        },
    }
}

fn object(request: &Request, bytes: &[u8]) -> Vec<u8> {
    let headers = "etag: \"1\"\r\nlast-modified: Sat, 31 Jan 2026 07:00:00 GMT\r\n";
    let Some(range) = request.header("range").strip_prefix("bytes=") else {
        return raw(200, headers, bytes);
    };
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let last = last.min(bytes.len() - 1);
    let range = format!(
        "{headers}content-range: bytes {first}-{last}/{}\r\n",
        bytes.len()
    );
    raw(206, &range, &bytes[first..=last])
}

fn list(request: &Request, state: &State) -> Vec<u8> {
    let text = |name: &str| request.query.get(name).cloned().unwrap_or_default();
    let behind = text("start-after").max(text("continuation-token"));
    let prefix = text("prefix");
    let listed = |key: &&String| key.starts_with(&prefix) && **key > behind;
    let keys: Vec<&String> = state.objects.keys().filter(listed).collect();
    let more = keys.len() > state.page;
    let page = &keys[..keys.len().min(state.page)];
    let mut body = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>");
    for key in page {
        let size = state.objects[*key].len();
        write!(
            body,
            "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>\"1\"</ETag>\
             <LastModified>2026-01-31T07:00:00.000Z</LastModified></Contents>"
        )
        .unwrap();
    }
    if let (true, Some(last)) = (more, page.last()) {
        write!(
            body,
            "<NextContinuationToken>{last}</NextContinuationToken>"
        )
        .unwrap();
    }
    body.push_str("</ListBucketResult>");
    raw(200, "content-type: application/xml\r\n", body.as_bytes())
}

fn error(status: u16, code: &str) -> Vec<u8> {
    let body =
        format!("<Error><Code>{code}</Code><Message>The server says {code}.</Message></Error>");
    raw(status, "x-amz-request-id: 1\r\n", body.as_bytes())
}

fn raw(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}
