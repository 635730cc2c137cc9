// Proposals (ops/proposals/cpu.rs): logits -> keys -> best of each level -> boxes -> NMS within a level -> best of all levels.
//
// N images, L levels, group = image * L + level. Lists of a group have `pitch` places, whole tiles of 64.
#include "boxes.cuh"
#include "nms.cuh"
#include "select.cuh"

#define MAX_LEVELS 8
#define KEYS_THREADS 256
// Keys of one block of rpn_keys; a level starts at a multiple.
#define CHUNK 2048

struct RpnLevel {
    u32 chunk;       // first of its chunks
    u32 anchors;     // of an image: cells * per_cell
    u32 cells;
    u32 width;       // cells of a row
    u32 per_cell;
    u32 base;        // first of its base anchors
    float stride_x, stride_y;
};

struct RpnMaps {
    Tensor objectness[MAX_LEVELS];   // [N * cells, per_cell]
    Tensor deltas[MAX_LEVELS];       // [N * cells, 4 per_cell]
    RpnLevel level[MAX_LEVELS];
    u32 levels;
    u32 chunks;                      // of an image
};

__device__ __forceinline__ u32 logit_key(float logit) { return logit == logit ? descending_key(logit) : NO_KEY; }

// Grid (chunks, N). keys [N][chunks * CHUNK]: descending logit, NO_KEY for NaN and between levels. histogram [group][BINS],
// zero before: counts of the keys' upper 11 bits.
BLOCK_KERNEL(KEYS_THREADS) rpn_keys(const __grid_constant__ RpnMaps maps, u32* __restrict__ keys, u32* __restrict__ histogram) {
    __shared__ u32 bins[SELECT_BINS];
    const u32 tid = threadIdx.x, image = blockIdx.y;
    u32 level = 0;
    while (level + 1 < maps.levels && blockIdx.x >= maps.level[level + 1].chunk) ++level;
    for (u32 i = tid; i < SELECT_BINS; i += KEYS_THREADS) bins[i] = 0;
    __syncthreads();
    const RpnLevel& at = maps.level[level];
    const Tensor& objectness = maps.objectness[level];
    const u32 start = (blockIdx.x - at.chunk) * CHUNK;
    uint4* out = (uint4*)(keys + ((size_t)image * maps.chunks + blockIdx.x) * CHUNK);
    for (u32 quad = tid; quad < CHUNK / 4; quad += KEYS_THREADS) {
        const u32 flat = start + 4 * quad;
        size_t position = (size_t)image * at.cells + flat / at.per_cell;
        u32 channel = flat % at.per_cell;
        u32 four[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            four[i] = flat + i < at.anchors ? logit_key(tensor_at(objectness, position, channel)) : NO_KEY;
            if (++channel == at.per_cell) {
                channel = 0;
                ++position;
            }
        }
        out[quad] = uint4{four[0], four[1], four[2], four[3]};
#pragma unroll
        for (u32 i = 0; i < 4; ++i)
            if (four[i] != NO_KEY) atomicAdd(&bins[four[i] >> 21], 1u);
    }
    __syncthreads();
    histogram += ((size_t)image * maps.levels + level) * SELECT_BINS;
    for (u32 i = tid; i < SELECT_BINS; i += KEYS_THREADS)
        if (bins[i]) atomicAdd(&histogram[i], bins[i]);
}

// Keys of one level, their index below.
struct LevelKeys {
    const uint4* four;
    u32 quads;
};

template <class F>
__device__ __forceinline__ void each_key(const LevelKeys& of, F use) {
    for (u32 start = threadIdx.x; start < of.quads; start += 4 * SELECT_THREADS) {
        uint4 v[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 quad = start + i * SELECT_THREADS;
            v[i] = quad < of.quads ? of.four[quad] : uint4{NO_KEY, NO_KEY, NO_KEY, NO_KEY};
        }
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 index = 4 * (start + i * SELECT_THREADS);
            if (v[i].x != NO_KEY) use((u64)v[i].x << 32 | index);
            if (v[i].y != NO_KEY) use((u64)v[i].y << 32 | (index + 1));
            if (v[i].z != NO_KEY) use((u64)v[i].z << 32 | (index + 2));
            if (v[i].w != NO_KEY) use((u64)v[i].w << 32 | (index + 3));
        }
    }
}

