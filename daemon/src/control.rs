//! The local socket for operators: /healthz, /readyz, /metrics. Never on an address that viewers reach.

use std::convert::Infallible;
use std::fmt::Write;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use crate::archive::Segments;
use crate::bus::Bus;
use crate::health::Beats;

/// Askers at one time. A local operator needs few; more wait.
const ASKERS: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Control {
    pub bus: Arc<Bus>,
    pub beats: Arc<Beats>,
    pub segments: Segments,
}

/// Answers on `listener` until dropped. Runs on a LocalSet.
pub async fn run(control: Control, listener: UnixListener) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let control = Rc::new(control);
    let askers = Arc::new(Semaphore::new(ASKERS));
    loop {
        let Ok(permit) = askers.clone().acquire_owned().await else {
            return Ok(());
        };
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let control = control.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|request: Request<_>| {
                let answer = control.answer(request.method(), request.uri().path());
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(socket), service);
            let _ = tokio::time::timeout(2 * TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

impl Control {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let (status, body) = match (method, path) {
            (&Method::GET, "/healthz") => match self.beats.hanging() {
                None => (StatusCode::OK, "ok\n".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            (&Method::GET, "/readyz") if self.beats.is_ready() => {
                (StatusCode::OK, "ready\n".to_owned())
            }
            (&Method::GET, "/readyz") => {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned())
            }
            (&Method::GET, "/metrics") => (StatusCode::OK, self.metrics()),
            (_, "/healthz" | "/readyz" | "/metrics") => {
                (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned())
            }
            _ => (
                StatusCode::NOT_FOUND,
                "not found; there are /healthz, /readyz, /metrics\n".to_owned(),
            ),
        };
        let mut answer = Response::new(Full::new(Bytes::from(body)));
        *answer.status_mut() = status;
        let kind =
            hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer
            .headers_mut()
            .insert(hyper::header::CONTENT_TYPE, kind);
        answer
    }

    fn metrics(&self) -> String {
        let metrics = &self.bus.metrics;
        metrics
            .connections
            .set(self.bus.limits.connections() as u64);
        metrics.channels.set(self.bus.routes.channels() as u64);
        metrics.outbox_bytes.set(self.bus.outboxes.used());
        let behind = self
            .segments
            .head()
            .saturating_sub(self.bus.clock.completed());
        metrics.behind.set(behind);
        let seconds = self.segments.history_seconds();
        let mut text = metrics.to_text();
        let _ = write!(
            text,
            "# HELP askr_history_seconds Age of the oldest event held.\n\
             # TYPE askr_history_seconds gauge\naskr_history_seconds {seconds}\n"
        );
        self.bus.latency.write_to(
            &mut text,
            "askr_publish_to_write_seconds",
            "From the publish of an event until a worker wrote it to its streams.",
        );
        self.bus.turns.write_to(
            &mut text,
            "askr_worker_turn_seconds",
            "What a worker takes for the events of one wake.",
        );
        text
    }
}
