// Running sums over the threads of a block.
#pragma once
#include "common.cuh"

// The sum of `value` over the threads before this one; `total` becomes that over all. Every thread of the block calls it;
// `warps` is shared, one place a warp; blocks are one-dimensional and of whole warps.
template <class T>
__device__ __forceinline__ T sum_before(T value, T* warps, T& total) {
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = blockDim.x / 32;
    T sum = value;
#pragma unroll
    for (u32 reach = 1; reach < 32; reach *= 2) {
        const T before = __shfl_sync(0xffffffffu, sum, lane >= reach ? lane - reach : lane);
        if (lane >= reach) sum += before;
    }
    if (lane == 31) warps[warp] = sum;
    __syncthreads();
    T offset = 0, all = 0;
    for (u32 w = 0; w < count; ++w) {
        if (w == warp) offset = all;
        all += warps[w];
    }
    __syncthreads();                                  // the places may be used again
    total = all;
    return offset + sum - value;
}
