//! One source, several instruction sets: a [`Kernel`] is plain Rust that the compiler vectorises, compiled here once for
//! each set of instructions and run with the widest this processor has. Other processors, NEON included, run it as built.

// A function compiled for instructions that not every processor has can only be called so; the check stands just above.
#![allow(unsafe_code)]

/// What a set of instructions is good at.
pub(super) trait Lanes {
    /// Sums of f32 to have at once: they stay in registers, and more are not faster.
    const SUMS: usize;
    fn mul_add(a: f32, b: f32, sum: f32) -> f32;
}

/// 32 registers of 16, products added by one instruction with one rounding.
#[cfg(target_arch = "x86_64")]
pub(super) enum Avx512 {}
/// 16 registers of 8, or 32 of 4; likewise.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) enum Fused {}
/// 16 registers of 4. A product, then a sum: without an instruction for both `f32::mul_add` is a call of a library.
#[cfg(any(test, not(target_arch = "aarch64")))]
pub(super) enum Baseline {}

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx512 {
    const SUMS: usize = 128;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Lanes for Fused {
    const SUMS: usize = 64;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

#[cfg(any(test, not(target_arch = "aarch64")))]
impl Lanes for Baseline {
    const SUMS: usize = 32;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
        a * b + sum
    }
}

/// An inner loop with its data. `run` and what it calls must be `#[inline(always)]`: what is not inlined is compiled for
/// the least processor.
pub(super) trait Kernel {
    type Output;
    fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs `kernel` with the widest instructions there are.
#[inline]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let fused = has!("avx2") && has!("fma");
        if fused && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            // SAFETY: the processor has all that `avx512` is compiled for, as just asked.
            return unsafe { avx512(kernel) };
        }
        if fused {
            // SAFETY: the processor has all that `avx2` is compiled for, as just asked.
            return unsafe { avx2(kernel) };
        }
        kernel.run::<Baseline>()
    }
    #[cfg(target_arch = "aarch64")]
    {
        kernel.run::<Fused>()
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        kernel.run::<Baseline>()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

/// Runs a kernel with each set of instructions there is, not the widest alone.
#[cfg(test)]
pub(super) fn dispatch_each<K: Kernel>(mut kernel: impl FnMut() -> K, mut check: impl FnMut(K::Output)) {
    check(dispatch(kernel()));
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has all that `avx2` is compiled for, as just asked.
        check(unsafe { avx2(kernel()) });
    }
    check(kernel().run::<Baseline>());
}
