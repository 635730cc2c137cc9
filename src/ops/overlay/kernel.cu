// Masks tinted into a picture: as cpu.rs beside this, 2x2 pixels a thread.
#include "common.cuh"
#include "bitmaps.cuh"

struct Overlay {
    u8* first;                    // R G B, or luma
    u8* chroma;                   // Cb Cr, NV12 alone
    const MaskPlace* places;      // [masks], of one picture
    const u32* words;
    const u32* counts;            // [1]: of the masks, these count
    const u32* tones;             // [masks], three bytes each, lowest first
    u32 first_pitch, chroma_pitch;
    u32 width, height;            // px
    u32 masks;
    u32 alpha;                    // of 256
};

__device__ __forceinline__ u32 blend(u32 pixel, u32 value, u32 alpha) {
    if (alpha >= 256) return value;
    const u32 sum = pixel * (256 - alpha) + value * alpha + 128;
    return (sum < 65535 ? sum : 65535) >> 8;
}

// Blends three values of each of the 2x2 pixels at x, y; `values[i]` of pixel i, row by row.
__device__ __forceinline__ void tint(const Overlay& op, u32 x, u32 y, u32 (&values)[4][3]) {
    const u32 count = op.counts[0] < op.masks ? op.counts[0] : op.masks;
    for (u32 m = count; m-- > 0;) {                               // the first on top
        const MaskPlace& place = op.places[m];
        if (place.state != MASK_HELD || x + 1 < place.x || y + 1 < place.y) continue;
        if (x >= place.x + place.width || y >= place.y + place.height) continue;
        const u32 tone = op.tones[m];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (!is_set(place, op.words, x + (i & 1), y + (i >> 1))) continue;
#pragma unroll
            for (u32 c = 0; c < 3; ++c) values[i][c] = blend(values[i][c], tone >> (8 * c) & 255, op.alpha);
        }
    }
}

KERNEL(256) overlay_rgb(const __grid_constant__ Overlay op) {
    const u32 x = (blockIdx.x * 32 + threadIdx.x) * 2, y = (blockIdx.y * 8 + threadIdx.y) * 2;
    if (x >= op.width || y >= op.height) return;
    u32 values[4][3];
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 px = x + (i & 1), py = y + (i >> 1);
        const bool inside = px < op.width && py < op.height;
#pragma unroll
        for (u32 c = 0; c < 3; ++c) values[i][c] = inside ? op.first[(size_t)py * op.first_pitch + 3 * px + c] : 0;
    }
    tint(op, x, y, values);
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 px = x + (i & 1), py = y + (i >> 1);
        if (px >= op.width || py >= op.height) continue;
#pragma unroll
        for (u32 c = 0; c < 3; ++c) op.first[(size_t)py * op.first_pitch + 3 * px + c] = (u8)values[i][c];
    }
}

KERNEL(256) overlay_nv12(const __grid_constant__ Overlay op) {
    const u32 x = (blockIdx.x * 32 + threadIdx.x) * 2, y = (blockIdx.y * 8 + threadIdx.y) * 2;
    if (x >= op.width || y >= op.height) return;
    u8* pair = op.chroma + (size_t)(y / 2) * op.chroma_pitch + x;
    u32 values[4][3];
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 px = x + (i & 1), py = y + (i >> 1);
        values[i][0] = px < op.width && py < op.height ? op.first[(size_t)py * op.first_pitch + px] : 0;
        values[i][1] = pair[0];
        values[i][2] = pair[1];
    }
    tint(op, x, y, values);
    // The last column and row of an odd picture count twice.
    const u32 right = x + 1 < op.width, below = y + 1 < op.height;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 px = x + (i & 1), py = y + (i >> 1);
        if (px < op.width && py < op.height) op.first[(size_t)py * op.first_pitch + px] = (u8)values[i][0];
    }
#pragma unroll
    for (u32 c = 1; c < 3; ++c) {
        const u32 b = right ? values[1][c] : values[0][c], d = below ? values[2][c] : values[0][c];
        const u32 e = right ? (below ? values[3][c] : values[1][c]) : d;
        pair[c - 1] = (u8)((values[0][c] + b + d + e + 2) >> 2);
    }
}
