//! What must hold: how much faster than a peer, on which adapters.

use std::fmt;

/// Ratios, peer over ours, that a row must reach, and what it reached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Of time: wanted, got.
    pub time: Option<[f64; 2]>,
    /// Of memory: wanted, got.
    pub memory: Option<[f64; 2]>,
}

impl Verdict {
    /// Judges a row of `peer` on a `kind` of device: `software`, `gpu` or `cpu`.
    pub fn new(kind: &str, peer: &str, shape: &str, time: f64, memory: Option<f64>) -> Self {
        match (kind, peer) {
            // A software adapter: far ahead of Burn, in less memory.
            ("software", "burn-wgpu") => {
                let wanted = match shape {
                    "S1" | "S4" | "S5" => Some(6.0),
                    "S2" | "S3" => Some(2.5),
                    _ => None,
                };
                Self { time: wanted.map(|wanted| [wanted, time]), memory: memory.map(|got| [1.0, got]) }
            }
            // The CPU: no slower than any, and where nets are small clearly faster.
            ("cpu", _) => {
                let wanted = match shape {
                    "S4" | "S5" => Some(1.0 / 0.9),
                    "S1" | "S2" | "S3" | "S6" => Some(1.0),
                    _ => None,
                };
                Self { time: wanted.map(|wanted| [wanted, time]), memory: None }
            }
            // A hardware GPU: cuDNN in f32, where small no slower, where large within a factor of 1.5.
            ("gpu", "torch-cudnn-f32") => {
                let wanted = match shape {
                    "S1" | "S2" | "S4" | "S5" => Some(1.0),
                    "S3" | "S6" | "X1" | "X2" | "X3" => Some(1.0 / 1.5),
                    _ => None,
                };
                Self { time: wanted.map(|wanted| [wanted, time]), memory: None }
            }
            _ => Self::default(),
        }
    }

    /// Whether every bar of the row is reached; NaN reaches none.
    pub fn passes(self) -> bool {
        [self.time, self.memory].into_iter().flatten().all(|[wanted, got]| got >= wanted)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |what: &str, bar: Option<[f64; 2]>| {
            bar.map(|[wanted, got]| {
                let verdict = if got >= wanted { "pass" } else { "FAIL" };
                format!("{what} {wanted:.2}x {verdict}")
            })
        };
        let parts: Vec<_> = [part("time", self.time), part("memory", self.memory)].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_reached_or_missed() {
        let of = |kind, peer, shape, time, memory| Verdict::new(kind, peer, shape, time, memory).passes();
        assert!(of("software", "burn-wgpu", "S1", 6.0, Some(1.5)));
        assert!(!of("software", "burn-wgpu", "S1", 5.9, Some(1.5)));
        assert!(!of("software", "burn-wgpu", "S1", 6.0, Some(0.9)));
        assert!(!of("software", "burn-wgpu", "S3", f64::NAN, None));
        assert!(of("software", "burn-wgpu", "S6", 0.5, Some(1.5)));
        assert!(!of("gpu", "torch-cudnn-f32", "S5", 0.9, None));
        assert!(of("gpu", "torch-cudnn-f32", "X3", 0.7, None));
        assert!(of("gpu", "torch-cudnn-f16", "S5", 0.1, None));
        assert!(of("cpu", "onnxruntime-1-threads", "S5", 1.2, None));
        assert!(!of("cpu", "onnxruntime-1-threads", "S5", 1.1, None));
        assert!(!of("cpu", "torch-cpu-2-threads", "S6", 0.99, None));
    }
}
