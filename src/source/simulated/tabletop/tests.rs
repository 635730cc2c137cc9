//! What the tabletop promises.
