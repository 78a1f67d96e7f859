//! A fake registry in this process: it answers as a test says, also with lies and broken bodies.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

use super::image::Content;
use super::real_registry::Tls;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The client's end of the connection.
    pub peer: SocketAddr,
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
    /// What becomes of it then.
    pub end: End,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the body, or where that breaks off.
    Body,
    /// With what HTTP/2 has for that: `RST_STREAM`. By HTTP/1.1 the connection ends.
    Reset,
    /// The same before there is an answer.
    Nothing,
    /// Never: the connection does, after a `GOAWAY`.
    GoAway,
}

impl Reply {
    pub fn new(status: u16, body: &[u8]) -> Self {
        let headers = vec![("content-length".into(), body.len().to_string())];
        // Long enough that a body that is too short is begun before it breaks off.
        Self { status, headers, body: body.to_vec(), stall: Duration::from_millis(10), end: End::Body }
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

    pub fn end(self, end: End) -> Self {
        Self { end, ..self }
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
pub struct FakeRegistry {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: oneshot::Sender<Infallible>,
}

impl FakeRegistry {
    /// Serves what `answer` says. The number counts the requests for the same path, from 0.
    pub fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen("127.0.0.1:0", None, answer)
    }

    /// The same by https, for who speaks one of these protocols: `h2`, `http/1.1`; with none, by what
    /// is spoken where nothing is agreed on.
    pub fn start_tls(
        tls: &Tls,
        protocols: &[&str],
        answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen("127.0.0.1:0", Some(Self::acceptor(tls, protocols)), answer)
    }

    /// The same at this address.
    pub fn listen(
        address: &str,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
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
                    while let Ok((stream, peer)) = listener.accept().await {
                        let (log, answer, tls) = (Arc::clone(&log), Arc::clone(&answer), tls.clone());
                        // Broken requests and connections are the point of some tests.
                        tokio::spawn(async move {
                            let Some(tls) = tls else { return serve(stream, peer, false, log, answer).await };
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            serve(stream, peer, is_h2, log, answer).await;
                        });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { address, seen, _stop: stop }
    }

    /// TLS with this certificate and these protocols.
    pub fn acceptor(tls: &Tls, protocols: &[&str]) -> TlsAcceptor {
        let chain = CertificateDer::pem_file_iter(&tls.certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&tls.key).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
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

/// Serves one connection.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    is_h2: bool,
    log: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static>,
) {
    let leave = Arc::new(Notify::new());
    let left = Arc::clone(&leave);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let reply = reply(&request, peer, &log, &*answer, Arc::clone(&leave));
        async move { reply }
    });
    let stream = TokioIo::new(stream);
    if is_h2 {
        let connection =
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = &mut connection => {}
            () = left.notified() => {
                connection.as_mut().graceful_shutdown();
                // Long enough for the frame to be sent; what is under way does not end.
                let _ = tokio::time::timeout(Duration::from_millis(20), connection).await;
            }
        }
    } else {
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(stream, service);
        tokio::select! { _ = connection => {}, () = left.notified() => {} }
    }
}

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

fn reply(
    request: &Request<Incoming>,
    peer: SocketAddr,
    log: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen, usize) -> Reply + ?Sized),
    leave: Arc<Notify>,
) -> io::Result<Response<Body>> {
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let (method, version) = (request.method().to_string(), format!("{:?}", request.version()));
    let seen = Seen { method, version, peer, path, headers };
    let count = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.iter().filter(|before| before.path == seen.path).count() - 1
    };
    let reply = answer(&seen, count);
    let broken = || io::Error::other("broken on purpose");
    if reply.end == End::Nothing {
        return Err(broken());
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let mut frames: Vec<_> =
        reply.body.chunks(10_000).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
    let announced = reply.headers.iter().find(|(name, _)| name == "content-length");
    let short = announced.is_some_and(|(_, length)| length.parse::<usize>().unwrap() > reply.body.len());
    // What is too short breaks off after the pause; else the pause is before the last part.
    let last = if short || reply.end != End::Body { None } else { frames.pop() }
        .unwrap_or_else(|| Ok(Frame::data(Bytes::new())));
    let end = stream::once(async move {
        tokio::time::sleep(reply.stall).await;
        match reply.end {
            End::Body | End::Nothing => last,
            End::Reset => Err(broken()),
            End::GoAway => {
                leave.notify_one();
                std::future::pending().await
            }
        }
    });
    Ok(response.body(StreamBody::new(stream::iter(frames).chain(end).boxed())).unwrap())
}
