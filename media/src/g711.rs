//! G.711: 16-bit samples to 8-bit codes and back, bit for bit as the ITU-T Software Tool Library.
//!
//! ```text
//!   mu-law: sign, 3 bits of segment, 4 bits of step, all inverted; 14 bits of the sample count
//!   A-law:  sign, 3 bits of segment, 4 bits of step, even bits inverted; 13 bits of the sample count
//! ```
//!
//! All by table, made at compile time: 256 entries to decode and to go from law to law, and to encode one
//! for each sample that the law can tell apart (2^14 and 2^12). Speech touches little of those, since most
//! samples are small.

/// What [`ulaw_to_linear`] looks up.
static ULAW_LINEAR: [i16; 256] = ulaw_table();

/// What [`alaw_to_linear`] looks up.
static ALAW_LINEAR: [i16; 256] = alaw_table();

/// What [`linear_to_ulaw`] looks up, by the upper 14 bits of the sample.
static LINEAR_ULAW: [u8; 1 << 14] = linear_ulaw_table();

/// What [`linear_to_alaw`] looks up, by the upper 12 bits of the sample.
static LINEAR_ALAW: [u8; 1 << 12] = linear_alaw_table();

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
pub fn linear_to_ulaw(sample: i16) -> u8 {
    LINEAR_ULAW[usize::from(sample.cast_unsigned() >> 2)]
}

/// The A-law code of a sample.
#[inline]
pub fn linear_to_alaw(sample: i16) -> u8 {
    LINEAR_ALAW[usize::from(sample.cast_unsigned() >> 4)]
}

pub(crate) const fn encode_ulaw(sample: i16) -> u8 {
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

pub(crate) const fn encode_alaw(sample: i16) -> u8 {
    let magnitude = if sample < 0 { !sample } else { sample }.cast_unsigned() >> 4;
    let code = if magnitude < 32 {
        magnitude
    } else {
        let segment = 12 - magnitude.leading_zeros() as u16;
        (segment << 4) | ((magnitude >> (segment - 1)) & 0x0F)
    };
    let signed = if sample < 0 { code as u8 } else { code as u8 | 0x80 };
    signed ^ 0x55
}

const fn linear_ulaw_table() -> [u8; 1 << 14] {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < table.len() {
        table[index] = encode_ulaw(((index as u16) << 2).cast_signed());
        index += 1;
    }
    table
}

const fn linear_alaw_table() -> [u8; 1 << 12] {
    let mut table = [0; 1 << 12];
    let mut index = 0;
    while index < table.len() {
        table[index] = encode_alaw(((index as u16) << 4).cast_signed());
        index += 1;
    }
    table
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
        table[code] = encode_alaw(linear[code]);
        code += 1;
    }
    table
}

const fn alaw_ulaw_table() -> [u8; 256] {
    let linear = alaw_table();
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = encode_ulaw(linear[code]);
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_what_the_arithmetic_says() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(linear_to_ulaw(sample), encode_ulaw(sample), "{sample}");
            assert_eq!(linear_to_alaw(sample), encode_alaw(sample), "{sample}");
        }
    }

    #[test]
    fn a_code_survives_the_way_to_its_sample_and_back() {
        for code in 0..=255 {
            // Mu-law has a second zero, which nothing encodes to.
            let expected = if code == 0x7F { 0xFF } else { code };

            assert_eq!(linear_to_ulaw(ulaw_to_linear(code)), expected, "mu-law {code:#04x}");
            assert_eq!(linear_to_alaw(alaw_to_linear(code)), code, "A-law {code:#04x}");
        }
    }

    #[test]
    fn no_sample_moves_by_more_than_a_sixteenth() {
        // Beyond the last step mu-law clips, A-law does not.
        const CLIPPED: i32 = 32_767 - 32_124;
        for sample in i16::MIN..=i16::MAX {
            let exact = i32::from(sample);
            let ulaw = i32::from(ulaw_to_linear(linear_to_ulaw(sample)));
            let alaw = i32::from(alaw_to_linear(linear_to_alaw(sample)));

            let ulaw_bound = if exact.abs() > 32_124 { CLIPPED + 1 } else { (exact.abs() + 132) / 16 };
            assert!((ulaw - exact).abs() <= ulaw_bound, "mu-law {sample} became {ulaw}");
            assert!((alaw - exact).abs() <= (exact.abs() / 16).max(16), "A-law {sample} became {alaw}");
        }
    }

    #[test]
    fn the_loudest_and_the_quietest_codes_are_those_of_the_recommendation() {
        assert_eq!((ulaw_to_linear(0x80), ulaw_to_linear(0x00)), (32_124, -32_124));
        assert_eq!((alaw_to_linear(0xAA), alaw_to_linear(0x2A)), (32_256, -32_256));
        assert_eq!((ulaw_to_linear(ULAW_SILENCE), alaw_to_linear(ALAW_SILENCE)), (0, 8));
        assert_eq!((linear_to_ulaw(i16::MAX), linear_to_ulaw(i16::MIN)), (0x80, 0x00));
        assert_eq!((linear_to_alaw(i16::MAX), linear_to_alaw(i16::MIN)), (0xAA, 0x2A));
    }

    #[test]
    fn from_law_to_law_is_the_same_as_through_linear() {
        for code in 0..=255 {
            assert_eq!(ulaw_to_alaw(code), linear_to_alaw(ulaw_to_linear(code)));
            assert_eq!(alaw_to_ulaw(code), linear_to_ulaw(alaw_to_linear(code)));
        }
    }
}
