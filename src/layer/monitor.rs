//! A state that several threads change, and wait for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A state with a lock and a condition variable.
#[derive(Debug, Default)]
pub(super) struct Monitor<S> {
    state: Mutex<S>,
    changed: Condvar,
}

impl<S> Monitor<S> {
    pub(super) fn new(state: S) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The state, for reading: nobody hears of changes that are made by this.
    pub(super) fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes all who wait for it.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let value = change(&mut self.lock());
        self.changed.notify_all();
        value
    }

    /// Waits until `ready`, which may change the state, returns a value, and wakes all who wait for the state.
    pub(super) fn when<R>(&self, mut ready: impl FnMut(&mut S) -> Option<R>) -> R {
        let mut state = self.lock();
        let value = loop {
            if let Some(value) = ready(&mut state) {
                break value;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        self.changed.notify_all();
        value
    }
}
