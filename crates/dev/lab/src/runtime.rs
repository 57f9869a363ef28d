//! The runtime on which the servers of all worlds of this process run. It is never shut down, so
//! that a world may be dropped inside another runtime.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// Enough for two cores; the servers do little.
const THREADS: usize = 2;

/// The lab's runtime, begun at the first call.
///
/// # Panics
/// When the system gives no threads.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("lab")
            .enable_all()
            .build()
            .expect("threads for the lab's runtime")
    })
}
