//! Daemon and robot in one process, over loopback TCP: what is delivered is what is received.

mod contract;
mod daemon;
mod limits;
mod peer;
