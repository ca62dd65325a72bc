//! A hostile device: whatever it answers, with whatever ids, lengths and indices, the driver neither panics nor hangs nor
//! writes outside the room of a result; what it says was processed is within it, and all calls come back.

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
use mock::{Mock, Reply, Script};

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

fuzz_target!(|data: &[u8]| {
    let bytes = Mutex::new(Bytes(data.iter().copied().collect()));
    let script: Script = Box::new(move |_, _, reply| bytes.lock().unwrap().spoil(reply));
    let options = Options { deadline: Duration::from_millis(2), poll: Duration::from_millis(1), pairs: 1 };
    let mock = Mock::new(Some(script));
    let Ok(device) = Device::open(Box::new(mock), AttachMode::Shared, "fuzz", options, Box::new(|| {})) else { return };
    let Ok(sa) = device.add_sa(vec![entry()]) else { return };
    let listener: Arc<dyn Fn(&Events) + Send + Sync> = Arc::new(|_| {});
    sa.listen(&listener);
    let mut packet = vec![0x45, 0, 0, 100, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.resize(100, 0);
    for _ in 0..3 {
        let mut outputs = vec![vec![0xdd; 200]; 40];
        let mut buffers: Vec<_> =
            outputs.iter_mut().map(|output| Buffers::Apart { input: &packet, output: &mut output[..160] }).collect();
        let mut verdicts = vec![Err(PacketError::Crypto); 40];
        sa.process(&mut buffers, &mut verdicts);
        for (output, verdict) in outputs.iter().zip(&verdicts) {
            assert!(output[verdict.unwrap_or(0)..].iter().all(|byte| *byte == 0xdd), "written beyond the result");
        }
    }
    let _ = sa.make_dummy(100, &mut [0; 200]);
    let _ = sa.largest_inner(1500);
    let _ = sa.modify(&Change::Replay { window: None, sequence: Some((9, 0)) });
    let _ = (sa.read(), sa.done());
});
