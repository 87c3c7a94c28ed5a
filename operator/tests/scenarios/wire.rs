//! Stands between an operator and the API server: tells what was written and what was refused, and lets the operator
//! drop dead after a write.

use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use tower::BoxError;

#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    writes: Vec<String>,
    forbidden: Vec<String>,
    /// The last write whose answer does not arrive; nothing leaves after it.
    crash_after: Option<usize>,
}

impl Seen {
    fn is_dead(&self) -> bool {
        self.crash_after
            .is_some_and(|writes| self.writes.len() >= writes)
    }
}

impl Wire {
    /// A client whose requests go through here.
    pub(crate) fn client(&self, to: &Client, namespace: &str) -> Client {
        let (wire, to) = (self.clone(), to.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (wire, to) = (wire.clone(), to.clone());
            async move {
                if wire.seen().is_dead() {
                    return Err(BoxError::from("the operator is dead"));
                }
                let what = format!("{} {}", request.method(), request.uri().path());
                // Whether an event arrives changes nothing.
                let is_write = *request.method() != Method::GET && !what.contains("/events");
                let response = to.send(request).await?;
                let mut seen = wire.seen();
                if response.status() == StatusCode::FORBIDDEN {
                    seen.forbidden.push(what.clone());
                }
                if is_write && response.status().is_success() {
                    seen.writes.push(what);
                    if seen.is_dead() {
                        return Err(BoxError::from("the operator died"));
                    }
                }
                Ok(response)
            }
        });
        Client::new(service, namespace)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    /// What was written since the last call.
    pub(crate) fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().writes)
    }

    /// What the API server said that the operator may not.
    pub(crate) fn forbidden(&self) -> Vec<String> {
        self.seen().forbidden.clone()
    }

    /// From now on the operator dies by its `writes`-th write, which is done.
    pub(crate) fn crash_after(&self, writes: usize) {
        let mut seen = self.seen();
        seen.writes.clear();
        seen.crash_after = Some(writes);
    }

    /// A new one lives on; whether the old one had died.
    pub(crate) fn revive(&self) -> bool {
        let mut seen = self.seen();
        let died = seen.is_dead();
        seen.writes.clear();
        seen.crash_after = None;
        died
    }
}
