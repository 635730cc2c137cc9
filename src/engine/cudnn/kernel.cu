// The layers between the convolutions, over channels-last f16 arrays whose channels come in eights: a thread does eight
// channels of one position. Sums are f32. Channels that are only padding are written as zeros.
#include "common.cuh"

// n pictures of h x w positions in, oh x ow out; `groups` eights a position out, `in_pitch` values a position in.
struct Layer {
    const f16* in;
    const void* second;   // another array like `in`, or f32 weights [kernel * kernel, 8 * groups]
    const float* bias;
    void* out;
    u32 n, h, w, oh, ow;
    u32 groups, channels, in_pitch;
    u32 kernel, stride, pad;
    u32 relu, out_f32, unused;
};

__device__ __forceinline__ void load8(const f16* from, float* x) {
    const uint4 v = *(const uint4*)from;
    x[0] = h2f((f16)(v.x & 0xffff)); x[1] = h2f((f16)(v.x >> 16));
    x[2] = h2f((f16)(v.y & 0xffff)); x[3] = h2f((f16)(v.y >> 16));
    x[4] = h2f((f16)(v.z & 0xffff)); x[5] = h2f((f16)(v.z >> 16));
    x[6] = h2f((f16)(v.w & 0xffff)); x[7] = h2f((f16)(v.w >> 16));
}

__device__ __forceinline__ void load8f(const float* from, float* x) {
    const float4 a = ((const float4*)from)[0], b = ((const float4*)from)[1];
    x[0] = a.x; x[1] = a.y; x[2] = a.z; x[3] = a.w;
    x[4] = b.x; x[5] = b.y; x[6] = b.z; x[7] = b.w;
}

__device__ __forceinline__ u32 two(float low, float high) { return (u32)f2h(low) | (u32)f2h(high) << 16; }

// Eight channels of one position out; zeros beyond the last channel.
__device__ __forceinline__ void store8(const Layer& l, size_t position, u32 group, float* x) {
#pragma unroll
    for (u32 j = 0; j < 8; ++j)
        if (group * 8 + j >= l.channels) x[j] = 0.0f;
    const size_t at = (position * l.groups + group) * 8;
    if (l.out_f32) {
        float4* to = (float4*)((float*)l.out + at);
        float4 a, b;
        a.x = x[0]; a.y = x[1]; a.z = x[2]; a.w = x[3];
        b.x = x[4]; b.y = x[5]; b.z = x[6]; b.w = x[7];
        to[0] = a;
        to[1] = b;
    } else {
        uint4 v;
        v.x = two(x[0], x[1]); v.y = two(x[2], x[3]); v.z = two(x[4], x[5]); v.w = two(x[6], x[7]);
        *(uint4*)((f16*)l.out + at) = v;
    }
}

struct Place { u32 group, x, y, n; bool in; };

__device__ __forceinline__ Place place(const Layer& l) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    Place p;
    p.group = i % l.groups;
    u32 position = i / l.groups;
    p.x = position % l.ow;
    position /= l.ow;
    p.y = position % l.oh;
    p.n = position / l.oh;
    p.in = p.n < l.n;
    return p;
}

__device__ __forceinline__ size_t out_position(const Layer& l, const Place& p) {
    return ((size_t)p.n * l.oh + p.y) * l.ow + p.x;
}

__device__ __forceinline__ const f16* in_at(const Layer& l, u32 n, u32 y, u32 x, u32 group) {
    return l.in + (((size_t)n * l.h + y) * l.w + x) * l.in_pitch + group * 8;
}

// Padding never wins; a NaN in the window does.
KERNEL(256) layer_max_pool(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    float best[8];
#pragma unroll
    for (u32 j = 0; j < 8; ++j) best[j] = __int_as_float((int)0xff800000u);
    for (u32 ky = 0; ky < l.kernel; ++ky) {
        const u32 y = p.y * l.stride + ky - l.pad;               // above h where it is negative
        if (y >= l.h) continue;
        for (u32 kx = 0; kx < l.kernel; ++kx) {
            const u32 x = p.x * l.stride + kx - l.pad;
            if (x >= l.w) continue;
            float v[8];
            load8(in_at(l, p.n, y, x, p.group), v);
#pragma unroll
            for (u32 j = 0; j < 8; ++j)
                if (v[j] > best[j] || v[j] != v[j]) best[j] = v[j];
        }
    }
    store8(l, out_position(l, p), p.group, best);
}

KERNEL(256) layer_upsample_2x(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    const uint4 v = *(const uint4*)in_at(l, p.n, p.y / 2, p.x / 2, p.group);
    *(uint4*)((f16*)l.out + (out_position(l, p) * l.groups + p.group) * 8) = v;
}

