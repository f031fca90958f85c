//! G.711: 16-bit samples to 8-bit codes and back, bit for bit as the ITU-T Software Tool Library.
//!
//! ```text
//!   mu-law: sign, 3 bits of segment, 4 bits of step, all inverted; 14 bits of the sample count
//!   A-law:  sign, 3 bits of segment, 4 bits of step, even bits inverted; 13 bits of the sample count
//! ```
//!
//! Decoding is a look-up of 256 entries; encoding is arithmetic, since a table of 64 KiB would cost
//! more in cache than it saves. From one law to the other goes through a table of its own.

/// What [`ulaw_to_linear`] looks up.
static ULAW_LINEAR: [i16; 256] = ulaw_table();

/// What [`alaw_to_linear`] looks up.
static ALAW_LINEAR: [i16; 256] = alaw_table();

/// What [`ulaw_to_alaw`] looks up.
static ULAW_ALAW: [u8; 256] = ulaw_alaw_table();

/// What [`alaw_to_ulaw`] looks up.
static ALAW_ULAW: [u8; 256] = alaw_ulaw_table();

/// The mu-law code of silence (positive zero).
pub const ULAW_SILENCE: u8 = 0xFF;

/// The A-law code nearest to silence (the smallest positive step; A-law has no zero).
pub const ALAW_SILENCE: u8 = 0xD5;

/// The sample that a mu-law code stands for.
#[inline]
pub fn ulaw_to_linear(code: u8) -> i16 {
    ULAW_LINEAR[code as usize]
}

/// The sample that an A-law code stands for.
#[inline]
pub fn alaw_to_linear(code: u8) -> i16 {
    ALAW_LINEAR[code as usize]
}

/// The A-law code that decodes nearest to what this mu-law code decodes to.
#[inline]
pub fn ulaw_to_alaw(code: u8) -> u8 {
    ULAW_ALAW[code as usize]
}

/// The mu-law code that decodes nearest to what this A-law code decodes to.
#[inline]
pub fn alaw_to_ulaw(code: u8) -> u8 {
    ALAW_ULAW[code as usize]
}

/// The mu-law code of a sample; loud samples clip.
#[inline]
pub const fn linear_to_ulaw(sample: i16) -> u8 {
    const BIAS: u16 = 33;
    const CLIP: u16 = 0x1FFF;
    // Magnitude in one's complement, so that the negative half mirrors the positive one.
    let magnitude = if sample < 0 { !sample } else { sample }.cast_unsigned() >> 2;
    let biased = if magnitude + BIAS > CLIP { CLIP } else { magnitude + BIAS };
    // `biased` is at least 33, so its highest bit is at least bit 5: segment 0.
    let segment = 10 - biased.leading_zeros() as u16;
    let step = (biased >> (segment + 1)) & 0x0F;
    let code = !(segment << 4 | step) as u8 & 0x7F;
    if sample < 0 { code } else { code | 0x80 }
}

/// The A-law code of a sample.
#[inline]
pub const fn linear_to_alaw(sample: i16) -> u8 {
    let magnitude = if sample < 0 { !sample } else { sample }.cast_unsigned() >> 4;
    let code = if magnitude < 32 {
        magnitude
    } else {
        let segment = 11 - magnitude.leading_zeros() as u16;
        (segment << 4) | ((magnitude >> (segment - 1)) & 0x0F)
    };
    let signed = if sample < 0 { code as u8 } else { code as u8 | 0x80 };
    signed ^ 0x55
}

const fn ulaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let segment = (bits >> 4) & 0x07;
        let step = (bits & 0x0F) as i16;
        let magnitude = (((step << 1) + 33) << segment) - 33;
        table[code] = if bits & 0x80 != 0 { -magnitude } else { magnitude } << 2;
        code += 1;
    }
    table
}

const fn alaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = code as u8 ^ 0x55;
        let segment = (bits >> 4) & 0x07;
        let step = (bits & 0x0F) as i16;
        let magnitude = match segment {
            0 => (step << 4) + 8,
            above => ((step << 4) + 0x108) << (above - 1),
        };
        table[code] = if bits & 0x80 != 0 { magnitude } else { -magnitude };
        code += 1;
    }
    table
}

const fn ulaw_alaw_table() -> [u8; 256] {
    let linear = ulaw_table();
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_to_alaw(linear[code]);
        code += 1;
    }
    table
}

const fn alaw_ulaw_table() -> [u8; 256] {
    let linear = alaw_table();
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_to_ulaw(linear[code]);
        code += 1;
    }
    table
}
