//! A proxy between ycred and the emulator.

use std::sync::{Arc, Mutex, PoisonError};

use crate::emulator::Emulator;
use crate::server::{Request, Response, Server};

/// A proxy that records its requests.
pub struct Tunnel {
    server: Server,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Tunnel {
    /// A proxy that connects every request to the emulator.
    pub fn to(emulator: &Emulator) -> Tunnel {
        let address = emulator.address();
        Tunnel::responding(move |_| Response::tunnel(address))
    }

    /// A proxy that computes its own responses.
    pub fn responding(respond: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Tunnel {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(None, {
            let log = Arc::clone(&log);
            move |request| {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                respond(request)
            }
        });
        Tunnel { server, log }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The method and target of each request.
    pub fn targets(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }
}
