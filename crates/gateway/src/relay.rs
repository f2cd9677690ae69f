//! An answer's bytes on their way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// How many frames may lie between a fast provider and a slow client. Then the provider has to wait.
const FRAMES: usize = 16;

/// The body of an answer: whole, or relayed as it comes.
#[derive(Debug)]
pub struct RelayBody(Inner);

#[derive(Debug)]
enum Inner {
    Whole(Option<Bytes>),
    Relayed {
        messages: mpsc::Receiver<Message>,
        /// What came before the break has had its chance to leave.
        let_go: bool,
    },
}

#[derive(Debug)]
enum Message {
    Data(Bytes),
    End,
}

/// The handler's end of a relayed body. Dropping it without [`Relay::end`] breaks the answer off, and the client can
/// tell that it was.
#[derive(Debug)]
pub struct Relay(mpsc::Sender<Message>);

/// The client has closed its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone away")]
pub struct ClientGone;

/// The answer was broken off.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer was broken off")]
pub struct BrokenOff;

/// A relayed body and the handler's end of it.
pub fn relay() -> (Relay, RelayBody) {
    let (sender, receiver) = mpsc::channel(FRAMES);
    (Relay(sender), RelayBody(Inner::Relayed { messages: receiver, let_go: false }))
}

impl Relay {
    /// Hands on bytes; they are sent without waiting for more.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ClientGone> {
        self.0.send(Message::Data(bytes)).await.map_err(|_| ClientGone)
    }

    /// Ends the body in order.
    pub async fn end(self) -> Result<(), ClientGone> {
        self.0.send(Message::End).await.map_err(|_| ClientGone)
    }

    /// Returns when the client has closed its connection.
    pub async fn client_gone(&self) {
        self.0.closed().await;
    }
}

impl From<Bytes> for RelayBody {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Whole(Some(bytes)))
    }
}

impl Body for RelayBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data).map(Ok)),
            Inner::Relayed { messages, let_go } => match std::task::ready!(messages.poll_recv(cx)) {
                Some(Message::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Message::End) => Poll::Ready(None),
                // hyper throws away what it has not written when a body fails, the head included, and writes what it
                // has when a body is not ready.
                None if !*let_go => {
                    *let_go = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(Some(Err(BrokenOff))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Relayed { .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_relayed_body_ends_only_when_it_is_ended() {
        let (relay, body) = relay();
        relay.send(Bytes::from_static(b"all ")).await.unwrap();
        relay.send(Bytes::from_static(b"of it")).await.unwrap();
        relay.end().await.unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all of it");

        let (relay, body) = super::relay();
        relay.send(Bytes::from_static(b"half")).await.unwrap();
        drop(relay);
        assert!(body.collect().await.is_err(), "broken off must not look like the end");
    }

    #[tokio::test]
    async fn a_client_that_goes_away_is_noticed() {
        let (relay, body) = relay();
        drop(body);
        relay.client_gone().await;
        assert_eq!(relay.send(Bytes::from_static(b"x")).await, Err(ClientGone));
    }
}
