//! One file a subcommand.

pub mod watch;
