//! The machine that this process runs on, as its metadata service sees it.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]

use std::ffi::{OsStr, c_void};
use std::ptr::null_mut;

use windows_sys::Wdk::System::SystemInformation::NtQuerySystemInformation;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, STATUS_SUCCESS};
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RegGetValueW};

use super::handle::wide;

/// Returns what distinguishes this machine from another one that shares the same home directory, as pairs of name and
/// value. `None` if any of them cannot be read.
///
/// The GUID belongs to the installation of Windows, which may be copied. The start of the system differs then.
pub fn identity() -> Option<Vec<(&'static str, String)>> {
    Some(vec![("boot-time", boot_time()?.to_string()), ("machine-guid", machine_guid()?)])
}

/// Returns the name of the network that this process sees. `None`: all processes see the same one.
pub const fn network() -> Option<String> {
    None
}

/// Returns the name of the set of processes among which a process number is unique: that of the whole machine.
pub fn pid_space() -> Option<String> {
    Some(format!("{:?}", identity()?))
}

fn machine_guid() -> Option<String> {
    let key = wide(OsStr::new(r"SOFTWARE\Microsoft\Cryptography")).ok()?;
    let name = wide(OsStr::new("MachineGuid")).ok()?;
    let (mut value, mut size) = ([0_u16; 64], 0);
    size += u32::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the strings are NUL-terminated, and the buffer has the stated size.
    let result = unsafe {
        let buffer = value.as_mut_ptr().cast::<c_void>();
        let key = (HKEY_LOCAL_MACHINE, key.as_ptr());
        RegGetValueW(key.0, key.1, name.as_ptr(), RRF_RT_REG_SZ, null_mut(), buffer, &raw mut size)
    };
    let length = value.iter().position(|unit| *unit == 0)?;
    (result == ERROR_SUCCESS && length > 0).then(|| String::from_utf16_lossy(&value[..length]))
}

/// `SYSTEM_TIMEOFDAY_INFORMATION` of `NtQuerySystemInformation`.
#[repr(C)]
#[derive(Default)]
struct TimeOfDay {
    boot_time: i64,
    current_time: i64,
    time_zone_bias: i64,
    time_zone_id: u32,
    reserved: u32,
    /// How much the clock has been set since the start.
    boot_time_bias: u64,
    sleep_time_bias: u64,
}

/// Returns when the system started, by the clock as it was then.
fn boot_time() -> Option<i64> {
    const SYSTEM_TIME_OF_DAY_INFORMATION: i32 = 3;
    let mut time = TimeOfDay::default();
    let size = u32::try_from(size_of_val(&time)).unwrap_or(0);
    // SAFETY: the struct is plain data of the stated size.
    let status =
        unsafe { NtQuerySystemInformation(SYSTEM_TIME_OF_DAY_INFORMATION, (&raw mut time).cast(), size, null_mut()) };
    (status == STATUS_SUCCESS && time.boot_time > 0)
        .then(|| time.boot_time.wrapping_sub(time.boot_time_bias.cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_keeps_its_identity() {
        let first = identity().expect("a machine with an identity");
        assert!(first.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{first:?}");
        assert_eq!(identity(), Some(first));
    }
}
