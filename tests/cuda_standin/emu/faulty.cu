// A kernel of the stand-in alone: it stores one value past the end of what it is given.
#include "common.cuh"

KERNEL(32) faulty(u32* __restrict__ out, u32 n) {
    const u32 i = blockIdx.x * 32 + threadIdx.x;
    if (i > n) return;
    out[i] = i;
}
