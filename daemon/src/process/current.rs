//! A value that is replaced as a whole while others use it: whoever took it keeps what it took.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    pub fn get(&self) -> Arc<T> {
        self.0.read().clone()
    }

    pub fn set(&self, value: T) {
        let before = std::mem::replace(&mut *self.0.write(), Arc::new(value));
        // Not under the lock: it may be the last one, and end threads.
        drop(before);
    }
}

impl<T: Default> Default for Current<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