// Grid (L, N). best [group][pitch]: the `wanted` best anchors, key above and flat index below; counts [group].
BLOCK_KERNEL(SELECT_THREADS) rpn_top_k(const __grid_constant__ RpnMaps maps, const u32* __restrict__ keys, const u32* __restrict__ histogram,
          u32 wanted, u32 pitch, u64* __restrict__ best, u32* __restrict__ counts) {
    __shared__ u64 room[SELECT_ROOM];
    __shared__ SelectState state;
    const u32 level = blockIdx.x, group = blockIdx.y * maps.levels + level;
    const RpnLevel& at = maps.level[level];
    const u32* start = keys + ((size_t)blockIdx.y * maps.chunks + at.chunk) * CHUNK;
    const LevelKeys source{(const uint4*)start, (at.anchors + 3) / 4};
    const u32 found = select_least(source, histogram + (size_t)group * SELECT_BINS, wanted, room, state);
    for (u32 i = threadIdx.x; i < found; i += SELECT_THREADS) best[(size_t)group * pitch + i] = room[i];
    if (threadIdx.x == 0) counts[group] = found;
}

// Grid (pitch / 64, N * L). boxes [group][pitch]; score_keys [group][pitch]: descending score, NO_KEY for what is no box.
KERNEL(TILE) rpn_decode(const __grid_constant__ RpnMaps maps, const __grid_constant__ BoxCoder coder, const float4* __restrict__ bases,
          const u32* __restrict__ pictures, const u64* __restrict__ best, const u32* __restrict__ counts, u32 pitch,
          float4* __restrict__ boxes, u32* __restrict__ score_keys) {
    const u32 group = blockIdx.y, rank = blockIdx.x * TILE + threadIdx.x;
    if (rank >= counts[group]) return;
    const u32 image = group / maps.levels, level = group % maps.levels;
    const size_t place = (size_t)group * pitch + rank;
    const u64 key = best[place];
    const RpnLevel& at = maps.level[level];
    const Tensor& deltas = maps.deltas[level];
    const u32 flat = (u32)key, cell = flat / at.per_cell, anchor = flat % at.per_cell;
    const size_t position = (size_t)image * at.cells + cell;
    const float4 d = {tensor_at(deltas, position, 4 * anchor), tensor_at(deltas, position, 4 * anchor + 1),
                      tensor_at(deltas, position, 4 * anchor + 2), tensor_at(deltas, position, 4 * anchor + 3)};
    const float x = (float)(cell % at.width) * at.stride_x, y = (float)(cell / at.width) * at.stride_y;
    const float4 base = bases[at.base + anchor];
    float4 box = box_decode(coder, d, float4{base.x + x, base.y + y, base.z + x, base.w + y});
    const bool is_box = box_cut(coder, pictures[2 * image], pictures[2 * image + 1], box);
    boxes[place] = is_box ? box : float4{0.0f, 0.0f, 0.0f, 0.0f};
    // e^x never falls, so the order of logits is one of scores.
    score_keys[place] = is_box ? descending_key(sigmoid(value_of_key((u32)(key >> 32)))) : NO_KEY;
}

// Grid (pairs of tiles, N * L): a tile of candidates against itself or one before it. mask [group][pitch / 64][pitch]: bit j
// of [row][i] says that box 64 row + j, which is before box i, overlaps it.
KERNEL(TILE) nms_mask(const float4* __restrict__ boxes, const u32* __restrict__ counts, u32 pitch, float extra, float threshold,
          u64* __restrict__ mask) {
    const u32 group = blockIdx.y, count = counts[group];
    u32 column = 0, row = blockIdx.x;
    while (row > column) row -= ++column;
    const u32 i = column * TILE + threadIdx.x, start = row * TILE;
    if (i >= count) return;
    boxes += (size_t)group * pitch;
    const float4 candidate = boxes[i];
    const u32 end = i < start + TILE ? i : start + TILE;
    u64 bits = 0;
#pragma unroll 4
    for (u32 j = start; j < end; ++j)
        if (overlaps(boxes[j], candidate, extra, threshold)) bits |= 1ull << (j - start);
    mask[((size_t)group * (pitch / TILE) + row) * pitch + i] = bits;
}

