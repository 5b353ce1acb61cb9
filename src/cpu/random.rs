//! Counter-based random numbers, and the masks that are made from them. Twin of `shaders/lib/random.wgsl`.

use pulp::{Simd, WithSimd};

use crate::cpu::scalar::Scalar;
use crate::cpu::simd::vectorised;
use crate::error::{Error, Result};

/// Threefry-2x32 of 20 rounds (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
#[inline(always)]
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

/// What masks are of: those of one layer by one draw differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masked {
    /// What a layer gives to the next.
    Outputs = 0,
    /// What stays of states.
    States = 1,
    /// Inputs of a layer, at all steps alike.
    Inputs = 2,
    /// Weights between steps.
    Weights = 3,
    /// h where products of steps read it, at all steps alike.
    Read = 4,
}

impl Masked {
    /// What distinguishes the masks of layer `layer`.
    pub const fn of_layer(self, layer: usize) -> u32 {
        (layer as u32) ^ ((self as u32) << 24)
    }
}

/// Words of a buffer that say what is drawn: the seed's two, the draw, and one to spare.
pub const RANDOM_WORDS: usize = 4;

/// Masks of a layer, by the draw that was last made.
#[derive(Clone, Copy, Debug)]
pub struct Masks {
    key: [u32; 2],
    draw: u32,
}

impl Masks {
    /// By the [`RANDOM_WORDS`]; an error where there are fewer.
    pub fn new(random: &[u32], masked: Masked, layer: usize) -> Result<Self> {
        match *random {
            [low, high, draw, _] => Ok(Self { key: [low, high ^ masked.of_layer(layer)], draw }),
            _ => Err(Error::shape("the random state", &[RANDOM_WORDS], &[random.len()])),
        }
    }

    /// Dropout of `values`, or of `to` itself, the first at `place`. `to` is overwritten, or added to. Where lengths disagree, the shorter counts.
    pub fn drop<S: Scalar>(
        self,
        place: usize,
        Leaves { below, scale }: Leaves,
        values: Option<&[S]>,
        to: &mut [S],
        adds: bool,
    ) {
        vectorised(Drop { masks: self, place, below, scale: S::from_f64(f64::from(scale)), values, to, adds });
    }

    /// The two words of a place.
    #[inline]
    pub const fn words(&self, place: usize) -> [u32; 2] {
        threefry(self.key, [place as u32, self.draw])
    }
}

/// [`Masks::drop`].
struct Drop<'a, S> {
    masks: Masks,
    place: usize,
    below: u32,
    scale: S,
    values: Option<&'a [S]>,
    to: &'a mut [S],
    adds: bool,
}

impl<S: Scalar> WithSimd for Drop<'_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<A: Simd>(self, _: A) {
        let Self { masks: Masks { key, draw }, place, below, scale, values, to, adds } = self;
        let left = |unit: usize, value: S| {
            let [word, _] = threefry(key, [(place + unit) as u32, draw]);
            if word < below { value * scale } else { S::ZERO }
        };
        match values {
            None => to.iter_mut().enumerate().for_each(|(unit, to)| *to = left(unit, *to)),
            Some(values) if adds => {
                to.iter_mut().zip(values).enumerate().for_each(|(unit, (to, value))| *to += left(unit, *value));
            }
            Some(values) => {
                to.iter_mut().zip(values).enumerate().for_each(|(unit, (to, value))| *to = left(unit, *value));
            }
        }
    }
}

/// The number of words, from 0 on, that have `probability`, as nearly as a word can tell.
pub fn words_of(probability: f64) -> u32 {
    (probability * 4_294_967_296.0).round().min(f64::from(u32::MAX)) as u32
}

/// What dropout leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leaves {
    /// The values whose words are below this.
    pub below: u32,
    /// They are multiplied by this.
    pub scale: f32,
}

impl Leaves {
    /// With this probability of being dropped.
    pub fn of(probability: f32) -> Self {
        let share = 1.0 - f64::from(probability);
        let below = words_of(share);
        Self { below, scale: if below == 0 { 0.0 } else { (1.0 / share) as f32 } }
    }
}

/// Words of bits of so many states.
pub const fn left_words(states: usize) -> usize {
    states.div_ceil(32)
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
