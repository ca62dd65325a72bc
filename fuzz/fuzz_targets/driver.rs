//! A hostile device: whatever it answers, with whatever ids, lengths and indices, the driver neither panics nor hangs nor
//! writes outside the room of a result; what it says was processed is within it, and all calls come back, also those that
//! nobody waits for.

#![no_main]

#[path = "../../crates/virtio/tests/mock/mod.rs"]
mod mock;

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use gipsec_engine::*;
use gipsec_virtio::{
    driver::{Device, Options},
    message::control::AttachMode,
};
use libfuzzer_sys::fuzz_target;
use mock::{
    Mock, Reply, Script,
    calls::{ANY, Caller},
    held::Held,
};

fn entry() -> BundleEntry {
    let keys = Keys { cipher: vec![7; 20].into(), ..Keys::default() };
    let attributes = Attributes {
        spi: NonZeroU32::MIN,
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Tunnel(Endpoints::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into() }),
        algorithms: Algorithms::Combined(Combined::Gcm),
        key_lengths: keys.lengths(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify { sequence_periodic: true, ..Notify::default() },
        intervals: Intervals { periodic: 3, ..Intervals::default() },
        rules: Rules::Outbound(OutboundRules::default()),
    };
    BundleEntry { parameters: attributes.into(), keys }
}

/// Takes bytes off the input until there are none; then the device is honest.
struct Bytes(VecDeque<u8>);

impl Bytes {
    fn take(&mut self) -> Option<u8> {
        self.0.pop_front()
    }

    /// Spoils a reply.
    fn spoil(&mut self, mut reply: Reply) -> Reply {
        let Some(what) = self.take() else { return reply };
        let word = |bytes: &mut Self| u32::from_le_bytes([(); 4].map(|()| bytes.take().unwrap_or(0)));
        match what % 8 {
            0 => reply.id = Some(word(self)),
            1 => reply.len = Some(word(self)),
            2 => reply.step = u16::from(self.take().unwrap_or(0)) << (what >> 4),
            3 => reply.bytes.truncate(usize::from(self.take().unwrap_or(0))),
            4 | 5 => {
                // Words anywhere in the answer, most of them at its front, where results are.
                for _ in 0..what >> 4 {
                    let (at, value) = (usize::from(self.take().unwrap_or(0)), word(self));
                    if let Some(place) = reply.bytes.get_mut(at..at + 4) {
                        place.copy_from_slice(&value.to_le_bytes());
                    }
                }
            }
            _ => {}
        }
        reply
    }
}

static PACKET: [u8; 100] = {
    let mut packet = [0; 100];
    (packet[0], packet[3], packet[8], packet[9]) = (0x45, 100, 64, 17);
    (packet[12], packet[15], packet[16], packet[19]) = (10, 1, 10, 2);
    packet
};

/// Rooms of deferred calls, which are never given back, and so used again.
static ROOMS: Mutex<Vec<&mut [u8]>> = Mutex::new(Vec::new());

fn room() -> &'static mut [u8] {
    let room = ROOMS.lock().unwrap().pop().unwrap_or_else(|| vec![0; 160].leak());
    room.fill(0xdd);
    room
}

fuzz_target!(|data: &[u8]| {
    let bytes = Arc::new(Mutex::new(Bytes(data.iter().copied().collect())));
    let what = || bytes.lock().unwrap().take().unwrap_or(0);
    let device_bytes = bytes.clone();
    let script: Script = Box::new(move |_, _, reply| device_bytes.lock().unwrap().spoil(reply));
    let deadline = Duration::from_millis(2);
    let options = Options { deadline, poll: Duration::from_millis(1), pairs: 1, ..Options::default() };
    let mock = Mock::new(Some(script));
    // One that answers later does so in any order.
    let later = what() % 2 > 0;
    let held = if later { Held::new(mock) } else { Held(Arc::new(mock)) };
    let mock = held.0.clone();
    let Ok(device) = Device::open(Box::new(held), AttachMode::Shared, "fuzz", options, Box::new(|| {})) else { return };
    let Ok(sa) = device.add_sa(vec![entry()]) else { return };
    let (sa, mut caller, mut deferred, mut finished) = (Arc::new(sa), Caller::new(&device), 0, Vec::new());
    let listener: Arc<dyn Fn(&Events) + Send + Sync> = Arc::new(|_| {});
    sa.listen(&listener);
    let synchronous = || {
        let mut outputs = vec![vec![0xdd; 200]; 40];
        let mut buffers: Vec<_> =
            outputs.iter_mut().map(|output| Buffers::Apart { input: &PACKET, output: &mut output[..160] }).collect();
        let mut verdicts = vec![Err(PacketError::Crypto); 40];
        sa.process(&mut buffers, &mut verdicts);
        for (output, verdict) in outputs.iter().zip(&verdicts) {
            assert!(output[verdict.unwrap_or(0)..].iter().all(|byte| *byte == 0xdd), "written beyond the result");
        }
    };
    for _ in 0..12 {
        let choice = what();
        match choice % 4 {
            0 => synchronous(),
            1 => {
                deferred += 1;
                let apart = |_| Buffers::Apart { input: &PACKET, output: room() };
                let call = caller.call(&sa, ANY, (0..choice >> 2).map(apart).collect());
                device.defer(Direction::Outbound, 0, Box::new(call));
            }
            2 => finished.extend(caller.look()),
            _ => drop(mock.answer(usize::from(choice >> 2))),
        }
    }
    // Whoever waits has everything come back, or loses the device.
    while mock.answer(0) {}
    synchronous();
    finished.extend(caller.look_until(deferred - finished.len(), || while mock.answer(0) {}));
    assert!(caller.look().is_empty() && finished.len() == deferred);
    for call in finished {
        call.results();
        ROOMS.lock().unwrap().extend(call.packets.into_iter().filter_map(|packet| match packet {
            Buffers::Apart { output, .. } => Some(output),
            Buffers::InPlace { .. } => None,
        }));
    }
    let _ = sa.make_dummy(100, &mut [0; 200]);
    let _ = sa.largest_inner(1500);
    let _ = sa.modify(&Change::Replay { window: None, sequence: Some((9, 0)) });
    let _ = (sa.read(), sa.done());
});
