//! A log behind a URL, for `verify`: the checkpoint, tiles and bundles of any C2SP tlog-tiles log, and nothing else.
//!
//! The server is not trusted, not even to be one: answers are limited in size and time, and asked for again a few times
//! where that may help. What it sends wrongly, the verification finds.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use tabellion_audit::{Source, SourceError};
use tabellion_gateway::dialect::{Kind, decode};
use tabellion_gateway::{Target, Upstream, Upstreams, read_body};

use crate::failure::Failure;

/// No object of a log is longer: 256 entries of 65,535 bytes, each with its length.
const OBJECT_BYTES_MAX: usize = 256 * (2 + 65_535);
/// For the head of an answer, and then for each piece of its body.
const TIMEOUT: Duration = Duration::from_secs(30);
/// An object is asked for so often …
const ATTEMPTS: u32 = 5;
/// … with so much time in between at first, and twice as much each time.
const PAUSE: Duration = Duration::from_millis(200);

/// A log behind a URL.
pub(crate) struct Remote {
    upstreams: Upstreams,
    runtime: tokio::runtime::Handle,
}

/// Why there is no object.
enum Attempt {
    /// It may be there the next time.
    Again(String),
    /// It will not.
    Never(String),
}

impl Remote {
    /// The log at a URL, which is that of the log itself or of a Tabellion server.
    pub(crate) fn find(url: &str, runtime: tokio::runtime::Handle) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').trim_end_matches("/checkpoint");
        let at = |url: &str| {
            let upstream = Upstream::new("log", Kind::Generic, url).ok_or_else(|| Failure::usage("this is no URL"))?;
            Ok::<_, Failure>(Self { upstreams: Upstreams::new(vec![upstream], None), runtime: runtime.clone() })
        };
        let direct = at(url)?;
        let failed = |error| Failure::environment("the log cannot be read").because(error);
        if direct.read("log/checkpoint").map_err(failed)?.is_some() {
            return Ok(direct);
        }
        at(&format!("{url}/log"))
    }

    async fn ask(&self, target: &Target<'_>) -> Result<Option<Vec<u8>>, Attempt> {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, header::HeaderValue::from_static("gzip"))]);
        let sent = self.upstreams.send(target, Method::GET, &headers, Bytes::new());
        let answer = tokio::time::timeout(TIMEOUT, sent)
            .await
            .map_err(|_| Attempt::Again("no answer in time".to_owned()))?
            .map_err(|error| Attempt::Again(error.to_string()))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Attempt::Again(format!("the server answered {status}")));
            }
            status => return Err(Attempt::Never(format!("the server answered {status}"))),
        }
        // Bundles may come compressed without being asked for (tlog-tiles, "Log Entries").
        let encoding = answer.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let encoding = encoding.map(str::to_owned);
        let body = read_body(answer.into_body(), OBJECT_BYTES_MAX, TIMEOUT)
            .await
            .map_err(|error| Attempt::Again(error.to_string()))?;
        match encoding {
            Some(encoding) => decode(&encoding, &body, OBJECT_BYTES_MAX)
                .map(|bytes| Some(bytes.into_owned()))
                .map_err(|error| Attempt::Never(error.to_string())),
            None => Ok(Some(body.to_vec())),
        }
    }
}

impl Source for Remote {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        // The upstream is called `log`, so what is below it is what follows that name.
        if !name.starts_with("log/") {
            return Ok(None);
        }
        let path = format!("/{name}");
        let target = self.upstreams.route(&path).ok_or_else(|| SourceError::new(name, "no such path"))?;
        self.runtime.block_on(async {
            let (mut attempt, mut pause) = (1, PAUSE);
            loop {
                match self.ask(&target).await {
                    Ok(found) => return Ok(found),
                    Err(Attempt::Again(_)) if attempt < ATTEMPTS => {
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                        attempt += 1;
                    }
                    Err(Attempt::Again(why) | Attempt::Never(why)) => return Err(SourceError::new(name, why)),
                }
            }
        })
    }

    fn list(&self, _directory: &str) -> Result<Option<Vec<String>>, SourceError> {
        Ok(None)
    }

    fn has_content(&self) -> bool {
        false
    }
}
