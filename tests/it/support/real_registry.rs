//! The real registry: Debian's `docker-registry` (CNCF Distribution) on a free loopback port.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::image::Content;
use super::{block_on, context, require, run, which};

/// A running registry; ends when dropped.
pub struct RealRegistry {
    child: Child,
    host: String,
}

/// Files for https.
pub struct Tls {
    /// The CA that signed the server's certificate.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Whether it can be started here.
pub fn available() -> bool {
    require("registry", which("docker-registry").and(which("openssl")).map(drop))
}

impl Tls {
    /// A new CA and a certificate for 127.0.0.1 signed by it.
    pub fn new(dir: &Path) -> Self {
        Self::named(dir, "IP:127.0.0.1")
    }

    /// The same for another name: `IP:…` or `DNS:…`.
    pub fn named(dir: &Path, name: &str) -> Self {
        let extensions = format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n");
        fs::write(dir.join("ext"), extensions).unwrap();
        for line in [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem",
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1 -keyout key.pem -out csr.pem",
            "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem",
        ] {
            run("openssl", &line.split(' ').collect::<Vec<_>>(), dir);
        }
        Self { ca: dir.join("ca.pem"), certificate: dir.join("cert.pem"), key: dir.join("key.pem") }
    }
}

impl Tls {
    /// A certificate for 127.0.0.1 that is its own CA.
    pub fn self_signed(dir: &Path) -> Self {
        let line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout self.key -out self.pem";
        run("openssl", &line.split(' ').collect::<Vec<_>>(), dir);
        Self { ca: dir.join("self.pem"), certificate: dir.join("self.pem"), key: dir.join("self.key") }
    }
}

impl RealRegistry {
    /// Starts a registry with its data in `dir`, which several may share.
    pub fn start(dir: &Path, tls: Option<&Tls>) -> Self {
        Self::start_with(dir, tls, "")
    }

    /// The same with further lines of configuration.
    pub fn start_with(dir: &Path, tls: Option<&Tls>, further: &str) -> Self {
        let tls_lines = tls.map_or(String::new(), |tls| {
            format!("  tls: {{certificate: {}, key: {}}}\n", tls.certificate.display(), tls.key.display())
        });
        let config = dir.join(if tls.is_some() { "https.yml" } else { "http.yml" });
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:0\n{tls_lines}{further}",
            dir.join("data").display()
        );
        fs::write(&config, text).unwrap();
        Self::serve(&config, &[])
    }

    /// Serves the images of `scripts/fixtures` under their own names; by https with the fixtures'
    /// certificate if `tls`. `None` where the fixtures or the registry are missing.
    pub fn of_fixtures(tls: bool) -> Option<Self> {
        let fixtures = context::fixtures();
        if !available() || !require("fixtures", fixtures.as_ref().map(drop).map_err(Clone::clone)) {
            return None;
        }
        let fixtures = fixtures.unwrap();
        let data = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", fixtures.join("registry"));
        let certificate = ("REGISTRY_HTTP_TLS_CERTIFICATE", fixtures.join("tls/server.crt"));
        let key = ("REGISTRY_HTTP_TLS_KEY", fixtures.join("tls/server.key"));
        let all = [data, certificate, key];
        Some(Self::serve(&fixtures.join("registry.yml"), if tls { &all } else { &all[..1] }))
    }

    /// The same by https, for clients with a certificate of the fixtures' CA only.
    pub fn of_fixtures_for_clients(fixtures: &Path) -> Self {
        let file = |name: &str| fixtures.join("tls").join(name);
        let list = |path: PathBuf| PathBuf::from(format!("[{}]", path.display()));
        Self::serve(
            &fixtures.join("registry.yml"),
            &[
                ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", fixtures.join("registry")),
                ("REGISTRY_HTTP_TLS_CERTIFICATE", file("server.crt")),
                ("REGISTRY_HTTP_TLS_KEY", file("server.key")),
                ("REGISTRY_HTTP_TLS_CLIENTCAS", list(file("ca.crt"))),
            ],
        )
    }

    fn serve(config: &Path, variables: &[(&str, PathBuf)]) -> Self {
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end, so that it never blocks on a full pipe.
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let host: String =
                        rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
                    let _ = sender.send(host);
                }
            }
        });
        match receiver.recv_timeout(Duration::from_secs(20)) {
            Ok(host) => Self { child, host },
            Err(error) => {
                let _ = child.kill();
                panic!("docker-registry did not come up: {error}");
            }
        }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Uploads `content` to a registry without TLS.
    pub fn push(&self, repository: &str, content: &Content) {
        let base = format!("http://{}/v2/{repository}", self.host);
        block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().unwrap();
            for (digest, bytes) in &content.blobs {
                let begun = client.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
                let location = begun.headers()["location"].to_str().unwrap().to_owned();
                let joint = if location.contains('?') { '&' } else { '?' };
                let put = client.put(format!("{location}{joint}digest={digest}")).body(bytes.clone());
                assert_eq!(put.send().await.unwrap().status(), 201, "blob {digest}");
            }
            // Indexes last, since they are checked against what is there.
            let mut manifests: Vec<_> = content.manifests.iter().collect();
            manifests.sort_by_key(|(_, (media_type, _))| media_type.contains("index"));
            for (digest, (media_type, bytes)) in manifests {
                let tags = content.tags.iter().filter(|(_, tagged)| *tagged == digest).map(|(tag, _)| tag.clone());
                for target in tags.chain([digest.to_string()]) {
                    let put = client.put(format!("{base}/manifests/{target}")).header("content-type", media_type);
                    let answer = put.body(bytes.clone()).send().await.unwrap();
                    assert_eq!(answer.status(), 201, "manifest {target}: {}", answer.text().await.unwrap());
                }
            }
        });
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
