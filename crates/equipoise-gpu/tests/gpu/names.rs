//! A kernel has one name: that of its shader, its wrapper here and its twin in `equipoise-core`. What
//! they exchange has one layout.

use std::collections::BTreeSet;
use std::mem::offset_of;
use std::path::Path;

use equipoise_core::engine::{Nearest, NearestGradient};
use equipoise_core::{Candidate, RowStatistics};
use equipoise_shaders::{ALL, struct_layout};

/// Stems of the files in `folder`, relative to this crate, with `extension`, and names of the folders
/// that hold the variants of one kernel.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path());
    entries
        .filter(|path| path.is_dir() || path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|stem| {
            let others = [
                "mod", "engine", "plan", "rough", "row", "centres", "scorer", "strip", "tile",
                "twins", "import",
            ];
            !others.contains(&stem.as_str())
        })
        .collect()
}

#[test]
fn shader_wrapper_and_twin_share_their_names() {
    let mut shaders: BTreeSet<String> = ALL.iter().map(|shader| shader.kernel.into()).collect();
    assert_eq!(stems("../../shaders/wgsl", "wgsl"), shaders, "shaders");
    // They measure the device (ceilings.rs), and have nothing to compute on a CPU.
    assert!(shaders.remove("peak"));
    assert_eq!(stems("src/kernels", "rs"), shaders, "wrappers");
    assert_eq!(stems("../equipoise-core/src/cpu", "rs"), shaders, "twins");
}

/// Asserts that members, in order, lie where the shader has them. Names may differ: `class` is
/// reserved in WGSL.
fn assert_layout(name: &str, size: usize, offsets: &[usize]) {
    let layout = struct_layout(name).unwrap_or_else(|| panic!("no struct {name} in the shaders"));
    let found: Vec<usize> = layout.members.iter().map(|(_, at)| *at as usize).collect();
    assert_eq!(
        (layout.size as usize, &found[..]),
        (size, offsets),
        "{name}"
    );
}

#[test]
fn results_are_laid_out_as_the_shaders_write_them() {
    assert_layout(
        "Candidate",
        size_of::<Candidate>(),
        &[
            offset_of!(Candidate, row),
            offset_of!(Candidate, class),
            offset_of!(Candidate, predicted),
            offset_of!(Candidate, runner_up),
            offset_of!(Candidate, rival),
            offset_of!(Candidate, lower),
            offset_of!(Candidate, upper),
        ],
    );
    assert_layout(
        "RowStatistics",
        size_of::<RowStatistics>(),
        &[
            offset_of!(RowStatistics, tolerance),
            offset_of!(RowStatistics, predicted),
            offset_of!(RowStatistics, runner_up),
            offset_of!(RowStatistics, rival),
            offset_of!(RowStatistics, gap),
            offset_of!(RowStatistics, sum),
            offset_of!(RowStatistics, moment),
            offset_of!(RowStatistics, mase_lower),
            offset_of!(RowStatistics, mase_upper),
        ],
    );
    assert_layout(
        "Nearest",
        size_of::<Nearest>(),
        &[
            offset_of!(Nearest, tolerance),
            offset_of!(Nearest, centre),
            offset_of!(Nearest, top),
            offset_of!(Nearest, second),
        ],
    );
    assert_layout(
        "NearestGradient",
        size_of::<NearestGradient>(),
        &[
            offset_of!(NearestGradient, nearest),
            offset_of!(NearestGradient, square),
            offset_of!(NearestGradient, error),
        ],
    );
}
