//! A name server for tests: answers from a table, over UDP and TCP.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a name server knows, and how it answers.
#[derive(Clone, Default)]
pub struct Zone {
    /// Names without a final dot, and their addresses. For any other name the answer is NXDOMAIN.
    pub names: Vec<(&'static str, IpAddr)>,
    /// Over UDP, answers only that the answer is too long.
    pub is_too_long_for_udp: bool,
    /// Waits before each answer.
    pub delay: Duration,
}

/// A running name server. It stops when it is dropped.
pub struct NameServer {
    queries: Arc<Mutex<Vec<(Transport, String)>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// How long a thread waits before it looks whether to stop.
const TICK: Duration = Duration::from_millis(20);

impl NameServer {
    /// Starts a server on port 53 of an address, in the network namespace of the calling thread.
    pub fn start(address: &str, zone: Zone) -> NameServer {
        let address: SocketAddr = format!("{address}:53").parse().expect("an address");
        let udp = UdpSocket::bind(address).expect("a private UDP port 53");
        let tcp = TcpListener::bind(address).expect("a private TCP port 53");
        udp.set_read_timeout(Some(TICK)).expect("a time limit");
        tcp.set_nonblocking(true).expect("a listener that does not block");
        let (queries, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let server =
            |queries: &Arc<_>| Responder { zone: zone.clone(), queries: Arc::clone(queries), stop: Arc::clone(&stop) };
        let (for_udp, for_tcp) = (server(&queries), server(&queries));
        let threads =
            vec![thread::spawn(move || for_udp.serve_udp(&udp)), thread::spawn(move || for_tcp.serve_tcp(&tcp))];
        NameServer { queries, stop, threads }
    }

    /// Returns true if it was asked for this name in this way.
    pub fn was_asked(&self, transport: Transport, name: &str) -> bool {
        let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.iter().any(|(by, asked)| *by == transport && asked == name)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Responder {
    zone: Zone,
    queries: Arc<Mutex<Vec<(Transport, String)>>>,
    stop: Arc<AtomicBool>,
}

impl Responder {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut query = [0; 512];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
            if let Some(answer) = self.answer(Transport::Udp, &query[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => drop(self.serve_stream(stream)),
                Err(_) => thread::sleep(TICK),
            }
        }
    }

    /// Answers one query, which has its length before it (RFC 1035, 4.2.2).
    fn serve_stream(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query)?;
        let answer = self.answer(Transport::Tcp, &query).unwrap_or_default();
        let length = u16::try_from(answer.len()).expect("a short answer");
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())
    }

    /// Returns the answer to a query with one question (RFC 1035, 4.1).
    fn answer(&self, transport: Transport, query: &[u8]) -> Option<Vec<u8>> {
        const A: u16 = 1;
        const AAAA: u16 = 28;
        let mut labels = Vec::new();
        let mut at = 12;
        loop {
            let length = usize::from(*query.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let question = query.get(12..at + 4)?;
        let kind = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
        let name = labels.join(".");
        self.queries.lock().unwrap_or_else(PoisonError::into_inner).push((transport, name.clone()));
        thread::sleep(self.zone.delay);
        let known: Vec<IpAddr> =
            self.zone.names.iter().filter(|(known, _)| *known == name).map(|(_, address)| *address).collect();
        let is_cut = transport == Transport::Udp && self.zone.is_too_long_for_udp;
        let addresses = known.iter().filter(|address| !is_cut && kind == if address.is_ipv4() { A } else { AAAA });
        let records: Vec<Vec<u8>> = addresses
            .map(|address| {
                let data = match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                let length = u16::try_from(data.len()).expect("an address");
                // The name of the question, the type, the class, the time to live, and the data.
                [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length.to_be_bytes(), &data].concat()
            })
            .collect();
        let (response, cut, not_found) =
            (0x8180_u16, if is_cut { 0x0200 } else { 0 }, if known.is_empty() { 3 } else { 0 });
        let flags = response | cut | not_found;
        let count = u16::try_from(records.len()).expect("few records");
        let header = [&query[..2], &flags.to_be_bytes(), &[0, 1], &count.to_be_bytes(), &[0, 0, 0, 0]].concat();
        Some([header, question.to_vec(), records.concat()].concat())
    }
}
