//! Who is told: subscribers, each with a queue of its own, and who asks for what it has missed.
//!
//! Entry point: [`Publisher::start`]. A subscriber whose queue is full misses messages, which are counted; it
//! sees that by their numbers and asks again. Numbers begin at the microsecond of the start: NVIDIA's reader
//! takes what is not above the last number for heard already, so those of a server that begins anew must lie
//! above, and it then asks for what lies between and gets the new beginning. One that has not taken a message
//! whole within [`WRITE_PATIENCE`] is let go.
//!
//! | limit | unit | value | answer when hit |
//! |---|---|---|---|
//! | subscribers | connections | 16 | the next is closed |
//! | those that ask again | connections | 16 | the next is closed |
//! | messages that wait for a subscriber | messages | 1,024 | further ones are missed, and counted |
//! | what they take | bytes | 16 MiB | the same |
//! | until a connection has greeted | time | 10 s | closed |
//! | silence of who asks again | time | 600 s | closed; sockets of ZeroMQ connect again by themselves |
//! | silence of a peer's machine | time | 60 s, then 3 probes in 30 s | closed |
//! | until a peer has taken a message | time | 30 s | closed |
//! | topics of a subscriber | topics | 16 | the connection is closed |

use std::collections::hash_map::RandomState;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gptoss_engine::{KvEventReceiver, KvSubscribers};
use socket2::{SockRef, TcpKeepalive};

use super::message::payload;
use super::replay::Replay;
use super::zmtp::{Received, Role, handshake, pong, read, written};

const CONNECTIONS_MAX: usize = 16;
/// Messages that may wait for a subscriber.
pub const QUEUE_MESSAGES_MAX: usize = 1024;
const QUEUE_BYTES_MAX: usize = 16 << 20;
const TOPICS_MAX: usize = 16;
/// How long a peer may take to greet.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// How long who asks for past messages may ask for none.
const ASKING_PATIENCE: Duration = Duration::from_secs(600);
/// Silence after which the system asks a peer's machine whether it is there, how often, and how many times in
/// vain: a machine that has vanished says nothing, and would hold its place for ever.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES_MAX: u32 = 3;
/// How long a peer may take to receive a message that is sent to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// After a connection could not be taken, as when there are too many files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Number of the message that ends an answer: -1.
const END: u64 = u64::MAX;

/// All that the threads share.
pub struct Publisher {
    topic: Vec<u8>,
    /// Number of the first message.
    first: u64,
    replay: Mutex<Replay>,
    subscribers: Mutex<Vec<Arc<Subscriber>>>,
    counts: Arc<KvSubscribers>,
    /// [`ASKING_PATIENCE`]; tests are less patient.
    asking_patience: Duration,
    /// [`WRITE_PATIENCE`]; tests are less patient.
    write_patience: Duration,
}

/// Whoever has connected to be told.
struct Subscriber {
    queue: SyncSender<Arc<[u8]>>,
    /// What waits in it. Units: bytes.
    bytes: AtomicUsize,
    topics: Mutex<Vec<Vec<u8>>>,
}

impl Publisher {
    /// One without subscribers.
    pub fn new(topic: Vec<u8>, first: u64, counts: Arc<KvSubscribers>) -> Publisher {
        let (replay, subscribers) = (Mutex::default(), Mutex::default());
        Publisher {
            topic,
            first,
            replay,
            subscribers,
            counts,
            asking_patience: ASKING_PATIENCE,
            write_patience: WRITE_PATIENCE,
        }
    }

