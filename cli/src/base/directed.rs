//! Which way a layer's steps go, as arguments.

use wgpu_rnn::Direction;

/// One direction by its name, or two.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Directed {
    /// Two directions.
    #[arg(long)]
    bidirectional: bool,
    /// forward, reverse (from each sequence's end) or bidirectional [default: forward]
    #[arg(long, conflicts_with = "bidirectional")]
    direction: Option<Direction>,
}

impl Directed {
    /// What was asked for, if anything was.
    pub fn given(self) -> Option<Direction> {
        self.direction.or(self.bidirectional.then_some(Direction::Both))
    }

    /// What was asked for, or forward.
    pub fn direction(self) -> Direction {
        self.given().unwrap_or_default()
    }
}
