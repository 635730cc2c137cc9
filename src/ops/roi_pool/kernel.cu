// RoI max pooling over one map, channels last: operation by operation as cpu.rs beside this.
//
// grid (blocks of a RoI, RoIs of an image, images), linear blocks; a thread has one output cell and 1 or 8 channels.
#include "common.cuh"
#include "vector8.cuh"

struct RoiPool {
    const f16* features;      // [N, height, width, pitch]
    const float4* rois;       // [N, rois_per_image], network px
    const u32* counts;        // [N]
    f16* out;                 // [N, rois_per_image, side, side, out_pitch]
    u32 width, height, pitch;
    float scale;              // feature px in a network px
    u32 channels, side;
    u32 rois_per_image;
    u32 out_channels;         // >= channels; the rest become 0
    u32 out_pitch;
    u32 unused;
};

struct Axis { int start, cells; float bin; };
struct Range { int from, to; };

__device__ __forceinline__ bool is_finite(float v) { return v - v == 0.0f; }

// False where a RoI pools to zeros.
__device__ __forceinline__ bool axis_of(Axis& axis, float low, float high, float scale, u32 side, u32 cells) {
    const float reach = 16777216.0f;
    const float start = roundf(low * scale), end = roundf(high * scale);   // halves away from zero
    if (!(is_finite(start) && is_finite(end))) return false;
    axis.start = (int)least(most(start, -reach), reach);
    const int length = (int)least(most(end, -reach), reach) - axis.start + 1;
    axis.bin = (float)(length > 1 ? length : 1) / (float)side;
    axis.cells = (int)cells;
    return true;
}

__device__ __forceinline__ int within(int v, int end) { return v < 0 ? 0 : v > end ? end : v; }

__device__ __forceinline__ Range cell_of(const Axis& axis, u32 index) {
    Range range;
    range.from = within((int)floorf((float)index * axis.bin) + axis.start, axis.cells);
    range.to = within((int)ceilf((float)(index + 1) * axis.bin) + axis.start, axis.cells);
    return range;
}

template <int WIDE>
__device__ __forceinline__ void roi_pool(const RoiPool& op) {
    const u32 side = op.side, groups = op.out_channels / WIDE;
    const u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 cell = thread / groups, channel = thread % groups * WIDE;
    if (cell >= side * side) return;
    const u32 roi = blockIdx.y, image = blockIdx.z;
    const size_t row = (size_t)image * op.rois_per_image + roi;
    f16* out = op.out + (row * (side * side) + cell) * op.out_pitch + channel;
    float largest[WIDE];
#pragma unroll
    for (int i = 0; i < WIDE; ++i) largest[i] = 0.0f;
    if (roi < op.counts[image] && channel < op.channels) {
        const float4 box = op.rois[row];
        Axis x, y;
        if (axis_of(x, box.x, box.z, op.scale, side, op.width) && axis_of(y, box.y, box.w, op.scale, side, op.height)) {
            const f16* map = op.features + (size_t)image * op.width * op.height * op.pitch + channel;
            const Range rows = cell_of(y, cell / side), columns = cell_of(x, cell % side);
            if (rows.from < rows.to && columns.from < columns.to) {
#pragma unroll
                for (int i = 0; i < WIDE; ++i) largest[i] = -3.40282347e+38f;
            }
            for (int r = rows.from; r < rows.to; ++r) {
                for (int c = columns.from; c < columns.to; ++c) {
                    const f16* at = map + ((size_t)r * op.width + c) * op.pitch;
                    float v[WIDE];
                    if (WIDE == 8) load8(at, v); else v[0] = h2f(*at);
#pragma unroll
                    for (int i = 0; i < WIDE; ++i) largest[i] = v[i] > largest[i] ? v[i] : largest[i];
                }
            }
        }
    }
    if (WIDE == 8) store8(out, largest); else *out = f2h(largest[0]);
}

KERNEL(224) roi_pool_wide(const __grid_constant__ RoiPool op) { roi_pool<8>(op); }
KERNEL(224) roi_pool_single(const __grid_constant__ RoiPool op) { roi_pool<1>(op); }
