//! Python reads a store with the lines that the documentation shows.

use std::process::Command;

use equipoise_pool::Dtype;

use crate::support::{Folder, store};

/// The first Python block of the documentation.
fn lines() -> String {
    let formats = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats.md");
    let text = std::fs::read_to_string(formats).unwrap();
    let block = text.split("```python\n").nth(1).expect("a Python block");
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn the_documentation_shows_five_lines() {
    let lines = lines();
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert!(lines.contains("store = \"POOL.emb\"\n"));
}

#[test]
#[cfg_attr(
    not(python),
    ignore = "needs EQUIPOISE_TEST_PYTHON, a Python with numpy and safetensors: see cargo xtask test"
)]
fn python_reads_a_store_with_the_documented_lines() {
    let Some(python) = option_env!("EQUIPOISE_TEST_PYTHON") else {
        panic!("EQUIPOISE_TEST_PYTHON was not set when this was built");
    };
    for dtype in [Dtype::F32, Dtype::F16] {
        let folder = Folder::new().with_images(10);
        store(&folder, &folder.source(), dtype, 6);
        let script = lines()
            + &format!(
                "assert embeddings.shape == (16, 3) and str(embeddings.dtype) == 'float{}', embeddings\n",
                8 * dtype.size()
            )
            + "assert [float(value) for value in embeddings[3]] == [4.0, -2.0, 0.25], embeddings\n\
               assert len(rows) == 16 and rows[3]['id'] == 'a/004.png' and rows[3]['label'] == 'a', rows\n\
               assert rows[15]['id'] == 'b/009.png' and rows[15]['uri'].endswith('images/b/009.png'), rows\n";
        let output = Command::new(python)
            .args(["-c", &script])
            .current_dir(folder.path(""))
            .output()
            .unwrap_or_else(|error| panic!("{python}: {error}"));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
