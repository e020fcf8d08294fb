//! How bytes get to sockets that are not full: by io_uring, many at a time, or by one `write` each where the kernel does
//! not allow that. Chosen at start; both give the same results.

use std::os::fd::{AsFd, OwnedFd};
use std::{fmt, io};

use nix::errno::Errno;
use nix::unistd::write;

use crate::config::Io;
use crate::engine::uring::{BATCH, Job, Uring};

/// Fewer sends than this are as cheap one by one.
const WORTHWHILE: usize = 2;

pub enum Transmit {
    Writes,
    Batches(Box<Uring>),
}

impl fmt::Display for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writes => write!(f, "one write per stream"),
            Self::Batches(_) => write!(f, "io_uring, {BATCH} sends at a time"),
        }
    }
}

impl Transmit {
    /// # Errors
    /// If io_uring is required and not available.
    pub fn new(io: Io) -> io::Result<Self> {
        if io == Io::Write {
            return Ok(Self::Writes);
        }
        match (io, Uring::new()) {
            (_, Ok(uring)) => Ok(Self::Batches(Box::new(uring))),
            (Io::Uring, Err(error)) => Err(error),
            (_, Err(_)) => Ok(Self::Writes),
        }
    }

    /// Sends every job; `results` gets, for each, how much the socket took, 0 if it is full.
    pub fn send(&mut self, jobs: &[Job<'_>], results: &mut Vec<Result<usize, Errno>>) {
        results.clear();
        for batch in jobs.chunks(BATCH) {
            let Self::Batches(uring) = self else {
                results.extend(batch.iter().map(write_some));
                continue;
            };
            if batch.len() < WORTHWHILE {
                results.extend(batch.iter().map(write_some));
                continue;
            }
            let first = results.len();
            let outcome = uring.send(batch, results);
            for result in &mut results[first..] {
                if matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
                    *result = Ok(0);
                }
            }
            if let Err(error) = outcome {
                tracing::error!("io_uring failed ({error}); from now on: one write per stream");
                *self = Self::Writes;
            }
        }
    }
}

/// How much the socket took, 0 if it is full.
pub fn write_to(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    write_some(&Job {
        fd: fd.as_fd(),
        bytes,
    })
}

/// How much the job's socket took, 0 if it is full.
pub fn write_some(job: &Job<'_>) -> Result<usize, Errno> {
    loop {
        match write(job.fd, job.bytes) {
            Err(Errno::EAGAIN) => return Ok(0),
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// More sockets than a batch, one of them full, one closed, one with much to take.
    fn results_of(io: Io) -> (Vec<Result<usize, Errno>>, Vec<Vec<u8>>) {
        let mut transmit = Transmit::new(io).unwrap();
        let pairs: Vec<_> = (0..BATCH + 10)
            .map(|_| UnixStream::pair().unwrap())
            .collect();
        let full = vec![b'f'; 1 << 20];
        pairs.iter().for_each(|(ours, theirs)| {
            ours.set_nonblocking(true).unwrap();
            theirs.set_nonblocking(true).unwrap();
        });
        let stuffed = Job {
            fd: pairs[3].0.as_fd(),
            bytes: &full,
        };
        while write_some(&stuffed).unwrap() > 0 {}
        pairs[5].1.shutdown(std::net::Shutdown::Both).unwrap();
        let bytes: Vec<Vec<u8>> = (0..pairs.len())
            .map(|n| format!("for {n}").into_bytes())
            .collect();
        let jobs: Vec<Job<'_>> = pairs
            .iter()
            .zip(&bytes)
            .enumerate()
            .map(|(n, ((ours, _), bytes))| Job {
                fd: ours.as_fd(),
                bytes: if n == 7 { &full } else { bytes },
            })
            .collect();
        let mut results = Vec::new();
        transmit.send(&jobs, &mut results);
        let got = pairs
            .iter()
            .map(|(_, theirs)| {
                let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
                while let Ok(n) = (&*theirs).read(&mut chunk) {
                    if n == 0 {
                        break;
                    }
                    all.extend_from_slice(&chunk[..n]);
                }
                all
            })
            .collect();
        (results, got)
    }

    #[test]
    fn both_ways_give_the_same_results() {
        let (results, got) = results_of(Io::Write);
        assert_eq!(results[0], Ok(5));
        assert_eq!(results[3], Ok(0), "full");
        assert_eq!(results[5], Err(Errno::EPIPE), "closed");
        assert!(
            results[7].is_ok_and(|n| n > 0 && n < 1 << 20),
            "more than fits"
        );
        assert_eq!(got[265], b"for 265");
        // Where the kernel has no io_uring there is nothing to compare with.
        if Uring::new().is_ok() {
            assert_eq!(results_of(Io::Uring), (results, got));
        } else {
            assert!(Transmit::new(Io::Uring).is_err());
        }
        assert!(Transmit::new(Io::Auto).is_ok());
    }
}
