//! G.711 against the codes of every 16-bit sample and the sweep of the ITU-T Software Tool Library.

use crate::support;
use media::g711;

const EVERY_SAMPLE: std::ops::RangeInclusive<i16> = i16::MIN..=i16::MAX;

/// This table mirrors the positive half of mu-law, where the ITU's library takes the one's complement. The two
/// part on the 127 negative samples that lie exactly on a decision value; there we follow the ITU.
#[test]
fn every_sample_has_the_code_of_the_table_but_for_the_ties_of_negative_mu_law() {
    for (file, encode, ties) in [
        ("g711_all_u.bin", g711::linear_to_ulaw as fn(i16) -> u8, 127),
        ("g711_all_a.bin", g711::linear_to_alaw, 0),
    ] {
        let Some(path) = support::fixture(&format!("audio/itu/{file}")) else { return };
        let codes = std::fs::read(path).unwrap();
        assert_eq!(codes.len(), 65_536);

        let wrong: Vec<_> =
            EVERY_SAMPLE.zip(&codes).filter(|(sample, code)| encode(*sample) != **code).collect();

        assert_eq!(wrong.len(), ties, "{file}: {wrong:?}");
        for (sample, code) in wrong {
            assert!(sample < 0 && sample % 4 == 0, "{sample} is no tie");
            assert_eq!(encode(sample), code + 1, "{sample}");
            assert_eq!(encode(sample - 1), *code, "{sample}");
        }
    }
}

#[test]
fn the_itu_sweep_has_the_codes_of_the_itu() {
    for (file, encode) in
        [("sweep-r.u", g711::linear_to_ulaw as fn(i16) -> u8), ("sweep-r.a", g711::linear_to_alaw)]
    {
        let Some(path) = support::fixture(&format!("audio/itu/g711/{file}")) else { return };
        let codes = std::fs::read(path).unwrap();
        let source = std::fs::read(support::fixture("audio/itu/g711/sweep.src").unwrap()).unwrap();
        let words = |bytes: &[u8]| -> Vec<i16> {
            bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
        };

        let expected = words(&codes);
        let ours: Vec<i16> = words(&source).into_iter().map(|sample| i16::from(encode(sample))).collect();

        let wrong = ours.iter().zip(&expected).filter(|(ours, theirs)| ours != theirs).count();
        assert_eq!(wrong, 0, "{file}: {wrong} of {} differ", expected.len());
    }
}
