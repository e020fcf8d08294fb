//! A publish takes nothing from the heap. In a file of its own, for the allocator is the whole program's.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{Home, event};

struct Counting;

thread_local! {
    /// By this thread: the keeper's reaper has its own.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: passes every call on to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_publish_allocates_nothing_once_the_publisher_has_begun() {
    let home = Home::small();
    let _keeper = home.keeper();
    let mut publisher = home.publisher();
    for size in [0, 200, 3000] {
        let data = vec![b'x'; size];
        publisher.publish(&event(&data)).unwrap();
        let before = TAKEN.get();
        for _ in 0..1000 {
            publisher.publish(&event(&data)).unwrap();
        }
        assert_eq!(TAKEN.get() - before, 0, "{size} bytes");
    }
}
