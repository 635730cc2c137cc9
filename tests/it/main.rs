//! Rooms together: each module runs the real thing over loopback or on files.

mod command_line;
mod launch;
mod publish;
mod whole;
