// Host build of CUDA kernels: g++/clang++ -x c++ -DCUEMU -ffp-contract=off.
// Threads of a block run as fibers (Rust side, corosensei) on one OS thread; __shared__ is a
// thread_local static, so blocks may run on several OS threads at once.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <type_traits>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct CuDim { unsigned x, y, z; };
struct CuThread { CuDim tid, bid, bdim, gdim; u32 lane_base; };
extern thread_local CuThread cuemu;

#define __global__ __attribute__((noinline))
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static const
#define __shared__ static thread_local
#define threadIdx (cuemu.tid)
#define blockIdx (cuemu.bid)
#define blockDim (cuemu.bdim)
#define gridDim (cuemu.gdim)
#define DYN_SHARED(T, name) T* name = (T*)cuemu_dyn_shared()

extern "C" {
void cuemu_yield(u32 kind);                 // 0: block barrier, 1: warp barrier (Rust)
void* cuemu_dyn_shared(void);
u64* cuemu_warp_slots(void);                // 32 exchange slots of the current warp
}

// Barrier number `n` of the tree; a test runs without one of them.
extern "C" int cuemu_without;
#define CUEMU_BARRIER(n, call) do { if (cuemu_without != (n)) call; } while (0)
static inline void __syncthreads() { cuemu_yield(0); }
static inline void __syncwarp(u32 = 0xffffffffu) { cuemu_yield(1); }
static inline int __popc(u32 v) { return __builtin_popcount(v); }
static inline int __ffsll(long long v) { return __builtin_ffsll(v); }
static inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
static inline float __int_as_float(int v) { float f; memcpy(&f, &v, 4); return f; }
static inline int __float_as_int(float f) { int v; memcpy(&v, &f, 4); return v; }

// Full-mask warp exchange.
template <class T> static inline T cuemu_exchange(T v, u32 src) {
    static_assert(sizeof(T) <= 8, "");
    u64* s = cuemu_warp_slots();
    u64 b = 0; memcpy(&b, &v, sizeof v);
    s[cuemu.tid.x % 32] = b;
    cuemu_yield(1);
    b = s[src & 31];
    cuemu_yield(1);
    T r; memcpy(&r, &b, sizeof r); return r;
}
template <class T> static inline T __shfl_sync(u32, T v, u32 src) { return cuemu_exchange(v, src); }
template <class T> static inline T __shfl_down_sync(u32, T v, u32 d) { u32 l = cuemu.tid.x % 32; return cuemu_exchange(v, l + d > 31 ? l : l + d); }
template <class T> static inline T __shfl_xor_sync(u32, T v, u32 m) { return cuemu_exchange(v, (cuemu.tid.x % 32) ^ m); }
static inline u32 __ballot_sync(u32, int p) {
    u64* s = cuemu_warp_slots();
    s[cuemu.tid.x % 32] = p != 0;
    cuemu_yield(1);
    u32 r = 0;
    for (int i = 0; i < 32; ++i) r |= (u32)(s[i] & 1) << i;
    cuemu_yield(1);
    return r;
}
template <class T> static inline T atomicAdd(T* p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }

static inline float cuemu_h2f(unsigned short h) {
    u32 s = (u32)(h & 0x8000u) << 16, e = (h >> 10) & 31, m = h & 1023, b;
    if (e == 0) { float f = (float)m * 5.9604644775390625e-8f; u32 t; memcpy(&t, &f, 4); b = t | s; }
    else if (e == 31) b = s | 0x7f800000u | (m << 13);
    else b = s | ((e + 112) << 23) | (m << 13);
    float f; memcpy(&f, &b, 4); return f;
}
static inline unsigned short cuemu_f2h(float f) {          // round to nearest even
    u32 b; memcpy(&b, &f, 4);
    u32 s = (b >> 16) & 0x8000u; b &= 0x7fffffffu;
    if (b > 0x7f800000u) return (unsigned short)0x7fff;    // PTX cvt gives the canonical NaN
    if (b >= 0x47800000u) return (unsigned short)(s | 0x7c00u);
    if (b < 0x38800000u) {                                 // subnormal: exact add does the rounding
        float a; memcpy(&a, &b, 4); a += 0.5f; u32 t; memcpy(&t, &a, 4);
        return (unsigned short)(s | (t - 0x3f000000u));
    }
    u32 odd = (b >> 13) & 1;
    return (unsigned short)(s | ((b + 0xc8000fffu + odd) >> 13));
}
