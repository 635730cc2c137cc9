"""The paste rule, against its definition in whole fractions and against torchvision's."""

import unittest
from fractions import Fraction

import numpy as np

from ..evaluate import rows_of
from ..paste import half_away, lattice, paste, quantised


def by_definition(grid, box, height, width):
    """Pixel centres inside the box; bilinear between cell centres; 0 outside the grid; half counts."""
    x0, y0, x1, y1 = (Fraction(int(v), 256) for v in box)
    side, out = len(grid), np.zeros((height, width), np.uint8)

    def cell(b, a):
        return int(grid[b, a]) if 0 <= a < side and 0 <= b < side else 0

    for i in range(height):
        for j in range(width):
            x, y = j + Fraction(1, 2), i + Fraction(1, 2)
            if x0 <= x < x1 and y0 <= y < y1:
                u = (x - x0) / (x1 - x0) * side - Fraction(1, 2)
                v = (y - y0) / (y1 - y0) * side - Fraction(1, 2)
                a, b = u.__floor__(), v.__floor__()
                fx, fy = u - a, v - b
                total = (1 - fy) * ((1 - fx) * cell(b, a) + fx * cell(b, a + 1))
                total += fy * ((1 - fx) * cell(b + 1, a) + fx * cell(b + 1, a + 1))
                out[i, j] = 2 * total >= 255
    return out


class Paste(unittest.TestCase):
    def test_a_full_cell(self):
        got = paste(np.array([[255]]), [512, 512, 1536, 1536], 16, 16)
        np.testing.assert_array_equal(got[2:6, 2:6], [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]])
        self.assertEqual(got.sum(), 12)

    def test_any_grid_and_box_as_defined(self):
        rng = np.random.default_rng(5)
        for _ in range(40):
            side = int(rng.choice([1, 2, 7]))
            low = rng.integers(-2000, 3000, 2)
            box = [*low, *(low + rng.integers(1, 4000, 2))]
            grid = rng.integers(0, 256, (side, side))
            np.testing.assert_array_equal(paste(grid, box, 12, 15), by_definition(grid, box, 12, 15), str(box))

    def test_rounding(self):
        np.testing.assert_array_equal(half_away(np.array([0.5, -0.5, 1.49, 2.5])), [1, -1, 1, 3])
        np.testing.assert_array_equal(lattice(np.float32([[0.5 / 256, -0.5 / 256, 1, 2]])), [[1, -1, 256, 512]])
        np.testing.assert_array_equal(quantised(np.float32([0, 0.5, 1])), [0, 128, 255])

    def test_a_box_outside_the_picture_is_no_instance(self):
        import torch

        boxes = torch.tensor([[2.0, 2.0, 9.0, 8.0], [-9.0, 0.0, 0.0, 5.0]])
        found = boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 1]), torch.ones(2, 1, 28, 28)
        rows = rows_of(3, np.zeros((20, 20, 3), np.uint8), found)
        self.assertEqual([r["bbox"] for r in rows], [[2.0, 2.0, 7.0, 6.0]])
