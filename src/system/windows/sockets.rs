//! Open sockets of the system, by their addresses. The system knows the process of each socket.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]

use std::io;
use std::net::{SocketAddrV4, TcpListener};
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCP_STATE_LISTEN, MIB_TCPROW_OWNER_PID, TCP_TABLE_OWNER_PID_ALL,
};
use windows_sys::Win32::Networking::WinSock::AF_INET;
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION};

use super::acl::{current_user, user_of};
use super::process::effective_uid;

/// Does nothing: the system makes the queue of a listener as long as it needs.
pub fn lengthen_queue(_: &TcpListener) {}

/// An open socket.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenSocket {
    /// [`LISTEN`], or 0 for any other state.
    pub state: u8,
    /// [`effective_uid`], or another number for another user.
    pub user: u32,
}

/// The state of a listening socket, as the other systems number it.
const LISTEN: u8 = 0x0a;
const OTHER_USER: u32 = u32::MAX - 1;

/// Returns the socket with these two addresses, if a process has it open. A remote address of zeros means a listener.
///
/// # Errors
/// Those of `GetExtendedTcpTable`.
pub fn find(local: SocketAddrV4, remote: SocketAddrV4) -> io::Result<Option<OpenSocket>> {
    let wants_listener = remote.port() == 0;
    let (local, remote) = (ends(local), ends(remote));
    let table = table()?;
    let row = table.iter().find(|row| {
        let is_listener = row.dwState == MIB_TCP_STATE_LISTEN.cast_unsigned();
        let has_remote = (row.dwRemoteAddr, row.dwRemotePort as u16) == remote;
        (row.dwLocalAddr, row.dwLocalPort as u16) == local && if wants_listener { is_listener } else { has_remote }
    });
    let state = if wants_listener { LISTEN } else { 0 };
    // A closed connection has no process.
    Ok(row.filter(|row| row.dwOwningPid != 0).map(|row| OpenSocket { state, user: user(row.dwOwningPid) }))
}

/// Returns [`effective_uid`] if a process belongs to this user.
fn user(process: u32) -> u32 {
    // SAFETY: takes plain integers; the handle belongs to `OwnedHandle`.
    let user = unsafe {
        let process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, process);
        if process.is_null() {
            return OTHER_USER;
        }
        let process = OwnedHandle::from_raw_handle(process);
        user_of(process.as_raw_handle())
    };
    match (user, current_user()) {
        (Ok(user), Ok(own)) if user == own => effective_uid(),
        _ => OTHER_USER,
    }
}

/// Returns an IPv4 address and a port as in the table: in network byte order.
fn ends(end: SocketAddrV4) -> (u32, u16) {
    (u32::from_ne_bytes(end.ip().octets()), end.port().to_be())
}

fn table() -> io::Result<Vec<MIB_TCPROW_OWNER_PID>> {
    let mut buffer: Vec<u32> = Vec::new();
    // The table may grow between two calls.
    for _ in 0..8 {
        let mut size = u32::try_from(size_of_val(buffer.as_slice())).unwrap_or(u32::MAX);
        // SAFETY: the buffer has the stated size and the alignment of the rows. On success it has a count, then rows.
        let result = unsafe {
            let (family, class) = (u32::from(AF_INET), TCP_TABLE_OWNER_PID_ALL);
            GetExtendedTcpTable(buffer.as_mut_ptr().cast(), &raw mut size, 0, family, class, 0)
        };
        match result {
            ERROR_INSUFFICIENT_BUFFER => buffer.resize(size as usize / 4 + 256, 0),
            NO_ERROR => {
                let rows = buffer.get(1..).unwrap_or_default();
                let count = (buffer.first().copied().unwrap_or(0) as usize)
                    .min(size_of_val(rows) / size_of::<MIB_TCPROW_OWNER_PID>());
                // SAFETY: the buffer contains this many rows, which are plain data.
                return Ok(unsafe {
                    std::slice::from_raw_parts(rows.as_ptr().cast::<MIB_TCPROW_OWNER_PID>(), count).to_vec()
                });
            }
            error => return Err(io::Error::from_raw_os_error(super::handle::code(error))),
        }
    }
    Err(io::ErrorKind::Other.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use super::*;

    #[test]
    #[ignore = "Wine does not show the process of a socket: .ci/platforms native"]
    fn the_user_of_a_connection_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
        let v4 = |address: io::Result<SocketAddr>| match address.expect("an address") {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => panic!("{address}"),
        };
        let here = v4(listener.local_addr());
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        assert_eq!(find(here, any).expect("a table"), Some(OpenSocket { state: LISTEN, user: effective_uid() }));
        let client = TcpStream::connect(here).expect("connects");
        let there = v4(client.local_addr());
        assert_eq!(find(there, here).expect("a table").map(|socket| socket.user), Some(effective_uid()));
        drop(client);
        let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        assert_eq!(find(nobody, here).expect("a table"), None);
        assert_eq!(find(nobody, any).expect("a table"), None);
    }
}
