// The least of many 64-bit keys, in order, by one block. Keys differ from each other: score above, index below. A key whose
// upper half is NO_KEY is not there.
#pragma once
#include "common.cuh"

#define NO_KEY 0xffffffffu
#define SELECT_THREADS 1024
// Keys that are sorted at the end: at least as many as may be asked for.
#define SELECT_ROOM 4096
#define SELECT_BINS 2048

struct SelectState {
    u32 sums[32];
    u32 bin, below, count, found;
};

__device__ __forceinline__ u32 inclusive_sum_in_warp(u32 value) {
    const u32 lane = threadIdx.x & 31;
    for (u32 distance = 1; distance < 32; distance *= 2) {
        const u32 before = __shfl_sync(0xffffffffu, value, lane < distance ? lane : lane - distance);
        if (lane >= distance) value += before;
    }
    return value;
}

// Sorts `count` keys in shared memory upwards; there is room for the next power of two, at least 2. Called by the whole
// block; ends with a barrier.
__device__ __forceinline__ void sort_keys(u64* keys, u32 count) {
    u32 size = 2;
    while (size < count) size *= 2;
    for (u32 i = count + threadIdx.x; i < size; i += blockDim.x) keys[i] = ~0ull;
    __syncthreads();
    for (u32 run = 2; run <= size; run *= 2) {
        for (u32 gap = run / 2; gap; gap /= 2) {
            for (u32 pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
                const u32 low = 2 * pair - (pair & (gap - 1)), high = low + gap;
                const u64 a = keys[low], b = keys[high];
                if ((a > b) == !(low & run)) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
            // Pairs not further apart than 32 stay among the 64 keys of their warp.
            const u32 next = gap > 1 ? gap / 2 : run < size ? run : 0;
            if (gap > 32 || next > 32) __syncthreads(); else __syncwarp();
        }
    }
    __syncthreads();
}

// The `wanted` least keys of `source` into room[0 ..], sorted; how many there are is given back (to all threads). `wanted` <=
// SELECT_ROOM, as many as `room`, which is in shared memory. `first`: counts of the keys' upper 11 bits, if they are known.
//
// Digit by digit the range narrows in which the last wanted key lies, until what is not above the range fits into `room`;
// since no two keys are equal, the last digit at the latest ends it.
template <class Source>
__device__ __forceinline__ u32 select_least(const Source& source, const u32* first, u32 wanted, u64* room, SelectState& state) {
    u32* bins = (u32*)room;   // four of each, so that threads of a warp meet less
    const u32 tid = threadIdx.x, lane = tid & 31, warp = tid / 32;
    u64 prefix = 0;
    u32 shift = 64, below = 0, up_to = 0;
    for (u32 digit = 0; digit < 6; ++digit) {
        const u32 bits = digit == 2 || digit == 5 ? 10 : 11, above = shift;
        shift -= bits;
        u32 even, odd;        // keys in bins 2 tid and 2 tid + 1
        if (digit == 0 && first) {
            even = first[2 * tid];
            odd = first[2 * tid + 1];
        } else {
            for (u32 i = tid; i < 4 * SELECT_BINS; i += SELECT_THREADS) bins[i] = 0;
            __syncthreads();
            each_key(source, [=](u64 key) {
                if (digit == 0 || key >> above == prefix)
                    atomicAdd(&bins[(u32)(key >> shift & ((1u << bits) - 1)) * 4 + (lane & 3)], 1u);
            });
            __syncthreads();
            const u32* mine = bins + 8 * tid;
            even = mine[0] + mine[1] + mine[2] + mine[3];
            odd = mine[4] + mine[5] + mine[6] + mine[7];
        }
        u32 end = inclusive_sum_in_warp(even + odd);
        if (lane == 31) state.sums[warp] = end;
        __syncthreads();
        if (warp == 0) state.sums[lane] = inclusive_sum_in_warp(state.sums[lane]);
        __syncthreads();
        if (warp > 0) end += state.sums[warp - 1];
        if (digit == 0) {
            if (state.sums[31] < wanted) wanted = state.sums[31];
            if (wanted == 0) return 0;   // the same for all threads
        }
        const u32 start = end - even - odd, rest = wanted - below;
        if (start < rest && rest <= end) {
            const bool is_odd = start + even < rest;
            state.bin = 2 * tid + (is_odd ? 1 : 0);
            state.below = start + (is_odd ? even : 0);
            state.count = is_odd ? odd : even;
        }
        __syncthreads();
        prefix = prefix << bits | state.bin;
        below += state.below;
        up_to = below + state.count;
        if (up_to <= SELECT_ROOM) break;
    }
    if (tid == 0) state.found = 0;
    __syncthreads();
    u32* found = &state.found;
    each_key(source, [=](u64 key) {
        if (key >> shift <= prefix) room[atomicAdd(found, 1u)] = key;
    });
    sort_keys(room, up_to);   // its own first barrier comes before it reads
    return wanted;
}
