//! Providers: the stand-in, and one that does with each request whatever a test says.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::http::{Connection, header};

/// A request as the upstream got it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// An upstream that gives each request to a function, which writes the answer, every byte of it.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
}

impl Upstream {
    /// The connection is kept when the function returns true.
    pub(crate) fn start(handler: impl Fn(Received, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let handler = handler.clone();
                std::thread::spawn(move || converse(stream, &*handler));
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn converse(mut stream: TcpStream, handler: &dyn Fn(Received, &mut TcpStream) -> bool) {
    let _ = stream.set_nodelay(true);
    let Ok(reading) = stream.try_clone() else { return };
    let mut connection = Connection::on(reading);
    let _ = stream.set_read_timeout(None);
    while let Ok((first, headers)) = connection.head() {
        let Ok(body) = connection.request_body(&headers) else { return };
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !handler(Received { method, path, headers, body }, &mut stream) {
            let _ = stream.flush();
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// The stand-in, on a thread of its own.
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _ = tabellion_standin::serve(tokio::net::TcpListener::from_std(listener).unwrap()).await;
            });
        });
        Self { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets so many events of a gate pass.
    pub(crate) fn release(&self, gate: &str, events: usize) {
        let path = format!("/standin/release?n={events}&gate={gate}");
        let answer = super::Request::new("POST", &path).body("").send(self.address);
        assert_eq!(answer.status, 204);
    }

    /// How often it got a body, of the last 64.
    pub(crate) fn saw(&self, body: &[u8]) -> usize {
        use base64::Engine;
        let seen = super::Request::get("/standin/requests").send(self.address).text();
        seen.matches(&base64::engine::general_purpose::STANDARD.encode(body)).count()
    }
}
