//! COCO compressed run lengths of a full-frame mask. Private and for now: `crate::instances::rle` replaces it.

/// `mask` row-major 0/1 of `w` by `h`; runs go down the columns, the first of them zeros.
pub fn encode_counts(mask: &[u8], w: usize, h: usize) -> String {
    let mut runs: Vec<i64> = Vec::new();
    let (mut value, mut run) = (0u8, 0i64);
    for x in 0..w {
        for y in 0..h {
            let here = mask[y * w + x];
            if here != value {
                runs.push(run);
                run = 0;
                value = here;
            }
            run += 1;
        }
    }
    runs.push(run);
    let mut out = String::new();
    for k in 0..runs.len() {
        // From the third on, the difference to the run two before; then five bits a character, low ones first.
        let mut x = if k > 2 { runs[k] - runs[k - 2] } else { runs[k] };
        loop {
            let low = x & 0x1F;
            x >>= 5;
            let more = if low & 0x10 != 0 { x != -1 } else { x != 0 };
            let code = low as u8 | if more { 0x20 } else { 0 };
            out.push(char::from(code + 48));
            if !more {
                break;
            }
        }
    }
    out
}
