//! Owners and access control lists, which Windows has in place of modes.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_SUCCESS, GENERIC_ALL, GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE,
    LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_FILE_OBJECT, SetSecurityInfo,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACL, DACL_SECURITY_INFORMATION, EqualSid, GetAce, GetSecurityDescriptorControl,
    GetTokenInformation, INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR, PSID, SE_DACL_PROTECTED, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
    UNPROTECTED_DACL_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, DELETE, FILE_APPEND_DATA, FILE_DELETE_CHILD,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_DATA, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    FILE_WRITE_DATA, READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::SystemServices::ACCESS_ALLOWED_ACE_TYPE;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::handle::{check, code, wide};
use super::names::wide_path;

/// Accounts that stand for more than one ordinary user: Everyone, Authenticated Users, Users, Guests, INTERACTIVE,
/// NETWORK and ANONYMOUS LOGON.
pub const GROUPS_OF_OTHERS: [&str; 7] =
    ["S-1-1-0", "S-1-5-11", "S-1-5-32-545", "S-1-5-32-546", "S-1-5-4", "S-1-5-2", "S-1-5-7"];
/// Administrators, SYSTEM and TrustedInstaller, who can change every file anyway.
const TRUSTED_OWNERS: [&str; 3] =
    ["S-1-5-32-544", "S-1-5-18", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"];

const WRITE: u32 = GENERIC_ALL
    | GENERIC_WRITE
    | FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_DELETE_CHILD
    | DELETE
    | WRITE_DAC
    | WRITE_OWNER;
/// The rights with which somebody can replace the files in a directory. Adding files is not one of them: everybody can add
/// directories to the root of a drive. Nor is deleting the directory itself.
const REPLACE: u32 = GENERIC_ALL | FILE_DELETE_CHILD | WRITE_DAC | WRITE_OWNER;
const REMOVE: u32 = GENERIC_ALL | DELETE;
/// FILE_ADD_SUBDIRECTORY has the number of FILE_APPEND_DATA.
const ADD_DIRECTORIES: u32 = GENERIC_ALL | GENERIC_WRITE | FILE_APPEND_DATA;
const READ: u32 = GENERIC_ALL | GENERIC_READ | FILE_READ_DATA;

/// Who owns a file, and what other ordinary users may do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The owner, as a string SID.
    pub owner: String,
    pub is_readable_by_others: bool,
    pub is_writable_by_others: bool,
    /// For a directory: they can replace the files in it.
    pub is_replaceable_by_others: bool,
    /// They can delete or rename it.
    pub is_removable_by_others: bool,
    /// For a directory: they can add directories.
    pub is_extensible_by_others: bool,
}

impl Access {
    /// Reads the owner and the access control list of an open file or directory.
    ///
    /// # Errors
    /// Those of `GetSecurityInfo`.
    pub fn of(file: &File) -> io::Result<Self> {
        let Security { owner, list, descriptor: _descriptor } = Security::of(file)?;
        let owner = sid_string(owner)?;
        if list.is_null() {
            // Without a list, everyone has every access.
            return Ok(Self::granting(owner, GENERIC_ALL));
        }
        let mut granted = 0;
        // SAFETY: the list is valid as long as the descriptor.
        for index in 0..unsafe { (*list).AceCount } {
            let mut entry: *mut c_void = null_mut();
            // SAFETY: `entry` then points into the list. Every entry begins with an ACE_HEADER, and one of this type is
            // an ACCESS_ALLOWED_ACE, which ends with the SID.
            let (mask, account) = unsafe {
                check(GetAce(list, u32::from(index), &raw mut entry))?;
                let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
                let header = (*entry).Header;
                let is_for_children = u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0;
                if u32::from(header.AceType) != ACCESS_ALLOWED_ACE_TYPE || is_for_children {
                    continue;
                }
                ((*entry).Mask, sid_string((&raw mut (*entry).SidStart).cast())?)
            };
            if GROUPS_OF_OTHERS.contains(&account.as_str()) {
                granted |= mask;
            }
        }
        Ok(Self::granting(owner, granted))
    }

