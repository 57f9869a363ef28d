//! A web server with answers by name and path, over HTTPS or in clear, that remembers what it was
//! asked: policy hosts, and whoever takes reports and events.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::ca::Ca;
use crate::runtime::runtime;
use crate::shared::lock;

/// Octets of a request at the most.
const REQUEST_MAX: usize = 16 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAnswer {
    /// The status code.
    pub status: u16,
    /// Further header lines, without their ends.
    pub headers: Vec<String>,
    /// The content.
    pub content: Vec<u8>,
    /// It comes so long behind the request.
    pub wait: Duration,
}

impl WebAnswer {
    /// A text.
    #[must_use]
    pub fn text(content: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: vec!["Content-Type: text/plain".to_owned()],
            content: content.into(),
            wait: Duration::ZERO,
        }
    }

    /// Nothing but a status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content: Vec::new(),
            wait: Duration::ZERO,
        }
    }

    /// The same with a further header line, without its end.
    #[must_use]
    pub fn with(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    /// The same, so long behind the request.
    #[must_use]
    pub fn behind(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct WebRequest {
    /// The method.
    pub method: String,
    /// Host, without its port.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The header fields, names in lower case.
    pub headers: HashMap<String, String>,
    /// The content.
    pub content: Vec<u8>,
    /// When.
    pub at: Instant,
    /// The connection that it came by, from 0: clients may keep one for several requests.
    pub connection: u64,
}

#[derive(Default)]
struct State {
    answers: HashMap<(String, String), VecDeque<WebAnswer>>,
    requests: Vec<WebRequest>,
    connections: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

impl Shared {
    fn take(&self, request: WebRequest) -> WebAnswer {
        let key = (request.host.clone(), request.path.clone());
        let mut state = lock(&self.state);
        state.requests.push(request);
        // The last one stays.
        let answer = match state.answers.get_mut(&key) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => None,
        };
        self.news.notify_all();
        answer.unwrap_or_else(|| WebAnswer::status(404))
    }
}

/// A web server.
pub struct WebHost {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl std::fmt::Debug for WebHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebHost")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for WebHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WebHost {
    /// Starts; with a CA it speaks HTTPS, with a certificate of that CA for these names.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub fn start(address: SocketAddr, names: &[&str], ca: Option<&Ca>) -> io::Result<Self> {
        let acceptor = ca.map(|ca| ca.issue(names).acceptor());
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared::default());
        let runtime = runtime();
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(socket)?;
        let task = runtime.spawn(serve(listener, acceptor, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task: task.abort_handle(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests for a name and path like this from now on. Others are answered 404.
    pub fn answer(&self, host: &str, path: &str, answer: WebAnswer) {
        self.answer_in_turn(host, path, vec![answer]);
    }

    /// Answers requests for a name and path by one of these after the other, and then always by the
    /// last.
    pub fn answer_in_turn(&self, host: &str, path: &str, answers: Vec<WebAnswer>) {
        let key = (host.to_owned(), path.to_owned());
        lock(&self.shared.state).answers.insert(key, answers.into());
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<WebRequest> {
        lock(&self.shared.state).requests.clone()
    }

    /// Waits until there were so many requests; those that came, at the latest at the time's end.
    #[must_use]
    pub fn wait_for(&self, count: usize, limit: Duration) -> Vec<WebRequest> {
        let state = lock(&self.shared.state);
        let enough = |state: &mut State| state.requests.len() < count;
        let waited = self.shared.news.wait_timeout_while(state, limit, enough);
        match waited {
            Ok((state, _)) => state.requests.clone(),
            Err(poisoned) => poisoned.into_inner().0.requests.clone(),
        }
    }
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        let number = {
            let mut state = lock(&shared.state);
            state.connections += 1;
            state.connections - 1
        };
        // A client that breaks off needs no answer.
        tokio::spawn(async move {
            match acceptor {
                Some(acceptor) => {
                    drop(converse(acceptor.accept(tcp).await?, number, &shared).await);
                }
                None => drop(converse(tcp, number, &shared).await),
            }
            io::Result::Ok(())
        });
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    number: u64,
    shared: &Shared,
) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        let (mut request, end) = loop {
            if let Some(request) = read(&input) {
                break request;
            }
            if input.len() > REQUEST_MAX || stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        input.drain(..end);
        request.connection = number;
        answer(&mut stream, &shared.take(request)).await?;
    }
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), answer: &WebAnswer) -> io::Result<()> {
    tokio::time::sleep(answer.wait).await;
    let mut head = format!("HTTP/1.1 {} answer\r\n", answer.status);
    for line in &answer.headers {
        head.push_str(&format!("{line}\r\n"));
    }
    let length = answer.content.len();
    head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
    // In one write: the second of two would wait for the first one's acknowledgement.
    let whole = [head.as_bytes(), &answer.content].concat();
    stream.write_all(&whole).await?;
    stream.flush().await
}

/// The request, once all of it is there, and where it ends.
fn read(input: &[u8]) -> Option<(WebRequest, usize)> {
    let end = memchr::memmem::find(input, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(input.get(..end)?).into_owned();
    let mut lines = head.lines();
    let mut start = lines.next()?.split(' ');
    let (method, path) = (start.next()?.to_owned(), start.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length");
    let length = length.and_then(|l| l.parse().ok()).unwrap_or(0);
    let content = input.get(end + 4..end + 4 + length)?.to_vec();
    let host = headers.get("host").cloned().unwrap_or_default();
    let host = host
        .rsplit_once(':')
        .map_or(host.as_str(), |(name, _)| name);
    let request = WebRequest {
        method,
        host: host.to_owned(),
        path,
        content,
        at: Instant::now(),
        connection: 0,
        headers,
    };
    Some((request, end + 4 + length))
}
