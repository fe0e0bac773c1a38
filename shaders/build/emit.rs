//! From validated modules to Rust.

use std::fmt::Write;

use naga::{AddressSpace, Expression, Literal, TypeInner};

use crate::assemble::Kernel;

/// The source that `lib.rs` includes: the table, the constants, the layouts and their assertions.
pub(crate) fn table(kernels: &[Kernel]) -> String {
    let mut out = String::new();
    let mut names = Vec::new();
    for kernel in kernels {
        let name = constant_name(kernel);
        shader(&mut out, kernel, &name);
        names.push(format!("&{name}"));
    }
    line(&mut out, "/// Every shader, one per kernel and variant.");
    line(
        &mut out,
        &format!("pub const ALL: &[&Shader] = &[{}];", names.join(", ")),
    );
    for kernel in kernels {
        constants(&mut out, kernel);
    }
    layouts(&mut out, kernels);
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// The parts of a name that are not empty, joined.
fn joined(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("_")
}

fn constant_name(kernel: &Kernel) -> String {
    joined(&[kernel.name, kernel.file, kernel.variant]).to_uppercase()
}

fn shader(out: &mut String, kernel: &Kernel, name: &str) {
    let [entry] = kernel.module.entry_points.as_slice() else {
        panic!("kernel {} has not one entry point", kernel.name);
    };
    let space = |wanted: fn(AddressSpace) -> bool| {
        let variables = kernel.module.global_variables.iter();
        variables.filter(move |(_, variable)| wanted(variable.space))
    };
    let storage = space(|space| matches!(space, AddressSpace::Storage { .. })).count();
    let workgroup: u32 = space(|space| space == AddressSpace::WorkGroup)
        .map(|(_, variable)| {
            let inner = &kernel.module.types[variable.ty].inner;
            // Each variable may be moved to a 16-byte boundary.
            inner.size(kernel.module.to_ctx()).next_multiple_of(16)
        })
        .sum();
    let (kernel_name, source) = (kernel.name, &kernel.source);
    let variant = joined(&[kernel.file, kernel.variant]);
    let (entry_name, size) = (&entry.name, entry.workgroup_size);
    let list = |of: &str, names: &[&str]| {
        let named: Vec<String> = names.iter().map(|name| format!("{of}::{name}")).collect();
        named.join(", ")
    };
    let features = list("Feature", kernel.features);
    let backends = list("Backend", kernel.backends);
    write!(
        out,
        "/// Kernel `{kernel_name}` {variant}\npub const {name}: Shader = Shader {{\n\
         kernel: {kernel_name:?}, variant: {variant:?}, source: {source:?},\n\
         entry: {entry_name:?}, workgroup_size: {size:?}, workgroup_bytes: {workgroup},\n\
         storage_buffers: {storage}, features: &[{features}],\n\
         backends: &[{backends}] }};\n"
    )
    .expect("a String can be written");
}

/// The kernel's named numbers, so that the host need not repeat them.
fn constants(out: &mut String, kernel: &Kernel) {
    let module = constant_name(kernel).to_lowercase();
    line(
        out,
        &format!("/// Constants of `{module}`.\npub mod {module} {{"),
    );
    for (_, constant) in kernel.module.constants.iter() {
        let (Some(name), Expression::Literal(literal)) = (
            &constant.name,
            &kernel.module.global_expressions[constant.init],
        ) else {
            continue;
        };
        let value = match literal {
            // By bits, so that nothing is rounded on the way.
            Literal::F32(value) => format!("f32 = f32::from_bits({})", value.to_bits()),
            Literal::U32(value) => format!("u32 = {value}"),
            _ => continue,
        };
        line(
            out,
            &format!("/// See the shader.\npub const {name}: {value};"),
        );
    }
    line(out, "}");
}

/// The shaders' structs, and assertions that the `…Parameters` agree with their Rust twins.
fn layouts(out: &mut String, kernels: &[Kernel]) {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut assertions = String::new();
    for kernel in kernels {
        for (_, ty) in kernel.module.types.iter() {
            let (Some(name), TypeInner::Struct { members, span }) = (&ty.name, &ty.inner) else {
                continue;
            };
            let offsets: Vec<(&str, u32)> = members
                .iter()
                .map(|member| (member.name.as_deref().unwrap_or_default(), member.offset))
                .collect();
            let layout =
                format!("StructLayout {{ name: {name:?}, size: {span}, members: &{offsets:?} }}");
            match seen.iter().find(|(known, _)| known == name) {
                Some((_, known)) => assert_eq!(*known, layout, "two structs are called {name}"),
                None => {
                    seen.push((name.clone(), layout));
                    if name.ends_with("Parameters") {
                        assert_layout(&mut assertions, name, *span, &offsets);
                    }
                }
            }
        }
    }
    let all: Vec<String> = seen.into_iter().map(|(_, layout)| layout).collect();
    line(out, "/// Every struct of the shaders, as naga lays it out.");
    line(
        out,
        &format!(
            "pub const STRUCTS: &[StructLayout] = &[{}];",
            all.join(", ")
        ),
    );
    out.push_str(&assertions);
}

fn assert_layout(out: &mut String, name: &str, size: u32, offsets: &[(&str, u32)]) {
    line(out, "const _: () = {");
    line(out, &format!("assert!(size_of::<{name}>() == {size});"));
    for (member, offset) in offsets {
        line(
            out,
            &format!("assert!(core::mem::offset_of!({name}, {member}) == {offset});"),
        );
    }
    line(out, "};");
}
