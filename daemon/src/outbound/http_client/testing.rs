//! An application for tests that answers as told by the test. It uses plain sockets, so that it can misbehave.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

/// How the application answers a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status line and body; the connection stays open.
    Answer(&'static str, String),
    /// With these bytes; then the connection is closed.
    Raw(String),
    /// With these bytes and then spaces, one a millisecond, forever.
    Slowly(&'static str),
    /// Never; the connection stays open.
    Hang,
    /// The connection is closed without an answer.
    Close,
}

/// An answer with status 200.
pub fn ok(body: &str) -> Reply {
    Reply::Answer("200 OK", body.to_owned())
}

/// A running application.
pub struct App {
    pub url: String,
    /// Each request as it was received.
    pub requests: mpsc::UnboundedReceiver<String>,
    /// One item for each connection it accepted.
    pub connections: mpsc::UnboundedReceiver<()>,
}

impl App {
    /// Waits for the next request.
    pub async fn request(&mut self) -> String {
        self.requests.recv().await.expect("the application runs")
    }

    /// The number of requests received and not taken yet; takes them.
    pub fn waiting(&mut self) -> usize {
        std::iter::from_fn(|| self.requests.try_recv().ok()).count()
    }
}

/// An application on TCP. `reply` is given the request's number, from 0, and its text.
pub async fn app(reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> App {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/askr?x=1", listener.local_addr().unwrap());
    let (server, app) = Server::new(url, reply);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            server.clone().serve(stream);
        }
    });
    app
}

/// The same on a Unix socket.
pub fn app_at(socket: &Path, reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> App {
    let listener = UnixListener::bind(socket).unwrap();
    let (server, app) = Server::new(format!("unix:{}:/askr?x=1", socket.display()), reply);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            server.clone().serve(stream);
        }
    });
    app
}

/// The URL of a port that nothing listens on.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

type Replies = dyn Fn(usize, &str) -> Reply + Send + Sync;

/// What the connections of an application share.
struct Server {
    reply: Box<Replies>,
    count: AtomicUsize,
    requests: mpsc::UnboundedSender<String>,
    connections: mpsc::UnboundedSender<()>,
}

impl Server {
    fn new(
        url: String,
        reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> (Arc<Self>, App) {
        let (requests, asked) = mpsc::unbounded_channel();
        let (connections, opened) = mpsc::unbounded_channel();
        let server = Self {
            reply: Box::new(reply),
            count: AtomicUsize::new(0),
            requests,
            connections,
        };
        let app = App {
            url,
            requests: asked,
            connections: opened,
        };
        (Arc::new(server), app)
    }

    fn serve(self: Arc<Self>, mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let _ = self.connections.send(());
        tokio::spawn(async move {
            while let Some(text) = request(&mut stream).await {
                let number = self.count.fetch_add(1, Ordering::SeqCst);
                let _ = self.requests.send(text.clone());
                match (self.reply)(number, &text) {
                    Reply::Answer(status, body) => {
                        let length = body.len();
                        let text =
                            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                        let _ = stream.write_all(text.as_bytes()).await;
                    }
                    Reply::Raw(text) => {
                        let _ = stream.write_all(text.as_bytes()).await;
                        return;
                    }
                    Reply::Slowly(text) => {
                        for byte in text.bytes().chain(std::iter::repeat(b' ')) {
                            if stream.write_all(&[byte]).await.is_err() {
                                return;
                            }
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    }
                    Reply::Hang => std::future::pending().await,
                    Reply::Close => return,
                }
            }
        });
    }
}

/// A complete request, head and body. None: the peer closed the connection.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