    /// Returns the access of a file whose list grants others these rights.
    pub fn granting(owner: String, granted: u32) -> Self {
        Self {
            owner,
            is_readable_by_others: granted & READ != 0,
            is_writable_by_others: granted & WRITE != 0,
            is_replaceable_by_others: granted & REPLACE != 0,
            is_removable_by_others: granted & REMOVE != 0,
            is_extensible_by_others: granted & ADD_DIRECTORIES != 0,
        }
    }

    /// Returns true if the owner is the user of this process, or somebody who can change every file anyway.
    pub fn has_trusted_owner(&self) -> bool {
        is_trusted_owner(&self.owner)
    }
}

fn is_trusted_owner(owner: &str) -> bool {
    TRUSTED_OWNERS.contains(&owner) || current_user().is_ok_and(|user| user == owner)
}

/// The owner and the access control list of an open file. Both are parts of the descriptor.
struct Security {
    owner: PSID,
    list: *mut ACL,
    descriptor: Local,
}

impl Security {
    fn of(file: &File) -> io::Result<Self> {
        let (mut owner, mut list): (PSID, *mut ACL) = (null_mut(), null_mut());
        let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
        // SAFETY: the handle is open, and the API sets the two pointers into the descriptor, which `Local` frees later.
        let result = unsafe {
            GetSecurityInfo(
                file.as_raw_handle(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &raw mut owner,
                null_mut(),
                &raw mut list,
                null_mut(),
                &raw mut descriptor,
            )
        };
        match result {
            ERROR_SUCCESS => Ok(Self { owner, list, descriptor: Local(descriptor) }),
            error => Err(io::Error::from_raw_os_error(code(error))),
        }
    }
}

/// Gives `to` the access control list of `from`. Entries that `from` has inherited are inherited by `to` too.
///
/// # Errors
/// The files have different owners, neither of whom can change every file anyway, or the list cannot be changed.
pub fn copy_list(from: &File, to: &File) -> io::Result<()> {
    let (from, old) = (Security::of(from)?, Security::of(to)?);
    // What an administrator creates may belong to the group of administrators.
    let is_trusted = |owner: PSID| sid_string(owner).is_ok_and(|owner| is_trusted_owner(&owner));
    // SAFETY: the owners and the list are valid as long as their descriptors, and the handle is open.
    unsafe {
        if EqualSid(from.owner, old.owner) == 0 && !(is_trusted(from.owner) && is_trusted(old.owner)) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (mut control, mut revision) = (0, 0);
        check(GetSecurityDescriptorControl(from.descriptor.0, &raw mut control, &raw mut revision))?;
        let inheritance = match control & SE_DACL_PROTECTED {
            0 => UNPROTECTED_DACL_SECURITY_INFORMATION,
            _ => PROTECTED_DACL_SECURITY_INFORMATION,
        };
        let what = DACL_SECURITY_INFORMATION | inheritance;
        let (no_owner, no_group, no_audit) = (null_mut(), null_mut(), null_mut());
        match SetSecurityInfo(to.as_raw_handle(), SE_FILE_OBJECT, what, no_owner, no_group, from.list, no_audit) {
            ERROR_SUCCESS => Ok(()),
            error => Err(io::Error::from_raw_os_error(code(error))),
        }
    }
}

/// Returns the user of this process, as a string SID.
///
/// # Errors
/// Those of `GetTokenInformation`.
pub fn current_user() -> io::Result<String> {
    // SAFETY: the pseudo handle of this process needs no closing.
    user_of(unsafe { GetCurrentProcess() })
}

/// Returns the user of a process, as a string SID.
///
/// # Errors
/// Those of `OpenProcessToken`: another user's process does not show its user.
pub fn user_of(process: HANDLE) -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // An array of u64, so that it is aligned for the struct. The largest SID has 68 bytes.
    let (mut buffer, mut size) = ([0_u64; 16], 0);
    // SAFETY: `token` is closed by `OwnedHandle`. The buffer has the stated size, and begins with a TOKEN_USER, whose
    // pointer points into the buffer.
    unsafe {
        check(OpenProcessToken(process, TOKEN_QUERY, &raw mut token))?;
        let token = OwnedHandle::from_raw_handle(token);
        let length = u32::try_from(size_of_val(&buffer)).unwrap_or(0);
        let address = buffer.as_mut_ptr().cast::<c_void>();
        check(GetTokenInformation(token.as_raw_handle(), TokenUser, address, length, &raw mut size))?;
        sid_string((*address.cast::<TOKEN_USER>()).User.Sid)
    }
}

