//! The sockets of the DNS server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

use crate::runtime::runtime;
use crate::zone::{Answer, Zone};

/// Ports tried until one is free for both protocols.
const TRIES: usize = 50;
/// Largest question by UDP.
const QUESTION_MAX: usize = 4096;

type SharedZone = Arc<Mutex<Zone>>;

pub(crate) fn start(ip: IpAddr, zone: &SharedZone) -> io::Result<(SocketAddr, Vec<AbortHandle>)> {
    let (address, udp, tcp) = bind(ip)?;
    let runtime = runtime();
    let _inside = runtime.enter();
    let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
    let by_udp = runtime.spawn(serve_udp(Arc::new(udp), Arc::clone(zone)));
    let by_tcp = runtime.spawn(serve_tcp(tcp, Arc::clone(zone)));
    Ok((address, vec![by_udp.abort_handle(), by_tcp.abort_handle()]))
}

fn bind(ip: IpAddr) -> io::Result<(SocketAddr, std::net::UdpSocket, std::net::TcpListener)> {
    let mut failure = io::Error::other("no port tried");
    for _ in 0..TRIES {
        let udp = std::net::UdpSocket::bind((ip, 0))?;
        let address = udp.local_addr()?;
        match std::net::TcpListener::bind(address) {
            Ok(tcp) => {
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((address, udp, tcp));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn answer(zone: &SharedZone, question: &[u8], udp: bool) -> Option<Answer> {
    let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
    zone.answer(question, udp)
}

async fn serve_udp(socket: Arc<UdpSocket>, zone: SharedZone) {
    let mut buffer = vec![0; QUESTION_MAX];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let question = buffer.get(..length).unwrap_or_default();
        let Some(answer) = answer(&zone, question, true) else {
            continue;
        };
        let socket = Arc::clone(&socket);
        let send = async move {
            tokio::time::sleep(answer.delay).await;
            // A client that went away needs no answer.
            drop(socket.send_to(&answer.wire, peer).await);
        };
        tokio::spawn(send);
    }
}

async fn serve_tcp(listener: TcpListener, zone: SharedZone) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let zone = Arc::clone(&zone);
            // A client that breaks off needs no answer.
            tokio::spawn(async move { drop(converse(stream, zone).await) });
        }
    }
}

async fn converse(mut stream: TcpStream, zone: SharedZone) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let Some(answer) = answer(&zone, &question, false) else {
            continue;
        };
        tokio::time::sleep(answer.delay).await;
        let length = u16::try_from(answer.wire.len()).map_err(io::Error::other)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&answer.wire);
        stream.write_all(&framed).await?;
    }
}
