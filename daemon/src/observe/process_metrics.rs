//! What every process has, under the names that Prometheus' client libraries use; and which askrd it is.

use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

use crate::observe::observed::Observed;
use crate::process::exposition::{Exposition, Kind};

const FDS: &str = "/proc/self/fd";

pub fn write(out: &mut Exposition, observed: &Observed) {
    let name = "askr_build_info";
    out.family(name, Kind::Gauge, "Which askrd this is; always 1.");
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("commit", option_env!("ASKR_BUILD").unwrap_or("")),
    ];
    out.sample(name, &labels, 1);
    if let Some(seconds) = cpu_seconds() {
        let name = "process_cpu_seconds_total";
        let help = "User and system CPU time spent in seconds.";
        out.family(name, Kind::Counter, help);
        out.sample(name, &[], seconds);
    }
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            out.family(name, Kind::Gauge, help);
            out.sample(name, &[], value);
        }
    };
    let (virtual_memory, resident) = memory().unzip();
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes, of the ring what was touched.",
        resident,
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        virtual_memory,
    );
    gauge(
        "process_open_fds",
        "Number of open file descriptors.",
        open_descriptors(),
    );
    let most = getrlimit(Resource::RLIMIT_NOFILE).ok();
    gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        most.map(|(soft, _)| soft as f64),
    );
    gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Some(observed.process.started_ns as f64 / 1e9),
    );
}

/// Of all threads, since the start.
pub fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let all = usage.user_time() + usage.system_time();
    Some(all.num_microseconds() as f64 / 1e6)
}

/// Bytes of virtual and of resident memory.
pub fn memory() -> Option<(f64, f64)> {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()?? as f64;
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split(' ').map_while(|n| n.parse::<f64>().ok());
    Some((page * pages.next()?, page * pages.next()?))
}

/// Newer kernels say how many there are; on others they are counted.
fn open_descriptors() -> Option<f64> {
    let count = match fs::metadata(FDS).ok()?.len() {
        // One of them is for the counting.
        0 => fs::read_dir(FDS).ok()?.count() as u64 - 1,
        count => count,
    };
    Some(count as f64)
}
