//! Counter-based random numbers. Twin of `shaders/lib/random.wgsl`.

/// Threefry-2x32 of 20 rounds (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
pub const fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
    let keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd1_1bda];
    let mut x = [counter[0].wrapping_add(key[0]), counter[1].wrapping_add(key[1])];
    let mut round = 0;
    while round < 20 {
        x[0] = x[0].wrapping_add(x[1]);
        x[1] = x[1].rotate_left(ROTATIONS[round % 8]) ^ x[0];
        round += 1;
        if round % 4 == 0 {
            let times = round / 4;
            x[0] = x[0].wrapping_add(keys[times % 3]);
            x[1] = x[1].wrapping_add(keys[(times + 1) % 3]).wrapping_add(times as u32);
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123.
    #[test]
    fn known_answers() {
        assert_eq!(threefry([0; 2], [0; 2]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([u32::MAX; 2], [u32::MAX; 2]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]), [0xc492_3a9c, 0x483d_f7a0]);
    }
}
