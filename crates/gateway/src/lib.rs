//! Between applications and models: what is HTTP, and what providers' bodies look like.
//!
//! - [`listen()`] takes connections, with [`Tls`] where there is any, and gives each request to a handler.
//! - [`Upstreams`] says which provider a path belongs to, and sends a request there.
//! - [`relay()`] hands an answer's bytes to the client as they come, with the end in the handler's hand.
//! - [`dialect`] knows the shapes of requests, answers and streams.
//!
//! Bytes of bodies pass unchanged in both directions. Of the headers, those that belong to one connection and those
//! that are meant for Tabellion are left out, and the provider is asked for an answer without content encoding, so
//! that its events can be told apart.
//!
//! Nothing here records, redacts or decides in which order things happen: the pipeline in the binary does. And nothing
//! here can read what is recorded.

pub mod dialect;
mod listen;
mod relay;
mod tls;
mod upstream;

pub use listen::{Limits, ReadError, listen, read_body};
pub use relay::{ClientGone, Relay, RelayBody, relay};
pub use tls::{Tls, TlsError};
pub use upstream::{
    CREDENTIALS, KEY_PREFIX, Target, Unreachable, Upstream, Upstreams, credential_of, response_headers,
};