// A cell holds its four corners one after the other, 8 * groups channels each.
KERNEL(256) layer_shuffle_2x(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    const u32 corner = (p.y % 2) * 2 + p.x % 2;
    const uint4 v = *(const uint4*)in_at(l, p.n, p.y / 2, p.x / 2, corner * l.groups + p.group);
    *(uint4*)((f16*)l.out + (out_position(l, p) * l.groups + p.group) * 8) = v;
}

__device__ __forceinline__ void add_taps(const Layer& l, const Place& p, u32 y, u32 x, u32 tap, float* sum) {
    float v[8], w[8];
    load8(in_at(l, p.n, y, x, p.group), v);
    load8f((const float*)l.second + ((size_t)tap * l.groups + p.group) * 8, w);
#pragma unroll
    for (u32 j = 0; j < 8; ++j) sum[j] = fmaf(v[j], w[j], sum[j]);
}

__device__ __forceinline__ void add_bias(const Layer& l, const Place& p, float* sum) {
    float b[8];
    load8f(l.bias + p.group * 8, b);
#pragma unroll
    for (u32 j = 0; j < 8; ++j) sum[j] = sum[j] + b[j];
}

KERNEL(256) layer_depthwise(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (u32 ky = 0; ky < l.kernel; ++ky) {
        const u32 y = p.y * l.stride + ky - l.pad;
        if (y >= l.h) continue;
        for (u32 kx = 0; kx < l.kernel; ++kx) {
            const u32 x = p.x * l.stride + kx - l.pad;
            if (x < l.w) add_taps(l, p, y, x, ky * l.kernel + kx, sum);
        }
    }
    add_bias(l, p, sum);
    store8(l, out_position(l, p), p.group, sum);
}

// Transposed: an input at y reaches outputs y * stride + ky - pad.
KERNEL(256) layer_depthwise_deconv(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (u32 ky = 0; ky < l.kernel; ++ky) {
        const u32 from_y = p.y + l.pad - ky;                     // above h * stride where it is negative
        if (from_y % l.stride != 0 || from_y / l.stride >= l.h) continue;
        for (u32 kx = 0; kx < l.kernel; ++kx) {
            const u32 from_x = p.x + l.pad - kx;
            if (from_x % l.stride != 0 || from_x / l.stride >= l.w) continue;
            add_taps(l, p, from_y / l.stride, from_x / l.stride, ky * l.kernel + kx, sum);
        }
    }
    add_bias(l, p, sum);
    store8(l, out_position(l, p), p.group, sum);
}

// Of each plane; oh = ow = 1.
KERNEL(256) layer_means(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (u32 y = 0; y < l.h; ++y)
        for (u32 x = 0; x < l.w; ++x) {
            float v[8];
            load8(in_at(l, p.n, y, x, p.group), v);
#pragma unroll
            for (u32 j = 0; j < 8; ++j) sum[j] = sum[j] + v[j];
        }
#pragma unroll
    for (u32 j = 0; j < 8; ++j) sum[j] = sum[j] / (float)(l.h * l.w);
    store8(l, out_position(l, p), p.group, sum);
}

// The sum with another array, or one alone, and its positive part. NaN stays.
KERNEL(256) layer_sum(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    float v[8];
    load8(in_at(l, p.n, p.y, p.x, p.group), v);
    if (l.second) {
        float w[8];
        load8((const f16*)l.second + (in_at(l, p.n, p.y, p.x, p.group) - l.in), w);
#pragma unroll
        for (u32 j = 0; j < 8; ++j) v[j] = v[j] + w[j];
    }
#pragma unroll
    for (u32 j = 0; j < 8; ++j)
        if (l.relu && v[j] < 0.0f) v[j] = 0.0f;
    store8(l, out_position(l, p), p.group, v);
}

KERNEL(256) layer_sigmoid(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    float v[8];
    load8(in_at(l, p.n, p.y, p.x, p.group), v);
#pragma unroll
    for (u32 j = 0; j < 8; ++j) v[j] = sigmoid(v[j]);
    store8(l, out_position(l, p), p.group, v);
}

// Over the channels of a position. Each thread goes over all of them, and writes its eight.
KERNEL(256) layer_softmax(const __grid_constant__ Layer l) {
    const Place p = place(l);
    if (!p.in) return;
    const f16* row = in_at(l, p.n, p.y, p.x, 0);
    float largest = h2f(row[0]), sum = 0.0f;
    for (u32 c = 1; c < l.channels; ++c) largest = most(largest, h2f(row[c]));
    for (u32 c = 0; c < l.channels; ++c) sum = sum + exp_det(h2f(row[c]) - largest);
    float v[8];
    load8(row + p.group * 8, v);
#pragma unroll
    for (u32 j = 0; j < 8; ++j) v[j] = exp_det(v[j] - largest) / sum;
    store8(l, out_position(l, p), p.group, v);
}