// Grid N * L. kept, kept_keys [group][pitch]: places of the kept boxes in order, at most `limit`, and their score keys;
// kept_counts [group].
BLOCK_KERNEL(256) nms_reduce(const u64* __restrict__ mask, const u32* __restrict__ counts, const u32* __restrict__ score_keys,
          u32 pitch, u32 limit, u32* __restrict__ kept, u32* __restrict__ kept_keys, u32* __restrict__ kept_counts) {
    __shared__ u64 words[SELECT_ROOM / TILE];   // kept boxes, tile by tile
    __shared__ u32 dropped[8];                  // by what is kept before the tile: one a warp
    const u32 group = blockIdx.x, tid = threadIdx.x, in_tile = tid % TILE, part = tid / TILE, count = counts[group];
    const size_t first = (size_t)group * pitch;
    mask += first * (pitch / TILE);
    u32 total = 0;
    for (u32 tile = 0; tile * TILE < count && total < limit; ++tile) {
        const u32 i = tile * TILE + in_tile;
        const u64* own = mask + (size_t)tile * pitch + i;
        const u64 low = tid < 32 && i < count ? own[0] : 0, high = tid < 32 && i + 32 < count ? own[32] : 0;
        const u32 key = i < count ? score_keys[first + i] : NO_KEY;
        bool drop = key == NO_KEY;
        if (!drop)
            for (u32 row = part; row < tile; row += 4) drop |= (mask[(size_t)row * pitch + i] & words[row]) != 0;
        const u32 ballot = __ballot_sync(0xffffffffu, drop);
        if (tid % 32 == 0) dropped[tid / 32] = ballot;
        __syncthreads();
        if (tid < 32) {
            const u32 first_half = dropped[0] | dropped[2] | dropped[4] | dropped[6];
            const u32 second_half = dropped[1] | dropped[3] | dropped[5] | dropped[7];
            const u64 word = keep_in_tile(~((u64)second_half << 32 | first_half), low, high);
            if (tid == 0) words[tile] = word;
        }
        __syncthreads();
        const u64 word = words[tile];
        const u32 rank = total + popc64(word & ((1ull << in_tile) - 1));
        if (part == 0 && (word >> in_tile & 1) && rank < limit) {
            kept[first + rank] = i;
            kept_keys[first + rank] = key;
        }
        total += popc64(word);
    }
    if (tid == 0) kept_counts[group] = total < limit ? total : limit;
}

// How many of `keys`, which rise, are below `key`.
__device__ __forceinline__ u32 keys_below(const u32* keys, u32 count, u32 key) {
    u32 low = 0;
    while (low < count) {
        const u32 middle = (low + count) / 2;
        if (keys[middle] < key) low = middle + 1; else count = middle;
    }
    return low;
}

// Grid (threads of L * limit or `most`, N). The `wanted` best over all levels by score, then level, then rank: out_boxes,
// out_scores [N][wanted], zeros beyond out_counts [N].
KERNEL(128) rpn_merge(const float4* __restrict__ boxes, const u32* __restrict__ kept, const u32* __restrict__ kept_keys,
          const u32* __restrict__ kept_counts, u32 levels, u32 pitch, u32 limit, u32 wanted,
          float4* __restrict__ out_boxes, float* __restrict__ out_scores, u32* __restrict__ out_counts) {
    const u32 image = blockIdx.y, index = blockIdx.x * 128 + threadIdx.x;
    const u32* of_level = kept_counts + image * levels;
    u32 total = 0;
    for (u32 level = 0; level < levels; ++level) total += of_level[level];
    if (total > wanted) total = wanted;
    out_boxes += (size_t)image * wanted;
    out_scores += (size_t)image * wanted;
    if (index == 0) out_counts[image] = total;
    if (index >= total && index < wanted) {
        out_boxes[index] = float4{0.0f, 0.0f, 0.0f, 0.0f};
        out_scores[index] = 0.0f;
    }
    const u32 level = index / limit;
    u32 rank = index % limit;
    if (level >= levels || rank >= of_level[level]) return;
    const size_t first = (size_t)(image * levels + level) * pitch, place = first + rank;
    const u32 key = kept_keys[place];
    for (u32 other = 0; other < levels; ++other)
        if (other != level)   // at the same score a level before this one is better
            rank += keys_below(kept_keys + (size_t)(image * levels + other) * pitch, of_level[other], other < level ? key + 1 : key);
    if (rank >= wanted) return;
    out_boxes[rank] = boxes[first + kept[place]];
    out_scores[rank] = value_of_key(key);
}
