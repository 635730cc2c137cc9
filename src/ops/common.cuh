// What every kernel.cu includes. The same sources are compiled by NVRTC for a GPU and by a host compiler for the tests
// (CUEMU), and both give the same bits:
//   * device --fmad=false, host -ffp-contract=off; fmaf() where a fused multiply-add is wanted;
//   * + - * / sqrtf fmaf and conversions only, all correctly rounded; no libm: exp_det();
//   * no float atomics; reductions in a fixed order.
// KERNEL(threads) heads an entry point without barriers or warp exchange, BLOCK_KERNEL(threads) one that has them; each
// stands at the start of its line, and the name and its parenthesis follow: tests find the entry points by these words.
#pragma once
#ifdef CUEMU
#include "cuemu.h"
#else
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
#define DYN_SHARED(T, name) extern __shared__ __align__(16) unsigned char name##_bytes[]; T* name = (T*)name##_bytes
#endif
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define BLOCK_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)

// IEEE binary16 bits; boxes and logits are f32.
typedef u16 f16;

__device__ __forceinline__ float h2f(f16 h) {
#ifdef CUEMU
    return cuemu_h2f(h);
#else
    float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h)); return f;
#endif
}

__device__ __forceinline__ f16 f2h(float f) {
#ifdef CUEMU
    return cuemu_f2h(f);
#else
    f16 h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f)); return h;
#endif
}

__device__ __forceinline__ float least(float a, float b) { return a < b ? a : b; }
__device__ __forceinline__ float most(float a, float b) { return a > b ? a : b; }

// e^x as ops/exp.rs has it, operation by operation: 0 below -87, infinite above 88, NaN stays.
__device__ __forceinline__ float exp_det(float x) {
    if (x < -87.0f) return 0.0f;
    if (x > 88.0f) return __int_as_float(0x7f800000);
    const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;   // to the nearest whole number
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r * r + r) + 1.0f;
    const int k = (int)n, half = k >> 1;                             // 2^k in two steps, so that each is a number
    return p * __int_as_float((half + 127) << 23) * __int_as_float((k - half + 127) << 23);
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + exp_det(-x)); }

// Unsigned order of the result is descending order of the value; the zeros are equal (ops/mod.rs, descending_key).
__device__ __forceinline__ u32 descending_key(float value) {
    const u32 bits = (u32)__float_as_int(value + 0.0f);
    return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

__device__ __forceinline__ float value_of_key(u32 key) {
    return __int_as_float((int)(key >> 31 ? key : ~key & 0x7fffffffu));
}

// A channels-last tensor as device::TensorView describes it: f16 or f32, `pitch` values from one position to the next.
struct Tensor {
    const void* data;
    u32 pitch;
    u32 is_f32;
};

__device__ __forceinline__ float tensor_at(const Tensor& t, size_t position, u32 channel) {
    const size_t i = position * t.pitch + channel;
    return t.is_f32 ? ((const float*)t.data)[i] : h2f(((const f16*)t.data)[i]);
}
