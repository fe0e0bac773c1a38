//! A bad shader fails the build with a message that names its file and line.

#[path = "../build/assemble.rs"]
mod assemble;

use std::path::Path;

/// What the build script says where `from`, somewhere in `file`, reads `to`.
fn message(file: &str, from: &str, to: &str) -> String {
    let wgsl = Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for part in ["", "import", "logits", "peak"] {
        std::fs::create_dir_all(folder.path().join(part)).expect("a folder");
        for entry in std::fs::read_dir(wgsl.join(part)).expect("the shaders") {
            let path = entry.expect("a readable folder").path();
            if path.is_file() {
                let name = path.file_name().expect("a file's name");
                std::fs::copy(&path, folder.path().join(part).join(name)).expect("a copy");
            }
        }
    }
    let path = folder.path().join(file);
    let text = std::fs::read_to_string(&path).expect("a shader");
    let at = text
        .find(from)
        .unwrap_or_else(|| panic!("no {from:?} in {file}"));
    let line = text[..at].matches('\n').count() + 1;
    std::fs::write(&path, text.replacen(from, to, 1)).expect("a shader");
    let error = match assemble::kernels(folder.path()) {
        Ok(kernels) => panic!(
            "{file} is accepted: {:?}",
            kernels
                .iter()
                .map(|k| (
                    k.name, k.file, k.variant, k.features, k.backends, &k.source, &k.module
                ))
                .collect::<Vec<_>>()
        ),
        Err(error) => error,
    };
    let place = format!("{}:{line}:", path.display());
    assert!(error.starts_with(&place), "{place} is not where {error}");
    error
}

#[test]
fn syntax_in_a_kernel_behind_its_import() {
    let error = message(
        "row_statistics.wgsl",
        "let top = find_top",
        "let top == find_top",
    );
    assert!(error.lines().count() > 1, "{error}");
}

#[test]
fn unknown_name_in_an_import() {
    let error = message(
        "import/reduce_plain.wgsl",
        "join_tops(tops[lane]",
        "join_top(tops[lane]",
    );
    assert!(error.contains("join_top"), "{error}");
}

#[test]
fn what_parses_but_is_not_valid() {
    message(
        "class_candidates.wgsl",
        "fn append(candidate: Candidate) {",
        "fn append(candidate: Candidate) -> u32 {",
    );
}
