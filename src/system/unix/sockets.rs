//! Open sockets of the kernel, by their addresses, and the queue of a listening one.
#![expect(unsafe_code, reason = "listen(2) and netlink without a safe wrapper in std")]

use std::net::TcpListener;
use std::os::fd::AsRawFd as _;

/// How many connections may wait to be accepted. The system has a maximum of its own, 4096 on Linux.
const QUEUE: libc::c_int = 4096;

/// Lets more connections wait than the 128 of std. If the queue is full, the kernel drops the next client's request to
/// connect, and that client tries again after a second: another user could keep it full.
pub fn lengthen_queue(listener: &TcpListener) {
    // SAFETY: takes plain integers and touches no memory. If it fails, the queue is as long as before.
    unsafe { libc::listen(listener.as_raw_fd(), QUEUE) };
}

/// An open socket.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenSocket {
    /// A state of include/net/tcp_states.h.
    pub state: u8,
    pub user: u32,
}

#[cfg(target_os = "linux")]
pub use diag::find;

/// Not supported here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn find(_: std::net::SocketAddrV4, _: std::net::SocketAddrV4) -> std::io::Result<Option<OpenSocket>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod diag {
    //! Asks the kernel for one socket, by its addresses (sock_diag(7)).
    //!
    //! The answer takes the same time however many sockets there are. The tables in `/proc/net` have to be read as a whole.

    use std::io::{self, Read as _, Write as _};
    use std::net::SocketAddrV4;
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use super::OpenSocket;

    /// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    /// The size of a netlink header: length, type, flags, sequence number, port.
    const HEADER: usize = 16;
    /// The offsets in `struct inet_diag_msg` (linux/inet_diag.h), after the header.
    const STATE: usize = HEADER + 1;
    const USER: usize = HEADER + 64;
    const INODE: usize = HEADER + 68;
    const REPLY_MIN: usize = HEADER + 72;

    /// Returns the socket with these two addresses, also if a program uses IPv4 through an IPv6 socket. `None` if there is
    /// none, or if no process has it open.
    ///
    /// # Errors
    /// The kernel or a sandbox does not support this.
    pub fn find(local: SocketAddrV4, remote: SocketAddrV4) -> io::Result<Option<OpenSocket>> {
        // SAFETY: takes plain integers. The result is checked, and then owned by nobody else.
        let socket = unsafe {
            let number = libc::socket(libc::AF_NETLINK, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(number)
        };
        // A netlink socket can be read and written like a file. The kernel answers before `write` returns.
        let mut socket = std::fs::File::from(socket);
        socket.write_all(&request(local, remote))?;
        let mut reply = [0; 512];
        let length = socket.read(&mut reply)?;
        read_reply(&reply[..length])
    }

    /// Returns a `struct nlmsghdr` with a `struct inet_diag_req_v2`.
    fn request(local: SocketAddrV4, remote: SocketAddrV4) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + 56);
        message.extend_from_slice(&((HEADER + 56) as u32).to_ne_bytes());
        message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&[libc::AF_INET as u8, libc::IPPROTO_TCP as u8, 0, 0]);
        // All states.
        message.extend_from_slice(&u32::MAX.to_ne_bytes());
        message.extend_from_slice(&local.port().to_be_bytes());
        message.extend_from_slice(&remote.port().to_be_bytes());
        for address in [local.ip(), remote.ip()] {
            message.extend_from_slice(&address.octets());
            message.extend_from_slice(&[0; 12]);
        }
        // Any interface, any cookie.
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&[0xff; 8]);
        message
    }

    fn read_reply(reply: &[u8]) -> io::Result<Option<OpenSocket>> {
        let number = |at: usize| {
            let bytes: Option<[u8; 4]> = reply.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_ne_bytes).ok_or(io::ErrorKind::UnexpectedEof)
        };
        let kind = reply.get(4..6).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
        match kind {
            Some(SOCK_DIAG_BY_FAMILY) if reply.len() >= REPLY_MIN => {
                let (state, user, inode) = (reply[STATE], number(USER)?, number(INODE)?);
                Ok((inode != 0).then_some(OpenSocket { state, user }))
            }
            // NLMSG_ERROR: a negative errno. No socket has these addresses.
            Some(2) => match i32::from_ne_bytes(number(HEADER)?.to_ne_bytes()) {
                error if error == -libc::ENOENT => Ok(None),
                error => Err(io::Error::from_raw_os_error(-error)),
            },
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io;
    use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};

    use super::*;

    fn v4(address: io::Result<SocketAddr>) -> SocketAddrV4 {
        match address.expect("an address") {
            SocketAddr::V4(address) => address,
            // IPv4 through an IPv6 socket.
            SocketAddr::V6(address) => {
                SocketAddrV4::new(address.ip().to_ipv4_mapped().expect("an IPv4 address"), address.port())
            }
        }
    }

    #[test]
    fn the_kernel_names_the_user_of_an_open_socket() {
        let own = crate::system::process::effective_uid();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = v4(listener.local_addr());
        let any = SocketAddrV4::new([0, 0, 0, 0].into(), 0);
        assert_eq!(find(here, any).expect("an answer").map(|socket| (socket.state, socket.user)), Some((10, own)));
        for name in ["127.0.0.1", "[::ffff:127.0.0.1]"] {
            let client = TcpStream::connect(format!("{name}:{}", here.port())).expect("connects");
            let there = v4(client.local_addr());
            assert_eq!(find(there, here).expect("an answer").map(|socket| socket.user), Some(own), "{name}");
            let accepted = listener.accept().expect("accepted");
            drop(client);
            assert_eq!(find(there, here).expect("an answer"), None, "closed, so its user is unknown");
            drop(accepted);
        }
        assert_eq!(find(SocketAddrV4::new([127, 0, 0, 1].into(), 1), here).expect("an answer"), None);
    }
}
