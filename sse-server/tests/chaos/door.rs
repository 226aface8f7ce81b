//! What stands before the instances, as a load balancer would: each connection goes to one of them,
//! by chance, and can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::traffic::Record;

/// The way of one reader to the instances.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    accepting: AbortHandle,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Door {
    pub(crate) async fn open(
        number: usize,
        instances: Vec<SocketAddr>,
        record: Arc<Record>,
        mut random: Rng,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let all = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let chosen = random.usize(..instances.len());
                record.note(format!("reader {number} is led to instance {chosen}"));
                let instance = instances[chosen];
                all.lock().expect("no panic").spawn(async move {
                    // If nobody listens there, the client is let go, and comes back.
                    if let Ok(mut server) = TcpStream::connect(instance).await {
                        copy_bidirectional(&mut client, &mut server).await.ok();
                    }
                });
            }
        });
        Self { address, accepting: accepting.abort_handle(), connections }
    }

    /// Cuts what goes through.
    pub(crate) fn cut(&self) {
        self.connections.lock().expect("no panic").abort_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
