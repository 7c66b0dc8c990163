//! A proxy between ycred and the emulator.

use std::sync::{Arc, Mutex, PoisonError};

use crate::emulator::Emulator;
use crate::server::{Request, Response, Server};

/// A proxy that connects to one address, whatever it is asked for, and notes what it is asked.
pub struct Tunnel {
    server: Server,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Tunnel {
    pub fn to(emulator: &Emulator) -> Tunnel {
        let to = emulator.address();
        Tunnel::answering(move |_| Response::tunnel(to))
    }

    pub fn answering(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Tunnel {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(None, {
            let log = Arc::clone(&log);
            move |request| {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                answer(request)
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

    /// What it was asked to connect to.
    pub fn targets(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }
}
