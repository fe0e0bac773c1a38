//! Outputs that appear whole or not at all: written aside, synced, renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// How the names of files begin that are not complete yet.
pub(crate) const ASIDE: &str = ".equipoise-";

/// Fails where `path` is there already and `force` does not allow to replace it: asked before a
/// long run rather than after.
///
/// # Errors
/// [`Error::Exists`], and [`Error::Irreplaceable`] where it is a folder.
pub fn check_output(path: &Path, force: bool) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) if !force => Err(Error::Exists { path: path.into() }),
        Ok(found) if found.is_dir() => Err(Error::Irreplaceable {
            path: path.into(),
            what: "a folder",
        }),
        Ok(_) => Ok(()),
        // Now, not when what takes long has been done.
        Err(_) => fs::metadata(folder_of(path))
            .and_then(|folder| match folder.is_dir() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            })
            .map_err(Error::write(path)),
    }
}

/// A file that takes its name only when it is complete; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    writer: BufWriter<NamedTempFile>,
    force: bool,
}

impl OutputFile {
    /// A file to become `path`, written beside it until then.
    ///
    /// # Errors
    /// Those of [`check_output`]; [`Error::Write`] where the folder cannot be written to.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        check_output(path, force)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(ASIDE);
        #[cfg(unix)]
        {
            // As a file made without further ado would have them; the umask applies.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder
            .tempfile_in(folder_of(path))
            .map_err(Error::write(path))?;
        Ok(Self {
            path: path.into(),
            writer: BufWriter::new(file),
            force,
        })
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Exists`] where the name was taken meanwhile.
    pub fn commit(self) -> Result<()> {
        let path = self.path;
        let file = self
            .writer
            .into_inner()
            .map_err(|error| Error::write(&path)(error.into_error()))?;
        file.as_file().sync_all().map_err(Error::write(&path))?;
        let persisted = match self.force {
            true => file.persist(&path),
            false => file.persist_noclobber(&path),
        };
        match persisted {
            Ok(_) => sync_folder(folder_of(&path)).map_err(Error::write(&path)),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists { path })
            }
            Err(error) => Err(Error::write(&path)(error.error)),
        }
    }

    /// Writes `contents` as `path`.
    ///
    /// # Errors
    /// Those of [`OutputFile::create`] and [`OutputFile::commit`].
    pub fn write_all_to(path: &Path, force: bool, contents: &[u8]) -> Result<()> {
        let mut file = Self::create(path, force)?;
        file.write_all(contents).map_err(Error::write(path))?;
        file.commit()
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// `path` with `suffix` appended to its last part.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    // A trailing separator would put the suffix inside the folder.
    let mut name = path.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes renames in `folder` last: only Unix lets a folder be synced.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// Gives the finished folder `from` the name `to`; a store already there goes away, but only once
/// the new one stands in its place.
pub(crate) fn replace_folder(from: &Path, to: &Path) -> Result<()> {
    let write = |result: io::Result<()>| result.map_err(Error::write(to));
    let old = beside(to, ".replaced");
    let replaces = fs::symlink_metadata(to).is_ok();
    if replaces {
        remove(&old)?;
        write(fs::rename(to, &old))?;
    }
    if let Err(error) = fs::rename(from, to) {
        if replaces {
            // The error that is reported is the one that led here.
            let _ = fs::rename(&old, to);
        }
        return Err(Error::write(to)(error));
    }
    write(sync_folder(folder_of(to)))?;
    if replaces { remove(&old) } else { Ok(()) }
}

/// Removes a file or a folder, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(Error::write(path))
}
