// Pictures of any size and format -> network input f16 [N, H, W, 8] in one pass: colour, bilinear resize, normalise, zeros
// beside and below the resized part and in channels 3..8. plain.rs operation by operation, then rounded to nearest even.
//
// One thread = one output position = one 16-byte store; neighbouring threads lie side by side in a row. blockIdx.z is the
// slot of the batch, so that all threads of a block take the same format's way.
#include "common.cuh"

// PictureParams of launch.rs. All zeros = an empty slot: nothing of its input lies inside 0 x 0.
struct PictureParams {
    const u8* plane[3];
    u32 pitch[3];                   // bytes from row to row
    u32 format;
    u32 source_w, source_h;
    u32 resized_w, resized_h;
    float scale_x, scale_y;         // source / resized
    float luma, red_cr, green_cb, green_cr, blue_cb;
    float offset_r, offset_g, offset_b;
};

// NormaliseArg of launch.rs.
struct NormaliseArg {
    float mean_r, mean_g, mean_b;
    float std_r, std_g, std_b;
};

struct Rgb {
    float r, g, b;
};

// v / 255, correctly rounded for v = 0, 1 .. 255 (a test compares all): a product, and its remainder put right.
__device__ __forceinline__ float unit(u32 v) {
    const float x = (float)v, inverse = 1.0f / 255.0f;
    const float q = x * inverse;
    return fmaf(fmaf(-q, 255.0f, x), inverse, q);
}

__device__ __forceinline__ Rgb yuv(const PictureParams& p, u32 y, u32 cb, u32 cr) {
    const float l = p.luma * (float)y, b = (float)cb, r = (float)cr;
    return {l + p.red_cr * r + p.offset_r,
            l + p.green_cb * b + p.green_cr * r + p.offset_g,
            l + p.blue_cb * b + p.offset_b};
}

// One source pixel, 0..1; Y'CbCr not clamped. Formats are numbered as in launch.rs.
__device__ __forceinline__ Rgb pixel(const PictureParams& p, u32 x, u32 y) {
    const u8* row = p.plane[0] + (size_t)y * p.pitch[0];
    const u32 cx = x / 2, cy = y / 2;
    if (p.format == 0)              // RGB
        return {unit(row[3 * (size_t)x]), unit(row[3 * (size_t)x + 1]), unit(row[3 * (size_t)x + 2])};
    if (p.format == 1)              // BGR
        return {unit(row[3 * (size_t)x + 2]), unit(row[3 * (size_t)x + 1]), unit(row[3 * (size_t)x])};
    if (p.format == 2) {            // grey
        const float v = unit(row[x]);
        return {v, v, v};
    }
    if (p.format == 3) {            // NV12
        const u8* chroma = p.plane[1] + (size_t)cy * p.pitch[1] + 2 * (size_t)cx;
        return yuv(p, row[x], chroma[0], chroma[1]);
    }
    if (p.format == 4)              // I420
        return yuv(p, row[x], p.plane[1][(size_t)cy * p.pitch[1] + cx], p.plane[2][(size_t)cy * p.pitch[2] + cx]);
    const u8* pair = row + 4 * (size_t)cx;  // YUY2
    return yuv(p, row[2 * (size_t)x], pair[1], pair[3]);
}

// Where output position i samples an axis.
struct Sample {
    u32 low, high;
    float weight;
};

__device__ __forceinline__ Sample neighbours(u32 i, float scale, u32 from) {
    const float at = most(((float)i + 0.5f) * scale - 0.5f, 0.0f);
    const u32 last = from - 1, cut = (u32)at;
    const u32 low = cut < last ? cut : last;
    return {low, low + 1 < last ? low + 1 : last, at - (float)low};
}

__device__ __forceinline__ f16 blend(float a, float b, float c, float d, float fx, float fy, float mean, float std) {
    const float top = a * (1.0f - fx) + b * fx;
    const float bottom = c * (1.0f - fx) + d * fx;
    float value = top * (1.0f - fy) + bottom * fy;
    if (value < 0.0f) value = 0.0f;
    if (value > 1.0f) value = 1.0f;
    return f2h((value - mean) / std);
}

KERNEL(256) preprocess(const PictureParams* __restrict__ pictures, uint4* __restrict__ out, u32 width, u32 height,
                       const __grid_constant__ NormaliseArg normalise) {
    const u32 x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 8 + threadIdx.y;
    if (x >= width || y >= height) return;
    const PictureParams& p = pictures[blockIdx.z];
    uint4 halves = {0, 0, 0, 0};
    if (x < p.resized_w && y < p.resized_h) {
        const Sample sx = neighbours(x, p.scale_x, p.source_w), sy = neighbours(y, p.scale_y, p.source_h);
        const Rgb a = pixel(p, sx.low, sy.low), b = pixel(p, sx.high, sy.low);
        const Rgb c = pixel(p, sx.low, sy.high), d = pixel(p, sx.high, sy.high);
        const f16 red = blend(a.r, b.r, c.r, d.r, sx.weight, sy.weight, normalise.mean_r, normalise.std_r);
        const f16 green = blend(a.g, b.g, c.g, d.g, sx.weight, sy.weight, normalise.mean_g, normalise.std_g);
        const f16 blue = blend(a.b, b.b, c.b, d.b, sx.weight, sy.weight, normalise.mean_b, normalise.std_b);
        halves.x = (u32)red | (u32)green << 16;
        halves.y = blue;
    }
    out[((size_t)blockIdx.z * height + y) * width + x] = halves;
}
