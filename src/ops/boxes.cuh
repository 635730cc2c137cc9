// Box deltas and the cut to the picture, operation by operation as ops/box_deltas/cpu.rs and BoxWidth::cut have them. A box is
// float4 x0, y0, x1, y1, network px.
#pragma once
#include "common.cuh"

struct BoxCoder {
    float weight_x, weight_y, weight_w, weight_h;
    float extra;      // BoxWidth::extra
    float min_size;   // network px
};

__device__ __forceinline__ bool is_finite(float v) { return (__float_as_int(v) & 0x7f800000) != 0x7f800000; }

// ops/box_deltas/mod.rs, GROWTH_LIMIT; a NaN stays one.
__device__ __forceinline__ float limited(float growth) { return growth > 4.1351666f ? 4.1351666f : growth; }

// f32::clamp: a negative zero stays one.
__device__ __forceinline__ float clamped(float v, float low, float high) {
    if (v < low) v = low;
    if (v > high) v = high;
    return v;
}

__device__ __forceinline__ float4 box_decode(const BoxCoder& coder, const float4& deltas, const float4& reference) {
    const float width = reference.z - reference.x + coder.extra, height = reference.w - reference.y + coder.extra;
    const float reference_x = reference.x + 0.5f * width, reference_y = reference.y + 0.5f * height;
    const float x = deltas.x / coder.weight_x * width + reference_x;
    const float y = deltas.y / coder.weight_y * height + reference_y;
    const float half_width = 0.5f * (exp_det(limited(deltas.z / coder.weight_w)) * width);
    const float half_height = 0.5f * (exp_det(limited(deltas.w / coder.weight_h)) * height);
    return float4{x - half_width, y - half_height, x + half_width - coder.extra, y + half_height - coder.extra};
}

// Whether there is a box once `box` is cut to the picture; width and height of the picture, network px.
__device__ __forceinline__ bool box_cut(const BoxCoder& coder, u32 picture_width, u32 picture_height, float4& box) {
    if (!(is_finite(box.x) && is_finite(box.y) && is_finite(box.z) && is_finite(box.w))) return false;
    const float right = most((float)picture_width - coder.extra, 0.0f);
    const float bottom = most((float)picture_height - coder.extra, 0.0f);
    box = float4{clamped(box.x, 0.0f, right), clamped(box.y, 0.0f, bottom),
                 clamped(box.z, 0.0f, right), clamped(box.w, 0.0f, bottom)};
    return box.z - box.x + coder.extra >= coder.min_size && box.w - box.y + coder.extra >= coder.min_size;
}
