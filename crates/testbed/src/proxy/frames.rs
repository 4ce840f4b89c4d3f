//! Finds the beginnings of calls in what a client of HTTP/2 sends.
//!
//! Knows as much of HTTP/2 as that takes: the preface, the header of a frame, and that a frame of
//! type HEADERS on a new stream begins a call.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEADER_BYTES: usize = 9;

/// The type of a frame.
const HEADERS: u8 = 1;

/// One bit of a stream's number is reserved.
const STREAM_BITS: u32 = u32::MAX >> 1;

/// A connection does not begin as HTTP/2 does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotHttp2;

/// What a client has sent on one connection, as far as the next bytes depend on it.
#[derive(Debug, Default)]
pub(super) struct Frames {
    part: Part,
    /// What has arrived of the preface or of a frame's header.
    begun: Vec<u8>,
    /// The numbers of streams only rise; a frame on an older one begins no call.
    newest_stream: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Preface,
    Header,
    /// So many bytes of a frame are still to come.
    Payload(usize),
}

impl Frames {
    /// How many calls begin in the next bytes.
    pub(super) fn calls_in(&mut self, mut bytes: &[u8]) -> Result<u64, NotHttp2> {
        let mut n_calls = 0;
        while !bytes.is_empty() {
            let part = self.part;
            match part {
                Part::Payload(left) => {
                    let (taken, rest) = bytes.split_at(left.min(bytes.len()));
                    self.payload_or_header(left - taken.len());
                    bytes = rest;
                }
                Part::Preface if self.take(PREFACE.len(), &mut bytes) => {
                    if self.begun != PREFACE {
                        return Err(NotHttp2);
                    }
                    self.payload_or_header(0);
                }
                Part::Header if self.take(FRAME_HEADER_BYTES, &mut bytes) => {
                    n_calls += u64::from(self.frame());
                }
                Part::Preface | Part::Header => {}
            }
        }
        Ok(n_calls)
    }

    /// Takes what is missing until `wanted` bytes have arrived; whether they have.
    fn take(&mut self, wanted: usize, bytes: &mut &[u8]) -> bool {
        let missing = wanted - self.begun.len();
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.begun.extend_from_slice(taken);
        *bytes = rest;
        self.begun.len() == wanted
    }

    /// Reads a frame's header, which has arrived; whether the frame begins a call.
    fn frame(&mut self) -> bool {
        let &[l1, l2, l3, kind, _flags, s1, s2, s3, s4] = self.begun.as_slice() else {
            return false;
        };
        let length = u32::from_be_bytes([0, l1, l2, l3]);
        let stream = u32::from_be_bytes([s1, s2, s3, s4]) & STREAM_BITS;
        self.payload_or_header(usize::try_from(length).unwrap_or(usize::MAX));
        let begins = kind == HEADERS && stream > self.newest_stream;
        if begins {
            self.newest_stream = stream;
        }
        begins
    }

    fn payload_or_header(&mut self, left: usize) {
        self.begun.clear();
        self.part = if left == 0 { Part::Header } else { Part::Payload(left) };
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const DATA: u8 = 0;
    const SETTINGS: u8 = 4;
    const CONTINUATION: u8 = 9;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let header = [&length[1..], &[kind, 0], &stream.to_be_bytes()].concat();
        [&header, payload].concat()
    }

    /// What a client sends that makes a call on each of these streams.
    pub(in crate::proxy) fn connection(streams: &[u32]) -> Vec<u8> {
        let mut sent = [PREFACE, &frame(SETTINGS, 0, &[])].concat();
        for stream in streams {
            // The payloads look like headers of frames that begin calls.
            sent.extend(frame(HEADERS, *stream, &frame(HEADERS, 99, &[])));
            sent.extend(frame(CONTINUATION, *stream, &[HEADERS; 20]));
            sent.extend(frame(DATA, *stream, &[HEADERS; 300]));
        }
        sent
    }

    #[test]
    fn calls_are_counted_however_the_bytes_are_cut() {
        let sent = connection(&[1, 3, 5]);
        for size in 1..sent.len() {
            let mut frames = Frames::default();
            let counted = sent.chunks(size).map(|chunk| frames.calls_in(chunk).unwrap());
            assert_eq!(counted.sum::<u64>(), 3, "in pieces of {size}");
        }
    }

    #[test]
    fn trailers_begin_no_call() {
        let sent = [connection(&[1, 3]), frame(HEADERS, 3, b"x"), frame(HEADERS, 1, b"x")].concat();
        assert_eq!(Frames::default().calls_in(&sent), Ok(2));
    }

    #[test]
    fn other_protocols_are_refused() {
        let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
        assert_eq!(Frames::default().calls_in(request), Err(NotHttp2));
    }
}
