//! The memory that open and finished batches of one process may hold together. Touches nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget of bytes that all ETL threads of a process share.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    held: Arc<AtomicUsize>,
}

/// A share of the budget; dropping it gives it back.
#[derive(Debug)]
pub struct Held {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Budget {
    /// At most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Arc::default(),
        }
    }

    /// Takes a share. It is given even beyond the limit: what is over is mended by cutting and waiting, never
    /// by failing.
    pub fn hold(&self, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held {
            bytes,
            held: self.held.clone(),
        }
    }

    /// Whether more is held than the limit.
    pub fn is_over(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.limit
    }
}

impl Held {
    /// Changes the size of the share.
    pub fn resize(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
