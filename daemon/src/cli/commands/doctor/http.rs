//! One GET, over TCP, TLS or a Unix socket, as a browser makes it, read bit by bit.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// For connecting, and between two reads.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are kept.
const MOST: usize = 64 << 10;
/// The authorities that this machine trusts (Debian's ca-certificates).
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Where to ask: the parts of `http://host:port/path`.
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    /// What is named in the head: with the port, unless it is the scheme's own.
    authority: String,
    pub path: String,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} must be http://host/askr/events or https://…");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path().to_owned(),
        })
    }

    /// The same server's `path`.
    pub fn at(&self, path: &str) -> Self {
        Self {
            tls: self.tls,
            host: self.host.clone(),
            port: self.port,
            authority: self.authority.clone(),
            path: path.to_owned(),
        }
    }

    pub fn get(&self, query: &str, headers: &str) -> io::Result<Answer> {
        self.ask("GET", query, headers)
    }

    pub fn ask(&self, method: &str, query: &str, headers: &str) -> io::Result<Answer> {
        let mut last = io::Error::other("its name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(tcp) => {
                    tcp.set_read_timeout(Some(PATIENCE))?;
                    tcp.set_write_timeout(Some(PATIENCE))?;
                    let stream: Box<dyn Stream> = match self.tls {
                        true => Box::new(tls(&self.host, tcp, &[])?),
                        false => Box::new(tcp),
                    };
                    let target = format!("{}{query}", self.path);
                    return Answer::to(stream, &self.authority, method, &target, headers);
                }
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Whether a browser would speak HTTP/2 with it. None: without TLS they speak HTTP/1.1 with everybody.
    pub fn speaks_http2(&self) -> io::Result<Option<bool>> {
        if !self.tls {
            return Ok(None);
        }
        let tcp = TcpStream::connect((self.host.as_str(), self.port))?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let mut stream = tls(&self.host, tcp, &[b"h2", b"http/1.1"])?;
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(Some(stream.conn.alpn_protocol() == Some(b"h2")))
    }

    /// Host and port, as they were given.
    pub fn site(&self) -> &str {
        &self.authority
    }
}

/// Over askrd's own Unix socket.
pub fn get_unix(socket: &Path, path: &str, query: &str) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Answer::to(
        Box::new(stream),
        "localhost",
        "GET",
        &format!("{path}{query}"),
        "",
    )
}

/// `protocols`: what is offered (ALPN).
fn tls(
    host: &str,
    tcp: TcpStream,
    protocols: &[&[u8]],
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    let file = std::env::var("SSL_CERT_FILE").unwrap_or_else(|_| AUTHORITIES.to_owned());
    let all = CertificateDer::pem_file_iter(&file)
        .map_err(|why| io::Error::other(format!("{file}: {why}")))?;
    for certificate in all.flatten() {
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, tcp))
}

/// An answer as far as it has come.
pub struct Answer {
    stream: Box<dyn Stream>,
    text: Vec<u8>,
}

impl Answer {
    fn to(
        mut stream: Box<dyn Stream>,
        host: &str,
        method: &str,
        target: &str,
        headers: &str,
    ) -> io::Result<Self> {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = Self {
            stream,
            text: Vec::new(),
        };
        match answer.waits_for("\r\n\r\n") {
            true => Ok(answer),
            false => Err(io::Error::other(
                "the connection ended, or no answer came within 10 seconds",
            )),
        }
    }

    /// Reads until this has come. False: it does not come in time, or the answer has ended.
    pub fn waits_for(&mut self, what: &str) -> bool {
        let end = Instant::now() + PATIENCE;
        while !self.text().contains(what) {
            if Instant::now() > end || !matches!(self.read_more(), Ok(1..)) {
                return false;
            }
        }
        true
    }

    /// Reads on for so long. False: the answer has ended.
    pub fn lasts(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            match self.read_more() {
                Ok(1..) => {}
                // Nothing came for a while.
                Err(why)
                    if matches!(
                        why.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                _ => return false,
            }
        }
        true
    }

    fn read_more(&mut self) -> io::Result<usize> {
        if self.text.len() > MOST {
            return Err(io::Error::other("more than is looked at"));
        }
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) => {
                    self.text.extend_from_slice(&buffer[..n]);
                    return Ok(n);
                }
                failed => return failed,
            }
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    pub fn status(&self) -> u16 {
        let text = self.text();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.unwrap_or(0)
    }

    /// A header's value, in small letters.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.header_as_it_is(name)?;
        Some(value.to_ascii_lowercase())
    }

    pub fn header_as_it_is(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (head, _) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.trim().to_owned())
    }

    /// What came after the head.
    pub fn body(&self) -> String {
        let text = self.text();
        text.split_once("\r\n\r\n")
            .map_or(String::new(), |(_, body)| body.to_owned())
    }
}
