// Pasted masks in one pool of words, as paste_masks leaves them (ops/paste_masks/bitmaps.rs).
#pragma once
#include "common.cuh"

#define MASK_NONE 0
#define MASK_HELD 1
#define MASK_NO_ROOM 2

struct MaskPlace {
    int x0, y0, x1, y1;           // RoI, 1/256 px
    u32 x, y, width, height;      // crop, px of the frame
    u32 offset;                   // first word of column 0; each column has (height + 31) / 32
    u32 state;
};

__device__ __forceinline__ u32 words_of_column(u32 height) { return (height + 31) / 32; }

// Whether a pixel of the frame is set; the mask is held.
__device__ __forceinline__ bool is_set(const MaskPlace& place, const u32* words, u32 x, u32 y) {
    const u32 column = x - place.x, row = y - place.y;            // beyond the crop: large
    if (column >= place.width || row >= place.height) return false;
    return words[place.offset + (size_t)column * words_of_column(place.height) + row / 32] >> (row % 32) & 1;
}
