//! Rooms together: each module runs the real thing over loopback or on files.

mod publish;
