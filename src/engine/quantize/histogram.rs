//! How the values of one tensor are spread, and where to cut them off. A histogram of fixed size over `(-limit, limit)`,
//! limit a power of two: when a value does not fit, the limit doubles and neighbours merge, exactly as if all values had
//! been counted at the final limit. The order of the values therefore changes nothing.

use std::fmt;
use std::str::FromStr;

use super::Range;

/// Even, and enough that a range which fills a quarter of it still has eight bins a level of 8 bits.
const BINS: usize = 16_384;
const HALF: usize = BINS / 2;
/// Finer values than this count as zero.
const SMALLEST_LIMIT: f32 = 1.0 / (1u64 << 60) as f32;

/// Where a range is cut off. What lies outside is clipped; what lies inside is coarser the wider the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Nowhere.
    Max,
    /// This share of the values, in percent, lies below the upper end, and the same share above the lower end.
    Percentile(f64),
    /// Where the 8-bit values tell most of the real ones: least Kullback-Leibler divergence of the magnitudes.
    Entropy,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Max => f.write_str("max"),
            Method::Percentile(percent) => write!(f, "percentile {percent}"),
            Method::Entropy => f.write_str("entropy"),
        }
    }
}

impl FromStr for Method {
    type Err = String;
    fn from_str(text: &str) -> Result<Method, String> {
        let wrong = || {
            format!("{text:?} is no calibration method: use \"max\", \"entropy\" or \"percentile P\" with P 50 to 100")
        };
        match text.split_once(' ') {
            None if text == "max" => Ok(Method::Max),
            None if text == "entropy" => Ok(Method::Entropy),
            Some(("percentile", percent)) => match percent.parse() {
                Ok(percent) if (50.0..=100.0).contains(&percent) => Ok(Method::Percentile(percent)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

/// Bin i counts values in `[(i - HALF) / HALF, (i + 1 - HALF) / HALF) * limit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bins: Vec<u64>,
    /// Above every magnitude counted.
    limit: f32,
    min: f32,
    max: f32,
    count: u64,
    not_finite: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            bins: vec![0; BINS],
            limit: SMALLEST_LIMIT,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            count: 0,
            not_finite: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, values: &[f32]) {
        let (mut min, mut max, mut finite) = (self.min, self.max, 0u64);
        for &value in values.iter().filter(|v| v.is_finite()) {
            min = min.min(value);
            max = max.max(value);
            finite += 1;
        }
        self.not_finite += values.len() as u64 - finite;
        if finite == 0 {
            return;
        }
        (self.min, self.max) = (min, max);
        self.count += finite;
        // The last power of two of f32 has no double: such values share the outermost bin.
        while self.limit <= max.max(-min) && self.limit < f32::MAX / 2.0 {
            self.double();
        }
        let bins_a_unit = HALF as f32 / self.limit;
        for &value in values.iter().filter(|v| v.is_finite()) {
            // Exact: both factors of bins_a_unit are powers of two.
            let bin = (value * bins_a_unit).floor() as i64 + HALF as i64;
            self.bins[bin.clamp(0, BINS as i64 - 1) as usize] += 1;
        }
    }

    /// Finite values seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// NaN and infinities seen; they are in no bin.
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// Width of a bin: how far a percentile may be off.
    pub fn resolution(&self) -> f32 {
        self.limit / HALF as f32
    }

    /// Of no values: the range of zero alone.
    pub fn range(&self, method: Method) -> Range {
        if self.count == 0 {
            return Range::ZERO;
        }
        let (low, high) = match method {
            Method::Max => (self.min, self.max),
            Method::Percentile(percent) => self.percentile(percent),
            Method::Entropy => {
                let end = self.least_divergence();
                (self.min.max(-end), self.max.min(end))
            }
        };
        Range::around_zero(low, high)
    }

    fn double(&mut self) {
        let mut wider = vec![0; BINS];
        for (i, count) in self.bins.iter().enumerate() {
            wider[i / 2 + HALF / 2] += count;
        }
        self.bins = wider;
        self.limit *= 2.0;
    }

    /// Lower edge of bin `i`, which is the upper edge of the one before.
    fn edge(&self, i: usize) -> f32 {
        (i as f32 - HALF as f32) * self.resolution()
    }

    fn percentile(&self, percent: f64) -> (f32, f32) {
        let outside = ((1.0 - percent / 100.0) * self.count as f64).floor() as u64;
        let low = self.edge(first_inside(self.bins.iter(), outside));
        let high = self.edge(BINS - first_inside(self.bins.iter().rev(), outside));
        (low.max(self.min), high.min(self.max))
    }

    /// The magnitude at which to cut off: the histogram of magnitudes, cut there with the rest heaped on the last bin, is
    /// compared with itself rounded to the levels that 8 bits have.
    fn least_divergence(&self) -> f32 {
        const FINE: usize = 2048;
        let levels = if self.min < 0.0 { 128 } else { 256 };
        // Magnitudes fill at least half of the limit, so FINE bins over them have at least FINE / 2 in use.
        let mut magnitudes = [0f64; FINE];
        for i in 0..HALF {
            let both = self.bins[HALF + i] + self.bins[HALF - 1 - i];
            magnitudes[i * FINE / HALF] += both as f64;
        }
        // Zero is exact at any scale, so how many zeros there are says nothing of the scale; a ReLU makes half of a tensor so.
        magnitudes[0] = magnitudes[1];
        let used = magnitudes.iter().rposition(|&c| c > 0.0).map_or(1, |last| last + 1);
        let mut best = (f64::INFINITY, used);
        for end in (levels..used).step_by(8).chain([used]) {
            let divergence = divergence(&magnitudes[..end], magnitudes[end..].iter().sum(), levels);
            if divergence < best.0 {
                best = (divergence, end);
            }
        }
        best.1 as f32 / FINE as f32 * self.limit
    }
}

/// The first bin that `outside` values do not cover.
fn first_inside<'a>(mut bins: impl Iterator<Item = &'a u64>, outside: u64) -> usize {
    let mut passed = 0;
    let inside = bins.position(|count| {
        passed += count;
        passed > outside
    });
    inside.unwrap_or(0)
}

/// KL divergence of `kept` with `cut` heaped on its end, from `kept` as it looks with `levels` levels only.
fn divergence(kept: &[f64], cut: f64, levels: usize) -> f64 {
    let inside: f64 = kept.iter().sum();
    let total = inside + cut;
    if inside <= 0.0 {
        return f64::INFINITY;
    }
    let mut sum = 0.0;
    let last = kept.len() - 1;
    for level in 0..levels {
        let (from, to) = (level * kept.len() / levels, (level + 1) * kept.len() / levels);
        let bins = &kept[from..to];
        // A level spreads evenly over the bins it stands for, but not over those that are empty.
        let filled = bins.iter().filter(|&&c| c > 0.0).count();
        let even = bins.iter().sum::<f64>() / filled.max(1) as f64;
        for (i, &count) in bins.iter().enumerate() {
            let heaped = if from + i == last { count + cut } else { count };
            if heaped > 0.0 {
                let (p, q) = (heaped / total, if count > 0.0 { even / inside } else { 1e-12 });
                sum += p * (p / q).ln();
            }
        }
    }
    sum
}

#[cfg(test)]
#[path = "histogram_tests.rs"]
mod tests;
