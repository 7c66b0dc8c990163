//! Finds the user at the other end of a loopback connection, in the kernel's table of sockets (proc_net_tcp(5), "uid").
//!
//! The metadata protocol has no secret, so only this check keeps other users' programs from the token.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, SocketAddr};

/// The tables of IPv4 and IPv6 sockets. Some programs, such as Java, use IPv4 through IPv6 sockets.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The state of a listening socket (include/net/tcp_states.h).
const LISTEN: u8 = 0x0a;

/// Checks that the table works here: it must contain ycred's own listener on `port`, with the user id `us`.
///
/// # Errors
/// The table cannot be read, or does not contain the listener.
pub fn check_support(port: u16, us: u32) -> Result<(), String> {
    let own = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let file =
        File::open(TABLES[0]).map_err(|error| format!("{}: {}", TABLES[0], crate::base::error::describe(&error)))?;
    match find(BufReader::new(file), own.0, own.1) {
        Ok(Some(socket)) if socket.state == LISTEN && socket.user == us => Ok(()),
        Ok(_) => Err(format!("{} does not contain ycred's own socket", TABLES[0])),
        Err(error) => Err(format!("{}: {}", TABLES[0], crate::base::error::describe(&error))),
    }
}

/// Returns the user id at the other end of a connection to `port`, if it can be determined.
pub fn user(peer: SocketAddr, port: u16) -> Option<u32> {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TABLES.iter().find_map(|table| find(BufReader::new(File::open(table).ok()?), peer, here).ok()?).map(|s| s.user)
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    state: u8,
    user: u32,
}

/// Returns the socket with these two addresses, if a process has it open. A closed one has no inode, and its user is 0.
fn find(table: impl io::BufRead, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
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
            return Ok(Some(Socket { state, user }));
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

    #[test]
    #[cfg(target_endian = "little")]
    fn the_table_has_the_user_of_an_open_socket() {
        let found = |port| find(TABLE.as_bytes(), at(port), at(8080)).expect("read");
        assert_eq!(found(50000), Some(Socket { state: 1, user: 65534 }));
        assert_eq!(found(50001), None, "closed, so its user is unknown");
        assert_eq!(found(50002), Some(Socket { state: 1, user: 1001 }), "IPv4 through IPv6");
        assert_eq!(found(50003), None, "a line that is cut off");
        assert_eq!(found(50004), None);
        let listener = find(TABLE.as_bytes(), at(8080), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        assert_eq!(listener.expect("read"), Some(Socket { state: LISTEN, user: 1000 }));
        // The two ports in reverse are ycred's own end.
        assert_eq!(find(TABLE.as_bytes(), at(8080), at(50000)).expect("read"), None);
    }
}
