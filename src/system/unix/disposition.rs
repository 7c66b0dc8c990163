//! Reads the disposition of a signal, which children of ycred inherit.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

/// Returns the handler of a signal. `None` if the system does not have the signal.
pub fn handler_of(signal: i32) -> Option<libc::sighandler_t> {
    // SAFETY: with a null pointer as the new action, sigaction only reads. The struct is plain data.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0).then_some(action.sa_sigaction)
    }
}
