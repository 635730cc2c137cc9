// Non-maximum suppression in tiles of 64 boxes by descending score. Which of a tile are kept is what the plain loop of
// ops/nms/cpu.rs keeps: a box is dropped when one kept before it overlaps it by more than the threshold.
#pragma once
#include "common.cuh"

#define TILE 64

__device__ __forceinline__ u32 popc64(u64 bits) { return (u32)(__popc((u32)bits) + __popc((u32)(bits >> 32))); }

__device__ __forceinline__ float box_area(const float4& b, float extra) {
    return (b.z - b.x + extra) * (b.w - b.y + extra);
}

// Whether the IoU of a kept box and a candidate is above `threshold`; two empty boxes, 0 / 0, are not.
__device__ __forceinline__ bool overlaps(const float4& kept, const float4& candidate, float extra, float threshold) {
    const float width = most(least(kept.z, candidate.z) - most(kept.x, candidate.x) + extra, 0.0f);
    const float height = most(least(kept.w, candidate.w) - most(kept.y, candidate.y) + extra, 0.0f);
    const float both = width * height;
    return both / (box_area(kept, extra) + box_area(candidate, extra) - both) > threshold;
}

// Called by a whole warp: of the boxes of a tile that nothing before the tile drops (`undecided`), those kept. `first` and
// `second`: which boxes of the tile, all before it, overlap box `lane` and box `lane + 32`. In each round a box is kept when
// what overlaps it is dropped, and dropped when one of it is kept; the first undecided one is always decided.
__device__ __forceinline__ u64 keep_in_tile(u64 undecided, u64 first, u64 second) {
    const u32 lane = threadIdx.x & 31;
    u64 kept = 0;
    while (undecided) {
        const u64 in_the_way = kept | undecided;
        const bool is_first = undecided >> lane & 1, is_second = undecided >> (lane + 32) & 1;
        const u32 keep_first = __ballot_sync(0xffffffffu, is_first && !(first & in_the_way));
        const u32 keep_second = __ballot_sync(0xffffffffu, is_second && !(second & in_the_way));
        kept |= (u64)keep_second << 32 | keep_first;
        const u32 drop_first = __ballot_sync(0xffffffffu, is_first && (first & kept));
        const u32 drop_second = __ballot_sync(0xffffffffu, is_second && (second & kept));
        undecided &= ~(kept | (u64)drop_second << 32 | drop_first);
    }
    return kept;
}
