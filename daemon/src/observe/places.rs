//! A number of places for who has shown nothing yet. Who comes when all are taken gets that of whoever has had one for
//! longest, so that nobody keeps others out by being slow. Places that are to be kept are passed over.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub struct Places {
    number: usize,
    free: Arc<Semaphore>,
    /// Those that may be asked to give way and have not been, the eldest first.
    others: RefCell<VecDeque<Rc<State>>>,
    /// How many have a place, how many of them were asked to give way, and how many wait for one.
    taken: Cell<usize>,
    leaving: Cell<usize>,
    waiting: Cell<usize>,
}

#[derive(Default)]
struct State {
    is_leaving: Cell<bool>,
    gives_way: Notify,
}

pub struct Place {
    places: Rc<Places>,
    state: Rc<State>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub fn new(number: usize) -> Rc<Self> {
        Rc::new(Self {
            number,
            free: Arc::new(Semaphore::new(number)),
            others: RefCell::default(),
            taken: Cell::default(),
            leaving: Cell::default(),
            waiting: Cell::default(),
        })
    }

    /// A place, as soon as whoever has to gives way. If all are kept, it waits.
    pub async fn take(self: &Rc<Self>) -> Place {
        let waits = Waits::begin(self);
        let permit = self.free.clone().acquire_owned().await.ok();
        drop(waits);
        add(&self.taken, 1);
        let state = Rc::new(State::default());
        self.others.borrow_mut().push_back(state.clone());
        // There may be more who wait than have been asked.
        self.make_room();
        Place {
            places: self.clone(),
            state,
            _permit: permit,
        }
    }

    fn make_room(&self) {
        let is_short = || self.number + self.leaving.get() < self.taken.get() + self.waiting.get();
        while is_short()
            && let Some(eldest) = self.others.borrow_mut().pop_front()
        {
            eldest.is_leaving.set(true);
            eldest.gives_way.notify_one();
            add(&self.leaving, 1);
        }
    }

    /// It is not to be asked, or not any more.
    fn strike(&self, state: &Rc<State>) {
        if state.is_leaving.replace(false) {
            add(&self.leaving, -1);
        }
        let mut others = self.others.borrow_mut();
        others.retain(|other| !Rc::ptr_eq(other, state));
    }
}

fn add(count: &Cell<usize>, n: isize) {
    count.set(count.get().saturating_add_signed(n));
}

/// Somebody waits for a place.
struct Waits<'a>(&'a Places);

impl<'a> Waits<'a> {
    fn begin(places: &'a Places) -> Self {
        add(&places.waiting, 1);
        places.make_room();
        Self(places)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        add(&self.0.waiting, -1);
    }
}

impl Place {
    /// Nobody gets it any more while it is held.
    pub fn keep(&self) {
        self.places.strike(&self.state);
        self.places.make_room();
    }

    /// Resolves when somebody else needs it.
    pub async fn is_needed(&self) {
        while !self.state.is_leaving.get() {
            self.state.gives_way.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.strike(&self.state);
        add(&self.places.taken, -1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// At once, or not.
    fn take(places: &Rc<Places>) -> Option<Place> {
        places.take().now_or_never()
    }

    fn is_needed(place: &Place) -> bool {
        place.is_needed().now_or_never().is_some()
    }

    #[test]
    fn the_eldest_gives_way_to_a_newcomer_unless_it_is_kept() {
        let places = Places::new(3);
        let all = [(); 3].map(|()| take(&places).unwrap());
        let [kept, eldest, other] = all;
        kept.keep();
        assert!(!is_needed(&eldest), "there is room");
        let mut newcomer = std::pin::pin!(places.take());
        let waits = newcomer.as_mut().now_or_never();
        assert!(waits.is_none(), "not before it is free");
        assert_eq!(
            [&kept, &eldest, &other].map(is_needed),
            [false, true, false]
        );
        drop(eldest);
        let newcomer = newcomer.now_or_never().unwrap();
        assert_eq!([&kept, &other, &newcomer].map(is_needed), [false; 3]);
    }

    #[test]
    fn all_who_wait_get_a_place_however_many_come_at_one_time() {
        let places = Places::new(2);
        let mut seated: VecDeque<Place> = (0..2).map(|_| take(&places).unwrap()).collect();
        let mut waiting: VecDeque<_> = (0..9).map(|_| Box::pin(places.take())).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        while let Some(next) = waiting.pop_front() {
            let eldest = seated.pop_front().unwrap();
            assert!(is_needed(&eldest), "{} wait", waiting.len() + 1);
            drop(eldest);
            seated.push_back(next.now_or_never().unwrap());
        }
        assert!(!seated.iter().any(is_needed), "nobody waits any more");
    }

    #[test]
    fn who_shows_in_time_that_it_may_stay_stays() {
        let places = Places::new(2);
        let (first, second) = (take(&places).unwrap(), take(&places).unwrap());
        let mut newcomer = std::pin::pin!(places.take());
        assert!(newcomer.as_mut().now_or_never().is_none());
        first.keep();
        assert_eq!(
            [&first, &second].map(is_needed),
            [false, true],
            "another one"
        );
        second.keep();
        assert!(!is_needed(&second));
        assert!(newcomer.as_mut().now_or_never().is_none(), "all are kept");
        drop(first);
        assert!(newcomer.now_or_never().is_some());
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let places = Places::new(3);
        let all: Vec<_> = (0..3).map(|_| take(&places).unwrap()).collect();
        assert!(take(&places).is_none(), "and waits no longer");
        drop(all);
        assert!(places.others.borrow().is_empty());
        let counts = [&places.taken, &places.leaving, &places.waiting].map(Cell::get);
        assert_eq!(counts, [0; 3]);
        let all: Vec<_> = (0..3).map(|_| take(&places).unwrap()).collect();
        assert!(!all.iter().any(is_needed));
    }
}
