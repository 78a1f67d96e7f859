//! MD5 (RFC 1321), by which dpkg tells whether a configuration file was changed. It protects nothing.

use std::io::{self, Read};

/// `floor(2^32 × abs(sin(i + 1)))` (RFC 1321, §3.4).
const TABLE: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
const BLOCK: usize = 64;

/// The MD5 digest of all that `from` has, in hexadecimal digits.
///
/// # Errors
/// Those of `from`.
pub(super) fn of_reader(from: &mut impl Read) -> io::Result<String> {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let (mut length, mut block) = (0_u64, Vec::with_capacity(2 * BLOCK));
    loop {
        block.clear();
        from.take(BLOCK as u64).read_to_end(&mut block)?;
        length = length.wrapping_add(block.len() as u64);
        if let Ok(block) = <&[u8; BLOCK]>::try_from(block.as_slice()) {
            step(&mut state, block);
            continue;
        }
        block.push(0x80);
        let padded = (block.len() + 8).next_multiple_of(BLOCK);
        block.resize(padded - 8, 0);
        block.extend_from_slice(&length.wrapping_mul(8).to_le_bytes());
        block.as_chunks().0.iter().for_each(|block| step(&mut state, block));
        let [a, b, c, d] = state.map(u32::swap_bytes);
        return Ok(format!("{a:08x}{b:08x}{c:08x}{d:08x}"));
    }
}

fn step(state: &mut [u32; 4], block: &[u8; BLOCK]) {
    let word = |at: usize| u32::from_le_bytes([block[4 * at], block[4 * at + 1], block[4 * at + 2], block[4 * at + 3]]);
    let [mut a, mut b, mut c, mut d] = *state;
    for (at, constant) in TABLE.iter().enumerate() {
        let (mixed, index) = match at / 16 {
            0 => ((b & c) | (!b & d), at),
            1 => ((d & b) | (!d & c), 5 * at + 1),
            2 => (b ^ c ^ d, 3 * at + 5),
            _ => (c ^ (b | !d), 7 * at),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(*constant).wrapping_add(word(index % 16));
        (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[at / 16][at % 4])));
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::of_reader;

    /// RFC 1321, appendix A.5, and every length about the end of a block, against md5sum(1).
    #[test]
    fn digests() {
        let md5 = |bytes: &[u8]| of_reader(&mut &bytes[..]).unwrap();
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (&"1234567890".repeat(8), "57edf4a22be3c955ac49da2e2107b67a"),
        ] {
            assert_eq!(md5(text.as_bytes()), digest, "{text}");
        }
        for (length, digest) in [
            (55, "ef1772b6dff9a122358552954ad0df65"),
            (56, "3b0c8ac703f828b04c6c197006d17218"),
            (63, "b06521f39153d618550606be297466d5"),
            (64, "014842d480b571495a4a0363793f7367"),
            (65, "c743a45e0d2e6a95cb859adae0248435"),
            (1000, "cabe45dcc9ae5b66ba86600cca6b8ba8"),
        ] {
            assert_eq!(md5("a".repeat(length).as_bytes()), digest, "{length}");
        }
    }
}
