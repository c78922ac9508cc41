//! The one answer to a failing disk: stop, and acknowledge nothing after it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::options::StorageFailureHook;

pub(crate) struct Failure {
    failed: AtomicBool,
    hook: StorageFailureHook,
}

impl Failure {
    pub(crate) fn new(hook: StorageFailureHook) -> Self {
        Self {
            failed: AtomicBool::new(false),
            hook,
        }
    }

    /// Marks storage as failed, then tells the hook (which by default does not return).
    pub(crate) fn stop(&self, what: &str) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            tracing::error!(what, "queue storage failed");
            (self.hook)(what);
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}
