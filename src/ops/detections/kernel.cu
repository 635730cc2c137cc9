// Detections (ops/detections/cpu.rs): logits -> scores -> candidates of each class -> NMS within the class -> best of all
// classes.
//
// N images, R proposals an image of which counts[image] are there, K classes with the background at 0, D detections.
#include "boxes.cuh"
#include "nms.cuh"
#include "select.cuh"

#define SOFTMAX_ROWS 4
#define CLASS_THREADS 256

// What a candidate's box is made of.
struct DetBoxes {
    Tensor deltas;             // [N R, 4 K]
    const float4* proposals;   // [N R]
    const u32* pictures;       // [N][width, height]
    BoxCoder coder;
};

// Whether class `class_index` of a proposal has a box, and which.
__device__ __forceinline__ bool det_box(const DetBoxes& of, u32 image, size_t row, u32 class_index, float4& box) {
    const u32 c = 4 * class_index;
    const float4 d = {tensor_at(of.deltas, row, c), tensor_at(of.deltas, row, c + 1), tensor_at(of.deltas, row, c + 2),
                      tensor_at(of.deltas, row, c + 3)};
    box = box_decode(of.coder, d, of.proposals[row]);
    return box_cut(of.coder, of.pictures[2 * image], of.pictures[2 * image + 1], box);
}

// One warp a row; dynamic shared memory: SOFTMAX_ROWS * K floats. scores [N R][K] of the rows that are there: e^x of each
// over their sum, which is taken in order.
BLOCK_KERNEL(32 * SOFTMAX_ROWS) det_softmax(const __grid_constant__ Tensor logits, const u32* __restrict__ counts, u32 rows, u32 all_rows, u32 classes,
          float* __restrict__ scores) {
    DYN_SHARED(float, room);
    const u32 lane = threadIdx.x % 32, row = blockIdx.x * SOFTMAX_ROWS + threadIdx.x / 32;
    if (row >= all_rows || row % rows >= counts[row / rows]) return;   // the whole warp
    float* powers = room + threadIdx.x / 32 * classes;
    float largest = __int_as_float(0xff800000);
    for (u32 c = lane; c < classes; c += 32) largest = most(tensor_at(logits, row, c), largest);   // a NaN is none
    for (u32 distance = 16; distance; distance /= 2)
        largest = most(__shfl_xor_sync(0xffffffffu, largest, distance), largest);
    for (u32 c = lane; c < classes; c += 32) powers[c] = exp_det(tensor_at(logits, row, c) - largest);
    __syncwarp();
    float sum = 0.0f;
#pragma unroll 8
    for (u32 c = 0; c < classes; ++c) sum += powers[c];
    scores += (size_t)row * classes;
    for (u32 c = lane; c < classes; c += 32) scores[c] = powers[c] / sum;
}

