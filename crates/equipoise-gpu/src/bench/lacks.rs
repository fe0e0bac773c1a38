//! What keeps somebody's own version of a kernel, or one of ours with other constants, from a device and a head.

use equipoise_core::Head;
use equipoise_shaders::{Feature, OwnShader};
use wgpu::Features;

use crate::facts::Facts;
use crate::kernels::logits::own_lacks;

/// See the module.
pub(super) fn lacks(facts: &Facts, own: &OwnShader, head: &Head) -> Option<String> {
    // Matrix cores first: what has them has f16, too.
    let missing = own.features.iter().rev().find_map(|feature| {
        let (has, what) = match feature {
            Feature::F16 => (Features::SHADER_F16, "f16 in shaders (`enable f16`)"),
            Feature::Matrices => (
                Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
                "matrix cores (`enable wgpu_cooperative_matrix`)",
            ),
            Feature::Subgroups => (Features::SUBGROUP, "subgroups"),
        };
        (!facts.features.contains(has)).then_some(what)
    });
    if let Some(what) = missing {
        return Some(format!("it needs {what}, which the device does not have"));
    }
    let width = own
        .constants
        .get("WIDTH")
        .filter(|_| own.kernel == "row_norms");
    if let Some(width) = width.filter(|width| !head.dim().is_multiple_of(**width as usize)) {
        let dim = head.dim();
        return Some(format!(
            "{dim} columns are no multiple of its WIDTH, {width}"
        ));
    }
    own_lacks(facts, own, head)
}
