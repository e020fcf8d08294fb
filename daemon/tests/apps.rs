//! Two applications on one askrd, each with a ring: nothing of one is taken by or told to the other, and
//! the limits of one are no limits of the other.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::grants::{Said, Socket, body, now, signature_by, token_by};
use crate::common::{Client, Daemon, askrd, check, exchange, publish, refused};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use shared::publisher::{AttachOptions, Publisher};
use tempfile::TempDir;

const SHOP: &str = "the-secret-of-the-shop-long-enough";
const BLOG: &str = "the-secret-of-the-blog-long-enough";
const ROOM: &str = "presence-room";

struct Two {
    daemon: Daemon,
    directory: TempDir,
}

/// `shop` has the ring of `[ring]`, `blog` one of its own. `more`: settings of the shop.
fn two(more: &str) -> Two {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let ring = directory.path().join("ring");
    let settings = format!(
        "[[app]]\nid = 'shop'\nkey = 'shop-key'\nsecret = '{SHOP}'\npresence_grace = 0.2\n{more}\n\
         [[app]]\nid = 'blog'\nkey = 'blog-key'\nsecret = '{BLOG}'\npresence_grace = 0.2\nring = '{}'\n",
        ring.display()
    );
    Two {
        daemon: Daemon::start(&settings),
        directory,
    }
}

fn token(secret: &str, user: &str) -> String {
    let claims = json!({"channels": ["*"], "sub": user, "iat": now(), "exp": now() + 600});
    token_by(secret, &claims)
}

impl Two {
    fn open(&self, app: &str, query: &str) -> Client {
        self.daemon.open_with(&format!("app={app}&{query}"), &[])
    }

    fn blog_ring(&self) -> std::path::PathBuf {
        self.directory.path().join("ring")
    }

    fn blog(&self) -> Publisher {
        let mut publisher = Publisher::new();
        let name = self.blog_ring().to_str().unwrap().parse().unwrap();
        publisher.configure(AttachOptions {
            name,
            ..AttachOptions::default()
        });
        publisher
    }

    fn control(&self, method: &str, path: &str, ring: &Path, rest: &str, body: &str) -> Said {
        let path = format!("{path}?ring={}{rest}", ring.display());
        self.daemon.ask(method, &path, body)
    }

    fn members(&self, ring: &Path) -> Value {
        let said = self.control("GET", "/members", ring, &format!("&channel={ROOM}"), "");
        said.json()["members"].clone()
    }

    fn channels(&self, ring: &Path) -> Value {
        self.control("GET", "/channels", ring, "", "").json()["channels"].clone()
    }

    fn disconnect(&self, ring: &Path, target: &Value) -> Value {
        let said = self.control("POST", "/disconnect", ring, "", &target.to_string());
        said.json()["ended"].clone()
    }

