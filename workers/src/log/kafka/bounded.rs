//! A consumer whose end is not waited for without end. Closing waits for the answers to what was sent: while no broker
//! answers, that is minutes for offsets that the group was told. Nothing depends on those answers.

use std::ops::Deref;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use super::context::Events;

/// So long a thread waits for its consumer to be closed.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Bounded(Option<BaseConsumer<Events>>);

impl Bounded {
    pub(super) fn new(consumer: BaseConsumer<Events>) -> Self {
        Self(Some(consumer))
    }
}

impl Deref for Bounded {
    type Target = BaseConsumer<Events>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("only drop takes it")
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let consumer = self.0.take();
        let (closed, is_closed) = mpsc::channel::<()>();
        let close = move || {
            drop(consumer);
            drop(closed);
        };
        // Without a thread the closure, and so the consumer, is dropped here.
        let closing = thread::Builder::new()
            .name("kafka-close".to_owned())
            .spawn(close);
        if closing.is_ok()
            && is_closed.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            tracing::debug!("a consumer is not closed yet, because no broker answers; not waiting");
        }
    }
}
