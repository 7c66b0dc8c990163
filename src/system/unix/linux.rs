//! Functions that are specific to Linux.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::ffi::{CStr, OsStr, c_char};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::descriptors::open_in_one_call;

/// The command that sets the clock.
pub const SET_CLOCK: &str = "sudo timedatectl set-ntp true";

/// The program of this process, under whatever path.
pub const PROGRAM: &str = "/proc/self/exe";

/// Returns the effective user id. getauxval(3) saves a system call on each cache hit.
pub fn effective_uid() -> u32 {
    // SAFETY: getauxval takes a plain integer, and reads memory that the kernel initialized before the process started.
    u32::try_from(unsafe { libc::getauxval(libc::AT_EUID) }).unwrap_or(u32::MAX)
}

/// Returns the array of this process's variables, which the C library initialises.
pub fn environment() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: a variable of the C library, which is initialised before `main` and which nothing in this program writes.
    unsafe { environ }
}

/// Returns the path that this process was started with (getauxval(3), `AT_EXECFN`).
pub fn executable() -> Option<PathBuf> {
    // SAFETY: the kernel stores a pointer to a NUL-terminated string, which is valid as long as the process runs.
    let path = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        (!name.is_null()).then(|| CStr::from_ptr(name))
    }?;
    let path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// Returns the path of this process's program, which is valid even if the file was replaced or deleted. `None` without
/// `/proc`.
pub fn own_program() -> Option<PathBuf> {
    let path = PathBuf::from("/proc/self/exe");
    path.exists().then_some(path)
}

/// Renames a file, unless the new name exists. A file system that cannot do that fails with `EINVAL`.
///
/// # Errors
/// Those of renameat2(2).
pub fn rename_new(from: &CStr, to: &CStr) -> io::Result<()> {
    let (directory, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
    // SAFETY: renameat2(2) reads the two strings up to their ends, and keeps neither.
    match unsafe { libc::syscall(libc::SYS_renameat2, directory, from.as_ptr(), directory, to.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes exec close all descriptors but the standard streams. Async-signal-safe.
pub fn close_other_descriptors_on_exec() {
    // SAFETY: close_range(2) takes plain integers, and with this flag closes nothing yet.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0;
    // Linux before 5.11.
    if !marked {
        super::descriptors::close_each_on_exec();
    }
}

/// See [`super::process::disable_core_dumps`].
///
/// Uses `PR_SET_DUMPABLE`, because programs that `ycred exec` runs would inherit `RLIMIT_CORE`.
pub fn disable_core_dumps() {
    // SAFETY: PR_SET_DUMPABLE takes plain integers and changes only a flag of this process.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// See [`super::process::end_child_with_parent`].
pub fn end_child_with_parent(command: &mut Command, signal: libc::c_int) {
    let parent = std::process::id();
    // SAFETY: all calls take plain integers and are async-signal-safe, and nothing else runs between fork and exec.
    unsafe {
        command.pre_exec(move || {
            // A handler of ycred would swallow the signal before exec.
            if super::disposition::handler_of(signal) != Some(libc::SIG_IGN) {
                libc::signal(signal, libc::SIG_DFL);
            }
            libc::prctl(libc::PR_SET_PDEATHSIG, signal);
            // The parent may have ended before that.
            if libc::getppid().cast_unsigned() != parent {
                libc::_exit(libc::EXIT_FAILURE);
            }
            Ok(())
        });
    }
}

/// See [`super::files::for_each_name`] and [`super::files::names_from`].
///
/// Makes three system calls and returns the open directory: std would add fstat(2) and close(2).
pub fn for_each_name(
    directory: &Path,
    position: Option<i64>,
    mut each: impl FnMut(&OsStr) -> ControlFlow<()>,
) -> io::Result<(Option<File>, Option<i64>)> {
    /// The offsets of `d_off`, `d_reclen` and `d_name` in `struct linux_dirent64`.
    const NEXT: usize = 8;
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let file = open_in_one_call(directory, libc::O_DIRECTORY)?;
    if let Some(position) = position {
        // SAFETY: takes plain integers and touches no memory. If it fails, the list begins with the first name.
        unsafe { libc::lseek(file.as_raw_fd(), position, libc::SEEK_SET) };
    }
    let mut buffer = [0_u64; 512];
    loop {
        // SAFETY: the kernel writes at most this many bytes into the buffer, which outlives the call.
        let filled =
            unsafe { libc::syscall(libc::SYS_getdents64, file.as_raw_fd(), buffer.as_mut_ptr(), size_of_val(&buffer)) };
        let filled = match usize::try_from(filled) {
            Ok(0) => return Ok((Some(file), None)),
            Ok(filled) => filled,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error => return Err(error),
            },
        };
        // SAFETY: the buffer is initialised, at least this long, and does not change while it is borrowed.
        let mut rest = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), filled) };
        while let Some(head) = rest.first_chunk::<NAME>() {
            let length = usize::from(u16::from_ne_bytes([head[LENGTH], head[LENGTH + 1]]));
            let Some(name) = rest.get(NAME..length) else { break };
            if each(OsStr::from_bytes(name.split(|byte| *byte == 0).next().unwrap_or_default())).is_break() {
                let next = head[NEXT..].first_chunk().copied().map(i64::from_ne_bytes);
                return Ok((Some(file), next));
            }
            rest = &rest[length..];
        }
    }
}

/// Returns the address of `errno`, which a signal handler must restore.
///
/// # Safety
/// The pointer belongs to the calling thread and is valid as long as the thread runs.
pub unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: takes no arguments and writes no memory.
    unsafe { libc::__errno_location() }
}

/// True: `si_code` is positive only for signals from the kernel (sigaction(2)).
pub const TELLS_SENDER_OF_SIGNALS: bool = true;

/// Returns the error: there is no other way.
///
/// # Errors
/// `error`.
pub fn sync_otherwise(_: &File, error: io::Error) -> io::Result<()> {
    Err(error)
}

/// Returns true if this user id exists in the user namespace of this process. Files of others belong to 65534 there.
pub fn is_mapped_user(id: u32) -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else { return true };
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(count).is_some_and(|(first, count)| (first..first + count).contains(&u64::from(id)))
    })
}

/// Returns true on a file system that has no modes, or that only passes them on: FAT, NTFS, FUSE, and those of virtual
/// machines and of Windows shares.
pub fn may_ignore_modes(path: &CStr) -> bool {
    const TYPES: [u32; 8] =
        [0x4d44, 0x2011_bab0, 0x7366_746e, 0x6573_5546, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x517b];
    // SAFETY: the string ends with NUL, and `status` is plain data, for which zero is valid. Both outlive the call.
    let status = unsafe {
        let mut status: libc::statfs = std::mem::zeroed();
        (libc::statfs(path.as_ptr(), &raw mut status) == 0).then_some(status)
    };
    // The width and the sign of the type differ between C libraries. All known values fit into 32 bits.
    status.is_some_and(|status| {
        let bytes = status.f_type.to_le_bytes();
        TYPES.iter().any(|kind| bytes[..4] == kind.to_le_bytes())
    })
}
