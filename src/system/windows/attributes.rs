//! Files of other programs: the attributes that a new file must share with the one that it replaces.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_NOT_SAME_DEVICE, ERROR_SHARING_VIOLATION, ERROR_WRITE_PROTECT,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_NOT_CONTENT_INDEXED,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_STREAM_INFO, FileStreamInfo,
    GetFileInformationByHandle, GetFileInformationByHandleEx,
};

use super::acl;
use super::handle::{check, code};

/// Opens an existing file for writing. Does not truncate it.
///
/// # Errors
/// Those of `CreateFileW`.
pub fn open_for_overwriting(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Creates an empty file.
///
/// # Errors
/// Those of `CreateFileW`. `AlreadyExists` if the path exists.
pub fn create_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Gives `to` the access control list of `from`.
///
/// # Errors
/// The list cannot be given, or `from` has another owner, attributes or streams. `to` is then unfit to replace `from`.
pub fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    const ORDINARY: u32 = FILE_ATTRIBUTE_ARCHIVE | FILE_ATTRIBUTE_NORMAL | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED;
    if from.metadata()?.file_attributes() & !ORDINARY != 0 || has_streams(from) {
        return Err(fixed_in_place());
    }
    acl::copy_list(from, to)
}

/// Returns true if a file has data apart from its content, such as a mark of its origin.
fn has_streams(file: &File) -> bool {
    let mut buffer = [0_u64; 256];
    // SAFETY: the handle is open, and the buffer has the stated size and the alignment of the struct, which it begins
    // with after success. With more streams than fit, the call fails.
    unsafe {
        let size = u32::try_from(size_of_val(&buffer)).unwrap_or(0);
        let address = buffer.as_mut_ptr().cast();
        match check(GetFileInformationByHandleEx(file.as_raw_handle(), FileStreamInfo, address, size)) {
            Ok(()) => (*buffer.as_ptr().cast::<FILE_STREAM_INFO>()).NextEntryOffset != 0,
            // FAT has no streams.
            Err(_) => false,
        }
    }
}

/// Returns the number of names (hard links) of a file.
pub fn names_of(file: &File, _: &Metadata) -> u64 {
    information(file).map_or(1, |information| information.nNumberOfLinks.into())
}

/// Returns the volume and the file number, which identify an open file under any name.
///
/// # Errors
/// Those of `GetFileInformationByHandle`.
pub fn identity_of(file: &File) -> io::Result<(u64, u64)> {
    let information = information(file)?;
    let number = u64::from(information.nFileIndexHigh) << 32 | u64::from(information.nFileIndexLow);
    Ok((u64::from(information.dwVolumeSerialNumber), number))
}

/// Returns [`identity_of`] of what has this name. Follows no link.
///
/// # Errors
/// Those of `CreateFileW`.
pub fn identity_at(path: &Path) -> io::Result<(u64, u64)> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    identity_of(&OpenOptions::new().access_mode(0).custom_flags(flags).open(path)?)
}

fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    // SAFETY: the struct is plain data, and the handle is open.
    unsafe {
        let mut information: BY_HANDLE_FILE_INFORMATION = std::mem::zeroed();
        check(GetFileInformationByHandle(file.as_raw_handle(), &raw mut information))?;
        Ok(information)
    }
}

/// Returns true if replacing a file is impossible at its place, but changing its content may work: another program has it
/// open, or the directory does not allow new files.
pub fn is_fixed_in_place(error: &io::Error) -> bool {
    let codes = [ERROR_ACCESS_DENIED, ERROR_NOT_SAME_DEVICE, ERROR_SHARING_VIOLATION, ERROR_WRITE_PROTECT];
    error.raw_os_error().is_some_and(|number| codes.map(code).contains(&number))
}

/// Returns an error for which [`is_fixed_in_place`] is true.
pub fn fixed_in_place() -> io::Error {
    io::Error::from_raw_os_error(code(ERROR_ACCESS_DENIED))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::windows::files::create_private;

    #[test]
    fn hard_links_have_one_identity() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, link, other) = (dir.path().join("one"), dir.path().join("link"), dir.path().join("other"));
        fs::write(&one, "x").expect("written");
        fs::write(&other, "x").expect("written");
        fs::hard_link(&one, &link).expect("linked");
        let identity = |path: &Path| identity_at(path).expect("an identity");
        assert_eq!(identity(&one), identity(&link));
        assert_ne!(identity(&one), identity(&other));
        let names = |path: &Path| {
            let file = File::open(path).expect("opens");
            names_of(&file, &file.metadata().expect("metadata"))
        };
        assert_eq!([names(&one), names(&other)], [2, 1]);
    }

    #[test]
    fn a_new_file_gets_the_list_of_the_old_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "x").expect("written");
        // The owner may be the group of administrators, to which new files of an administrator belong.
        let list = |path: &Path| {
            let access = acl::Access::of(&File::open(path).expect("opens")).expect("readable");
            acl::Access { owner: String::new(), ..access }
        };
        let created = create_private(&new).expect("created");
        copy_attributes(&File::open(&old).expect("opens"), &created).expect("copied");
        assert_eq!(list(&new), list(&old));
    }
}
