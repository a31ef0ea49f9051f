//! OpenMLS spreads the path of a commit over rayon's threads. A forked child has none of its parent's threads, and
//! rayon's global pool would wait for them for ever: so the pool is ours, and a new process makes its own.

use std::mem::forget;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::{Outcome, Refusal};

struct Pool {
    process: u32,
    threads: Arc<ThreadPool>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);

fn threads() -> Outcome<Arc<ThreadPool>> {
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some(pool) = slot.as_ref().filter(|pool| pool.process == process) {
        return Ok(pool.threads.clone());
    }
    let threads = ThreadPoolBuilder::new()
        .thread_name(|number| format!("hanatalk-mls-{number}"))
        .build()
        .map_err(|_| Refusal::Poisoned("no threads from the operating system".into()))?;
    let threads = Arc::new(threads);
    let made = Pool {
        process,
        threads: threads.clone(),
    };
    // The parent's pool, if there is one, cannot be shut down from here.
    forget(slot.replace(made));
    Ok(threads)
}

/// Run where rayon's iterators use this process's own threads.
pub(crate) fn parallel<T: Send>(run: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    threads()?.install(run)
}
