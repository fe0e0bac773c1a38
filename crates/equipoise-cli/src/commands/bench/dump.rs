//! `--dump`: the WGSL that devices get, and what naga makes of it for each of them.

use std::path::{Path, PathBuf};

use equipoise::gpu::shaders::{ALL, Backend, Translation, translate};
use equipoise::pool::{self, OutputFile};

use super::own::OwnKernel;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// Shaders to write.
#[derive(Debug, Clone)]
pub(crate) struct Dump {
    pub(crate) folder: PathBuf,
    /// Beside ours.
    pub(crate) own: Vec<OwnKernel>,
    pub(crate) force: bool,
}

/// Writes them, each as `KERNEL-VARIANT` with the endings of the languages.
///
/// # Errors
/// Where a kernel of one's own is none, or a file cannot be written or is there already.
pub(super) fn run(dump: &Dump, console: Console) -> Result<()> {
    let own = dump.own.iter().map(|own| Ok((own, own.read()?)));
    let own = own.collect::<Result<Vec<_>>>()?;
    std::fs::create_dir_all(&dump.folder).map_err(|error| Failure::from(error).at(&dump.folder))?;
    let mut files = Vec::new();
    let mut add = |name: &str, ending: &str, bytes: Vec<u8>| {
        files.push((dump.folder.join(format!("{name}.{ending}")), bytes));
    };
    let mut left_out = Vec::new();
    for shader in ALL {
        let name = shader.name();
        add(&name, "wgsl", shader.source.into());
        for backend in shader.backends {
            let translated = translate(shader, *backend).map_err(Failure::new)?;
            add(&name, ending(*backend), bytes(translated));
        }
    }
    for (file, shader) in &own {
        let stem = file.path.file_stem().unwrap_or_default();
        let name = format!("own-{}", stem.to_string_lossy());
        add(&name, "wgsl", shader.source.clone().into());
        for backend in Backend::ALL {
            match shader.translate(*backend) {
                Ok(translated) => add(&name, ending(*backend), bytes(translated)),
                Err(reason) => left_out.push(format!("{name}.{}: {reason}", ending(*backend))),
            }
        }
    }
    for (index, (path, _)) in files.iter().enumerate() {
        if files[..index].iter().any(|(other, _)| other == path) {
            let failure = Failure::usage("two kernels would be written there").at(path);
            return Err(failure.with_hint("give their files different names"));
        }
        pool::check_output(path, dump.force)?;
    }
    for (path, bytes) in &files {
        write(path, dump.force, bytes)?;
    }
    for reason in left_out {
        console.note(format!("left out {reason}"));
    }
    console.note(format!(
        "wrote {} files to {}",
        files.len(),
        dump.folder.display()
    ));
    Ok(())
}

fn write(path: &Path, force: bool, bytes: &[u8]) -> Result<()> {
    Ok(OutputFile::write_all_to(path, force, bytes)?)
}

fn ending(backend: Backend) -> &'static str {
    match backend {
        Backend::Vulkan => "spv",
        Backend::Metal => "metal",
        Backend::Dx12 => "hlsl",
    }
}

fn bytes(translation: Translation) -> Vec<u8> {
    match translation {
        Translation::Words(words) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        Translation::Text(text) => text.into_bytes(),
    }
}
