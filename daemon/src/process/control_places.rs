//! Limits of the control socket: connections, and requests that are worked on at one time.
//!
//! Each user has a share of both. Root and the daemon's own user have places of their own, so that monitoring
//! always gets through. Nobody waits for a place, because a queue could be filled as well: a connection that
//! finds none is refused.

use std::collections::HashMap;
use std::sync::Arc;

use nix::unistd::geteuid;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one user: enough for a pool of PHP workers that all connect at once.
const OF_A_USER: usize = 64;
/// Of all users but root and the daemon's own.
const OF_OTHERS: usize = 192;
/// Requests about an application that are worked on at one time for one user; more of them wait. And for all
/// users but root and the daemon's own.
const WORK: usize = 4;
const WORK_OF_OTHERS: usize = 16;
/// Connections that find no place and read why, until they close; more are closed at once.
pub const REFUSED: usize = 64;
/// Connections there can be at most.
pub const MOST: usize = OF_OTHERS + 2 * OF_A_USER + REFUSED;
/// Answers that are made or taken at one time, at most.
const ANSWERS: usize = WORK_OF_OTHERS + 2 * WORK;
/// Bytes of a request's line and headers; and what a connection costs with them, its body and its task.
pub const HEAD: usize = 16 << 10;
const CONNECTION: u64 = 64 << 10;

/// Bytes that all askers can hold at the most. `answer`: of the longest answer while it is made, which is that
/// of all channels: their names, twice, and each as JSON.
pub const fn ceiling(answer: u64) -> u64 {
    MOST as u64 * CONNECTION + ANSWERS as u64 * answer
}

#[derive(Debug)]
pub struct Askers {
    /// The daemon's own user.
    own: u32,
    inner: Mutex<Inner>,
    /// Work for users who have no places of their own.
    work: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<u32, User>,
    /// Connections of users who have no places of their own.
    others: usize,
}

#[derive(Debug)]
struct User {
    connections: usize,
    work: Arc<Semaphore>,
}

/// The bound that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    User,
    All,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub struct Place {
    askers: Arc<Askers>,
    uid: u32,
    work: Arc<Semaphore>,
}

/// The right to have a request worked on, kept until the response has been written, also if the connection
/// ends before: its place stays taken until then.
#[derive(Debug)]
pub struct Turn {
    #[expect(dead_code, reason = "they are given back when this is dropped")]
    permits: [Option<OwnedSemaphorePermit>; 2],
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    place: Arc<Place>,
}

impl Askers {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::of(geteuid().as_raw()))
    }

    fn of(own: u32) -> Self {
        Self {
            own,
            inner: Mutex::default(),
            work: Arc::new(Semaphore::new(WORK_OF_OTHERS)),
        }
    }

    /// # Errors
    /// If there is no room for this user: at which bound.
    pub fn enter(self: &Arc<Self>, uid: u32) -> Result<Arc<Place>, Full> {
        let mut inner = self.lock();
        let other = self.is_other(uid);
        if other && inner.others >= OF_OTHERS {
            return Err(Full::All);
        }
        let user = inner.users.entry(uid).or_insert_with(|| User {
            connections: 0,
            work: Arc::new(Semaphore::new(WORK)),
        });
        if user.connections >= OF_A_USER {
            return Err(Full::User);
        }
        user.connections += 1;
        let work = user.work.clone();
        inner.others += usize::from(other);
        Ok(Arc::new(Place {
            askers: self.clone(),
            uid,
            work,
        }))
    }

    fn is_other(&self, uid: u32) -> bool {
        uid != 0 && uid != self.own
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Place {
    /// Waits until enough other requests of this user are done.
    pub async fn turn(self: Arc<Self>) -> Turn {
        // None if it were closed, which it never is.
        let of_user = self.work.clone().acquire_owned().await.ok();
        let of_all = match self.askers.is_other(self.uid) {
            true => self.askers.work.clone().acquire_owned().await.ok(),
            false => None,
        };
        Turn {
            permits: [of_user, of_all],
            place: self,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.askers.lock();
        inner.others -= usize::from(self.askers.is_other(self.uid));
        if let Some(user) = inner.users.get_mut(&self.uid) {
            user.connections -= 1;
            if user.connections == 0 {
                inner.users.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 33;

    fn askers() -> Arc<Askers> {
        Arc::new(Askers::of(OWN))
    }

    fn fill(askers: &Arc<Askers>, uid: u32) -> Vec<Arc<Place>> {
        std::iter::from_fn(|| askers.enter(uid).ok()).collect()
    }

    #[test]
    fn no_user_takes_the_places_of_others_and_all_of_them_not_those_that_are_kept() {
        let askers = askers();
        let mut all = fill(&askers, 1000);
        assert_eq!(all.len(), OF_A_USER);
        for uid in 1001..1010 {
            all.extend(fill(&askers, uid));
        }
        assert_eq!(all.len(), OF_OTHERS);
        let kept = [fill(&askers, 0), fill(&askers, OWN)];
        assert!(kept.iter().all(|places| places.len() == OF_A_USER));
        all.pop();
        assert!(askers.enter(1010).is_ok(), "given back");
        drop((all, kept));
        assert!(askers.lock().users.is_empty());
        assert_eq!(askers.lock().others, 0);
    }

    #[tokio::test]
    async fn what_is_done_for_one_user_keeps_its_place_until_it_is_done() {
        let askers = askers();
        let place = || askers.enter(1000).unwrap();
        let mut turns = Vec::new();
        for _ in 0..WORK {
            turns.push(place().turn().await);
        }
        let mut next = Box::pin(place().turn());
        let soon = std::time::Duration::ZERO;
        assert!(tokio::time::timeout(soon, &mut next).await.is_err());
        let another = askers.enter(1001).unwrap().turn();
        assert!(tokio::time::timeout(soon, another).await.is_ok());
        drop(turns.pop());
        next.await;
        // All users together have so much done, and who has places of its own is none of them.
        let mut all = Vec::new();
        for uid in 1001..1100 {
            let turn = askers.enter(uid).unwrap().turn();
            let Ok(turn) = tokio::time::timeout(soon, turn).await else {
                break;
            };
            all.push(turn);
        }
        assert_eq!(all.len() + WORK - 1, WORK_OF_OTHERS);
        for uid in [0, OWN] {
            let turn = askers.enter(uid).unwrap().turn();
            assert!(tokio::time::timeout(soon, turn).await.is_ok());
        }
        drop(all);
        assert_eq!(askers.lock().users[&1000].connections, WORK - 1);
        drop(turns);
        assert!(askers.lock().users.is_empty());
    }
}
