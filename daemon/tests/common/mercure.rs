//! A daemon with a Mercure hub, its keys, tokens of both versions, publishers and subscribers.

use protocol::testing::sse::Message;
use serde_json::{Value, json};

use super::grants::{Said, now, request, token_by};
use super::{Client, Daemon, write_settings};

pub const HUB: &str = "https://x/.well-known/mercure";
pub const P: &str = "/.well-known/mercure";
pub const ISSUER: &str = "https://app.example";
pub const ONE: &str = "one-3456789abcdef0123456789abcdef";
pub const OLD: &str = "old-3456789abcdef0123456789abcdef";
pub const DETAIL: &str = "https://mercure.rocks/authorization-detail";

/// A daemon with a hub, and the directory of its keys.
pub struct Hub(
    pub Daemon,
    #[allow(dead_code, reason = "removed with the hub")] pub tempfile::TempDir,
);

/// A file of keys, and the lines of settings that name it.
pub fn settings(directory: &std::path::Path, more: &str) -> String {
    let file = |name: &str, key: &str| {
        let path = directory.join(name);
        write_settings(&path, &format!("HS256 {key}\n"));
        path.display().to_string()
    };
    format!(
        "app.mercure_url = '{HUB}'\napp.mercure_issuers = ['{ISSUER} {}']\napp.mercure_legacy_key_file = '{}'\n{more}",
        file("one", ONE),
        file("old", OLD),
    )
}

pub fn start(more: &str) -> Hub {
    Hub::by(more, Daemon::start)
}

/// Who may publish, and to whom a stream goes.
pub fn claims(actions: &[&str], topics: &[(&str, &str)]) -> Value {
    let topics: Vec<Value> = topics
        .iter()
        .map(|(kind, text)| json!({"match": text, "match_type": kind}))
        .collect();
    json!({
        "iss": ISSUER, "aud": HUB, "exp": now() + 600,
        "authorization_details": [{"type": DETAIL, "actions": actions, "topics": topics}],
    })
}

pub fn sign(typ: &str, secret: &str, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": typ});
    sign_text(secret, &header.to_string(), &claims.to_string())
}

/// Of whatever header and claims.
pub fn sign_text(secret: &str, header: &str, claims: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let code = protocol::mac::sign(secret.as_bytes(), &[signed.as_bytes()]);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(code))
}

/// A token of 1.0.
pub fn one(actions: &[&str], topics: &[(&str, &str)]) -> String {
    sign("at+jwt", ONE, &claims(actions, topics))
}

/// A token of 0.x.
pub fn old(publish: &[&str], subscribe: &[&str]) -> String {
    token_by(
        OLD,
        &json!({"mercure": {"publish": publish, "subscribe": subscribe}}),
    )
}

pub fn all() -> String {
    one(&["publish", "subscribe"], &[("exact", "*")])
}

pub fn encode(text: &str) -> String {
    protocol::mercure::subscription::encode(text)
}

pub fn form(fields: &[(&str, &str)]) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

impl Hub {
    /// Of a daemon that is started with settings in which this hub's keys are.
    pub fn by(more: &str, start: impl FnOnce(&str) -> Daemon) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let daemon = start(&settings(keys.path(), more));
        Self(daemon, keys)
    }

    pub fn post(&self, headers: &str, fields: &[(&str, &str)]) -> Said {
        request(self.0.address, "POST", P, headers, &form(fields))
    }

    /// Publishes as who may publish everything; returns the id.
    pub fn publish(&self, fields: &[(&str, &str)]) -> String {
        let said = self.post(&bearer(&all()), fields);
        assert_eq!(said.status, 200, "{said:?}");
        assert!(said.head.contains("text/plain; charset=utf-8"), "{said:?}");
        said.body
    }

    pub fn get(&self, target: &str, headers: &str) -> Said {
        request(self.0.address, "GET", target, headers, "")
    }

    /// A subscriber; `query` without the question mark.
    pub fn open(&self, query: &str, headers: &[(&str, &str)]) -> Client {
        let mut client = Client::connect(self.0.address);
        client.request(&format!("{P}?{query}"), headers);
        assert!(
            client.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            client.head
        );
        // Its first bytes are sent when it is subscribed.
        while client.parser.comments() == 0 {
            assert!(
                client.read(),
                "asked to come back: {:?}",
                client.parser.retry()
            );
        }
        client
    }

    pub fn subscribe(&self, query: &str, token: &str) -> Client {
        self.open(query, &[("Authorization", &format!("Bearer {token}"))])
    }
}

/// What a subscriber gets next of what was published, up to the update with the data `end`, which everybody gets.
pub fn until(client: &mut Client, end: &str) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        let Message { data, .. } = client.next();
        if data == end {
            return got;
        }
        got.push(data);
    }
}

/// What an active subscription's announcement says: its matcher, whether it is there, and whose it is.
pub fn announced(client: &mut Client) -> (String, bool, Value) {
    let message = client.next();
    assert_eq!(message.event, "mercure");
    let document: Value = serde_json::from_str(&message.data).unwrap();
    let text = document["match"].as_str().unwrap().to_owned();
    (
        text,
        document["active"] == true,
        document["payload"].clone(),
    )
}

/// A viewer of a presence channel, as Laravel has it: the channel, and its subscriptions.
pub fn member(channel: &str, user: &str, seconds: u64) -> String {
    let topics = json!([
        {"match": channel},
        {"match": format!("{P}/subscriptions/:match_type/{}{{/:subscriber}}?", encode(channel)), "match_type": "urlpattern"},
    ]);
    let mut claims = claims(&["subscribe"], &[("exact", "x")]);
    claims["exp"] = json!(now() + seconds);
    let detail = &mut claims["authorization_details"][0];
    detail["topics"] = topics;
    detail["payload"] = json!({"user_id": user});
    sign("at+jwt", ONE, &claims)
}

pub fn presence(channel: &str) -> String {
    let watched = format!(
        "{P}/subscriptions/:match_type/{}/:subscriber",
        encode(channel)
    );
    format!(
        "match={}&match_urlpattern={}",
        encode(channel),
        encode(&watched)
    )
}
