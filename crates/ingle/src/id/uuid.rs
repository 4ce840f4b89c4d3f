//! UUIDs in their one canonical spelling (RFC 9562 4): lower case, with four hyphens.

use std::fmt;

use super::UUID_BYTES;

/// Where the hyphens stand, in characters.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// A UUID as text.
pub(super) struct Hyphenated<'a>(pub(super) &'a [u8; UUID_BYTES]);

impl fmt::Display for Hyphenated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The UUID of version 4 with these random bits.
pub(super) fn version_4(mut bits: [u8; UUID_BYTES]) -> [u8; UUID_BYTES] {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bits;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    bits
}

/// Reads a UUID of any version.
pub(super) fn parse(text: &[u8]) -> Option<[u8; UUID_BYTES]> {
    if text.len() != 2 * UUID_BYTES + HYPHENS.len() {
        return None;
    }
    let mut digits = [0; 2 * UUID_BYTES];
    let mut free = digits.iter_mut();
    for (place, byte) in text.iter().enumerate() {
        match HYPHENS.contains(&place) {
            true if *byte == b'-' => {}
            true => return None,
            false => *free.next()? = *byte,
        }
    }
    let mut uuid = [0; UUID_BYTES];
    hexadecimal(&digits, &mut uuid)?;
    Some(uuid)
}

/// Reads as many bytes as `bytes` has, from hexadecimal digits in lower case.
pub(super) fn hexadecimal(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(())
}
