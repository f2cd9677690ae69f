//! Content encodings, undone on a copy for the record: gzip, deflate, br, zstd, and up to three of them stacked.
//!
//! A few bytes can decode to gigabytes, so that every layer stops at a limit.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use flate2::{bufread, write};

/// Encodings that may be stacked. Nobody honest uses two.
const LAYERS_MAX: usize = 3;

/// The window that RFC 9659 allows a content-encoded zstd frame: 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why a body cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The encoding is not one of ours, or there are too many.
    #[error("content encoding is unknown")]
    Unknown,
    /// The bytes are not in that encoding, or end too early.
    #[error("encoded body is malformed")]
    Malformed,
    /// What was decoded exceeds the limit.
    #[error("decoded body is too large")]
    TooLarge,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of a `content-encoding`, in the order in which they were applied.
fn codings(encoding: &str) -> Result<Vec<Coding>, DecodeError> {
    let mut codings = Vec::new();
    for word in encoding.split(',').map(|word| word.trim().to_ascii_lowercase()) {
        codings.push(match word.as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => return Err(DecodeError::Unknown),
        });
        if codings.len() > LAYERS_MAX {
            return Err(DecodeError::Unknown);
        }
    }
    Ok(codings)
}

/// Decodes a whole body, by the value of its `content-encoding`. No layer may exceed `limit` bytes.
pub fn decode<'a>(encoding: &str, body: &'a [u8], limit: usize) -> Result<Cow<'a, [u8]>, DecodeError> {
    let codings = codings(encoding)?;
    if codings.is_empty() && body.len() > limit {
        return Err(DecodeError::TooLarge);
    }
    let mut decoded = Cow::Borrowed(body);
    // An answer without a body may still name an encoding.
    for coding in codings.into_iter().rev().take_while(|_| !body.is_empty()) {
        decoded = Cow::Owned(undo(coding, &decoded, limit)?);
    }
    Ok(decoded)
}

fn undo(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut reader: Box<dyn Read + '_> = match coding {
        Coding::Gzip => Box::new(bufread::MultiGzDecoder::new(body)),
        Coding::Deflate if has_zlib_header(body) => Box::new(bufread::ZlibDecoder::new(body)),
        Coding::Deflate => Box::new(bufread::DeflateDecoder::new(body)),
        Coding::Brotli => Box::new(brotli::Decompressor::new(body, 4096)),
        Coding::Zstd => {
            let mut reader = zstd::Decoder::with_buffer(body).map_err(|_| DecodeError::Malformed)?;
            reader.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| DecodeError::Malformed)?;
            Box::new(reader)
        }
    };
    let mut decoded = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.by_ref().take(most).read_to_end(&mut decoded).map_err(|_| DecodeError::Malformed)?;
    if decoded.len() > limit { Err(DecodeError::TooLarge) } else { Ok(decoded) }
}

/// `deflate` means a zlib stream, but some servers send the bare one, and every client takes it.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31))
}

/// Decodes a stream as it comes.
pub struct StreamDecoder {
    layers: Vec<Layer>,
    failed: Option<DecodeError>,
}

impl std::fmt::Debug for StreamDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamDecoder({} layers)", self.layers.len())
    }
}

impl StreamDecoder {
    /// For the value of a `content-encoding`; `None` if it is unknown. All that is ever decoded, at any layer, may not
    /// exceed `limit` bytes.
    pub fn new(encoding: &str, limit: usize) -> Option<StreamDecoder> {
        let layers = codings(encoding).ok()?.into_iter().rev().map(|coding| Layer::new(coding, limit)).collect();
        Some(StreamDecoder { layers, failed: None })
    }

    /// Decodes the next bytes, as far as they go. After an error it gives the same error again.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<u8>, DecodeError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let mut bytes = Cow::Borrowed(chunk);
        for layer in &mut self.layers {
            match layer.feed(&bytes) {
                Ok(decoded) => bytes = Cow::Owned(decoded),
                Err(error) => {
                    self.failed = Some(error);
                    return Err(error);
                }
            }
        }
        Ok(bytes.into_owned())
    }
}

