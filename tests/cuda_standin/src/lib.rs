//! A libcuda.so.1 that runs on the processor: the unchanged program loads it where a GPU machine has the driver, and the
//! kernels of this tree run as compiled for the host. For tests.
//!
//! It is stricter than a GPU, so that a fault shows: fresh memory holds 0xCD and freed memory 0xDD, guard bytes stand
//! around each allocation, copies are checked against the allocations, launches against the cubin, and captures against
//! the rules. Streams are not run until someone waits: what reads without waiting reads old bytes.
//!
//! | variable | meaning |
//! |---|---|
//! | `CUDA_STANDIN_SEED` | order of streams, blocks, warps and lanes; 0: natural, and streams as late as can be (1) |
//! | `CUDA_STANDIN_MEMORY` | bytes of device memory (8 GiB) |
//! | `CUDA_STANDIN_FAIL` | `call:nth[:code]`: that call fails, such as `cuMemAlloc_v2:3` |
//! | `CUDA_STANDIN_WITHOUT` | number of a barrier that is left out of the kernels (none) |
//!
//! Does not show: races between blocks, but for what their order tells; speed; limits of registers; the memory model.

mod api;
mod block;
mod capture;
mod cubin;
mod driver;
mod handles;
mod memory;
mod queue;
mod runner;
mod settings;
mod status;
