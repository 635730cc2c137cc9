// Spans of bitmaps, as cpu.rs beside this finds them: counted, placed, written.
#include "common.cuh"
#include "bitmaps.cuh"
#include "block_scan.cuh"

struct SpanRange { u32 offset, count, state; };
struct Span { u32 column, row_start, row_end; };

struct EncodeRle {
    const MaskPlace* places;      // [masks]
    const u32* words;
    SpanRange* ranges;            // [masks]
    Span* spans;
    u32 masks;
    u32 capacity;                 // spans
};

// Rows at which a column changes between clear and set; `last` is its bit in the row before.
__device__ __forceinline__ u32 edges_of(u32 word, u32& last) {
    const u32 edges = word ^ (word << 1 | last);
    last = word >> 31;
    return edges;
}

__device__ __forceinline__ u32 spans_of_column(const u32* column, u32 words) {
    u32 last = 0, edges = 0;
    for (u32 w = 0; w < words; ++w) edges += __popc(edges_of(column[w], last));
    return (edges + 1) / 2;                                        // one that reaches the end has no second edge
}

// A block a mask.
BLOCK_KERNEL(128) rle_count(const __grid_constant__ EncodeRle op) {
    __shared__ u32 warps[4];
    const MaskPlace& place = op.places[blockIdx.x];
    u32 count = 0;
    if (place.state == MASK_HELD) {
        const u32 words = words_of_column(place.height);
        for (u32 c = threadIdx.x; c < place.width; c += blockDim.x) {
            count += spans_of_column(op.words + place.offset + (size_t)c * words, words);
        }
    }
    u32 all;
    sum_before<u32>(count, warps, all);
    if (threadIdx.x == 0) op.ranges[blockIdx.x].count = all;
}

// One block. A mask without room counts like any other, so that those after it have none either.
BLOCK_KERNEL(256) rle_place(const __grid_constant__ EncodeRle op) {
    __shared__ u64 warps[8];
    u64 taken = 0;
    for (u32 base = 0; base < op.masks; base += blockDim.x) {
        const u32 index = base + threadIdx.x;
        const u32 state = index < op.masks ? op.places[index].state : MASK_NONE;
        const u32 count = state == MASK_HELD ? op.ranges[index].count : 0;
        u64 all;
        const u64 offset = taken + sum_before<u64>(count, warps, all);
        if (index < op.masks) {
            const bool fits = state == MASK_HELD && offset + count <= op.capacity;
            SpanRange range;
            range.offset = fits ? (u32)offset : 0;
            range.count = fits ? count : 0;
            range.state = fits || state != MASK_HELD ? state : MASK_NO_ROOM;
            op.ranges[index] = range;
        }
        taken += all;
    }
}

// A block a mask: each thread a column, all columns before the next.
BLOCK_KERNEL(128) rle_write(const __grid_constant__ EncodeRle op) {
    __shared__ u32 warps[4];
    const SpanRange range = op.ranges[blockIdx.x];
    if (range.state != MASK_HELD) return;                          // the whole block
    const MaskPlace& place = op.places[blockIdx.x];
    const u32 words = words_of_column(place.height);
    Span* out = op.spans + range.offset;
    for (u32 base = 0; base < place.width; base += blockDim.x) {
        const u32 c = base + threadIdx.x;
        const u32* column = op.words + place.offset + (size_t)c * words;
        const u32 count = c < place.width ? spans_of_column(column, words) : 0;
        u32 all;
        Span* to = out + sum_before<u32>(count, warps, all);
        out += all;
        if (count == 0) continue;
        u32 last = 0, start = 0;
        bool open = false;
        for (u32 w = 0; w < words; ++w) {
            u32 edges = edges_of(column[w], last);
            while (edges) {
                const u32 row = w * 32 + (u32)__ffsll((i64)edges) - 1;
                edges &= edges - 1;
                if (open) {
                    to->column = place.x + c;
                    to->row_start = place.y + start;
                    to->row_end = place.y + row;
                    ++to;
                }
                start = row;
                open = !open;
            }
        }
        if (open) {                                                // set to the end of its last word
            to->column = place.x + c;
            to->row_start = place.y + start;
            to->row_end = place.y + place.height;
        }
    }
}
