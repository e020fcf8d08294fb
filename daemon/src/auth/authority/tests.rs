use hyper::header::{COOKIE, HeaderValue};
use protocol::pusher::signature::Credentials;
use protocol::user_bounds::UserBounds;
use shared::secret::Secret;

use super::*;
use crate::auth::authorizer::Signed;
use crate::auth::http_call::Limits;
use crate::auth::token::Verifier;
use crate::auth::token::tests::{SECRET, keys, token};
use crate::outbound::http_client::testing::{App, Reply, app, nobody, ok};

const NOW: u64 = 1_800_000_000;
const OPEN: &str = r#"{"channels":{"private-h":true,"presence-h":{"user":"h"}}}"#;

fn tokens() -> Option<Tokens> {
    Some(Tokens::with(Verifier::new(keys(), "shop", false)))
}

fn signatures() -> Option<Signatures> {
    Some(Signatures {
        credentials: Credentials {
            key: "key".into(),
            secrets: vec![Secret::new(SECRET).unwrap()],
        },
        users: UserBounds::default(),
    })
}

fn http(url: &str) -> Option<HttpCall> {
    Some(HttpCall::new(url, Limits::default()).unwrap())
}

async fn always(body: &'static str) -> App {
    app(move |_, _| ok(body)).await
}

