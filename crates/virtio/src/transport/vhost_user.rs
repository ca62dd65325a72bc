//! A device behind a Unix socket, in another process (vhost-user): as DPDK's virtio-user does it, without a VM. The memory is
//! a memfd that both map; the device is lost when the connection ends.

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt::Timeout},
};
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{
        Frontend, VhostUserFrontend,
        message::{VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures},
    },
};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};
use zerocopy::FromBytes;

use super::{QueuePlace, Transport, TransportError};
use crate::{
    memory::Memory,
    message::{Config, feature},
    threads,
};

/// Descriptors of a queue at most; what a vhost-user device takes is not asked for.
const MAX_QUEUE_SIZE: u16 = 1024;
/// How long it may take until a device is connected and set up.
const PATIENCE: Duration = Duration::from_secs(2);

/// A queue's two event descriptors.
struct Events {
    kick: EventFd,
    call: EventFd,
}

/// The connection to a device.
pub struct VhostUser {
    frontend: Mutex<Frontend>,
    /// The connection again, to be watched and to be ended.
    stream: UnixStream,
    /// When it has to be set up.
    deadline: Instant,
    features: u64,
    config: Config,
    queues: usize,
    memory: Arc<Memory>,
    /// By number of queue.
    events: Vec<Option<Events>>,
}

/// The descriptor of an event.
#[expect(unsafe_code, reason = "the crate that vhost takes events from lends no descriptor")]
fn borrow(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the event owns the descriptor, and lives as long as what is returned.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

/// Ends a connection at its deadline: the crate that speaks vhost-user waits for an answer without a bound.
struct Deadline(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Deadline {
    fn new(stream: &UnixStream, at: Instant) -> io::Result<Self> {
        let (stream, (ahead, behind)) = (stream.try_clone()?, mpsc::channel());
        let thread = threads::spawn("gipsec-deadline", move || {
            if behind.recv_timeout(at.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        })?;
        Ok(Self(Some((ahead, thread))))
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some((ahead, thread)) = self.0.take() {
            drop(ahead);
            let _ = thread.join();
        }
    }
}

/// Connects to a socket. One whose line of callers is full makes us wait, but not beyond the patience.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    net::sockopt::set_socket_timeout(&fd, Timeout::Send, Some(PATIENCE))?;
    net::connect(&fd, &SocketAddrUnix::new(socket)?)?;
    Ok(fd.into())
}

/// A connection whose other end has said what it is.
struct Introduced {
    frontend: Frontend,
    stream: UnixStream,
    /// When it has to be set up.
    deadline: Instant,
    features: u64,
    queues: usize,
    config: Config,
}

/// Connects to a socket, and asks who is there.
fn introduce(socket: &Path) -> Result<Introduced, TransportError> {
    let failed = |why: io::Error| TransportError::new(&format!("the socket {}", socket.display()), why);
    let deadline = Instant::now() + PATIENCE;
    let stream = connect(socket).map_err(|why| match why.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            TransportError(format!("nobody listens at {}", socket.display()))
        }
        _ => failed(why),
    })?;
    let _deadline = Deadline::new(&stream, deadline).map_err(failed)?;
    let watched = stream.try_clone().map_err(failed)?;
    let mut frontend = Frontend::from_stream(stream, 2 + 2 * crate::message::MAX_PAIRS as u64);
    let (features, queues, config) = ask(&mut frontend)?;
    Ok(Introduced { frontend, stream: watched, deadline, features, queues, config })
}

/// Features, number of queues, configuration.
fn ask(frontend: &mut Frontend) -> Result<(u64, usize, Config), TransportError> {
    let failed = |what: &'static str| move |why: vhost::Error| TransportError::new(what, why);
    frontend.set_owner().map_err(failed("SET_OWNER"))?;
    let features = frontend.get_features().map_err(failed("GET_FEATURES"))?;
    if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
        return Err(TransportError("the device has no protocol features, and so no configuration".into()));
    }
    frontend
        .set_features(features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits())
        .map_err(failed("SET_FEATURES"))?;
    let offered = frontend.get_protocol_features().map_err(failed("GET_PROTOCOL_FEATURES"))?;
    let wanted =
        VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
    if !offered.contains(VhostUserProtocolFeatures::CONFIG) {
        return Err(TransportError("the device has no configuration".into()));
    }
    frontend.set_protocol_features(offered & wanted).map_err(failed("SET_PROTOCOL_FEATURES"))?;
    if offered.contains(VhostUserProtocolFeatures::REPLY_ACK) {
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    }
    let queues = match offered.contains(VhostUserProtocolFeatures::MQ) {
        true => frontend.get_queue_num().map_err(failed("GET_QUEUE_NUM"))?,
        false => 4,
    };
    const SIZE: u32 = 64;
    let room = [0; SIZE as usize];
    let (_, bytes) =
        frontend.get_config(0, SIZE, VhostUserConfigFlags::WRITABLE, &room).map_err(failed("GET_CONFIG"))?;
    let (config, _) =
        Config::read_from_prefix(&bytes).map_err(|_| TransportError("the configuration is cut".into()))?;
    Ok((features, usize::try_from(queues).unwrap_or(0), config))
}

