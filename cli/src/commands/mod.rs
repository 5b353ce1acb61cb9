//! The commands, a file each: arguments, what is done, what is said.

pub mod adapters;
pub mod classify;
pub mod compare;
pub mod doctor;
pub mod eval;
pub mod flow;
pub mod forecast;
pub mod gates;
pub mod sample;
pub mod sweep;
pub mod time;
pub mod train;
pub mod tune;
pub mod verify;
