//! Finds the user at the other end of a loopback connection: by asking the kernel for its socket, or else in the kernel's
//! table of all sockets (proc_net_tcp(5), "uid").
//!
//! Neither the metadata protocol nor the callback of a login has a password, so only this check keeps other users out.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::system::process::effective_uid;
use crate::system::sockets;
use crate::system::sockets::OpenSocket;

/// The tables of IPv4 and IPv6 sockets. Some programs, such as Java, use IPv4 through IPv6 sockets.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The state of a listening socket (include/net/tcp_states.h).
const LISTEN: u8 = 0x0a;

/// Finds a socket by its own address and that of its peer.
type Find = fn(SocketAddrV4, SocketAddrV4) -> io::Result<Option<OpenSocket>>;

/// Finds the users of the connections to one port.
pub struct PeerUsers {
    here: SocketAddrV4,
    find: Find,
}

impl PeerUsers {
    /// Checks that users can be found here: ycred's own listener on `port` must be that of this user.
    ///
    /// # Errors
    /// Why users cannot be found.
    pub fn of(port: u16) -> Result<Self, String> {
        Self::by(sockets::find, cfg!(unix).then_some(find_in_tables), port)
    }

    /// As [`Self::of`], by asking the system, or else by its tables if it has some.
    fn by(find: Find, in_tables: Option<Find>, port: u16) -> Result<Self, String> {
        let here = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let own = OpenSocket { state: LISTEN, user: effective_uid() };
        if find(here, any).is_ok_and(|socket| socket.as_ref() == Some(&own)) {
            return Ok(Self { here, find });
        }
        let Some(in_tables) = in_tables else {
            return Err("the system's table of connections does not contain ycred's own socket".to_owned());
        };
        match in_tables(here, any) {
            Ok(socket) if socket.as_ref() == Some(&own) => Ok(Self { here, find: in_tables }),
            Ok(_) => Err(format!("{} does not contain ycred's own socket", TABLES[0])),
            Err(error) => Err(format!("{}: {}", TABLES[0], crate::base::error::describe(&error))),
        }
    }

    /// Returns the user id at the other end of a connection. `None` if the connection is closed there.
    pub fn user(&self, peer: SocketAddr) -> Option<u32> {
        let SocketAddr::V4(peer) = peer else { return None };
        (self.find)(peer, self.here).ok()?.map(|socket| socket.user)
    }
}

/// Returns true in the Windows Subsystem for Linux. There, Windows forwards connections to loopback in the name of another
/// user.
pub fn is_windows_subsystem() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.to_ascii_lowercase().contains("microsoft")
}

fn find_in_tables(local: SocketAddrV4, remote: SocketAddrV4) -> io::Result<Option<OpenSocket>> {
    for table in TABLES {
        match File::open(table).and_then(|table| find(BufReader::new(table), local.into(), remote.into())) {
            // A machine without IPv6 has one table.
            Err(error) if table == TABLES[0] => return Err(error),
            Ok(Some(socket)) => return Ok(Some(socket)),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Returns the socket with these two addresses, if a process has it open. A closed one has no inode, and its user is 0.
fn find(table: impl io::BufRead, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<OpenSocket>> {
    let (local, remote) = (forms(local), forms(remote));
    for line in table.lines().skip(1) {
        let line = line?;
        let mut fields = line.split_ascii_whitespace().skip(1);
        if !fields.next().is_some_and(|field| local.iter().any(|form| form == field))
            || !fields.next().is_some_and(|field| remote.iter().any(|form| form == field))
        {
            continue;
        }
        let state = fields.next().and_then(|field| u8::from_str_radix(field, 16).ok());
        // After the queues, the timer and the retransmissions.
        let user = fields.nth(3).and_then(|field| field.parse().ok());
        let inode: Option<u64> = fields.nth(1).and_then(|field| field.parse().ok());
        if let (Some(state), Some(user), Some(1..)) = (state, user, inode) {
            return Ok(Some(OpenSocket { state, user }));
        }
    }
    Ok(None)
}

/// Formats an IPv4 address as in the two tables, in the machine's byte order: as IPv4, and mapped to IPv6.
fn forms(end: SocketAddr) -> [String; 2] {
    let SocketAddr::V4(end) = end else { return Default::default() };
    let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
    let short = format!("{}:{:04X}", word(end.ip().octets()), end.port());
    let mapped = format!("{0}{0}{1}{short}", word([0; 4]), word([0, 0, 0xff, 0xff]));
    [short, mapped]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 65534        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:C351 0100007F:1F90 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
   3: 0000000000000000FFFF00000100007F:C352 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 4713 1 0 20
   4: 0100007F:C353 0100007F:1F90 01 torn
";

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    const OWN: Find = |_, _| Ok(Some(OpenSocket { state: LISTEN, user: effective_uid() }));
    const UNSUPPORTED: Find = |_, _| Err(io::ErrorKind::Unsupported.into());
    const MISSING: Find = |_, _| Err(io::ErrorKind::NotFound.into());
    const NONE: Find = |_, _| Ok(None);
    const FOREIGN: Find = |_, _| Ok(Some(OpenSocket { state: LISTEN, user: effective_uid().wrapping_add(1) }));

    #[test]
    fn without_the_own_socket_users_cannot_be_found() {
        // macOS has no call for it, and no such table.
        let reason = |find, in_tables| PeerUsers::by(find, in_tables, 1).err();
        assert_eq!(reason(UNSUPPORTED, Some(MISSING)).as_deref(), Some("/proc/net/tcp: no such file"));
        for find in [UNSUPPORTED, NONE, FOREIGN] {
            assert!(reason(find, Some(NONE)).is_some_and(|why| why.contains("does not contain ycred's own socket")));
            assert!(reason(find, Some(FOREIGN)).is_some_and(|why| why.contains("does not contain ycred's own socket")));
            assert!(reason(find, None).is_some_and(|why| why.contains("table of connections")));
        }
    }

    #[test]
    fn users_are_found_in_the_tables_if_the_system_cannot_be_asked() {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
        for (find, in_tables) in [(OWN, None), (OWN, Some(MISSING)), (UNSUPPORTED, Some(OWN)), (NONE, Some(OWN))] {
            let users = PeerUsers::by(find, in_tables, 1).expect("found");
            assert_eq!(users.user(peer), Some(effective_uid()));
            assert_eq!(users.user(SocketAddr::from(([0; 8], 2))), None, "an IPv6 address");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_table_has_the_user_of_an_open_socket() {
        let found = |port| find(TABLE.as_bytes(), at(port), at(8080)).expect("read");
        assert_eq!(found(50000), Some(OpenSocket { state: 1, user: 65534 }));
        assert_eq!(found(50001), None, "closed, so its user is unknown");
        assert_eq!(found(50002), Some(OpenSocket { state: 1, user: 1001 }), "IPv4 through IPv6");
        assert_eq!(found(50003), None, "a line that is cut off");
        assert_eq!(found(50004), None);
        let listener = find(TABLE.as_bytes(), at(8080), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        assert_eq!(listener.expect("read"), Some(OpenSocket { state: LISTEN, user: 1000 }));
        // The two ports in reverse are ycred's own end.
        assert_eq!(find(TABLE.as_bytes(), at(8080), at(50000)).expect("read"), None);
    }
}