    fn status(&self, query: &str) -> u16 {
        let request = format!("GET /askr/events?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = exchange_head(self.daemon.address, &request);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// The first line of an answer; the rest may be a stream that goes on.
fn exchange_head(address: std::net::SocketAddr, request: &str) -> String {
    use std::io::{BufRead, BufReader, Write};
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    line
}

#[test]
fn no_event_of_one_reaches_the_other() {
    let mut two = two("");
    let query = |secret: &str| {
        let channels = ["a", "private-a", "presence-a", "cache-a"];
        let channels: Vec<String> = channels.iter().map(|c| format!("channel={c}")).collect();
        format!("{}&token={}", channels.join("&"), token(secret, "7"))
    };
    let mut shop = two.open("shop", &query(SHOP));
    let mut blog = two.open("blog", &query(BLOG));
    for client in [&mut shop, &mut blog] {
        assert_eq!(client.next_json().1["count"], 1, "each has its own user 7");
    }
    let (mut to_shop, mut to_blog) = (two.daemon.publisher(), two.blog());
    for channel in ["a", "private-a", "presence-a", "cache-a"] {
        publish(
            &mut to_shop,
            &[channel],
            None,
            Some("order-1"),
            "of the shop",
        );
        publish(&mut to_blog, &[channel], None, None, "of the blog");
    }
    assert_eq!(shop.take(4), ["of the shop"; 4]);
    assert_eq!(blog.take(4), ["of the blog"; 4]);
    // Without a name it is the first.
    let mut first = two.daemon.open("cache-a");
    assert_eq!(first.next().data, "of the shop");
    assert_eq!(
        two.open("blog", "channel=cache-a").next().data,
        "of the blog"
    );

    // Neither the cursors nor the ids of one mean anything to the other.
    let cursor = shop.parser.last_event_id().to_owned();
    for id in [cursor.as_str(), "order-1"] {
        let mut lost = two.open("blog", &format!("channel=a&last_event_id={id}"));
        let gap = lost.next();
        assert_eq!(gap.event, "askr:gap", "{gap:?}");
        assert_eq!(gap.data, r#"{"lost":null,"at_most":null}"#);
        assert_eq!(lost.next().data, "of the blog");
    }
    // Each goes on where it was after a restart.
    let held = blog.parser.last_event_id().to_owned();
    two.daemon.signal(Signal::SIGKILL);
    publish(&mut to_shop, &["a"], None, None, "meanwhile in the shop");
    publish(&mut to_blog, &["a"], None, None, "meanwhile in the blog");
    two.daemon.restart();
    let back = |app: &str, id: &str| two.open(app, &format!("channel=a&last_event_id={id}"));
    assert_eq!(back("shop", &cursor).next().data, "meanwhile in the shop");
    assert_eq!(back("blog", &held).next().data, "meanwhile in the blog");
}

#[test]
fn no_member_name_or_count_of_one_is_told_to_the_other() {
    let two = two("");
    let (shop_ring, blog_ring) = (two.daemon.ring(), two.blog_ring());
    let enter = |app: &str, user: &str| {
        let secret = if app == "shop" { SHOP } else { BLOG };
        two.open(
            app,
            &format!("channel={ROOM}&channel={app}&token={}", token(secret, user)),
        )
    };
    let ids = |said: &(String, Value)| -> Vec<Value> {
        let members = said.1["members"].as_array().unwrap();
        members.iter().map(|member| member["id"].clone()).collect()
    };
    let mut ann = enter("shop", "ann");
    assert_eq!(ids(&ann.next_json()), ["ann"]);
    let mut bob = enter("blog", "bob");
    assert_eq!(ids(&bob.next_json()), ["bob"]);
    let mut other = enter("blog", "ann");
    assert_eq!(ids(&other.next_json()), ["ann", "bob"]);
    assert_eq!(bob.next_json().1["id"], "ann");
    assert_eq!(
        two.members(&shop_ring),
        json!([{"id": "ann", "info": null}])
    );
    assert_eq!(two.members(&blog_ring).as_array().unwrap().len(), 2);
    assert_eq!(two.channels(&shop_ring), json!({ROOM: 1, "shop": 1}));
    assert_eq!(two.channels(&blog_ring), json!({ROOM: 2, "blog": 2}));
    drop(other);
    assert_eq!(
        bob.next_json(),
        ("askr:left".into(), json!({"channel": ROOM, "id": "ann"}))
    );
    // Nothing of that was told in the shop.
    two.daemon.publish(ROOM, "next");
    assert_eq!(ann.next().data, "next");

    // Ends what is its own alone, and refuses the tokens of its own alone.
    let (shop_ann, blog_ann) = (token(SHOP, "ann"), token(BLOG, "ann"));
    assert_eq!(two.disconnect(&blog_ring, &json!({"user": "ann"})), 0);
    assert_eq!(
        two.disconnect(&blog_ring, &json!({"socket_id": ann.me().id})),
        0
    );
    let with =
        |app: &str, token: &str| two.status(&format!("app={app}&channel=private-x&token={token}"));
    assert_eq!(
        (with("shop", &shop_ann), with("blog", &blog_ann)),
        (200, 401)
    );
    two.daemon.publish(ROOM, "still here");
    assert_eq!(ann.next().data, "still here");
    assert_eq!(
        two.disconnect(&shop_ring, &json!({"socket_id": ann.me().id})),
        1
    );
    assert!(ann.end().is_empty());

    let unknown = Path::new("/dev/shm/no-such-ring");
    for (method, path) in [
        ("GET", "/channels"),
        ("GET", "/members"),
        ("POST", "/disconnect"),
    ] {
        let said = two.control(method, path, unknown, "&channel=x", "{\"user\":\"7\"}");
        assert_eq!(said.status, 404, "{said:?}");
        assert_eq!(
            two.daemon.ask(method, path, "").status,
            400,
            "{path} of which?"
        );
    }
}

#[test]
fn what_one_gives_opens_nothing_of_the_other() {
    let two = two("");
    let (of_shop, of_blog) = (token(SHOP, "7"), token(BLOG, "7"));
    let with =
        |app: &str, token: &str| two.status(&format!("app={app}&channel=private-a&token={token}"));
    assert_eq!((with("shop", &of_shop), with("shop", &of_blog)), (200, 401));
    assert_eq!((with("blog", &of_blog), with("blog", &of_shop)), (200, 401));
    // Even signed by the right secret, one that was made for the other is refused.
    let claims = json!({"channels": ["*"], "aud": "shop", "exp": now() + 60});
    let crossed = token_by(BLOG, &claims);
    assert_eq!(with("blog", &crossed), 401);
    assert_eq!(with("shop", &token_by(SHOP, &claims)), 200);

    let (mut shop, mut blog) = (two.open("shop", "channel=a"), two.open("blog", "channel=a"));
    let (here, there) = (shop.me(), blog.me());
    let change = |app: &str, socket: &Socket, more: Value| {
        let path = format!("/askr/subscribe?app={app}");
        two.daemon
            .post(&path, &body(socket, &["private-a"], more))
            .status
    };
    let signed = |key: &str, secret: &str, socket: &Socket| {
        let signature = signature_by(secret, key, &socket.id, "private-a", None);
        json!({"auth": {"private-a": signature}})
    };
    for more in [
        signed("shop-key", SHOP, &there),
        signed("blog-key", SHOP, &there),
        signed("shop-key", BLOG, &there),
        json!({"token": of_shop}),
    ] {
        assert_eq!(change("blog", &there, more), 401);
    }
    // The secret of one's socket is nothing to the other, under its own id and under any.
    assert_eq!(
        change("shop", &there, signed("shop-key", SHOP, &there)),
        403
    );
    assert_eq!(change("blog", &here, signed("blog-key", BLOG, &here)), 403);
    let mixed = Socket {
        id: there.id.clone(),
        secret: here.secret.clone(),
    };
    assert_eq!(
        change("blog", &mixed, signed("blog-key", BLOG, &mixed)),
        403
    );
    assert_eq!(
        change("blog", &there, signed("blog-key", BLOG, &there)),
        200
    );
    assert_eq!(two.channels(&two.daemon.ring()), json!({"a": 1}));

    // Nor does an id of one pass for one of the other.
    let session = "session=0b4f6f0e-5f0c-4f57-9c9e-2f7d9f6f9a11&channel=a";
    assert_ne!(
        two.open("shop", session).me().id,
        two.open("blog", session).me().id
    );
    let earlier = format!("channel=a&socket_id={}&secret={}", here.id, here.secret);
    assert_eq!(two.open("shop", &earlier).me().id, here.id);
    assert_ne!(two.open("blog", &earlier).me().id, here.id);
}

#[test]
fn an_app_that_is_not_there_is_not_found() {
    let two = two("");
    assert_eq!(two.status("app=shop&channel=a"), 200);
    for app in ["other", "", "Shop", "shop%00", "shop-key"] {
        let request = format!(
            "GET /askr/events?channel=a&app={app} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(two.daemon.address, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 404 "), "{app}: {answer}");
        assert!(answer.ends_with("there is no such app\n"), "{answer}");
        assert_eq!(
            two.daemon
                .post(&format!("/askr/subscribe?app={app}"), "{}")
                .status,
            404
        );
    }
}

#[test]
fn an_app_at_its_limits_takes_nothing_from_the_other() {
    let two = two("max_connections = 2\nmax_channels = 3\nchannel_members = 1");
    let one = two.open("shop", "channel=a");
    let mut second = two.open("shop", "channel=a&channel=b");
    let over = |limit: &str| {
        two.daemon
            .metric(&format!("askr_refused_total{{limit=\"{limit}\"}}"))
    };
    let mut third = two.open("shop", "channel=a");
    assert!(third.end().is_empty() && third.parser.retry().is_some());
    assert_eq!(over("app_connections"), 1);
    let mut others: Vec<Client> = (0..10)
        .map(|n| two.open("blog", &format!("channel=a&channel=c{n}")))
        .collect();
    publish(&mut two.blog(), &["a"], None, None, "served");
    for client in &mut others {
        assert_eq!(client.next().data, "served");
    }
    drop(one);
    two.daemon.until("askr_streams", |n| n == 11);
    let mut third = two.open("shop", "channel=a");
    two.daemon.publish("a", "served too");
    assert_eq!(
        (second.next().data, third.next().data),
        ("served too".into(), "served too".into())
    );

    // Its channels.
    let path = "/askr/subscribe?app=shop";
    let said = two
        .daemon
        .post(path, &body(&third.me(), &["c", "d"], Value::Null));
    assert_eq!((said.status, over("channels")), (409, 1), "{said:?}");
    let said = two
        .daemon
        .post(path, &body(&third.me(), &["c"], Value::Null));
    assert_eq!(said.status, 200, "{said:?}");
    // Its members.
    drop((second, third));
    two.daemon.until("askr_streams", |n| n == 10);
    let enter = |app: &str, secret: &str, user: &str| {
        two.open(
            app,
            &format!("channel={ROOM}&token={}", token(secret, user)),
        )
    };
    let _ann = enter("shop", SHOP, "ann");
    assert!(enter("shop", SHOP, "bob").end().is_empty());
    assert_eq!(over("members"), 1);
    let _ann = enter("blog", BLOG, "ann");
    let mut bob = enter("blog", BLOG, "bob");
    assert_eq!(bob.next_json().1["count"], 2);
}

#[test]
fn a_secret_that_cannot_be_used_is_told_with_its_app() {
    let with = |second: &str| {
        format!(
            "[[app]]\nid = 'shop'\nsecret = '{SHOP}'\n[[app]]\nid = 'blog'\nring = '/blog'\n{second}"
        )
    };
    assert_eq!(check(&with(&format!("secret = '{BLOG}'"))).0, Some(0));
    for (bad, key) in [
        ("secret = 'short'", "app[2].secret: "),
        ("secret_file = '/nowhere'", "app[2].secret_file: "),
        (&format!("secret = '{SHOP}'"), "app[2].secret: "),
    ] {
        let text = refused(&with(bad), key);
        assert!(!text.contains(SHOP) && !text.contains("short"), "{text}");
    }
}

#[test]
fn a_secret_in_settings_that_everybody_may_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("askr.toml");
    let run = |verb: &str, environment: &[(&str, &str)]| {
        let mut command = askrd();
        command.args([verb, "--config"]).arg(&config);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    };
    let mode = |mode| {
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let several =
        format!("[[app]]\nid = 'blog'\n[[app]]\nid = 'shop'\nring = '/s'\nsecret = '{SHOP}'");
    for (text, key) in [
        (format!("app.secret = '{SHOP}'"), "app.secret"),
        (several, "app[2].secret"),
    ] {
        std::fs::write(&config, text).unwrap();
        for open in [0o644, 0o604, 0o602, 0o641] {
            mode(open);
            for verb in ["check", "serve", "channels"] {
                let why = format!(
                    "askrd: {}: {key}: the file it is in must not be open to everybody (its mode is {open:04o}): \
                     chmod o= it\n",
                    config.display()
                );
                assert_eq!(run(verb, &[("ASKR_APP_SECRET", BLOG)]), (Some(2), why));
            }
        }
        for closed in [0o600, 0o640, 0o660] {
            mode(closed);
            assert_eq!(run("check", &[]), (Some(0), String::new()));
        }
    }
    // Without a secret everybody may read it, wherever the secret is.
    for text in ["", "#app.secret = 'x'", "app.secret = ''"] {
        std::fs::write(&config, text).unwrap();
        mode(0o644);
        assert_eq!(
            run("check", &[("ASKR_APP_SECRET", SHOP)]),
            (Some(0), String::new())
        );
    }
}