fn with_token(claims: &str) -> Claim {
    let claims = format!(r#"{{"exp":{},"iat":{NOW},{claims}}}"#, NOW + 60);
    Claim {
        token: Some(token(&claims)),
        ..Claim::default()
    }
}

/// With a cookie, by which the application may know the user.
fn with_cookie(mut claim: Claim) -> Claim {
    let cookie = HeaderValue::from_static("a=1");
    claim.headers.insert(COOKIE, cookie);
    claim
}

fn sign(claim: &mut Claim, channel: &str, data: Option<&str>) {
    claim.socket = Some("1.2".into());
    let data_part = data.map(|data| format!(":{data}")).unwrap_or_default();
    let text = format!("1.2:{channel}{data_part}");
    let code = signatures()
        .unwrap()
        .credentials
        .sign(text.as_bytes())
        .unwrap();
    claim.signatures.push(Signed {
        channel: channel.into(),
        auth: format!("key:{code}"),
        data: data.map(Into::into),
    });
}

async fn ask(
    authority: &Authority,
    claim: &Claim,
    channels: &[&str],
) -> Result<Vec<Access>, Refused> {
    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    super::ask(authority.authorizers().in_turn(), claim, &channels, NOW).await
}

fn unauthorized(reason: &str) -> Result<Vec<Access>, Refused> {
    Err(Refused::Unauthorized(reason.into()))
}

fn forbidden(reason: &str) -> Result<Vec<Access>, Refused> {
    Err(Refused::Forbidden(reason.into()))
}

fn authority_of(
    tokens: Option<Tokens>,
    signatures: Option<Signatures>,
    http: Option<HttpCall>,
) -> Authority {
    Authority::new(Authorizers {
        tokens,
        signatures,
        http: http.map(Arc::new),
    })
}

#[tokio::test]
async fn public_channels_need_no_signatures() {
    let authority = authority_of(tokens(), signatures(), http(&nobody()));
    let claim = Claim {
        token: Some("nonsense".into()),
        ..Claim::default()
    };
    let accesses = ask(&authority, &claim, &["a", "cache-b"]).await;
    assert_eq!(accesses, Ok(vec![Access::default(); 2]));
}

#[tokio::test]
async fn without_an_authorizer_all_other_channels_are_closed() {
    let reason = "private- and presence- channels need an authorization, and [auth] is not set";
    let claim = with_token(r#""channels":["*"]"#);
    let accesses = ask(&Authority::default(), &claim, &["a", "private-b"]).await;
    assert_eq!(accesses, forbidden(reason));
}

#[tokio::test]
async fn a_token_opens_what_it_grants() {
    let authority = authority_of(tokens(), None, None);
    let claim = with_token(r#""sub":"7","info":{"a":1},"channels":["private-a","presence-*"]"#);
    let accesses = ask(&authority, &claim, &["a", "presence-b", "private-a"]).await;
    let access = Access {
        user: Some("7".into()),
        info: Some(r#"{"a":1}"#.into()),
        expires: Some(NOW + 60),
        issued: Some(NOW),
    };
    assert_eq!(
        accesses,
        Ok(vec![Access::default(), access.clone(), access])
    );
    assert_eq!(
        ask(&authority, &claim, &["a", "private-b", "private-c"]).await,
        forbidden("the token does not grant channel 2")
    );
    assert_eq!(
        ask(&authority, &Claim::default(), &["private-a"]).await,
        unauthorized(
            "a private- or presence- channel needs a token (Authorization, cookie or query)"
        )
    );
}

#[tokio::test]
async fn a_presence_channel_needs_a_user() {
    let nameless = with_cookie(with_token(r#""channels":["*"]"#));
    let reason = "channel 2 is presence-, and no user is named for it";
    let authority = authority_of(tokens(), None, None);
    let accesses = ask(&authority, &nameless, &["private-a", "presence-cache-b"]).await;
    assert_eq!(accesses, forbidden(reason));
    let app = always(r#"{"channels":{"presence-b":true}}"#).await;
    let authority = authority_of(None, None, http(&app.url));
    let accesses = ask(&authority, &nameless, &["a", "presence-b"]).await;
    assert_eq!(accesses, forbidden(reason));
    // Another authorizer may know the user.
    let app = always(OPEN).await;
    let authority = authority_of(tokens(), None, http(&app.url));
    let accesses = ask(&authority, &nameless, &["presence-h"]).await.unwrap();
    assert_eq!(accesses[0].user.as_deref(), Some("h"));
}

#[tokio::test]
async fn a_signature_opens_its_channel_for_its_socket() {
    let authority = authority_of(None, signatures(), None);
    let mut claim = Claim::default();
    sign(&mut claim, "private-encrypted-cache-a", None);
    sign(
        &mut claim,
        "presence-b",
        Some(r#"{"user_id":7,"user_info":[]}"#),
    );
    let channels = ["presence-b", "private-encrypted-cache-a"];
    let accesses = ask(&authority, &claim, &channels).await.unwrap();
    assert_eq!(accesses[0].user.as_deref(), Some("7"));
    assert_eq!(accesses[0].info.as_deref(), Some("[]"));
    assert_eq!(accesses[1], Access::default());
    assert_eq!(
        ask(&authority, &claim, &["presence-b", "private-c"]).await,
        unauthorized("a private- or presence- channel needs a signature for its socket id")
    );
    claim.signatures[0].channel = "private-c".into();
    assert_eq!(
        ask(&authority, &claim, &["presence-b", "private-c"]).await,
        unauthorized("channel 2: the signature is wrong")
    );
    for socket in [None, Some("1.3".to_owned())] {
        claim.socket = socket;
        let refused = ask(&authority, &claim, &["presence-b"]).await.unwrap_err();
        assert!(matches!(refused, Refused::Unauthorized(_)), "{refused}");
    }
}

#[tokio::test]
async fn each_authorizer_is_asked_only_about_channels_that_are_still_closed() {
    let mut app = always(OPEN).await;
    let authority = authority_of(tokens(), signatures(), http(&app.url));
    let mut claim = with_cookie(with_token(
        r#""sub":"t","channels":["private-t","presence-t"]"#,
    ));
    sign(&mut claim, "private-t", None);
    // Wrong, but the token opens it.
    claim.signatures[0].auth = "key:00".into();
    sign(&mut claim, "presence-s", Some(r#"{"user_id":"s"}"#));
    let channels = [
        "presence-h",
        "private-t",
        "a",
        "presence-s",
        "private-h",
        "presence-t",
    ];
    let accesses = ask(&authority, &claim, &channels).await.unwrap();
    let users: Vec<Option<&str>> = accesses.iter().map(|a| a.user.as_deref()).collect();
    assert_eq!(
        users,
        [Some("h"), Some("t"), None, Some("s"), None, Some("t")]
    );
    let request = app.request().await;
    assert!(
        request.ends_with(r#"{"socket_id":"1.2","channels":["presence-h","private-h"]}"#),
        "{request}"
    );
    ask(&authority, &claim, &["private-t"]).await.unwrap();
    assert_eq!(app.waiting(), 0, "the application was not needed");
}

#[tokio::test]
async fn forged_credentials_are_refused_even_if_another_authorizer_would_grant_access() {
    let mut app = always(OPEN).await;
    let authority = authority_of(tokens(), signatures(), http(&app.url));
    let mut forged = with_token(r#""channels":["*"]"#);
    let other = with_token(r#""channels":["private-h"]"#).token.unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    let (signed, _) = forged.token.as_ref().unwrap().rsplit_once('.').unwrap();
    forged.token = Some(format!("{signed}.{signature}"));
    let refused = ask(&authority, &forged, &["private-h"]).await;
    assert_eq!(refused, unauthorized("the token's signature is wrong"));
    let expired = Claim {
        token: Some(token(&format!(r#"{{"exp":{NOW},"channels":["*"]}}"#))),
        ..Claim::default()
    };
    let refused = ask(&authority, &expired, &["private-h"]).await;
    assert_eq!(refused, unauthorized("the token has expired"));
    let mut signed = Claim::default();
    sign(&mut signed, "private-h", None);
    signed.socket = Some("1.3".into());
    let refused = ask(&authority, &signed, &["private-h"]).await;
    assert_eq!(refused, unauthorized("channel 1: the signature is wrong"));
    assert_eq!(app.waiting(), 0);
}

#[tokio::test]
async fn the_reason_is_the_first_refusal_else_all_credentials_that_are_accepted() {
    let both = authority_of(tokens(), signatures(), None);
    assert_eq!(
        ask(&both, &Claim::default(), &["private-a", "private-b"]).await,
        unauthorized(
            "a private- or presence- channel needs a token (Authorization, cookie or query) \
             or a signature for its socket id"
        )
    );
    let granted = with_token(r#""channels":["private-a"]"#);
    assert_eq!(
        ask(&both, &granted, &["private-a", "private-b"]).await,
        forbidden("the token does not grant channel 2")
    );
    let app = always(OPEN).await;
    let all = authority_of(tokens(), signatures(), http(&app.url));
    assert_eq!(
        ask(
            &all,
            &with_cookie(Claim::default()),
            &["private-h", "private-b"]
        )
        .await,
        forbidden("channel 2 stays closed: the application's answer")
    );
    let app = self::app(|_, _| Reply::Answer("401 Unauthorized", String::new())).await;
    let all = authority_of(tokens(), signatures(), http(&app.url));
    assert_eq!(
        ask(&all, &with_cookie(Claim::default()), &["private-h"]).await,
        unauthorized("the application refuses this viewer")
    );
    let alone = authority_of(tokens(), None, http(&nobody()));
    let both = ["private-a", "private-h"];
    // It has no credentials for the application, which is therefore not asked.
    assert_eq!(
        ask(&alone, &granted, &both).await,
        forbidden("the token does not grant channel 2")
    );
    let granted = with_cookie(granted);
    let refused = ask(&alone, &granted, &both).await;
    assert!(matches!(refused, Err(Refused::Away(_))), "{refused:?}");
    assert!(ask(&alone, &granted, &["private-a"]).await.is_ok());
}

#[tokio::test]
async fn revocation_reaches_every_authorizer() {
    let mut app = always(OPEN).await;
    let authority = authority_of(tokens(), None, http(&app.url));
    let mine = with_token(r#""sub":"h","channels":["private-t"]"#);
    let other = with_token(r#""sub":"o","channels":["private-t"]"#);
    let viewer = with_cookie(Claim::default());
    for _ in 0..2 {
        ask(&authority, &viewer, &["presence-h"]).await.unwrap();
    }
    assert_eq!(app.waiting(), 1);
    authority.revoke_user("h", NOW);
    let refused = ask(&authority, &mine, &["private-t"]).await;
    assert_eq!(refused, unauthorized("the token was revoked"));
    assert!(ask(&authority, &other, &["private-t"]).await.is_ok());
    ask(&authority, &viewer, &["presence-h"]).await.unwrap();
    assert_eq!(
        app.waiting(),
        1,
        "what was remembered of the user is forgotten"
    );
    authority.revoke_all(NOW);
    let refused = ask(&authority, &other, &["private-t"]).await;
    assert_eq!(refused, unauthorized("the token was revoked"));
}
