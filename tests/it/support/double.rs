//! A registry in this process that does what a test tells it, lies included.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::image::Content;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte wanted, where the start of the body is not.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// An answer. Its `Content-Length` is set only if it is among the headers: without, the body is sent
/// in chunks.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// A pause before the body's end.
    pub stall: Duration,
}

impl Reply {
    pub fn new(status: u16, body: &[u8]) -> Self {
        let headers = vec![("content-length".into(), body.len().to_string())];
        // Long enough that a body that is too short is begun before it breaks off.
        Self { status, headers, body: body.to_vec(), stall: Duration::from_millis(10) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub fn stall(self, stall: Duration) -> Self {
        Self { stall, ..self }
    }

    /// Breaks off after `length` bytes of what is announced.
    pub fn cut(mut self, length: usize) -> Self {
        self.body.truncate(length);
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }
}

/// A running registry; ends when dropped.
pub struct Double {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: oneshot::Sender<Infallible>,
}

impl Double {
    /// Serves what `answer` says. The number counts the requests for the same path, from 0.
    pub fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let log = Arc::clone(&seen);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            super::block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                        tokio::spawn(async move {
                            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                                let reply = reply(&request, &log, &*answer);
                                async move { Ok::<_, Infallible>(reply) }
                            });
                            // Broken requests and connections are the point of some tests.
                            let _ = hyper::server::conn::http1::Builder::new()
                                .serve_connection(TokioIo::new(stream), service)
                                .await;
                        });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { address, seen, _stop: stop }
    }

    /// Serves `content` under any repository name, but for what `change` makes of an answer.
    pub fn serve(content: Content, change: impl Fn(&Seen, usize, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |seen, count| change(seen, count, honest(&content, &seen.path)))
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests had `part` in their path.
    pub fn count(&self, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path.contains(part)).count()
    }
}

/// What an honest registry answers.
pub fn honest(content: &Content, path: &str) -> Reply {
    let path = path.split('?').next().unwrap_or(path);
    if path == "/v2/" {
        return Reply::new(200, b"{}");
    }
    if let Some((_, target)) = path.rsplit_once("/manifests/") {
        let digest = target.parse().ok().or_else(|| content.tags.get(target).copied());
        if let Some((digest, (media_type, bytes))) =
            digest.and_then(|digest| Some((digest, content.manifests.get(&digest)?)))
        {
            return Reply::new(200, bytes)
                .header("content-type", media_type)
                .header("docker-content-digest", &digest.to_string());
        }
    } else if let Some((_, digest)) = path.rsplit_once("/blobs/")
        && let Some(bytes) = digest.parse().ok().and_then(|digest| content.blobs.get(&digest))
    {
        return Reply::new(200, bytes).header("content-type", "application/octet-stream");
    }
    Reply::new(404, br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown\u001b[31m"}]}"#)
}

/// What a registry that knows ranges answers, given the answer of one that does not.
pub fn ranged(seen: &Seen, whole: Reply) -> Reply {
    let size = whole.body.len();
    match seen.range() {
        _ if whole.status != 200 => whole,
        None => whole,
        Some(from) if from >= size => Reply::new(416, b"").header("content-range", &format!("bytes */{size}")),
        Some(from) => {
            Reply::new(206, &whole.body[from..]).header("content-range", &format!("bytes {from}-{}/{size}", size - 1))
        }
    }
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

fn reply(
    request: &Request<Incoming>,
    log: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen, usize) -> Reply + ?Sized),
) -> Response<Body> {
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let seen = Seen { method: request.method().to_string(), path, headers };
    let count = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.iter().filter(|before| before.path == seen.path).count() - 1
    };
    let reply = answer(&seen, count);
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let mut frames: Vec<_> =
        reply.body.chunks(10_000).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
    let announced = reply.headers.iter().find(|(name, _)| name == "content-length");
    let short = announced.is_some_and(|(_, length)| length.parse::<usize>().unwrap() > reply.body.len());
    // What is too short breaks off after the pause; else the pause is before the last part.
    let last = if short { None } else { frames.pop() }.unwrap_or_else(|| Ok(Frame::data(Bytes::new())));
    let end = stream::once(async move {
        tokio::time::sleep(reply.stall).await;
        last
    });
    response.body(StreamBody::new(stream::iter(frames).chain(end).boxed())).unwrap()
}