fn sid_string(sid: PSID) -> io::Result<String> {
    let mut text: *mut u16 = null_mut();
    // SAFETY: the caller's SID is valid, and the API returns a NUL-terminated string, which `Local` frees.
    unsafe {
        check(ConvertSidToStringSidW(sid, &raw mut text))?;
        let _text = Local(text.cast());
        let length = (0..).take_while(|index| *text.add(*index) != 0).count();
        Ok(String::from_utf16_lossy(std::slice::from_raw_parts(text, length)))
    }
}

/// Memory that the API has allocated.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the API documents LocalFree for this memory, and nothing else frees it.
        unsafe { LocalFree(self.0) };
    }
}

/// A security descriptor that gives access to the user of this process, to administrators and to the system.
///
/// It inherits nothing. `inherit` are the flags that make the files in a directory inherit it.
fn private_descriptor(inherit: &str) -> io::Result<Local> {
    let user = current_user()?;
    let accounts = [user.as_str(), "SY", "BA"].map(|account| format!("(A;{inherit};FA;;;{account})"));
    let text = wide(format!("O:{user}D:P{}", accounts.concat()).as_ref())?;
    let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
    // SAFETY: the string is NUL-terminated, and `Local` frees the descriptor.
    check(unsafe {
        let revision = SDDL_REVISION_1;
        ConvertStringSecurityDescriptorToSecurityDescriptorW(text.as_ptr(), revision, &raw mut descriptor, null_mut())
    })?;
    Ok(Local(descriptor))
}

fn attributes(descriptor: &Local) -> SECURITY_ATTRIBUTES {
    let length = u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0);
    SECURITY_ATTRIBUTES { nLength: length, lpSecurityDescriptor: descriptor.0, bInheritHandle: 0 }
}

/// Creates a directory that only this user, administrators and the system can access, and whose files are as private.
///
/// # Errors
/// Those of `CreateDirectoryW`. An existing directory is not an error and stays unchanged.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    let (descriptor, path) = (private_descriptor("OICI")?, wide_path(path)?);
    let attributes = attributes(&descriptor);
    // SAFETY: the path is NUL-terminated, and the descriptor is valid during the call.
    match check(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) }) {
        Err(error) if error.raw_os_error() == Some(code(ERROR_ALREADY_EXISTS)) => Ok(()),
        result => result,
    }
}

/// Creates a file that only this user, administrators and the system can access.
///
/// # Errors
/// Those of `CreateFileW`. `AlreadyExists` if the path exists.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    let (descriptor, path) = (private_descriptor("")?, wide_path(path)?);
    let attributes = attributes(&descriptor);
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: the path is NUL-terminated, and the descriptor is valid during the call. The new handle belongs to `File`.
    unsafe {
        let flags = FILE_FLAG_OPEN_REPARSE_POINT;
        let template = null_mut();
        // The rights to read and change the list, for `copy_list`.
        let access = GENERIC_WRITE | READ_CONTROL | WRITE_DAC;
        let file = CreateFileW(path.as_ptr(), access, share, &raw const attributes, CREATE_NEW, flags, template);
        if file == INVALID_HANDLE_VALUE { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_handle(file)) }
    }
}
