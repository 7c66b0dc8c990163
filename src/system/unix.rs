//! What every Unix has.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

/// What is done with a signal; none for one that the system does not know.
pub fn handler_of(signal: i32) -> Option<libc::sighandler_t> {
    // SAFETY: with a null pointer for the new action sigaction only reads; the struct is plain data.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0).then_some(action.sa_sigaction)
    }
}
