// The paste rule (instances/soft.rs) into bitmaps, in its own integers.
#include "common.cuh"
#include "bitmaps.cuh"
#include "block_scan.cuh"

struct SourceGeometry {
    float scale_x, scale_y;       // source px in a network px
    u32 width, height;            // of the source picture, px
};

struct PasteMasks {
    const SourceGeometry* geometry;   // [N]
    const float4* boxes;              // [N, per_image], network px
    const u32* counts;                // [N]
    const u8* grids;                  // [N, per_image, side, side]
    MaskPlace* places;                // [N, per_image]
    u32* words;
    u32 batch, per_image;
    u32 side;                         // M
    u32 capacity;                     // words
};

// To 1/256 px, halves away from zero; false beyond 65536 px, and for what is not finite.
__device__ __forceinline__ bool lattice(float px, int& steps) {
    const double scaled = round((double)px * 256.0);
    if (!(fabs(scaled) <= 16777216.0)) return false;
    steps = (int)scaled;
    return true;
}

// The pixels whose centre lies in lo..hi, 1/256 px, and in 0..limit px.
__device__ __forceinline__ void centres(int lo, int hi, u32 limit, u32& first, u32& count) {
    const i64 from = (lo + 127) >> 8, to = (hi + 127) >> 8;           // both round up
    const i64 begin = from > 0 ? from : 0, end = to < (i64)limit ? to : (i64)limit;
    first = (u32)begin;
    count = end > begin ? (u32)(end - begin) : 0;
}

// One block: where each mask lies in its picture, and in the pool.
BLOCK_KERNEL(256) paste_places(const __grid_constant__ PasteMasks op) {
    __shared__ u64 warps[8];
    const u32 masks = op.batch * op.per_image;
    u64 taken = 0;
    for (u32 base = 0; base < masks; base += blockDim.x) {
        const u32 index = base + threadIdx.x;
        MaskPlace place;
        place.x0 = place.y0 = place.x1 = place.y1 = 0;
        place.x = place.y = place.width = place.height = 0;
        place.offset = 0;
        place.state = MASK_NONE;
        u64 words = 0;
        if (index < masks && index % op.per_image < op.counts[index / op.per_image]) {
            const SourceGeometry geometry = op.geometry[index / op.per_image];
            const float4 box = op.boxes[index];
            int x0, y0, x1, y1;
            if (lattice(box.x * geometry.scale_x, x0) && lattice(box.y * geometry.scale_y, y0) &&
                lattice(box.z * geometry.scale_x, x1) && lattice(box.w * geometry.scale_y, y1) && x0 < x1 && y0 < y1) {
                u32 x, y, width, height;
                centres(x0, x1, geometry.width, x, width);
                centres(y0, y1, geometry.height, y, height);
                if (width > 0 && height > 0) {
                    place.x0 = x0; place.y0 = y0; place.x1 = x1; place.y1 = y1;
                    place.x = x; place.y = y; place.width = width; place.height = height;
                    words = (u64)width * words_of_column(height);
                }
            }
        }
        u64 all;
        const u64 offset = taken + sum_before<u64>(words, warps, all);
        if (words > 0) {
            const bool fits = offset + words <= op.capacity;
            place.offset = fits ? (u32)offset : 0;
            place.state = fits ? MASK_HELD : MASK_NO_ROOM;
        }
        if (index < masks) op.places[index] = place;
        taken += all;
    }
}

// The cell at or before a pixel's centre, -1 ..= side - 1, and the weight of the next, of 2 (hi - lo).
__device__ __forceinline__ void sample(int lo, int hi, u32 side, u32 pixel, int& cell, i64& weight) {
    const i64 n = 2 * (i64)side * (256 * (i64)pixel + 128 - lo) - (hi - lo), whole = 2 * (i64)(hi - lo);
    cell = n < 0 ? -1 : (int)((u64)n / (u64)whole);               // n >= -(hi - lo)
    weight = n - cell * whole;
}

// A grid row as a pixel column sees it: twice its blended value, less 255 dx.
__device__ __forceinline__ i64 height_of(const u8* grid, int side, int row, int cell, i64 fx, i64 dx) {
    i64 left = 0, right = 0;                                      // cells outside the grid hold 0
    if (row >= 0 && row < side) {
        if (cell >= 0) left = grid[row * side + cell];
        if (cell + 1 < side) right = grid[row * side + cell + 1];
    }
    return 2 * ((dx - fx) * left + fx * right) - 255 * dx;
}

// grid (blocks of a mask, detections of an image, images); a thread makes words of 32 rows of one column. A pixel with row
// weight fy between grid rows of heights h and g is set when (dy - fy) h + fy g >= 0, which grows by the same from row to
// row until the next grid row.
KERNEL(128) paste_fill(const __grid_constant__ PasteMasks op) {
    const size_t mask = (size_t)blockIdx.z * op.per_image + blockIdx.y;
    const MaskPlace& place = op.places[mask];
    if (place.state != MASK_HELD) return;
    const int side = (int)op.side;
    const u8* grid = op.grids + mask * (size_t)(side * side);
    const int x0 = place.x0, y0 = place.y0, x1 = place.x1, y1 = place.y1;
    const u32 height = place.height, a_column = words_of_column(height), words = place.width * a_column;
    u32* out = op.words + place.offset;
    const i64 dx = 2 * (i64)(x1 - x0), dy = 2 * (i64)(y1 - y0), step = 512 * (i64)side;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < words; i += gridDim.x * blockDim.x) {
        const u32 column = i / a_column, first = i % a_column * 32;
        const u32 rows = height - first < 32 ? height - first : 32;
        int cell, row;
        i64 fx, fy;
        sample(x0, x1, op.side, place.x + column, cell, fx);
        sample(y0, y1, op.side, place.y + first, row, fy);
        i64 above = height_of(grid, side, row, cell, fx, dx), below = height_of(grid, side, row + 1, cell, fx, dx);
        i64 total = (dy - fy) * above + fy * below, change = step * (below - above);
        u32 bits = total >= 0;
        for (u32 r = 1; r < rows; ++r) {
            fy += step;
            total += change;
            if (fy >= dy) {
                while (fy >= dy) { fy -= dy; ++row; }
                above = height_of(grid, side, row, cell, fx, dx);
                below = height_of(grid, side, row + 1, cell, fx, dx);
                total = (dy - fy) * above + fy * below;
                change = step * (below - above);
            }
            bits |= (u32)(total >= 0) << r;
        }
        out[i] = bits;
    }
}
