//! Python reads stores and candidates with the lines that the documentation shows.

use std::process::Command;

use equipoise_pool::Dtype;

use crate::candidates::first;
use crate::support::{Folder, store};

/// A Python block of the documentation, the first being number 1.
fn lines(block: usize) -> String {
    let formats = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats.md");
    let text = std::fs::read_to_string(formats).unwrap();
    let block = text
        .split("```python\n")
        .nth(block)
        .expect("a Python block");
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn the_documentation_shows_five_lines() {
    for (block, file) in [(1, "\"POOL.emb\""), (2, "\"first.cand\"")] {
        let lines = lines(block);
        assert_eq!(lines.lines().count(), 5, "{lines}");
        assert!(lines.contains(file));
    }
}

/// Runs `script` in `folder`.
fn run(folder: &Folder, script: &str) {
    let Some(python) = option_env!("EQUIPOISE_TEST_PYTHON") else {
        panic!("EQUIPOISE_TEST_PYTHON was not set when this was built");
    };
    let output = Command::new(python)
        .args(["-c", script])
        .current_dir(folder.path(""))
        .output()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
}

#[test]
#[cfg_attr(
    not(python),
    ignore = "needs EQUIPOISE_TEST_PYTHON, a Python with numpy and safetensors: see cargo xtask test"
)]
fn python_reads_a_store_with_the_documented_lines() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let folder = Folder::new().with_images(10);
        store(&folder, &folder.source(), dtype, 6);
        let script = lines(1)
            + &format!(
                "assert embeddings.shape == (16, 3) and str(embeddings.dtype) == 'float{}', embeddings\n",
                8 * dtype.size()
            )
            + "assert [float(value) for value in embeddings[3]] == [4.0, -2.0, 0.25], embeddings\n\
               assert len(rows) == 16 and rows[3]['id'] == 'a/004.png' and rows[3]['label'] == 'a', rows\n\
               assert rows[15]['id'] == 'b/009.png' and rows[15]['uri'].endswith('images/b/009.png'), rows\n";
        run(&folder, &script);
    }
}

#[test]
#[cfg_attr(
    not(python),
    ignore = "needs EQUIPOISE_TEST_PYTHON, a Python with numpy and safetensors: see cargo xtask test"
)]
fn python_reads_candidates_with_the_documented_lines() {
    let folder = Folder::new();
    first().write(&folder.path("first.cand"), false).unwrap();
    let script = lines(2)
        + "assert [list(map(int, r)) for r in rows] == [[3, 0, 4], [1]], rows\n\
           assert list(keys[0]) == [0.0, numpy.inf, numpy.inf] and list(keys[1]) == [-numpy.inf], keys\n\
           assert question['classes'] == ['cat', 'dog'] and names == {}, question\n\
           assert tensors['complete'].tolist() == [1, 0] and tensors['runner_up'].tolist()[:2] == [2**32 - 1, 0]\n";
    run(&folder, &script);
}
