// The mask of a detection's class as bytes: what mask_select::select and then MaskGrids::quantised give.
#include "common.cuh"

struct MaskSelect {
    Tensor logits;            // [N * per_image * cells, >= classes], background at channel 0
    const u32* class_ids;     // [N, per_image], of the foreground from 0
    const u32* counts;        // [N]
    u8* grids;                // [N, per_image, cells]
    u32 classes;              // K with the background
    u32 per_image;
    u32 cells;
    u32 unused;
};

// grid (blocks of a mask, detections of an image, images); a thread has one cell.
KERNEL(256) mask_select(const __grid_constant__ MaskSelect op) {
    const u32 cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= op.cells) return;
    const u32 image = blockIdx.z;
    const size_t detection = (size_t)image * op.per_image + blockIdx.y;
    const size_t at = detection * op.cells + cell;
    u8 value = 0;
    if (blockIdx.y < op.counts[image]) {
        const u32 class_id = op.class_ids[detection];
        if (class_id < op.classes - 1) {
            const float p = sigmoid(tensor_at(op.logits, at, class_id + 1));
            // The product is exact; so is the sum but for products far below a half. NaN becomes 0.
            value = p == p ? (u8)((double)p * 255.0 + 0.5) : 0;
        }
    }
    op.grids[at] = value;
}
