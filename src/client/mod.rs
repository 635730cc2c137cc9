//! A robot's side: subscribe, judge what arrives, act on it or be told why not. Belongs here: the session of a client,
//! order, age, identity and label maps of results. Not here: the bytes (`wire`), the daemon (`outlets::publish`).
//!
//! Nothing of the user's runs in a zenoh callback: callbacks run in the session's receive thread, where one slow image
//! callback delayed results by a second. Everything goes through a bounded ring that keeps the newest.
//!
//! Not a safety-rated function: a rated scanner or PLC stops the machine.
//!
//! ```no_run
//! use std::time::Duration;
//! use maskcast::client::{ConnectConfig, Event, Maskcast};
//!
//! let maskcast = Maskcast::connect(&ConnectConfig::default())?;
//! let mut camera = maskcast.camera("front").max_age(Duration::from_millis(250)).min_score(0.6).open()?;
//! loop {
//!     match camera.next(Duration::from_millis(300)) {
//!         Event::Answer(answer) => {
//!             for i in answer.instances() {
//!                 println!("{} {:.2} at {:?}", i.class_name(), i.score, i.centroid_px);
//!             }
//!         }
//!         Event::NoAnswer(_) => {} // this frame was not looked at; the age rule decides
//!         Event::Degraded(words) => println!("slower: {words:?}"),
//!         Event::Stale { .. } | Event::Rejected(_) => println!("slow down"),
//!         Event::Lost(why) => println!("stop: {why}"),
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), maskcast::client::ClientError>(())
//! ```

mod camera;
mod connect;
mod event;
mod judge;
mod observe;
mod ring;

pub use camera::{Camera, CameraBuilder};
pub use connect::{ClientError, ConnectConfig, ConnectMode, Maskcast};
pub use event::{Answer, Counts, DenseMask, Event, LostReason, NoAnswer, Rejection, Seen};
pub use judge::Replay;
pub use observe::{Liveliness, Observation, Observed, Observer};
