//! SAs and packets for the device.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use gipsec_engine::{
    Algorithms, Attributes, Buffers, BundleEntry, Cipher, Direction, Endpoints, InboundRules, Integrity, Intervals,
    KeyLengths, Keys, Lifetime, Mode, Notify, OutboundRules, PacketError, Protocol, Rules, Verdict,
};
use gipsec_virtio::{
    driver::{Device, DeviceSa, DriverError, Options},
    message::control::AttachMode,
    transport::Transport,
};
use zeroize::Zeroizing;

/// How a device is opened.
pub fn options() -> Options {
    let deadline = Duration::from_millis(200);
    Options { deadline, poll: Duration::from_millis(1), pairs: 1, ..Options::default() }
}

/// Opens a device; how often it was said to be lost.
pub fn open(device: impl Transport + 'static) -> Result<(Arc<Device>, Arc<AtomicUsize>), DriverError> {
    open_with(device, options())
}

/// Opens a device that is used like this.
pub fn open_with(
    device: impl Transport + 'static,
    options: Options,
) -> Result<(Arc<Device>, Arc<AtomicUsize>), DriverError> {
    let lost = Arc::new(AtomicUsize::new(0));
    let told = lost.clone();
    let on_lost = Box::new(move || {
        told.fetch_add(1, SeqCst);
    });
    Device::open(Box::new(device), AttachMode::Exclusive, "test", options, on_lost).map(|device| (device, lost))
}

/// An SA, with an event every 8 packets.
pub fn entry(direction: Direction) -> BundleEntry {
    let attributes = Attributes {
        spi: 77.try_into().unwrap(),
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Tunnel(Endpoints::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into() }),
        algorithms: Algorithms::Separate { cipher: Cipher::AesCbc, integrity: Integrity::HmacSha256 },
        key_lengths: KeyLengths { cipher: 16, integrity: 32 },
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify { sequence_periodic: true, ..Notify::default() },
        intervals: Intervals { periodic: 8, ..Intervals::default() },
        rules: match direction {
            Direction::Inbound => Rules::Inbound(InboundRules { replay_window: Some(64), ..InboundRules::default() }),
            Direction::Outbound => Rules::Outbound(OutboundRules::default()),
        },
    };
    let keys = Keys { cipher: Zeroizing::new(vec![1; 16]), integrity: Zeroizing::new(vec![2; 32]) };
    BundleEntry { parameters: attributes.into(), keys }
}

/// An IPv4 packet.
pub fn packet(len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; len];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    packet
}

/// What becomes of packets for an SA: results, verdicts.
pub fn process(sa: &DeviceSa, inputs: &[Vec<u8>], room: usize) -> (Vec<Vec<u8>>, Vec<Verdict>) {
    let mut outputs = vec![vec![0xdd; room]; inputs.len()];
    let mut verdicts = vec![Err(PacketError::Crypto); inputs.len()];
    let pairs = inputs.iter().zip(&mut outputs);
    let mut buffers: Vec<_> = pairs.map(|(input, output)| Buffers::Apart { input, output }).collect();
    sa.process(&mut buffers, &mut verdicts);
    for (output, verdict) in outputs.iter_mut().zip(&verdicts) {
        assert!(output[verdict.unwrap_or(0)..].iter().all(|byte| *byte == 0xdd), "written beyond the result");
        output.truncate(verdict.unwrap_or(0));
    }
    (outputs, verdicts)
}