    /// Starts the threads; they end with the program.
    ///
    /// Errors: the system's, when it has no thread to give.
    pub fn start(
        self,
        batches: KvEventReceiver,
        listener: TcpListener,
        again: Option<TcpListener>,
    ) -> io::Result<()> {
        let publisher = Arc::new(self);
        let ours = Arc::clone(&publisher);
        let spawn = |name: &str| thread::Builder::new().name(format!("kv-events {name}"));
        let key = RandomState::new();
        spawn("tell").spawn(move || {
            while let Some(batch) = batches.recv() {
                let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                // Writing to memory does not fail; if it did, the number would be missed and all told anew.
                if let Ok(payload) = payload(&batch.events, seconds.as_secs_f64(), &key) {
                    ours.tell(ours.first + batch.number, payload.into());
                }
            }
        })?;
        if let Some(again) = again {
            let ours = Arc::clone(&publisher);
            let answer = move |stream| ours.answer(stream);
            spawn("again").spawn(move || accept(&again, answer))?;
        }
        let subscribe = move |stream| publisher.serve(stream);
        spawn("accept").spawn(move || accept(&listener, subscribe))?;
        Ok(())
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Arc<Subscriber>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replay(&self) -> MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a message, and hands it to everybody who has subscribed to it.
    fn tell(&self, number: u64, payload: Arc<[u8]>) {
        let message: Arc<[u8]> = written(&[&self.topic, &number.to_be_bytes(), &payload]).into();
        // First: who hears of a gap may ask at once.
        self.replay().keep(number, payload);
        for subscriber in self.subscribers().iter().filter(|subscriber| subscriber.wants(&self.topic)) {
            if !subscriber.offer(&message) {
                self.counts.late.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Serves a subscriber until it goes, and is done with it when its thread is.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        greet(&mut stream, Role::Publisher)?;
        let (queue, messages) = sync_channel(QUEUE_MESSAGES_MAX);
        let subscriber = Arc::new(Subscriber { queue, bytes: AtomicUsize::new(0), topics: Mutex::default() });
        let (to, from) = (stream.try_clone()?, Arc::downgrade(&subscriber));
        let patience = self.write_patience;
        let sender = thread::Builder::new().name("kv-events send".to_owned()).spawn(move || {
            let sent = |bytes: usize| {
                from.upgrade().map(|subscriber| subscriber.bytes.fetch_sub(bytes, Ordering::AcqRel));
            };
            // Its end is the reader's too: the stream is shut down.
            let _ = send(&to, &messages, patience, sent);
            let _ = to.shutdown(Shutdown::Both);
        })?;
        self.subscribers().push(Arc::clone(&subscriber));
        self.counts.connected.fetch_add(1, Ordering::Relaxed);
        let ended = subscriber.listen(&mut stream);
        self.subscribers().retain(|other| !Arc::ptr_eq(other, &subscriber));
        self.counts.connected.fetch_sub(1, Ordering::Relaxed);
        // A thread that is about to write would go on for as long as its peer takes a byte now and then.
        let _ = stream.shutdown(Shutdown::Both);
        drop(subscriber);
        let _ = sender.join();
        ended
    }

    /// Answers who asks for messages from a number on, until it goes.
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        greet(&mut stream, Role::Router)?;
        stream.set_read_timeout(Some(self.asking_patience))?;
        loop {
            let frames = match read(&mut stream)? {
                Received::Message(frames) => frames,
                Received::Command(name, rest) if name == b"PING" => {
                    write_within(&stream, &pong(&rest), self.write_patience)?;
                    continue;
                }
                Received::Command(..) => continue,
            };
            let first = frames.last().and_then(|frame| Some(u64::from_be_bytes(*frame.first_chunk()?)));
            let told = self.replay().since(first.ok_or(io::ErrorKind::InvalidData)?);
            for (number, payload) in told {
                let message = written(&[&[], &number.to_be_bytes(), &payload]);
                write_within(&stream, &message, self.write_patience)?;
            }
            write_within(&stream, &written(&[&[], &END.to_be_bytes(), &[]]), self.write_patience)?;
        }
    }
}

impl Subscriber {
    fn wants(&self, topic: &[u8]) -> bool {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.iter().any(|wanted| topic.starts_with(wanted))
    }

    /// Whether there was room for it; never waits.
    fn offer(&self, message: &Arc<[u8]>) -> bool {
        let bytes = message.len();
        let fits = self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes <= QUEUE_BYTES_MAX;
        let is_sent = fits && self.queue.try_send(Arc::clone(message)).is_ok();
        if !is_sent {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        is_sent
    }

    /// Takes subscriptions until the connection ends.
    fn listen(&self, stream: &mut TcpStream) -> io::Result<()> {
        loop {
            let received = read(stream)?;
            let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
            let (begins, topic) = match &received {
                Received::Command(name, topic) if name == b"SUBSCRIBE" => (true, &topic[..]),
                Received::Command(name, topic) if name == b"CANCEL" => (false, &topic[..]),
                Received::Command(name, rest) if name == b"PING" => {
                    // A full queue is a sign of life of ours that the peer does not read.
                    let _ = self.offer(&pong(rest).into());
                    continue;
                }
                Received::Command(..) => continue,
                Received::Message(frames) => match frames.first().and_then(|frame| frame.split_first()) {
                    Some((1, topic)) => (true, topic),
                    Some((0, topic)) => (false, topic),
                    _ => continue,
                },
            };
            if !begins {
                if let Some(place) = topics.iter().position(|wanted| wanted == topic) {
                    topics.remove(place);
                }
            } else if topics.len() < TOPICS_MAX {
                topics.push(topic.to_vec());
            } else {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// Greets within a time; after that a peer may be silent for as long as its machine is there.
fn greet(stream: &mut TcpStream, role: Role) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes =
        TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES_MAX);
    SockRef::from(&*stream).set_tcp_keepalive(&probes)?;
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    handshake(&mut Hurried { stream, until: Instant::now() + GREETING_PATIENCE }, role)?;
    stream.set_read_timeout(None)
}

/// A connection that is read until a moment, however little comes at a time.
struct Hurried<'a> {
    stream: &'a mut TcpStream,
    until: Instant,
}

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

impl Write for Hurried<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Sends what comes into a queue, and tells the bytes of each.
fn send(
    stream: &TcpStream,
    messages: &Receiver<Arc<[u8]>>,
    patience: Duration,
    sent: impl Fn(usize),
) -> io::Result<()> {
    for message in messages {
        write_within(stream, &message, patience)?;
        sent(message.len());
    }
    Ok(())
}

/// Writes a whole message within a time, however little the peer takes at a time.
fn write_within(mut stream: &TcpStream, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives each connection a thread, of which there are [`CONNECTIONS_MAX`] at most.
fn accept(listener: &TcpListener, serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) {
    let serve = Arc::new(serve);
    let connected = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if connected.load(Ordering::Acquire) >= CONNECTIONS_MAX {
            continue;
        }
        connected.fetch_add(1, Ordering::AcqRel);
        let (serve, counted) = (Arc::clone(&serve), Arc::clone(&connected));
        let thread = thread::Builder::new().name("kv-events peer".to_owned()).spawn(move || {
            // How a peer went says nothing that its subscription's end does not.
            let _ = serve(stream);
            counted.fetch_sub(1, Ordering::AcqRel);
        });
        if thread.is_err() {
            connected.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a SUB socket of libzmq writes at first.
    fn greeting(socket: &str) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        (bytes[0], bytes[9], bytes[10], bytes[11]) = (0xff, 0x7f, 3, 1);
        bytes[12..16].copy_from_slice(b"NULL");
        let length = (socket.len() as u32).to_be_bytes();
        let body = [b"\x05READY\x0bSocket-Type", &length[..], socket.as_bytes()].concat();
        bytes.extend([4, body.len() as u8]);
        bytes.extend(body);
        bytes
    }

    fn connect(address: std::net::SocketAddr, socket: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&greeting(socket)).unwrap();
        let mut skipped = [0; 64];
        stream.read_exact(&mut skipped).unwrap();
        assert!(matches!(read(&mut stream), Ok(Received::Command(name, _)) if name == b"READY"));
        stream
    }

    fn frames(stream: &mut TcpStream) -> Vec<Vec<u8>> {
        match read(stream).unwrap() {
            Received::Message(frames) => frames,
            command => panic!("{command:?}"),
        }
    }

    /// A subscriber hears what follows its subscription and gets the rest by asking; one that reads nothing
    /// misses messages and holds nobody up.
    #[test]
    fn subscribers_hear_and_slow_ones_miss() {
        let counts = Arc::new(KvSubscribers::default());
        let publisher = Arc::new(Publisher::new(b"kv".to_vec(), 0, Arc::clone(&counts)));
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (told, again) = (listen(), listen());
        let addresses = (told.local_addr().unwrap(), again.local_addr().unwrap());
        let (one, other) = (Arc::clone(&publisher), Arc::clone(&publisher));
        thread::spawn(move || accept(&told, move |stream| one.serve(stream)));
        thread::spawn(move || accept(&again, move |stream| other.answer(stream)));
        publisher.tell(0, Arc::from(*b"before"));
        let mut subscriber = connect(addresses.0, "SUB");
        let _silent = connect(addresses.0, "SUB");
        let mut slow = connect(addresses.0, "XSUB");
        subscriber.write_all(&written(&[b"\x01k"])).unwrap();
        slow.write_all(&written(&[b"\x01"])).unwrap();
        // What they want is known when both are in the list with a topic.
        while publisher.subscribers().iter().filter(|it| it.wants(b"kv")).count() < 2 {
            thread::yield_now();
        }
        publisher.tell(1, Arc::from(*b"first"));
        assert_eq!(
            frames(&mut subscriber),
            [b"kv".to_vec(), 1_u64.to_be_bytes().to_vec(), b"first".to_vec()]
        );
        let large: Arc<[u8]> = vec![7; 1000].into();
        let mut number = 1;
        while counts.late.load(Ordering::Relaxed) == 0 {
            number += 1;
            publisher.tell(number, Arc::clone(&large));
            assert_eq!(frames(&mut subscriber)[1], number.to_be_bytes());
        }
        assert_eq!(counts.connected.load(Ordering::Relaxed), 3);
        let mut asks = connect(addresses.1, "DEALER");
        asks.write_all(&written(&[&[], &(number - 1).to_be_bytes()])).unwrap();
        for expect in [number - 1, number] {
            assert_eq!(frames(&mut asks), [Vec::new(), expect.to_be_bytes().to_vec(), large.to_vec()]);
        }
        assert_eq!(frames(&mut asks), [Vec::new(), vec![0xff; 8], Vec::new()]);
        drop(subscriber);
        while publisher.subscribers().len() > 2 {
            thread::yield_now();
        }
    }

    /// Who asked once and was never heard of again held one of sixteen places for ever.
    #[test]
    fn who_asks_for_nothing_any_more_gives_its_place_back() {
        let mut publisher = Publisher::new(Vec::new(), 0, Arc::default());
        publisher.asking_patience = Duration::from_secs(2);
        publisher.tell(5, Arc::from(*b"told"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || accept(&listener, move |stream| publisher.answer(stream)));
        let mut asks = connect(address, "REQ");
        asks.write_all(&written(&[&[], &0_u64.to_be_bytes()])).unwrap();
        assert_eq!(frames(&mut asks)[2], b"told");
        assert_eq!(frames(&mut asks)[1], [0xff; 8]);
        // Nothing ends this connection but the other side.
        let silent: Vec<TcpStream> = (1..CONNECTIONS_MAX).map(|_| connect(address, "REQ")).collect();
        for mut stream in silent.into_iter().chain([asks]) {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
        // The last of them may be counted for a moment longer.
        let is_taken = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&greeting("REQ")).and_then(|()| stream.read_exact(&mut [0; 64])).is_ok()
        };
        while !is_taken() {
            thread::yield_now();
        }
    }

    /// A subscriber that took a few bytes now and then kept its thread and all that was queued for it, also
    /// after its place was given to another.
    #[test]
    fn who_takes_a_message_byte_by_byte_is_let_go() {
        let mut publisher = Publisher::new(b"kv".to_vec(), 0, Arc::default());
        publisher.write_patience = Duration::from_millis(200);
        let publisher = Arc::new(publisher);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = Arc::clone(&publisher);
        let served = thread::spawn(move || ours.serve(listener.accept()?.0));
        let mut slow = connect(address, "SUB");
        slow.write_all(&written(&[b"\x01"])).unwrap();
        while !publisher.subscribers().iter().any(|it| it.wants(b"kv")) {
            thread::yield_now();
        }
        // More than the system holds for a connection.
        publisher.tell(0, vec![7; QUEUE_BYTES_MAX - 1000].into());
        // Far too little to have it whole before the time is over; nothing but the other side ends it.
        while !served.is_finished() {
            let _ = slow.read(&mut [0; 16]);
            thread::yield_now();
        }
        drop(served.join().unwrap());
        assert!(publisher.subscribers().is_empty());
    }

    /// Who closes only its own half leaves nobody behind who still writes to it.
    #[test]
    fn a_place_is_given_back_when_nothing_writes_any_more() {
        let publisher = Arc::new(Publisher::new(b"kv".to_vec(), 0, Arc::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = Arc::clone(&publisher);
        let served = thread::spawn(move || ours.serve(listener.accept()?.0));
        let mut half = connect(address, "SUB");
        half.write_all(&written(&[b"\x01"])).unwrap();
        while !publisher.subscribers().iter().any(|it| it.wants(b"kv")) {
            thread::yield_now();
        }
        // More than the system holds for a connection.
        let bytes = QUEUE_BYTES_MAX - 1000;
        publisher.tell(0, vec![7; bytes].into());
        half.shutdown(Shutdown::Write).unwrap();
        drop(served.join().unwrap());
        let mut rest = Vec::new();
        let _ = half.read_to_end(&mut rest);
        assert!(rest.len() < bytes, "it was written on");
    }

    /// A machine that vanishes says nothing, whatever a subscriber may.
    #[test]
    fn peers_are_probed_by_the_system() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let theirs = thread::spawn(move || connect(address, "SUB"));
        let (mut ours, _) = listener.accept().unwrap();
        greet(&mut ours, Role::Publisher).unwrap();
        let socket = SockRef::from(&ours);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(ours.read_timeout().unwrap(), None);
        theirs.join().unwrap();
    }
}
