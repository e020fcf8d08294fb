//! Answers a request to a hub.

use std::cell::RefCell;

use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue};
use hyper::{Method, Request, StatusCode};
use protocol::mercure::claims::DETAIL;
use serde_json::json;

use super::super::client::{Client, World};
use super::super::cors::Origin;
use super::super::refusal::Refusal;
use super::super::respond::{self, Answer};
use super::super::socket::Progress;
use super::ask::{Ask, EXPOSED, Reply};
use super::credentials::FOREIGN;
use super::refused::Refused;
use super::target::Part;
use super::{publish, subscribe, subscriptions};

/// `index`: of the application.
pub async fn serve(
    client: &RefCell<Client>,
    world: &World,
    request: Request<Incoming>,
    (index, part): (usize, Part<'_>),
    origin: &Origin,
    progress: &Progress,
) -> Result<Option<Answer>, Refusal> {
    let app = &*world.apps[index].0;
    let settings = app.reloadable.get();
    let Some(mercure) = &settings.mercure else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no hub here"));
    };
    // Its answers never allow every page to read them.
    let origin = match origin {
        Origin::Pattern => &Origin::Foreign,
        origin => origin,
    };
    let ask = Ask {
        client,
        world,
        index,
        app,
        settings: &settings,
        mercure,
        origin,
        progress,
    };
    let reply = match ask.answer(request, part).await {
        Ok(answer) => answer,
        Err(refused) => {
            world.metrics().refused_requests.add(1);
            world
                .metrics()
                .refused_tokens
                .add(refused.is_of_token().into());
            Some(refused.answer(&mercure.tokens.hub, origin))
        }
    };
    Ok(reply.map(|mut answer| {
        if let Origin::Listed(_) = origin {
            let exposed = HeaderValue::from_static(EXPOSED);
            answer
                .headers_mut()
                .insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        answer
    }))
}

impl Ask<'_> {
    async fn answer(&self, request: Request<Incoming>, part: Part<'_>) -> Reply {
        if *self.origin == Origin::Foreign {
            // As hubs answer what may be forged: it is the request that is wrong.
            if matches!((part, request.method()), (Part::Hub, &Method::POST))
                && self.is_forged(&request)
            {
                return Err(Refused::request(FOREIGN));
            }
            let why = "this origin is not allowed (server.allowed_origins)";
            return Err(Refused::other(StatusCode::FORBIDDEN, why));
        }
        match (part, request.method()) {
            (_, &Method::OPTIONS) => {
                let policy = self.world.policy();
                Ok(Some(respond::preflight(
                    self.origin,
                    &policy.allowed_headers,
                )))
            }
            (Part::Metadata, &Method::GET | &Method::HEAD) => Ok(Some(self.metadata())),
            (Part::Hub, &Method::GET | &Method::HEAD) => subscribe::subscribe(self, &request).await,
            (Part::Hub, &Method::POST) => publish::publish(self, request).await.map(Some),
            (Part::Hub, _) => Err(Refused::other(
                StatusCode::METHOD_NOT_ALLOWED,
                "use GET, HEAD or POST",
            )),
            (Part::Subscriptions(rest), &Method::GET | &Method::HEAD) => {
                subscriptions::list(self, &request, rest).map(Some)
            }
            _ => Err(Refused::other(StatusCode::METHOD_NOT_ALLOWED, "use GET")),
        }
    }

    /// What a client has to know before it asks for a token.
    fn metadata(&self) -> Answer {
        let metadata = json!({
            "resource": self.mercure.tokens.hub.as_str(),
            "bearer_methods_supported": ["header"],
            "authorization_details_types_supported": [DETAIL],
            "mercure_cookie": self.mercure.cookie,
            "mercure_subscriptions": true,
        });
        respond::json_to(metadata.to_string(), self.origin)
    }
}