enum Layer {
    Gzip(write::MultiGzDecoder<Sink>),
    /// Not yet known which kind of deflate: the first bytes, fewer than two.
    Undecided(Vec<u8>, usize),
    Zlib(write::ZlibDecoder<Sink>),
    Deflate(write::DeflateDecoder<Sink>),
    Brotli(Box<brotli::DecompressorWriter<Sink>>),
    Zstd(zstd::stream::write::Decoder<'static, Sink>),
    Broken,
}

impl Layer {
    fn new(coding: Coding, limit: usize) -> Layer {
        let sink = Sink::new(limit);
        match coding {
            Coding::Gzip => Layer::Gzip(write::MultiGzDecoder::new(sink)),
            Coding::Deflate => Layer::Undecided(Vec::new(), limit),
            Coding::Brotli => Layer::Brotli(Box::new(brotli::DecompressorWriter::new(sink, 4096))),
            Coding::Zstd => {
                let decoder = zstd::stream::write::Decoder::new(sink).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                decoder.map_or(Layer::Broken, Layer::Zstd)
            }
        }
    }

    fn feed(&mut self, chunk: &[u8]) -> Result<Vec<u8>, DecodeError> {
        match self {
            Layer::Gzip(decoder) => write_through(decoder, chunk, |decoder| decoder.get_mut()),
            Layer::Undecided(first, limit) => {
                first.extend_from_slice(chunk);
                if first.len() < 2 {
                    return Ok(Vec::new());
                }
                let (first, sink) = (std::mem::take(first), Sink::new(*limit));
                *self = match has_zlib_header(&first) {
                    true => Layer::Zlib(write::ZlibDecoder::new(sink)),
                    false => Layer::Deflate(write::DeflateDecoder::new(sink)),
                };
                self.feed(&first)
            }
            Layer::Zlib(decoder) => write_through(decoder, chunk, |decoder| decoder.get_mut()),
            Layer::Deflate(decoder) => write_through(decoder, chunk, |decoder| decoder.get_mut()),
            Layer::Brotli(decoder) => write_through(decoder, chunk, |decoder| decoder.get_mut()),
            Layer::Zstd(decoder) => write_through(decoder, chunk, |decoder| decoder.get_mut()),
            Layer::Broken => Err(DecodeError::Malformed),
        }
    }
}

fn write_through<W: Write>(
    decoder: &mut W,
    chunk: &[u8],
    sink: impl Fn(&mut W) -> &mut Sink,
) -> Result<Vec<u8>, DecodeError> {
    // The flush brings out what the decoder has decoded and not yet written.
    let written = decoder.write_all(chunk).and_then(|()| decoder.flush());
    let sink = sink(decoder);
    match written {
        Ok(()) => Ok(std::mem::take(&mut sink.bytes)),
        Err(_) if sink.full => Err(DecodeError::TooLarge),
        Err(_) => Err(DecodeError::Malformed),
    }
}

/// Takes decoded bytes up to a limit.
struct Sink {
    bytes: Vec<u8>,
    room: usize,
    full: bool,
}

impl Sink {
    fn new(room: usize) -> Sink {
        Sink { bytes: Vec::new(), room, full: false }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.checked_sub(bytes.len()) else {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        };
        self.room = room;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;

    const LIMIT: usize = 1 << 20;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = write::GzEncoder::new(Vec::new(), Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut writer = write::ZlibEncoder::new(Vec::new(), Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn bare(bytes: &[u8]) -> Vec<u8> {
        let mut writer = write::DeflateEncoder::new(Vec::new(), Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn br(bytes: &[u8]) -> Vec<u8> {
        let mut encoded = Vec::new();
        brotli::CompressorReader::new(bytes, 4096, 5, 20).read_to_end(&mut encoded).unwrap();
        encoded
    }

    fn zst(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    type Encode = fn(&[u8]) -> Vec<u8>;
    const ALL: [(&str, Encode); 6] =
        [("gzip", gzip), ("X-GZip", gzip), ("deflate", zlib), ("deflate", bare), ("br", br), ("zstd", zst)];

    fn text() -> Vec<u8> {
        (0..20_000u32).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
    }

    fn stream(encoding: &str, encoded: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = StreamDecoder::new(encoding, LIMIT).unwrap();
        let mut all = Vec::new();
        for chunk in encoded.chunks(size) {
            all.extend(decoder.feed(chunk)?);
        }
        Ok(all)
    }

    #[test]
    fn undoes_each_encoding() {
        for (encoding, encode) in ALL {
            for text in [text(), b"x".to_vec(), Vec::new()] {
                let encoded = encode(&text);
                assert_eq!(decode(encoding, &encoded, LIMIT).unwrap(), text, "{encoding}");
                for size in [1, 2, 1000, LIMIT] {
                    assert_eq!(stream(encoding, &encoded, size).unwrap(), text, "{encoding} {size}");
                }
            }
        }
    }

    #[test]
    fn undoes_stacked_encodings_in_reverse() {
        let encoded = zst(&br(&gzip(b"x")));
        for encoding in ["gzip, br, zstd", " GZIP,br ,, identity,zstd"] {
            assert_eq!(decode(encoding, &encoded, LIMIT).unwrap(), &b"x"[..]);
            assert_eq!(stream(encoding, &encoded, 3).unwrap(), b"x");
        }
        assert_eq!(decode("zstd, br, gzip", &encoded, LIMIT), Err(DecodeError::Malformed));
    }

    #[test]
    fn an_event_is_out_as_soon_as_it_is_flushed() {
        let mut writer = write::GzEncoder::new(Vec::new(), Compression::default());
        let mut decoder = StreamDecoder::new("gzip", LIMIT).unwrap();
        for event in ["data: a\n\n", "data: b\n\n"] {
            writer.write_all(event.as_bytes()).unwrap();
            writer.flush().unwrap();
            let sent = std::mem::take(writer.get_mut());
            assert_eq!(decoder.feed(&sent).unwrap(), event.as_bytes());
        }
        let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        let mut decoder = StreamDecoder::new("zstd", LIMIT).unwrap();
        for event in ["data: a\n\n", "data: b\n\n"] {
            writer.write_all(event.as_bytes()).unwrap();
            writer.flush().unwrap();
            let sent = std::mem::take(writer.get_mut());
            assert_eq!(decoder.feed(&sent).unwrap(), event.as_bytes());
        }
    }

    #[test]
    fn members_of_gzip_follow_each_other() {
        let two = [gzip(b"a"), gzip(b"b")].concat();
        assert_eq!(decode("gzip", &two, LIMIT).unwrap(), &b"ab"[..]);
        assert_eq!(stream("gzip", &two, 1).unwrap(), b"ab");
    }

    #[test]
    fn plain_bodies_are_not_copied() {
        for encoding in ["", "identity", " , Identity"] {
            assert!(matches!(decode(encoding, b"x", 1), Ok(Cow::Borrowed(b"x"))));
        }
        assert_eq!(decode("identity", b"xy", 1), Err(DecodeError::TooLarge));
        assert_eq!(decode("gzip", b"", 1).unwrap(), &b""[..]);
    }

    #[test]
    fn refuses_unknown_encodings() {
        for encoding in ["compress", "gzip, rot13", "gzip,gzip,gzip,gzip", "gzip;q=1", "aws-chunked", "\u{212a}"] {
            assert_eq!(decode(encoding, b"x", LIMIT), Err(DecodeError::Unknown), "{encoding}");
            assert!(StreamDecoder::new(encoding, LIMIT).is_none());
        }
    }

    #[test]
    fn refuses_what_ends_early() {
        for (encoding, encode) in ALL {
            let encoded = encode(b"some text, some text");
            for cut in 1..encoded.len() {
                assert_eq!(decode(encoding, &encoded[..cut], LIMIT), Err(DecodeError::Malformed), "{encoding} {cut}");
            }
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        let encoded: Vec<(&str, Vec<u8>)> =
            ALL.iter().map(|(encoding, encode)| (*encoding, encode(b"some text, some text"))).collect();
        for (encoding, mut encoded) in encoded {
            for at in 0..encoded.len() {
                for bit in 0..8 {
                    encoded[at] ^= 1 << bit;
                    let _ = decode(encoding, &encoded, LIMIT);
                    let _ = stream(encoding, &encoded, 5);
                    encoded[at] ^= 1 << bit;
                }
            }
        }
        let mut decoder = StreamDecoder::new("gzip", LIMIT).unwrap();
        assert_eq!(decoder.feed(b"not gzip at all"), Err(DecodeError::Malformed));
        assert_eq!(decoder.feed(&gzip(b"x")), Err(DecodeError::Malformed));
    }

    #[test]
    fn stops_at_the_limit() {
        for (encoding, encode) in ALL {
            let bomb = encode(&vec![0; 4 << 20]);
            assert_eq!(decode(encoding, &bomb, LIMIT), Err(DecodeError::TooLarge), "{encoding}");
            assert_eq!(stream(encoding, &bomb, 1000), Err(DecodeError::TooLarge), "{encoding}");
            let exact = encode(&vec![0; LIMIT]);
            assert_eq!(decode(encoding, &exact, LIMIT).unwrap().len(), LIMIT);
            assert_eq!(stream(encoding, &exact, 1000).unwrap().len(), LIMIT);
        }
        // Small at the end, but not in between.
        let hidden = gzip(&gzip(&vec![0; 4 << 20]));
        assert_eq!(decode("gzip, gzip", &hidden, 4096), Err(DecodeError::TooLarge));
    }
}
