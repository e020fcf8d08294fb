//! Any datagram as a publisher's report of failures: counts within bounds, which are the same when they are said again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::failure_report::{MOST, Report};

fuzz_target!(|data: &[u8]| {
    if let Some(report) = Report::parse(data) {
        assert!(report.counts.iter().all(|count| *count <= MOST));
        assert_eq!(Report::parse(report.encode().as_bytes()), Some(report));
    }
});
