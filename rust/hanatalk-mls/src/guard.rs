//! Panics stop here: caught, named by place only (a message may quote data), and never printed.

use std::mem::take;
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};
use std::sync::{Mutex, Once, PoisonError};

use crate::errors::{Outcome, Refusal};

/// Where the last panic was. One for all threads: a panic of the pool surfaces on the caller's.
static PLACE: Mutex<String> = Mutex::new(String::new());

static QUIET: Once = Once::new();

/// Replace the hook that prints panics to stderr; this library has its own copy of it.
pub(crate) fn install() {
    QUIET.call_once(|| {
        set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map(|at| format!("{}:{}", at.file().rsplit('/').next().unwrap_or_default(), at.line()))
                .unwrap_or_default();
            *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }));
    });
}

/// Run, and turn a panic into `Poisoned`.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let place = take(&mut *PLACE.lock().unwrap_or_else(PoisonError::into_inner));
        Err(Refusal::Poisoned(format!("a panic was caught at {place}")))
    })
}
