//! What a file store asks of a file system: few enough things that a test can stop between any two.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(super) trait Files: Send + Sync {
    /// Makes a directory for this user alone, if it is not there.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a file for this user alone, which is not there yet.
    fn write_new(&self, path: &Path, contents: &[u8]) -> io::Result<()>;
    /// Waits until the contents of a file survive a crash.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Waits until the names in a directory, if it is there, survive a crash.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Puts a file in the place of another in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, if it is there.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The contents of a file, if it is there and no longer than that.
    fn read(&self, path: &Path, longest: usize) -> io::Result<Option<Vec<u8>>>;
    /// The files in a directory, none if that is not there.
    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>>;
}

/// A file in a directory.
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) modified: SystemTime,
}

/// The file system of the machine.
pub(super) struct SystemFiles;

impl Files for SystemFiles {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn write_new(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(contents)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    #[cfg(unix)]
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if_there(File::open(path).and_then(|directory| directory.sync_all()))?;
        Ok(())
    }

    /// Elsewhere a directory can't be opened as a file.
    #[cfg(not(unix))]
    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if_there(fs::remove_file(path))?;
        Ok(())
    }

    fn read(&self, path: &Path, longest: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = if_there(File::open(path))? else { return Ok(None) };
        let mut contents = Vec::new();
        file.take(longest as u64 + 1).read_to_end(&mut contents)?;
        Ok(Some(contents).filter(|contents| contents.len() <= longest))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let Some(entries) = if_there(fs::read_dir(directory))? else { return Ok(Vec::new()) };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Another process may have removed it meanwhile.
            let Some(metadata) = if_there(entry.metadata())? else { continue };
            if metadata.is_file() {
                listed.push(Listed { path: entry.path(), modified: metadata.modified()? });
            }
        }
        Ok(listed)
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
