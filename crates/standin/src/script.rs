//! A response body as a list of steps, and the one place that carries them out.
//!
//! hyper writes what it has when a body is not ready, so a step that waits is
//! also what makes the bytes before it leave: [`Step::Flush`] is a wait of zero.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::Semaphore;

pub(crate) enum Step {
    Send(Bytes),
    /// Let what was sent leave as its own write.
    Flush,
    Pause(Duration),
    /// Wait until the gate lets one event pass.
    Gate(Arc<Semaphore>),
    /// Wait for ever.
    Hang,
    /// Close the connection.
    Break,
}

/// How many scripted answers there were, by how they ended.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) begun: AtomicU64,
    pub(crate) ended: AtomicU64,
    /// The other side went away before the end.
    pub(crate) abandoned: AtomicU64,
}

pub(crate) struct Script {
    steps: VecDeque<Step>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    tally: Arc<Tally>,
}

impl Script {
    pub(crate) fn new(steps: VecDeque<Step>, tally: Arc<Tally>) -> Self {
        tally.begun.fetch_add(1, Ordering::Relaxed);
        Self { steps, waiting: None, tally }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(waiting) = &mut this.waiting {
                match waiting.as_mut().poll(context) {
                    Poll::Ready(()) => this.waiting = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match this.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Flush) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Pause(time)) => this.waiting = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Gate(gate)) => {
                    this.waiting = Some(Box::pin(async move {
                        if let Ok(permit) = gate.acquire().await {
                            permit.forget();
                        }
                    }));
                }
                Some(Step::Hang) => {
                    // Put back, so that the drop of this body counts as abandoned.
                    this.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                Some(Step::Break) => {
                    this.steps.clear();
                    return Poll::Ready(Some(Err(io::Error::other("asked to break"))));
                }
            }
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // hyper need not ask for the end of a body whose length it knows.
        let over = self.waiting.is_none() && self.steps.iter().all(|step| matches!(step, Step::Flush));
        let count = if over { &self.tally.ended } else { &self.tally.abandoned };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
