//! Plain loops, compiled once for each instruction set that is worth it.

use multiversion::multiversion;

/// Runs `work`, whose `#[inline(always)]` code is compiled for the widest vectors this processor has.
/// The results do not depend on them: nothing is fused or reordered unless the code says so.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+avx+fma",
    "x86_64+avx2+avx+fma"
))]
pub(crate) fn vectorised<R, F: FnOnce() -> R>(work: F) -> R {
    work()
}
