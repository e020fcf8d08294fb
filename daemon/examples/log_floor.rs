//! The least that carrying events through a Redis stream can cost, by the client that askrd uses: what `make bench-cluster`
//! compares askrd with.
//!
//! ```text
//! log_floor write URL COUNT PAUSE_US    one XADD after a pause, with the monotonic clock in it
//! log_floor read URL COUNT              XREAD BLOCK; prints "open", then a latency (ns) a line
//! log_floor fill URL COUNT BATCH        XADD in pipelines; prints its CPU time per entry, ns
//! log_floor drain URL COUNT             XREAD of what is there; prints its CPU time per entry, ns
//! ```
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, cmd};

const STREAM: &str = "askr:{floor}:log";
/// As large as an entry of a small event.
const PAYLOAD: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["write", url, count, pause] => write(url, count.parse()?, pause.parse()?).await,
        ["read", url, count] => read(url, count.parse()?).await,
        ["fill", url, count, batch] => fill(url, count.parse()?, batch.parse()?).await,
        ["drain", url, count] => drain(url, count.parse()?).await,
        _ => Err("usage: log_floor write|read|fill|drain URL COUNT …".into()),
    }
}

async fn connect(url: &str) -> Result<MultiplexedConnection, Box<dyn Error>> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(url)?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&patient)
        .await?)
}

/// Of one stream, its entries: an id and a name and a value.
type Reply = Vec<(String, Vec<(String, [Vec<u8>; 2])>)>;

fn append(data: &[u8]) -> Cmd {
    let mut command = cmd("XADD");
    command.arg(STREAM).arg("MAXLEN").arg("~").arg(100_000);
    command.arg("*").arg("e").arg(data);
    command
}

fn read_from(id: &str, wait: bool) -> Cmd {
    let mut command = cmd("XREAD");
    command.arg("COUNT").arg(64);
    if wait {
        command.arg("BLOCK").arg(0);
    }
    command.arg("STREAMS").arg(STREAM).arg(id);
    command
}

async fn write(url: &str, count: u64, pause: u64) -> Result<(), Box<dyn Error>> {
    let mut redis = connect(url).await?;
    for _ in 0..count {
        tokio::time::sleep(Duration::from_micros(pause)).await;
        let mut data = now_ns().to_string();
        data.extend(std::iter::repeat_n(' ', PAYLOAD - data.len()));
        let () = append(data.as_bytes()).query_async(&mut redis).await?;
    }
    Ok(())
}

async fn read(url: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let mut redis = connect(url).await?;
    let mut from = "$".to_owned();
    let mut latencies = Vec::with_capacity(count);
    println!("open");
    while latencies.len() < count {
        let entries = read_from(&from, true)
            .query_async::<Reply>(&mut redis)
            .await?;
        let now = now_ns();
        for (id, fields) in entries.into_iter().flat_map(|(_, entries)| entries) {
            let text = std::str::from_utf8(&fields[1])?;
            latencies.push(now - text.trim_end().parse::<i64>()?);
            from = id;
        }
    }
    for latency in latencies {
        println!("{latency}");
    }
    Ok(())
}

async fn fill(url: &str, count: usize, batch: usize) -> Result<(), Box<dyn Error>> {
    let mut redis = connect(url).await?;
    let data = vec![b'x'; PAYLOAD];
    let before = cpu_ns()?;
    for _ in 0..count / batch {
        let mut pipeline = redis::pipe();
        for _ in 0..batch {
            pipeline.add_command(append(&data)).ignore();
        }
        let () = pipeline.query_async(&mut redis).await?;
    }
    println!("{}", (cpu_ns()? - before) / (count / batch * batch) as i64);
    Ok(())
}

async fn drain(url: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let mut redis = connect(url).await?;
    let (mut from, mut read) = ("0".to_owned(), 0);
    let before = cpu_ns()?;
    while read < count {
        let entries = read_from(&from, false)
            .query_async::<Reply>(&mut redis)
            .await?;
        let entries = entries.into_iter().flat_map(|(_, entries)| entries);
        let before = read;
        for (id, fields) in entries {
            read += usize::from(!fields[1].is_empty());
            from = id;
        }
        if read == before {
            return Err("the stream is shorter than that".into());
        }
    }
    println!("{}", (cpu_ns()? - before) / read as i64);
    Ok(())
}

fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock");
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}

/// CPU time of this process.
fn cpu_ns() -> Result<i64, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let both = [usage.user_time(), usage.system_time()];
    Ok(both
        .map(|time| time.tv_sec() * 1_000_000_000 + time.tv_usec() * 1000)
        .iter()
        .sum())
}
