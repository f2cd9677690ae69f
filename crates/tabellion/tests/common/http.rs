//! HTTP/1.1 from both sides, by hand, because what is tested is what is on the wire.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A request in the making.
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunks: Option<usize>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let headers = vec![("host".to_owned(), "localhost".to_owned())];
        Self { method: method.to_owned(), path: path.to_owned(), headers, body: None, chunks: None }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST of JSON.
    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends the body in chunks of so many bytes, without saying how long it is.
    pub(crate) fn chunked(mut self, bytes: usize) -> Self {
        self.chunks = Some(bytes);
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match (&self.body, self.chunks) {
            (Some(body), Some(size)) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                for chunk in body.chunks(size) {
                    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
            (Some(body), None) => {
                out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
                out.extend_from_slice(body);
            }
            (None, _) => out.extend_from_slice(b"\r\n"),
        }
        out
    }

    /// Sends it on a connection of its own and reads the answer.
    pub(crate) fn send(&self, to: SocketAddr) -> Answer {
        self.try_send(to).expect("an answer")
    }

    pub(crate) fn try_send(&self, to: SocketAddr) -> io::Result<Answer> {
        let mut connection = self.begin(to)?;
        connection.answer(&self.method)
    }

    /// Sends it, and leaves the answer to be read.
    pub(crate) fn begin(&self, to: SocketAddr) -> io::Result<Connection> {
        let mut connection = Connection::open(to)?;
        connection.send(&self.to_bytes())?;
        Ok(connection)
    }
}

/// An answer, as far as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The body came to its end in order.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn exchange(&self) -> String {
        self.header("x-tabellion-exchange").expect("the answer names its exchange").to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
    Over,
}

/// A connection, whose bytes are read one piece after the other.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    framing: Framing,
}

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        Ok(Self::on(stream))
    }

    pub(crate) fn on(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.set_write_timeout(Some(PATIENCE));
        Self { stream, buffer: Vec::new(), framing: Framing::None }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = vec![0; 64 << 10];
        let read = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads the first line and the headers of a message.
    pub(crate) fn head(&mut self) -> io::Result<(String, Vec<(String, String)>)> {
        let first = self.line()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((first, headers));
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads an answer's head. 1xx answers are passed over.
    pub(crate) fn answer_head(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let (first, headers) = self.head()?;
            let status: u16 = first.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            self.framing = if method == "HEAD" || status == 204 || status == 304 {
                Framing::None
            } else if header(&headers, "transfer-encoding").is_some() {
                Framing::Chunked
            } else if let Some(length) = header(&headers, "content-length") {
                Framing::Length(length.parse().map_err(|_| io::ErrorKind::InvalidData)?)
            } else {
                Framing::UntilClose
            };
            return Ok(Answer { status, headers, body: Vec::new(), whole: false });
        }
    }

    /// The next bytes of the body as they come; `None` at its end; an error where it breaks off.
    pub(crate) fn data(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::None | Framing::Over | Framing::Length(0) => Ok(None),
            Framing::Length(rest) => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let take = rest.min(self.buffer.len());
                self.framing = Framing::Length(rest - take);
                Ok(Some(self.buffer.drain(..take).collect()))
            }
            Framing::Chunked => {
                let size = self.line()?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
                while self.buffer.len() < size + 2 {
                    if self.fill()? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                let data: Vec<u8> = self.buffer.drain(..size + 2).take(size).collect();
                if size == 0 {
                    self.framing = Framing::Over;
                    return Ok(None);
                }
                Ok(Some(data))
            }
            Framing::UntilClose => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    self.framing = Framing::Over;
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.buffer)))
            }
        }
    }

    /// Reads until the body holds `needle`; gives what came.
    pub(crate) fn data_until(&mut self, needle: &str) -> Vec<u8> {
        let mut all = Vec::new();
        while !super::has(&all, needle.as_bytes()) {
            let data = self.data().unwrap_or_else(|error| panic!("{error} before {needle:?}"));
            all.extend(data.unwrap_or_else(|| panic!("the end before {needle:?}")));
        }
        all
    }

    /// Reads the rest of the body. False if it broke off.
    pub(crate) fn rest(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            match self.data() {
                Ok(Some(data)) => body.extend(data),
                Ok(None) => return true,
                Err(error) => {
                    let timed_out = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!timed_out, "the server left a client without the rest of an answer");
                    return false;
                }
            }
        }
    }

    /// Reads an answer.
    pub(crate) fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.answer_head(method)?;
        answer.whole = self.rest(&mut answer.body);
        Ok(answer)
    }

    /// Reads a request's body, whose head is given. An error where it breaks off.
    pub(crate) fn request_body(&mut self, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
        self.framing = if header(headers, "transfer-encoding").is_some() {
            Framing::Chunked
        } else {
            Framing::Length(header(headers, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0))
        };
        let mut body = Vec::new();
        while let Some(data) = self.data()? {
            body.extend(data);
        }
        Ok(body)
    }

    /// Reads whatever comes until the connection is closed.
    pub(crate) fn everything(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => return std::mem::take(&mut self.buffer),
                Ok(_) => {}
                Err(error) => {
                    let timed_out = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!timed_out, "the server neither answered nor closed the connection");
                    return std::mem::take(&mut self.buffer);
                }
            }
        }
    }
}
