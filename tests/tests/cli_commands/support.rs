//! Runs the binary and makes small data for it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::tensor::{Dtype, TensorView};

/// The binary beside this test's own executable, as `cargo build --release -p equipoise-cli` leaves it.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/TEST");
    let binary = folder.join(format!("equipoise{}", std::env::consts::EXE_SUFFIX));
    assert!(
        binary.is_file(),
        "{} is not there: `cargo build --release -p equipoise-cli` makes it",
        binary.display()
    );
    binary
}

/// What a run left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON object on stdout.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// Asserts that it failed with `code`, one `error:` line that has all of `words`, and a hint.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        let errors: Vec<_> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{}", self.stderr);
        for word in words {
            assert!(errors[0].contains(word), "no `{word}` in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Asserts the exit status alone, where clap words the message.
    #[track_caller]
    pub(crate) fn code_is(self, code: i32) {
        assert_eq!(self.code, code, "{}", self.stderr);
    }

    /// Asserts a `hint:` line with all of `words`.
    #[track_caller]
    pub(crate) fn hints(self, words: &[&str]) -> Self {
        let hint = self
            .stderr
            .lines()
            .find(|line| line.starts_with("hint: "))
            .unwrap_or_default();
        for word in words {
            assert!(
                hint.contains(word),
                "no `{word}` in the hint of: {}",
                self.stderr
            );
        }
        self
    }
}

/// A fresh folder to run in, with small data.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether there is such a file or folder.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Names in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), contents).expect("a file");
        self
    }

    /// Reads a text file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A safetensors file of f32 tensors.
    pub(crate) fn tensors(&self, name: &str, tensors: &[(&str, &[usize], &[f32])]) -> &Self {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| {
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect()
            })
            .collect();
        let views: HashMap<String, TensorView<'_>> = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape, _), bytes)| {
                let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("a tensor");
                ((*name).to_owned(), view)
            })
            .collect();
        self.write(
            name,
            safetensors::serialize(&views, None).expect("safetensors"),
        )
    }

    /// A pool `pool.safetensors` of `rows` embeddings of 3 numbers and a head `head.safetensors`
    /// of 3 classes.
    pub(crate) fn with_pool(self, rows: usize) -> Self {
        let values: Vec<f32> = (0..rows * 3)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0)
            .collect();
        self.tensors("pool.safetensors", &[("embeddings", &[rows, 3], &values)]);
        let weight = [1.0, 0.5, -0.25, -0.5, 1.0, 0.75, 0.25, -1.0, 1.5];
        self.tensors(
            "head.safetensors",
            &[
                ("weight", &[3, 3], &weight),
                ("bias", &[3], &[0.0, 0.1, -0.1]),
            ],
        );
        self
    }

    /// Runs `equipoise` here with arguments split at spaces.
    pub(crate) fn run(&self, arguments: &str) -> Run {
        let output = Command::new(binary())
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            // Without it, Vulkan's loader has something to say of its own.
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        Run::of(output)
    }

    /// Runs `select` on the pool, on the CPU, with further arguments.
    pub(crate) fn select(&self, arguments: &str) -> Run {
        self.run(&format!(
            "select --device cpu --embeddings pool.safetensors --out picks.csv {arguments}"
        ))
    }
}
