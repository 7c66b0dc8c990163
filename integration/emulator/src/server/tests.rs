//! Tests of the server over real connections.

use std::io::{Read as _, Write as _};

use super::*;

/// Sends bytes and reads to the end of the stream.
fn talk(server: &Server, bytes: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn echo() -> Server {
    Server::start(None, |request| Response::text(200, [b"<", request.body.as_slice(), b">"].concat()))
}

#[test]
fn a_connection_serves_several_requests_with_either_kind_of_body() {
    let answer = talk(
        &echo(),
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\none\
          POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\ntw\r\n1\r\no\r\n0\r\nTrailer: t\r\n\r\n\
          GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
    assert!(answer.contains("<one>") && answer.contains("<two>") && answer.ends_with("<>"), "{answer}");
}

#[test]
fn responds_400_to_malformed_requests() {
    let server = echo();
    for bytes in [
        b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n".as_slice(),
        b"POST / HTTP/1.1\r\nContent-Length: minus\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
    ] {
        let answer = talk(&server, bytes).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?} for {bytes:?}");
    }
}

#[test]
fn responses_break_off_at_the_requested_stage() {
    let broken = |stage| {
        let server = Server::start(None, move |_| Response::text(200, "0123456789").delivered(Delivery::Break(stage)));
        talk(&server, b"GET / HTTP/1.1\r\n\r\n")
    };
    assert_eq!(broken(Stage::BeforeAnswer).unwrap(), "");
    let half = broken(Stage::MidHeaders).unwrap();
    assert!(half.starts_with("HTTP/1.1 200") && !half.contains("\r\n\r\n"), "{half}");
    assert!(broken(Stage::MidBody).unwrap().ends_with("\r\n\r\n01234"));
    #[cfg(unix)]
    assert_eq!(broken(Stage::Reset).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn dripping_chunked_and_unframed_responses_arrive_whole() {
    let server = Server::start(None, |request| match request.path.as_str() {
        "/drip" => Response::text(200, "slowly")
            .delivered(Delivery::Drip { bytes: 40, every: Duration::from_millis(1) })
            .header("Connection", "close"),
        "/chunks" => Response::text(200, "pieces").framed(Framing::Chunked).header("Connection", "close"),
        _ => Response::text(200, "to the end").framed(Framing::Close),
    });
    assert!(talk(&server, b"GET /drip HTTP/1.1\r\n\r\n").unwrap().ends_with("\r\n\r\nslowly"));
    assert!(talk(&server, b"GET /chunks HTTP/1.1\r\n\r\n").unwrap().ends_with("3\r\npie\r\n3\r\nces\r\n0\r\n\r\n"));
    assert!(talk(&server, b"GET /close HTTP/1.1\r\n\r\n").unwrap().ends_with("\r\n\r\nto the end"));
}

#[test]
fn a_tunnel_carries_bytes_both_ways() {
    let far = echo();
    let to = far.address();
    let proxy = Server::start(None, move |request| {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "iam.example:443"));
        Response::tunnel(to)
    });
    let answer = talk(
        &proxy,
        b"CONNECT iam.example:443 HTTP/1.1\r\n\r\n\
          POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    )
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 Connection established") && answer.ends_with("<hi>"), "{answer}");
}

#[test]
fn dropping_the_server_closes_its_port_and_its_connections() {
    let server = echo();
    let address = server.address();
    let mut idle = TcpStream::connect(address).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
    // A close or a reset, but not the time-out.
    let end = idle.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(io::ErrorKind::ConnectionReset)), "{end:?}");
}

#[test]
fn queries_are_decoded_and_header_names_ignore_case() {
    let server = Server::start(None, |request| {
        let (name, bearer) = (request.parameter("na me").unwrap_or_default(), request.bearer().unwrap_or_default());
        Response::text(200, format!("{} {name} {bearer}", request.path)).framed(Framing::Close)
    });
    let answer = talk(&server, b"GET http://h/p?x=1&na+me=a%2Fb%zz HTTP/1.1\r\nAUTHORIZATION: bearer t\r\n\r\n");
    assert!(answer.unwrap().ends_with("/p a/b%zz t"));
}

#[test]
fn serves_ipv6_if_the_machine_has_it() {
    let Ok(probe) = TcpListener::bind("[::1]:0") else { return };
    let server = Server::listen(probe, None, |_| Response::text(200, "six").framed(Framing::Close)).unwrap();
    assert_eq!(server.url(), format!("http://[::1]:{}", server.port()));
    assert!(talk(&server, b"GET / HTTP/1.1\r\n\r\n").unwrap().ends_with("six"));
    assert_eq!(server.connections(), 1);
}
