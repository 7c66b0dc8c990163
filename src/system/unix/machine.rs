//! The machine that this process runs on, as its metadata service sees it.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::ffi::CStr;

/// Returns what distinguishes this machine from another one that shares the same home directory, as pairs of name and
/// value. `None` if any of them cannot be read.
///
/// Makes five system calls. Two pods on one node have the same boot, and two machines may have the same host name. The
/// name of a network namespace is unique within one boot.
#[cfg(target_os = "linux")]
pub fn identity() -> Option<Vec<(&'static str, String)>> {
    use std::io::Read as _;

    let mut boot = [0; 64];
    let file = std::fs::File::open("/proc/sys/kernel/random/boot_id");
    let length = file.and_then(|mut file| file.read(&mut boot)).ok()?;
    let boot = std::str::from_utf8(&boot[..length]).ok()?.trim();
    let network = network_namespace()?;
    // SAFETY: utsname is plain data, and uname fills it with NUL-terminated strings.
    let host = unsafe {
        let mut names: libc::utsname = std::mem::zeroed();
        (libc::uname(&raw mut names) == 0).then(|| CStr::from_ptr(names.nodename.as_ptr()).to_owned())
    }?;
    let host = host.to_str().ok()?;
    let values = [("boot-id", boot), ("network-namespace", network.as_str()), ("host-name", host)]
        .map(|(name, value)| (name, value.to_owned()));
    values.iter().all(|(_, value)| !value.is_empty()).then(|| values.into())
}

/// Returns the name of the network that this process sees: processes of one machine may see different ones, and the first one
/// of each machine may have the same number. `None` if it cannot be read.
#[cfg(target_os = "linux")]
pub fn network() -> Option<String> {
    namespace_of_machine("/proc/self/ns/net")
}

/// Returns the name of the set of processes among which a process number is unique, on any machine. `None` if it cannot be
/// read.
#[cfg(target_os = "linux")]
pub fn pid_space() -> Option<String> {
    namespace_of_machine("/proc/self/ns/pid")
}

/// Returns the name of this process's network namespace.
#[cfg(target_os = "linux")]
fn network_namespace() -> Option<String> {
    std::fs::read_link("/proc/self/ns/net").ok()?.into_os_string().into_string().ok()
}

/// Returns the boot id and the number of a namespace, which is unique within one boot.
#[cfg(target_os = "linux")]
fn namespace_of_machine(link: &str) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link(link).ok()?.into_os_string().into_string().ok()?;
    Some(format!("{} {namespace}", boot.trim()))
}

/// Returns the name of the set of processes among which a process number is unique: that of the whole machine.
#[cfg(not(target_os = "linux"))]
pub fn pid_space() -> Option<String> {
    system_value(c"kern.bootsessionuuid")
}

/// Returns the name of the network that this process sees. `None`: all processes see the same one.
#[cfg(not(target_os = "linux"))]
pub const fn network() -> Option<String> {
    None
}

/// Returns what distinguishes this machine from another one that shares the same home directory, as pairs of name and
/// value. `None` if any of them cannot be read.
///
/// The boot session changes with each start of the system, and the UUID belongs to the hardware. There are no network
/// namespaces.
#[cfg(not(target_os = "linux"))]
pub fn identity() -> Option<Vec<(&'static str, String)>> {
    unsafe extern "C" {
        // <unistd.h>: gethostuuid(2) writes 16 bytes, and waits at most this long.
        fn gethostuuid(uuid: *mut u8, timeout: *const libc::timespec) -> libc::c_int;
    }
    let mut uuid = [0; 16];
    let timeout = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    // SAFETY: the buffer has the 16 bytes of a uuid_t, and both pointers are valid for the call.
    (unsafe { gethostuuid(uuid.as_mut_ptr(), &raw const timeout) } == 0).then_some(())?;
    let uuid = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(vec![("boot-session", system_value(c"kern.bootsessionuuid")?), ("host-uuid", uuid)])
}

/// Returns a string of sysctl(3).
#[cfg(not(target_os = "linux"))]
fn system_value(name: &CStr) -> Option<String> {
    let mut value = [0; 256];
    let mut length = value.len();
    // SAFETY: the buffer has `length` bytes, sysctlbyname writes at most that many, and no new value is set.
    let result = unsafe {
        libc::sysctlbyname(name.as_ptr(), value.as_mut_ptr().cast(), &raw mut length, std::ptr::null_mut(), 0)
    };
    let value = CStr::from_bytes_until_nul(&value).ok().filter(|value| result == 0 && !value.is_empty())?;
    value.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_keeps_its_identity() {
        let first = identity().expect("a machine with an identity");
        assert!(first.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{first:?}");
        assert_eq!(identity(), Some(first));
        assert_eq!(network().is_some(), cfg!(target_os = "linux"));
        // The first network of each machine may have the same number.
        #[cfg(target_os = "linux")]
        {
            let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
            assert!(network().is_some_and(|network| network.starts_with(boot.trim())));
        }
        assert!(pid_space().is_some_and(|name| Some(name) == pid_space()));
    }
}
