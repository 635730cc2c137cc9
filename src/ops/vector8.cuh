// Eight f16 values at once: 16 bytes, which begin at a multiple of 16.
#pragma once
#include "common.cuh"

__device__ __forceinline__ void load8(const f16* from, float* to) {
    const uint4 v = *(const uint4*)from;
    const u32 pairs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        to[2 * i] = h2f((f16)(pairs[i] & 0xffffu));
        to[2 * i + 1] = h2f((f16)(pairs[i] >> 16));
    }
}

__device__ __forceinline__ void store8(f16* to, const float* from) {
    u32 pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) pairs[i] = (u32)f2h(from[2 * i]) | (u32)f2h(from[2 * i + 1]) << 16;
    uint4 v;
    v.x = pairs[0]; v.y = pairs[1]; v.z = pairs[2]; v.w = pairs[3];
    *(uint4*)to = v;
}
