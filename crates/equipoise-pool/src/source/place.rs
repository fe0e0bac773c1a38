//! Where an image's bytes are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Listed, tarball, webdataset};
use crate::{Error, Result};

/// Where an entry's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    /// Number of the tar file, first byte, length.
    Member(usize, u64, usize),
    /// A row of a Parquet file.
    #[cfg(feature = "parquet")]
    Row {
        /// Of the file.
        number: usize,
        /// The row group.
        group: usize,
        /// In the row group.
        row: usize,
    },
}

/// First byte and length of each member of a tar file, by name.
type Members = HashMap<String, (u64, usize)>;

/// The tar and Parquet files of a source, by number.
#[derive(Debug, Default)]
pub(super) struct Tars {
    paths: Vec<PathBuf>,
    /// Members of those that a manifest names.
    members: HashMap<PathBuf, (usize, Members)>,
}

impl Tars {
    /// The images in the tar file at `path`; their ids begin with `prefix`, where there is one.
    pub(super) fn list(&mut self, path: &Path, prefix: Option<&str>) -> Result<Vec<Listed>> {
        let number = self.paths.len();
        self.paths.push(path.into());
        let members = tarball::members(path)?;
        webdataset::listed(path, number, prefix, members)
    }

    /// The images in the Parquet file at `path`.
    #[cfg(feature = "parquet")]
    pub(super) fn list_parquet(&mut self, path: &Path) -> Result<Vec<Listed>> {
        let number = self.paths.len();
        self.paths.push(path.into());
        super::parquet::list(path, number)
    }

    /// Where the member `name` of the tar file at `path` is; `None` where there is no such member.
    pub(super) fn member(&mut self, path: &Path, name: &str) -> Result<Option<Place>> {
        if !self.members.contains_key(path) {
            let members = tarball::members(path)?;
            let places = members
                .into_iter()
                .map(|member| (member.name, (member.start, member.size)));
            let entry = (self.paths.len(), places.collect());
            self.members.insert(path.into(), entry);
            self.paths.push(path.into());
        }
        let found = self.members.get(path).and_then(|(number, members)| {
            let (start, size) = members.get(name)?;
            Some(Place::Member(*number, *start, *size))
        });
        Ok(found)
    }

    /// Where the row of that number of the Parquet file at `path` is; `None` where there is none.
    #[cfg(feature = "parquet")]
    fn row(&mut self, path: &Path, row: &str) -> Result<Option<Place>> {
        let known = self.paths.iter().position(|known| known == path);
        let number = known.unwrap_or_else(|| {
            self.paths.push(path.into());
            self.paths.len() - 1
        });
        let Ok(row) = row.parse() else {
            return Ok(None);
        };
        let found = super::parquet::locate(path, row)?;
        Ok(found.map(|(group, row)| Place::Row { number, group, row }))
    }

    /// Their paths, by number.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Their paths, by number.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        self.paths
    }
}

/// Reads images, one tar file open at a time.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The tar file that is open, and its number.
    tar: Option<(usize, File)>,
    /// The row group that is open.
    #[cfg(feature = "parquet")]
    rows: Option<super::parquet::Rows>,
}

impl Reader {
    /// The bytes at `place`; `tars` are the paths by number.
    pub(super) fn read(&mut self, place: &Place, tars: &[PathBuf]) -> io::Result<Vec<u8>> {
        let (number, start, size) = match place {
            Place::File(path) => return fs::read(path),
            Place::Member(number, start, size) => (*number, *start, *size),
            #[cfg(feature = "parquet")]
            Place::Row { number, group, row } => {
                let of = (*number, *group);
                return super::parquet::Rows::read(&mut self.rows, &tars[*number], of, *row);
            }
        };
        let file = match &mut self.tar {
            Some((open, file)) if *open == number => file,
            other => &mut other.insert((number, File::open(&tars[number])?)).1,
        };
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; size];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A path that a list gives, as a place to read and a URI: relative to `root`; `TAR#MEMBER` is in a
/// tar file. `None` where the tar has no such member.
pub(super) fn resolve(
    written: &str,
    root: &Path,
    tars: &mut Tars,
) -> Result<Option<(Place, String)>> {
    let absolute = |path: &str| {
        let path = root.join(path);
        std::path::absolute(&path).map_err(Error::read(&path))
    };
    #[cfg(feature = "parquet")]
    if let Some((path, row)) = written.rsplit_once(".parquet#") {
        let path = absolute(&format!("{path}.parquet"))?;
        let uri = format!("{}#{row}", path.display());
        return Ok(tars.row(&path, row)?.map(|place| (place, uri)));
    }
    let Some((tar, member)) = written.rsplit_once(".tar#") else {
        let path = absolute(written)?;
        let uri = path.to_string_lossy().into_owned();
        return Ok(Some((Place::File(path), uri)));
    };
    let tar = absolute(&format!("{tar}.tar"))?;
    let uri = format!("{}#{member}", tar.display());
    Ok(tars.member(&tar, member)?.map(|place| (place, uri)))
}