// Grid (K - 1, N). Dynamic shared memory: `room` keys, then D boxes. keys [N][K - 1][D]: descending score above and
// row * K + class below, of what NMS keeps of the class, at most D; NO_KEY beyond.
BLOCK_KERNEL(CLASS_THREADS) det_class(const __grid_constant__ DetBoxes of, const float* __restrict__ scores, const u32* __restrict__ counts,
          u32 rows, u32 classes, float score_threshold, float iou_threshold, u32 room, u32 limit, u64* __restrict__ keys) {
    DYN_SHARED(u64, list);
    float4* kept = (float4*)(list + room);
    __shared__ float4 boxes[TILE];
    __shared__ u32 before[4][TILE];   // in the tile: 16 bits from each part of the block
    __shared__ u32 dropped[CLASS_THREADS / 32];
    __shared__ u64 word;
    __shared__ u32 found;
    const u32 tid = threadIdx.x, image = blockIdx.y, class_index = blockIdx.x + 1;
    const u32 count = counts[image] < rows ? counts[image] : rows;
    const size_t first = (size_t)image * rows;
    const float extra = of.coder.extra;
    keys += ((size_t)image * (classes - 1) + blockIdx.x) * limit;
    if (tid == 0) found = 0;
    __syncthreads();
    for (u32 row = tid; row < count; row += CLASS_THREADS) {
        const float score = scores[(first + row) * classes + class_index];
        float4 box;
        if (score > score_threshold && det_box(of, image, first + row, class_index, box))
            list[atomicAdd(&found, 1u)] = (u64)descending_key(score) << 32 | row;
    }
    __syncthreads();
    const u32 candidates = found;
    sort_keys(list, candidates);
    const u32 in_tile = tid % TILE, part = tid / TILE;
    u32 total = 0;
    for (u32 start = 0; start < candidates && total < limit; start += TILE) {
        const bool is_there = start + in_tile < candidates;
        const u64 key = is_there ? list[start + in_tile] : 0;
        if (part == 0) {
            float4 box = {0.0f, 0.0f, 0.0f, 0.0f};
            if (is_there) det_box(of, image, first + (u32)key, class_index, box);
            boxes[in_tile] = box;
        }
        __syncthreads();
        const float4 candidate = boxes[in_tile];
        bool drop = !is_there;
        for (u32 i = part; i < total && !drop; i += 4) drop = overlaps(kept[i], candidate, extra, iou_threshold);
        u32 bits = 0;
        for (u32 i = 0; i < 16 && part * 16 + i < in_tile; ++i)
            if (overlaps(boxes[part * 16 + i], candidate, extra, iou_threshold)) bits |= 1u << i;
        before[part][in_tile] = bits;
        const u32 ballot = __ballot_sync(0xffffffffu, drop);
        if (tid % 32 == 0) dropped[tid / 32] = ballot;
        __syncthreads();
        if (tid < 32) {
            u64 low = 0, high = 0;
            for (u32 p = 0; p < 4; ++p) {
                low |= (u64)before[p][tid] << 16 * p;
                high |= (u64)before[p][tid + 32] << 16 * p;
            }
            const u32 first_half = dropped[0] | dropped[2] | dropped[4] | dropped[6];
            const u32 second_half = dropped[1] | dropped[3] | dropped[5] | dropped[7];
            const u64 stays = keep_in_tile(~((u64)second_half << 32 | first_half), low, high);
            if (tid == 0) word = stays;
        }
        __syncthreads();
        const u64 stays = word;
        const u32 rank = total + popc64(stays & ((1ull << in_tile) - 1));
        if (part == 0 && (stays >> in_tile & 1) && rank < limit) {
            kept[rank] = candidate;
            keys[rank] = (key & 0xffffffff00000000ull) | ((u32)key * classes + class_index);
        }
        total += popc64(stays);
        if (total > limit) total = limit;
    }
    for (u32 i = total + tid; i < limit; i += CLASS_THREADS) keys[i] = ~0ull;
}

// What NMS kept of all classes of one image.
struct ClassKeys {
    const u64* keys;
    u32 count;
};

template <class F>
__device__ __forceinline__ void each_key(const ClassKeys& of, F use) {
    for (u32 start = threadIdx.x; start < of.count; start += 4 * SELECT_THREADS) {
        u64 v[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 at = start + i * SELECT_THREADS;
            v[i] = at < of.count ? of.keys[at] : ~0ull;
        }
#pragma unroll
        for (u32 i = 0; i < 4; ++i)
            if ((u32)(v[i] >> 32) != NO_KEY) use(v[i]);
    }
}

// Grid N. out_boxes, out_scores, out_classes [N][D], zeros beyond out_counts [N]: the best of all classes by score, then
// proposal, then class; class ids count from 0 without the background.
BLOCK_KERNEL(SELECT_THREADS) det_best(const __grid_constant__ DetBoxes of, const u64* __restrict__ keys, u32 rows, u32 classes, u32 wanted,
          float4* __restrict__ out_boxes, float* __restrict__ out_scores, u32* __restrict__ out_classes,
          u32* __restrict__ out_counts) {
    __shared__ u64 room[SELECT_ROOM];
    __shared__ SelectState state;
    const u32 image = blockIdx.x, all = (classes - 1) * wanted;
    const u32 found = select_least(ClassKeys{keys + (size_t)image * all, all}, nullptr, wanted, room, state);
    for (u32 i = threadIdx.x; i < wanted; i += SELECT_THREADS) {
        float4 box = {0.0f, 0.0f, 0.0f, 0.0f};
        float score = 0.0f;
        u32 class_id = 0;
        if (i < found) {
            const u64 key = room[i];
            const u32 row = (u32)key / classes, class_index = (u32)key % classes;
            det_box(of, image, (size_t)image * rows + row, class_index, box);
            score = value_of_key((u32)(key >> 32));
            class_id = class_index - 1;
        }
        const size_t out = (size_t)image * wanted + i;
        out_boxes[out] = box;
        out_scores[out] = score;
        out_classes[out] = class_id;
    }
    if (threadIdx.x == 0) out_counts[image] = found;
}
