"""Trains the Mask R-CNN weights bundled with maskcast, on a CPU or a GPU.

Belongs here: reading COCO sets, augmentation, the training loop, export to safetensors.
Not here: making the synthetic set (`maskcast synth`) and judging the result (`maskcast eval`), both Rust.
"""
