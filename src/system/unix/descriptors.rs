//! The descriptors that a program inherits.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

/// More descriptors than this are not checked, because each takes a system call.
const DESCRIPTORS_MAX: libc::rlim_t = 65_536;

/// Makes exec close all descriptors but the standard streams, one by one. Async-signal-safe.
pub fn close_each_on_exec() {
    // SAFETY: getrlimit fills the struct, which is plain data. fcntl takes plain integers, and fails harmlessly on a
    // descriptor that is not open.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        let known = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0;
        let most = if known { limit.rlim_cur.min(DESCRIPTORS_MAX) } else { DESCRIPTORS_MAX };
        for descriptor in 3..libc::c_int::try_from(most).unwrap_or(libc::c_int::MAX) {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}
