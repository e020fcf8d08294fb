//! Many sends with one system call, by io_uring. Unsafe code, because the kernel is given addresses, and what is there
//! has to outlive its use.
//!
//! Every send is made with MSG_DONTWAIT, so the kernel completes it while it is submitted: it neither waits nor
//! passes it to another thread. The call returns when all are complete. Nothing is in flight between two calls.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, Probe, opcode, squeue, types};
use nix::errno::Errno;

/// Sends per system call, at the most.
pub const BATCH: usize = 256;

/// Bytes for one socket.
pub struct Job<'a> {
    pub fd: BorrowedFd<'a>,
    pub bytes: &'a [u8],
}

/// None: it failed once, and was dropped: what the kernel had not taken by then must never be taken.
pub struct Uring(Option<IoUring>);

impl Uring {
    /// # Errors
    /// If the kernel does not have it (before 5.6), or does not allow it (sysctl, seccomp).
    pub fn new() -> io::Result<Self> {
        // Only one thread uses it, and nothing interrupts it: hints for newer kernels (6.0).
        let hinted = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .build(BATCH as u32);
        let ring = hinted.or_else(|_| IoUring::new(BATCH as u32))?;
        // Rings are older (5.1) than sends through them.
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self(Some(ring)))
    }

    /// Sends up to `BATCH` jobs; `results` gets, for each, the bytes that the socket took.
    ///
    /// # Errors
    /// If the kernel refuses the batch as such; every later call then fails too. `results` has what was sent, and
    /// EIO for the rest.
    pub fn send(
        &mut self,
        jobs: &[Job<'_>],
        results: &mut Vec<Result<usize, Errno>>,
    ) -> io::Result<()> {
        assert!(jobs.len() <= BATCH);
        let first = results.len();
        results.resize(first + jobs.len(), Err(Errno::EIO));
        let mut ring = self
            .0
            .take()
            .ok_or_else(|| io::Error::other("it failed before"))?;
        send_all(&mut ring, jobs, &mut results[first..])?;
        self.0 = Some(ring);
        Ok(())
    }
}

fn send_all(
    ring: &mut IoUring,
    jobs: &[Job<'_>],
    results: &mut [Result<usize, Errno>],
) -> io::Result<()> {
    for (n, job) in jobs.iter().enumerate() {
        let entry = entry(job).user_data(n as u64);
        // SAFETY: descriptor and bytes are borrowed by `jobs` until this function returns, which is
        // after the kernel has finished with every entry that it took (see below). An entry that it
        // did not take is never taken later: on error the caller drops the ring.
        // The queue has room for BATCH entries and is empty between two calls.
        if unsafe { ring.submission().push(&entry) }.is_err() {
            return Err(io::Error::other("the submission queue is full"));
        }
    }
    let mut left = jobs.len();
    while left > 0 {
        match ring.submit_and_wait(left) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) => {
                reap(ring, results);
                return Err(error);
            }
        }
        left -= reap(ring, results);
    }
    Ok(())
}

/// Takes what is complete; returns how many.
fn reap(ring: &mut IoUring, results: &mut [Result<usize, Errno>]) -> usize {
    let mut count = 0;
    for entry in ring.completion() {
        count += 1;
        if let Some(result) = results.get_mut(entry.user_data() as usize) {
            *result = usize::try_from(entry.result()).map_err(|_| Errno::from_raw(-entry.result()));
        }
    }
    count
}

fn entry(job: &Job<'_>) -> squeue::Entry {
    // More than this is never taken by a socket at once.
    let len = job.bytes.len().min(1 << 30) as u32;
    opcode::Send::new(types::Fd(job.fd.as_raw_fd()), job.bytes.as_ptr(), len)
        .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        .build()
}
