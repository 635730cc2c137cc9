//! What the kernel is told of the pictures of a batch: an array on the device, written before each frame, and the pictures
//! themselves, held until they were read.

use std::sync::Arc;

use super::PreprocessError;
use super::launch::PictureParams;
use crate::device::{CudaStream, Device, DeviceBuffer, DeviceError, DeviceSlice, Event, PinnedBuffer, Timing};
use crate::frame::DevicePicture;
use crate::geometry::Letterbox;

/// Batches whose pictures are held at once; before [`PictureTable::put`] holds one more it waits for the oldest to be read.
const ROUNDS: usize = 2;

/// The table of one batch.
#[derive(Debug)]
pub struct PictureTable {
    params: DeviceBuffer<PictureParams>,
    rounds: Vec<Round>,
    /// Of the last `put`.
    current: usize,
    device: Device,
}

#[derive(Debug)]
struct Round {
    staging: PinnedBuffer<PictureParams>,
    held: Vec<DevicePicture>,
    passed: Arc<Event>,
    /// Whether `passed` was recorded after what reads `held`.
    is_marked: bool,
}

/// Why a batch cannot be shown to the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("{got} pictures for a batch of {batch}")]
    Batch { batch: usize, got: usize },
    #[error(transparent)]
    Picture(#[from] PreprocessError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl PictureTable {
    pub fn new(device: &Device, batch: usize) -> Result<PictureTable, DeviceError> {
        let round = |_| {
            Ok(Round {
                staging: device.pinned("picture table", batch)?,
                held: Vec::with_capacity(batch),
                passed: Arc::new(device.event(Timing::No)?),
                is_marked: false,
            })
        };
        Ok(PictureTable {
            params: device.buffer("picture table", batch)?,
            rounds: (0..ROUNDS).map(round).collect::<Result<_, DeviceError>>()?,
            current: 0,
            device: device.clone(),
        })
    }

    /// Queues on `stream` the upload of what the kernel is told, and the wait for the pictures' bytes; `None` and what is
    /// missing at the end are empty slots. Not while capturing: this goes before each launch of what was captured. Follow it
    /// with the kernel on the same stream, then [`Self::mark`].
    pub fn put(
        &mut self,
        stream: &CudaStream,
        pictures: Vec<Option<(DevicePicture, Letterbox)>>,
    ) -> Result<(), TableError> {
        let batch = self.params.len();
        if pictures.len() > batch {
            return Err(TableError::Batch {
                batch,
                got: pictures.len(),
            });
        }
        let mut params = Vec::with_capacity(pictures.len());
        for picture in &pictures {
            params.push(match picture {
                Some((picture, letterbox)) => PictureParams::new(picture, letterbox)?,
                None => PictureParams::EMPTY,
            });
        }
        self.release()?;
        if !self.rounds[self.current].held.is_empty() {
            self.mark(stream)?; // unless the caller has: what reads them is queued here
        }
        self.current = (self.current + 1) % self.rounds.len();
        let round = &mut self.rounds[self.current];
        if !round.held.is_empty() {
            round.passed.synchronize()?;
            round.held.clear();
        }
        let staging = round.staging.write()?;
        staging.fill(PictureParams::EMPTY);
        for (to, params) in staging.iter_mut().zip(params) {
            *to = params;
        }
        for (picture, _) in pictures.into_iter().flatten() {
            picture.before(stream)?;
            round.held.push(picture);
        }
        round.is_marked = false;
        Ok(stream.upload(&round.staging, self.params.slice_mut())?)
    }

    /// What is queued on `stream` so far has read the pictures put last. Upload slots are told, and let go; pictures of others
    /// are held until the device is through.
    pub fn mark(&mut self, stream: &CudaStream) -> Result<(), DeviceError> {
        let round = &mut self.rounds[self.current];
        if !round.is_marked {
            stream.record(&round.passed)?;
            round.is_marked = true;
            let passed = &round.passed;
            round.held.retain(|picture| !picture.is_left_to_owner(passed));
        }
        Ok(())
    }

    /// Lets go of pictures that were read, without waiting; how many are still held. `put` does so too: a call after the
    /// last frame, or while cameras are silent, gives decoders their surfaces back.
    pub fn release(&mut self) -> Result<usize, DeviceError> {
        let mut held = 0;
        for round in &mut self.rounds {
            if round.is_marked && !round.held.is_empty() && round.passed.is_done()? {
                round.held.clear();
            }
            held += round.held.len();
        }
        Ok(held)
    }

    /// What [`super::DevicePreprocess::enqueue`] reads.
    pub fn params(&self) -> DeviceSlice<'_, PictureParams> {
        self.params.slice()
    }
}

impl Drop for PictureTable {
    fn drop(&mut self) {
        if self.rounds.iter().any(|round| !round.held.is_empty())
            && let Err(error) = self.device.synchronize()
        {
            tracing::warn!("{error}");
        }
    }
}
