// RoIAlign over a pyramid, channels last: operation by operation as cpu.rs and axis.rs beside this.
//
// grid (blocks of a RoI, RoIs of an image, images), linear blocks; a thread has one output cell and 1 or 8 channels, those of
// a cell lie in neighbouring threads. A sample outside the map has weights of 0 and reads cell 0 all the same: what it reads
// may be infinite.
#include "common.cuh"
#include "vector8.cuh"

#define MOST_LEVELS 8

struct Level {
    const f16* features;      // [N, height, width, pitch]
    u32 width, height, pitch;
    float scale;              // feature px in a network px
    float from_side;          // RoIs of this side or more, network px, are of this level or a later one; of level 0, unused
    u32 unused;
};

struct RoiAlign {
    Level levels[MOST_LEVELS];
    u32 level_count;
    u32 channels;             // C
    u32 side;                 // S
    u32 samples;              // each way; 0: adaptive
    float shift, least;       // of a RoI's edges and side, feature px
    u32 rois_per_image;
    u32 out_channels;         // >= C; the rest become 0
    u32 out_pitch;
    u32 unused;
    const float4* rois;       // [N, rois_per_image], network px
    const u32* counts;        // [N]
    f16* out;                 // [N, rois_per_image, S, S, out_pitch]
};

struct Axis { float start, bin; u32 samples, cells; };
struct Tap { u32 low, high; float low_weight, high_weight; };

__device__ __forceinline__ bool is_finite(float v) { return v - v == 0.0f; }

// False where a RoI pools to zeros.
__device__ __forceinline__ bool axis_of(Axis& axis, float low, float high, float scale, u32 cells, u32 side, u32 samples,
                                        float shift, float least) {
    const float start = low * scale - shift, end = high * scale - shift;
    const float length = end - start;
    if (!(is_finite(start) && is_finite(end) && is_finite(length))) return false;
    axis.start = start;
    axis.bin = most(length, least) / (float)side;
    axis.cells = cells;
    axis.samples = samples;
    if (samples == 0) {
        const float whole = ceilf(axis.bin);
        axis.samples = whole >= (float)cells ? cells : whole > 0.0f ? (u32)whole : 0;
    }
    return true;
}

__device__ __forceinline__ Tap tap_of(const Axis& axis, u32 bin, u32 sample) {
    const float at = axis.start + (float)bin * axis.bin + ((float)sample + 0.5f) * axis.bin / (float)axis.samples;
    Tap tap;
    if (at < -1.0f || at > (float)axis.cells) {
        tap.low = tap.high = 0;
        tap.low_weight = tap.high_weight = 0.0f;
        return tap;
    }
    const float inside = most(at, 0.0f);
    const u32 low = (u32)inside, last = axis.cells - 1;
    if (low >= last) {
        tap.low = tap.high = last;
        tap.low_weight = 1.0f;
        tap.high_weight = 0.0f;
        return tap;
    }
    tap.low = low;
    tap.high = low + 1;
    tap.high_weight = inside - (float)low;
    tap.low_weight = 1.0f - tap.high_weight;
    return tap;
}

template <int WIDE>
__device__ __forceinline__ void load(const f16* from, float* to) {
    if (WIDE == 8) load8(from, to); else to[0] = h2f(*from);
}

// One sample onto the sums.
template <int WIDE>
__device__ __forceinline__ void add_sample(float* sums, const f16* map, u32 width, u32 pitch, const Tap& y, const Tap& x) {
    const size_t upper = (size_t)y.low * width, lower = (size_t)y.high * width;
    float a[WIDE], b[WIDE], c[WIDE], d[WIDE];
    load<WIDE>(map + (upper + x.low) * pitch, a);
    load<WIDE>(map + (upper + x.high) * pitch, b);
    load<WIDE>(map + (lower + x.low) * pitch, c);
    load<WIDE>(map + (lower + x.high) * pitch, d);
    const float wa = y.low_weight * x.low_weight, wb = y.low_weight * x.high_weight;
    const float wc = y.high_weight * x.low_weight, wd = y.high_weight * x.high_weight;
#pragma unroll
    for (int i = 0; i < WIDE; ++i) sums[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
}

// SIDE and SAMPLES: 0 where only known at run time.
template <int SIDE, int SAMPLES, int WIDE>
__device__ __forceinline__ void roi_align(const RoiAlign& op) {
    const u32 side = SIDE ? SIDE : op.side;
    const u32 groups = op.out_channels / WIDE;
    const u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 cell = thread / groups, channel = thread % groups * WIDE;
    if (cell >= side * side) return;
    const u32 roi = blockIdx.y, image = blockIdx.z;
    const size_t row = (size_t)image * op.rois_per_image + roi;
    f16* out = op.out + (row * (side * side) + cell) * op.out_pitch + channel;
    float sums[WIDE];
#pragma unroll
    for (int i = 0; i < WIDE; ++i) sums[i] = 0.0f;
    if (roi < op.counts[image] && channel < op.channels) {
        const float4 box = op.rois[row];
        const float square_side = sqrtf((box.z - box.x) * (box.w - box.y));
        u32 index = 0;
        for (u32 i = 1; i < op.level_count; ++i) index += square_side >= op.levels[i].from_side;
        const Level& level = op.levels[index];
        const u32 width = level.width, height = level.height, pitch = level.pitch;
        const u32 samples = SAMPLES ? SAMPLES : op.samples;
        Axis x, y;
        if (axis_of(x, box.x, box.z, level.scale, width, side, samples, op.shift, op.least) &&
            axis_of(y, box.y, box.w, level.scale, height, side, samples, op.shift, op.least)) {
            const f16* map = level.features + (size_t)image * width * height * pitch + channel;
            const u32 bin_y = cell / side, bin_x = cell % side;
            if (SAMPLES == 2) {
                const Tap y0 = tap_of(y, bin_y, 0), y1 = tap_of(y, bin_y, 1);
                const Tap x0 = tap_of(x, bin_x, 0), x1 = tap_of(x, bin_x, 1);
                add_sample<WIDE>(sums, map, width, pitch, y0, x0);
                add_sample<WIDE>(sums, map, width, pitch, y0, x1);
                add_sample<WIDE>(sums, map, width, pitch, y1, x0);
                add_sample<WIDE>(sums, map, width, pitch, y1, x1);
            } else {
                for (u32 iy = 0; iy < y.samples; ++iy) {
                    const Tap down = tap_of(y, bin_y, iy);
                    for (u32 ix = 0; ix < x.samples; ++ix) {
                        add_sample<WIDE>(sums, map, width, pitch, down, tap_of(x, bin_x, ix));
                    }
                }
            }
            const u64 taken = (u64)x.samples * y.samples;
            const float count = SAMPLES ? (float)(SAMPLES * SAMPLES) : (float)(taken > 0 ? taken : 1);
#pragma unroll
            for (int i = 0; i < WIDE; ++i) sums[i] = sums[i] / count;
        }
    }
    if (WIDE == 8) store8(out, sums); else *out = f2h(sums[0]);
}

KERNEL(224) roi_align_7(const __grid_constant__ RoiAlign op) { roi_align<7, 2, 8>(op); }
KERNEL(224) roi_align_14(const __grid_constant__ RoiAlign op) { roi_align<14, 2, 8>(op); }
KERNEL(224) roi_align_wide(const __grid_constant__ RoiAlign op) { roi_align<0, 0, 8>(op); }
KERNEL(224) roi_align_single(const __grid_constant__ RoiAlign op) { roi_align<0, 0, 1>(op); }
