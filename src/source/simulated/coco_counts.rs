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

#[cfg(test)]
mod tests {
    use super::encode_counts;

    /// The other way, to check by: counts to a row-major mask.
    fn decode(counts: &str, w: usize, h: usize) -> Vec<u8> {
        let (mut runs, mut k): (Vec<i64>, usize) = (Vec::new(), 0);
        let bytes = counts.as_bytes();
        while k < bytes.len() {
            let (mut x, mut shift) = (0i64, 0);
            loop {
                let c = i64::from(bytes[k]) - 48;
                k += 1;
                x |= (c & 0x1F) << shift;
                shift += 5;
                if c & 0x20 == 0 {
                    if c & 0x10 != 0 {
                        x |= -1 << shift;
                    }
                    break;
                }
            }
            if runs.len() > 2 {
                x += runs[runs.len() - 2];
            }
            runs.push(x);
        }
        let mut columns = Vec::new();
        for (k, run) in runs.iter().enumerate() {
            columns.extend(std::iter::repeat_n((k % 2) as u8, *run as usize));
        }
        (0..w * h).map(|at| columns[at % w * h + at / w]).collect()
    }

    #[test]
    fn runs_go_down_the_columns() {
        // Columns 010, 111: runs 1 1 1 3.
        assert_eq!(encode_counts(&[0, 1, 1, 1, 0, 1], 2, 3), "1112");
        assert_eq!(encode_counts(&[0; 6], 2, 3), "6");
        assert_eq!(encode_counts(&[1; 6], 2, 3), "06");
    }

    #[test]
    fn decoding_gives_the_mask_back() {
        let (w, h) = (37, 61);
        for salt in 0..20u64 {
            let mask: Vec<u8> = (0..w * h)
                .map(|k| u8::from(super::super::num::hash((salt << 20) | (k as u64 / (1 + salt))) & 3 == 0))
                .collect();
            assert_eq!(decode(&encode_counts(&mask, w, h), w, h), mask);
        }
    }
}