/// Reads a device's configuration, and leaves.
pub fn probe(socket: &Path) -> Result<Config, TransportError> {
    introduce(socket).map(|introduced| introduced.config)
}

impl VhostUser {
    /// Connects to the device at `socket`, with `pool_bytes` of memory to share.
    pub fn open(socket: &Path, pool_bytes: usize) -> Result<Self, TransportError> {
        let Introduced { frontend, stream, deadline, features, queues, config } = introduce(socket)?;
        let memory = Memory::shared(pool_bytes, 0).map_err(|why| TransportError::new("memory to share", why))?;
        let events = (0..queues.min(2 + 2 * crate::message::MAX_PAIRS)).map(|_| None).collect();
        let (frontend, memory) = (Mutex::new(frontend), Arc::new(memory));
        Ok(Self { frontend, stream, deadline, features, config, queues, memory, events })
    }

    fn set_up(&mut self, features: u64, queues: &[QueuePlace]) -> vhost::Result<()> {
        let frontend = self.frontend.get_mut();
        frontend.set_features(features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits())?;
        let Some(file) = self.memory.file() else { return Err(vhost::Error::InvalidGuestMemory) };
        let start = self.memory.start() as u64;
        frontend.set_mem_table(&[VhostUserMemoryRegionInfo {
            guest_phys_addr: self.memory.device_address(0),
            memory_size: self.memory.len() as u64,
            userspace_addr: start,
            mmap_offset: 0,
            mmap_handle: file.as_fd().as_raw_fd(),
        }])?;
        for place in queues {
            let event = || EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(vhost::Error::IOError);
            let events = Events { kick: event()?, call: event()? };
            let address = |offset: usize| start + offset as u64;
            frontend.set_vring_num(place.queue, place.size)?;
            frontend.set_vring_addr(
                place.queue,
                &VringConfigData {
                    queue_max_size: MAX_QUEUE_SIZE,
                    queue_size: place.size,
                    flags: 0,
                    desc_table_addr: address(place.descriptors),
                    used_ring_addr: address(place.used),
                    avail_ring_addr: address(place.available),
                    log_addr: None,
                },
            )?;
            frontend.set_vring_base(place.queue, 0)?;
            frontend.set_vring_call(place.queue, &events.call)?;
            frontend.set_vring_kick(place.queue, &events.kick)?;
            if let Some(slot) = self.events.get_mut(place.queue) {
                *slot = Some(events);
            }
        }
        queues.iter().try_for_each(|place| frontend.set_vring_enable(place.queue, true))
    }

    fn events(&self, queue: usize) -> Option<&Events> {
        self.events.get(queue)?.as_ref()
    }
}

impl Transport for VhostUser {
    fn features(&self) -> u64 {
        // What both need of the connection itself is not the driver's business.
        self.features & !VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() & !feature::ACCESS_PLATFORM
    }

    fn config(&self) -> Config {
        self.config
    }

    fn max_queue_size(&self, queue: usize) -> u16 {
        if queue < self.queues { MAX_QUEUE_SIZE } else { 0 }
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError> {
        let failed = |why: &dyn std::fmt::Display| TransportError::new("setting up the queues", why);
        let _deadline = Deadline::new(&self.stream, self.deadline).map_err(|why| failed(&why))?;
        self.set_up(features, queues).map_err(|why| failed(&why))
    }

    fn kick(&self, queue: usize) {
        if let Some(events) = self.events(queue) {
            let _ = events.kick.write(1);
        }
    }

    fn interrupt(&self, queue: usize) -> Option<BorrowedFd<'_>> {
        self.events(queue).map(|events| borrow(&events.call))
    }

    fn take_interrupt(&self, queue: usize) {
        if let Some(events) = self.events(queue) {
            let _ = events.call.read();
        }
    }

    fn shares_interrupts(&self) -> bool {
        false
    }

    fn loss(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn is_lost(&self) -> bool {
        // The device says nothing unasked: whatever there is to read is the end.
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN | PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    fn stop(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
