//! The store, against a real Redis: each way to reach it, and each sentence about why it cannot be used.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::common;
use crate::common::redis::{Redis, free_port, spawn};
use askrd::outbound::redis::connection::{Options, Sentinel};
use askrd::outbound::redis::redis_store::RedisStore;
use askrd::outbound::redis::store::{Keys, LogId, Store};
use bytes::Bytes;

fn options(url: &str) -> Options {
    Options {
        address: url.parse().unwrap(),
        password: None,
        sentinel: Sentinel::default(),
        ca: None,
        timeout: Duration::from_secs(10),
    }
}

async fn connect(options: Options) -> Result<RedisStore, String> {
    let keys = Keys::of("shop");
    let listen = [keys.key("all")];
    let connected = RedisStore::connect(Arc::new(options), keys, &listen, 1000).await;
    connected.map_err(|why| why.to_string())
}

async fn refused(options: Options) -> String {
    match connect(options).await {
        Ok(_) => panic!("it was not refused"),
        Err(why) => why,
    }
}

/// Every verb.
async fn works(store: &RedisStore) {
    assert!(
        store
            .read(LogId::START, 10, Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
    let entries: Vec<Bytes> = (0..7u8).map(|n| vec![n, 0, 255].into()).collect();
    let pieces = [0..1, 1..4, 4..5, 5..6, 6..7].map(|piece| entries[piece].to_vec());
    for piece in &pieces {
        store.append(piece).await.unwrap();
    }
    let read = store.read(LogId::START, 3, Duration::ZERO).await.unwrap();
    let texts: Vec<Option<Vec<Bytes>>> = read.iter().map(|(_, texts)| texts.clone()).collect();
    assert_eq!(
        texts,
        pieces[..3].iter().cloned().map(Some).collect::<Vec<_>>()
    );
    assert!(read.is_sorted_by(|a, b| a.0 < b.0));
    let rest = store
        .read(read[2].0, 10, Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(rest.len(), 2);
    assert_eq!(store.length().await.unwrap(), 7);
    let nothing = store.read(rest[1].0, 10, Duration::from_millis(1)).await;
    assert!(nothing.unwrap().is_empty());

    assert_eq!(store.mark("one").await.unwrap(), "one");
    assert_eq!(store.mark("two").await.unwrap(), "one");
    let time = Duration::from_secs(60);
    assert_eq!(store.lease("key", b"mine", time).await.unwrap(), "mine");
    assert_eq!(store.lease("key", b"other", time).await.unwrap(), "mine");

    store.put("nodes", b"a", b"\x00\xff").await.unwrap();
    store.put("nodes", b"b", b"2").await.unwrap();
    store.take("nodes", b"b").await.unwrap();
    let all = store.all("nodes").await.unwrap();
    assert_eq!(all, [(Bytes::from("a"), Bytes::from_static(b"\x00\xff"))]);
    store.delete("nodes").await.unwrap();
    assert!(store.all("nodes").await.unwrap().is_empty());

    store.publish("all", "hello").await.unwrap();
    assert_eq!(store.hear().await.unwrap(), "hello");
    store.check_listener().await.unwrap();
}

#[tokio::test]
async fn every_verb_works_over_a_unix_socket() {
    let redis = Redis::start();
    let store = connect(options(&redis.url())).await.unwrap();
    assert!(store.server().version.starts_with(char::is_numeric));
    works(&store).await;
}

#[tokio::test]
async fn every_verb_works_over_tcp_for_a_user_who_may_do_no_more_than_the_documentation_says() {
    let port = free_port();
    let rights = acl();
    let redis = Redis::with(&[&format!("--port {port}"), &format!("--user {rights}")]);
    let mut options = options(&format!("redis://askr@127.0.0.1:{port}/0"));
    options.password = Some("hunter2hunter2".to_owned().into());
    works(&connect(options).await.unwrap()).await;
    drop(redis);
}

/// The line of docs/CLUSTER.md, with the password of this test.
fn acl() -> String {
    let docs = include_str!("../../docs/CLUSTER.md");
    let line = docs
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER "));
    line.unwrap().replace(">PASSWORD", ">hunter2hunter2")
}

#[tokio::test]
async fn a_user_who_may_do_less_is_told_what_it_may_not() {
    let rights = "askr on >hunter2hunter2 ~askr:{shop}:* &* -@all +@connection +info";
    let redis = Redis::with(&["--port 0", &format!("--user {rights}")]);
    let url = format!("{}?user=askr", redis.url());
    let password = || Some("hunter2hunter2".to_owned().into());
    let with_password = Options {
        password: password(),
        ..options(&url)
    };
    let why = refused(with_password).await;
    assert!(
        why.starts_with("cluster.url: the user \"askr\" of "),
        "{why}"
    );
    assert!(
        why.contains("may not do what is needed: ") && why.contains("subscribe"),
        "{why}"
    );
}

fn openssl(at: &Path, arguments: &str) {
    let done = Command::new("openssl")
        .current_dir(at)
        .args(arguments.split(' '))
        .output();
    let done = done.expect("there is openssl");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A certificate for 127.0.0.1, and the authority that signed it.
fn certificates(at: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        at,
        &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=askr-test"),
    );
    openssl(
        at,
        &format!("req {key} -keyout redis.key -out redis.csr -subj /CN=127.0.0.1"),
    );
    std::fs::write(at.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign =
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out redis.pem -days 2";
    openssl(at, &format!("{sign} -extfile san"));
}

#[tokio::test]
async fn every_verb_works_over_tls_and_a_certificate_of_nobody_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let (port, at) = (free_port(), directory.path().display());
    let tls = format!(
        "--port 0 --tls-port {port} --tls-auth-clients no --tls-cert-file {at}/redis.pem \
         --tls-key-file {at}/redis.key --tls-ca-cert-file {at}/ca.pem"
    );
    let redis = Redis::with(&[&tls]);
    let url = format!("rediss://127.0.0.1:{port}");
    let ca = std::fs::read(directory.path().join("ca.pem")).unwrap();
    let trusting = Options {
        ca: Some(ca),
        ..options(&url)
    };
    works(&connect(trusting).await.unwrap()).await;
    let why = refused(options(&url)).await;
    assert!(why.starts_with("cluster.url: 127.0.0.1:"), "{why}");
    assert!(
        why.contains("certificate") && why.contains("cluster.ca_file"),
        "{why}"
    );
    drop(redis);
}

/// The master that Sentinels name, and the one that they name after that has died.
#[tokio::test]
async fn sentinels_lead_to_the_master_also_after_a_failover() {
    let (first, second, watch) = (free_port(), free_port(), free_port());
    let mut master = Redis::with(&[&format!("--port {first}")]);
    let replica = Redis::with(&[
        &format!("--port {second}"),
        &format!("--replicaof 127.0.0.1 {first}"),
    ]);
    while !replica
        .ask::<String>("INFO replication")
        .contains("master_link_status:up")
    {
        std::thread::sleep(common::redis::MOMENT);
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sentinel.conf");
    let settings = format!(
        "port {watch}\nsentinel monitor shop 127.0.0.1 {first} 1\nsentinel down-after-milliseconds shop 2000\n\
         sentinel failover-timeout shop 3000\n"
    );
    std::fs::write(&file, settings).unwrap();
    let mut sentinel = spawn(&[file.display().to_string(), "--sentinel".into()]);
    let url = format!("redis+sentinel://127.0.0.1:{watch}/shop");
    // It does not name a master that it has not heard of for a moment.
    let found = async || loop {
        match connect(options(&url)).await {
            Ok(store) => break store,
            Err(why) => assert!(why.starts_with("cluster.url: "), "{why}"),
        }
    };
    let store = found().await;
    assert!(
        store.name().ends_with(&format!("127.0.0.1:{first}")),
        "{}",
        store.name()
    );
    works(&store).await;
    let before = store.server().replication.clone();
    let why = refused(options(&url.replace("/shop", "/blog"))).await;
    assert_eq!(
        why,
        "cluster.url: the Sentinels know no master of that name: the master blog"
    );
    // A Sentinel finds replicas by asking the master.
    let mut ask = redis::Client::open(format!("redis://127.0.0.1:{watch}")).unwrap();
    let mut known = || -> bool {
        let replicas = redis::cmd("SENTINEL")
            .arg("REPLICAS")
            .arg("shop")
            .query::<Vec<redis::Value>>(&mut ask);
        !replicas.unwrap().is_empty()
    };
    while !known() {
        std::thread::sleep(common::redis::MOMENT);
    }
    master.kill();
    assert!(store.append(&[Bytes::from("x")]).await.is_err());
    let again = found().await;
    assert!(
        again.name().ends_with(&format!("127.0.0.1:{second}")),
        "{}",
        again.name()
    );
    assert_ne!(again.server().replication, before);
    again.append(&[Bytes::from("x")]).await.unwrap();
    let _ = sentinel.kill();
    let _ = sentinel.wait();
}

/// A Sentinel has users and passwords of its own, besides those of the master.
#[tokio::test]
async fn sentinels_are_asked_with_a_password_of_their_own() {
    let (port, watch) = (free_port(), free_port());
    let lines = format!("--port {port} --requirepass hunter2hunter2");
    let master = Redis::with(&[&lines]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sentinel.conf");
    let settings = format!(
        "port {watch}\nrequirepass hunter3hunter3\nuser askr on >hunter4hunter4 allchannels +@all\n\
         sentinel monitor shop 127.0.0.1 {port} 1\nsentinel auth-pass shop hunter2hunter2\n"
    );
    std::fs::write(&file, settings).unwrap();
    let mut sentinel = spawn(&[file.display().to_string(), "--sentinel".into()]);
    let with = |user: Option<&str>, password: Option<&str>, masters: &str| Options {
        password: Some(masters.to_owned().into()),
        sentinel: Sentinel {
            user: user.map(str::to_owned),
            password: password.map(|password| password.to_owned().into()),
        },
        ..options(&format!("redis+sentinel://127.0.0.1:{watch}/shop"))
    };
    let right = "hunter2hunter2";
    for (user, password) in [(None, "hunter3hunter3"), (Some("askr"), "hunter4hunter4")] {
        let store = connect(with(user, Some(password), right)).await.unwrap();
        store.delete("log").await.unwrap();
        works(&store).await;
    }
    let own = "cluster.sentinel_password_file: the Sentinels of the master shop ";
    let why = refused(with(None, None, right)).await;
    assert_eq!(why, format!("{own}ask for a password"));
    let why = refused(with(Some("askr"), Some("wrong"), right)).await;
    assert_eq!(
        why,
        format!("{own}refuse the password of the user \"askr\"")
    );
    let why = refused(with(None, Some("hunter3hunter3"), "wrong")).await;
    assert!(why.starts_with("cluster.password_file: "), "{why}");
    drop(master);
    let _ = sentinel.kill();
    let _ = sentinel.wait();
}

#[tokio::test]
async fn what_the_log_has_of_others_is_told_apart() {
    let redis = Redis::start();
    let store = connect(options(&redis.url())).await.unwrap();
    let pieces = ["1-1 other 1", "1-2 e 1 more 2", "1-3 e text", "1-4 e a e b"];
    for entry in pieces {
        let _: String = redis.ask(&format!("XADD askr:{{shop}}:log {entry}"));
    }
    let read = store.read(LogId::START, 10, Duration::ZERO).await.unwrap();
    let texts: Vec<Option<Vec<Bytes>>> = read.into_iter().map(|(_, texts)| texts).collect();
    let ours = |texts: &[&'static str]| Some(texts.iter().copied().map(Bytes::from).collect());
    assert_eq!(texts, [None, None, ours(&["text"]), ours(&["a", "b"])]);
}

#[tokio::test]
async fn why_it_cannot_be_used_is_a_sentence_with_the_settings_name() {
    let redis = Redis::with(&["--port 0", "--requirepass hunter2hunter2"]);
    let why = refused(options(&redis.url())).await;
    assert!(
        why.starts_with("cluster.password_file: ") && why.contains("asks for a password"),
        "{why}"
    );
    let with = |password: &str, url: &str| Options {
        password: Some(password.to_owned().into()),
        ..options(url)
    };
    let why = refused(with("hunter3hunter3", &redis.url())).await;
    assert!(
        why.starts_with("cluster.password_file: ") && why.contains("refuses the password"),
        "{why}"
    );
    assert!(!why.contains("hunter3"), "{why}");
    let why = refused(with("hunter2hunter2", &format!("{}?db=99", redis.url()))).await;
    assert!(
        why.starts_with("cluster.url: ") && why.contains("no database of that number"),
        "{why}"
    );
    let why = refused(options(&format!("redis://127.0.0.1:{}", free_port()))).await;
    assert!(
        why.starts_with("cluster.url: 127.0.0.1:") && why.contains("cannot be reached: "),
        "{why}"
    );
    let why = refused(options("redis://no-such-host.invalid")).await;
    assert!(
        why.starts_with("cluster.url: no-such-host.invalid:6379 cannot be reached: "),
        "{why}"
    );
    let open = Redis::start();
    let store = connect(options(&open.url())).await.unwrap();
    let _: () = open.ask("SET askr:{shop}:log text");
    let why = store
        .append(&[Bytes::from("x")])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        why.starts_with("cluster.name: ") && why.contains("of another type"),
        "{why}"
    );
    let why = store
        .read(LogId::START, 1, Duration::ZERO)
        .await
        .unwrap_err()
        .to_string();
    assert!(why.starts_with("cluster.name: "), "{why}");
}

#[tokio::test]
async fn a_server_that_may_delete_what_hosts_share_is_warned_of() {
    let redis = Redis::with(&[
        "--port 0",
        "--maxmemory 100mb",
        "--maxmemory-policy allkeys-lru",
    ]);
    let store = connect(options(&redis.url())).await.unwrap();
    let warning = store.server().warning.clone().unwrap();
    assert!(
        warning.starts_with("cluster.url: ") && warning.contains("allkeys-lru"),
        "{warning}"
    );
}

/// Else a later entry could be in the log without an earlier one.
#[tokio::test]
async fn what_does_not_all_fit_into_the_servers_memory_is_refused_as_a_whole() {
    let redis = Redis::start();
    let store = connect(options(&redis.url())).await.unwrap();
    store.append(&[Bytes::from("first")]).await.unwrap();
    let memory: String = redis.ask("INFO memory");
    let used = memory.lines().find_map(|l| l.strip_prefix("used_memory:"));
    // While the server has a large entry in hand it holds room for another one.
    let most = used.unwrap().trim().parse::<u64>().unwrap() + (24 << 20);
    let _: () = redis.ask(&format!("CONFIG SET maxmemory {most}"));
    let large = Bytes::from(vec![b'x'; 16 << 20]);
    let piece = [Bytes::from("before"), large, Bytes::from("after")];
    let why = store.append(&piece).await.unwrap_err().to_string();
    assert!(
        why.starts_with("cluster.stream_length: ") && why.contains("maxmemory"),
        "{why}"
    );
    let piece = [Bytes::from("second"), Bytes::from("third")];
    store.append(&piece).await.unwrap();
    let read = store.read(LogId::START, 10, Duration::ZERO).await.unwrap();
    let texts: Vec<Vec<Bytes>> = read.into_iter().filter_map(|(_, texts)| texts).collect();
    assert_eq!(texts, [&["first"][..], &["second", "third"]]);
}

#[tokio::test]
async fn a_server_that_does_not_respond_is_given_up_in_time() {
    let redis = Redis::start();
    let quick = || Options {
        timeout: Duration::from_millis(200),
        ..options(&redis.url())
    };
    let store = connect(quick()).await.unwrap();
    redis.signal(nix::sys::signal::Signal::SIGSTOP);
    let why = store
        .append(&[Bytes::from("x")])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        why.ends_with("does not respond in time (cluster.timeout)"),
        "{why}"
    );
    let why = refused(quick()).await;
    assert!(
        why.ends_with("does not respond in time (cluster.timeout)"),
        "{why}"
    );
}
