//! `GET /metrics` as HTTP: on the control socket, and on a listener of its own if one is asked for.

use std::rc::Rc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::observe::host;
use crate::observe::observed::Observed;
use crate::observe::scrape;
use crate::observe::serving;
use crate::observe::serving::{Answer, Handler, Peer};
use crate::process::exposition::Syntax;

/// Bytes of the text at the most: what there is once, and what each application has.
pub const fn ceiling(apps: u64) -> u64 {
    (64 << 10) + apps * (24 << 10)
}

/// In the form that the headers of the request ask for.
pub fn metrics(observed: &Observed, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let syntax = Syntax::of_accept(accept);
    let mut answer = Response::new(Full::new(scrape::text(observed, syntax).into()));
    let kind = HeaderValue::from_static(syntax.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// The listener of `server.metrics`: nothing else is there.
pub struct MetricsPage(pub Observed);

impl Handler for MetricsPage {
    async fn answer(self: Rc<Self>, peer: Rc<Peer>, request: Request<Incoming>) -> Answer {
        // From loopback it is not to be read by a page that an operator of this machine has open.
        if peer.ends.is_loopback && !host::is_no_name(request.headers()) {
            let why =
                "on loopback /metrics is only for addresses and localhost as Host (DNS rebinding)";
            return serving::line(StatusCode::FORBIDDEN, why);
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => {
                metrics(&self.0, request.headers()).map(serving::Body::Whole)
            }
            (_, "/metrics") => serving::line(StatusCode::METHOD_NOT_ALLOWED, "use GET"),
            _ => serving::line(StatusCode::NOT_FOUND, "not found; there is /metrics"),
        }
    }

    fn gives_way(&self) {
        self.0.process.metrics.metrics_connections_gave_way.add(1);
    }
}
