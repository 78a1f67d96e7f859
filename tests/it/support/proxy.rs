//! A proxy as large sites have them: CONNECT for https, forwarding for http.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running proxy; it ends with the process.
pub struct Proxy {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One that leads everywhere, or answers everybody with this status.
    pub fn start(address: &str, refusal: Option<u16>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                // Broken connections do not concern the proxy.
                std::thread::spawn(move || drop(serve(stream, refusal, &log)));
            }
        });
        Self { address, heads }
    }

    /// The heads of all requests so far, in the order in which they came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, refusal: Option<u16>, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    log.lock().unwrap().push(head.clone());
    if let Some(status) = refusal {
        return write!(client, "HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let mut server = if head.starts_with("CONNECT ") {
        let server = TcpStream::connect(target)?;
        client.write_all(b"HTTP/1.1 200 Fine\r\n\r\n")?;
        server
    } else {
        let host = target.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let mut server = TcpStream::connect(host)?;
        // What is for the proxy goes no further. One request a connection.
        let kept = |line: &&str| !line.is_empty() && !line.to_ascii_lowercase().starts_with("proxy-");
        let kept: Vec<_> = head.split("\r\n").filter(kept).collect();
        write!(server, "{}\r\nconnection: close\r\n\r\n", kept.join("\r\n"))?;
        server
    };
    let (mut up, mut down) = (server.try_clone()?, client.try_clone()?);
    let back = std::thread::spawn(move || {
        let copied = io::copy(&mut server, &mut down);
        let _ = down.shutdown(Shutdown::Write);
        copied
    });
    let early = from.buffer().to_vec();
    up.write_all(&early)?;
    let mut rest = from.into_inner();
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = rest.read(&mut buffer) {
        up.write_all(&buffer[..length])?;
    }
    let _ = up.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}
