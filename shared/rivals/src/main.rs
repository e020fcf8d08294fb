//! Another project's send through shared memory, as a row of `make bench-ring`: iceoryx2, one publisher and
//! one subscriber that never reads, so that its queue overwrites as our ring does.

use std::time::Instant;

use iceoryx2::prelude::*;

const ROUNDS: usize = 15;
const EVENTS: usize = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    set_log_level(LogLevel::Error);
    let node = NodeBuilder::new().create::<ipc::Service>()?;
    let name = format!("askr-bench-{}", std::process::id());
    let service = node
        .service_builder(&name.as_str().try_into()?)
        .publish_subscribe::<[u8; 240]>()
        .enable_safe_overflow(true)
        .subscriber_max_buffer_size(1024)
        .open_or_create()?;
    let publisher = service.publisher_builder().create()?;
    let _subscriber = service.subscriber_builder().buffer_size(1024).create()?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..EVENTS {
            let sample = publisher.loan_uninit()?;
            sample.write_payload([7; 240]).send()?;
        }
        times.push(start.elapsed().as_nanos() as f64 / EVENTS as f64);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "| iceoryx2 send, 240 B, one publisher, one subscriber | {:.0} | | |",
        times[ROUNDS / 2]
    );
    Ok(())
}
