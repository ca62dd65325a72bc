//! Packets in memory that others may change, against the same packets one by one with the portable backend.

mod support;

use std::sync::{
    Barrier,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use gipsec_kernels::gcm::{Backend, GcmKey, TagMismatch, VolatileJob, wipe};
use support::pages::GuardedPages;
use support::{Generator, available, expand};
use vm_memory::VolatileSlice;

/// Bytes around a text that belong to nobody, and what is in them.
const GUARD: usize = 70;
const UNTOUCHED: u8 = 0xee;

/// A packet and what should become of it.
struct Packet {
    nonce: [u8; 12],
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: [u8; 16],
    /// How much of the plaintext is a payload, in front of what is in the output.
    split: usize,
    /// Bytes of the tag.
    tag_len: usize,
    forgery: Option<Forgery>,
}

/// What is changed on the way.
#[derive(Clone, Copy, Debug)]
enum Forgery {
    Tag,
    Ciphertext,
    AssociatedData,
}

impl Packet {
    fn new(generator: &mut Generator, oracle: &GcmKey, len: usize) -> Self {
        let nonce = generator.nonce();
        let aad_len = [8, 12, 0, 16, 17, 40][generator.below(40).saturating_sub(34)];
        let aad = generator.bytes(aad_len);
        let plaintext = generator.bytes(len);
        let split = match generator.below(5) {
            0 => 0,
            1 => len,
            2 => generator.below(len + 1),
            _ => len - generator.below(20).min(len),
        };
        let mut ciphertext = vec![0; len];
        ciphertext[split..].copy_from_slice(&plaintext[split..]);
        let tag = oracle.seal(&nonce, &aad, &plaintext[..split], &mut ciphertext);
        let forgery = match generator.below(12) {
            0 => Some(Forgery::Tag),
            1 => Some(Forgery::Ciphertext),
            2 => Some(Forgery::AssociatedData),
            _ => None,
        };
        let tag_len = [16, 12, 8][generator.below(3)];
        Self { nonce, aad, plaintext, ciphertext, tag, split, tag_len, forgery }
    }

    /// Changes a bit of what the forgery is of; there is none where that has no bytes.
    fn forge(&mut self, generator: &mut Generator) {
        let bytes = match self.forgery {
            None => return,
            Some(Forgery::Tag) => &mut self.tag[..self.tag_len],
            Some(Forgery::Ciphertext) => &mut self.ciphertext[..],
            Some(Forgery::AssociatedData) => &mut self.aad[..],
        };
        if bytes.is_empty() {
            self.forgery = None;
        } else {
            let at = generator.below(bytes.len());
            bytes[at] ^= 1 << generator.below(8);
        }
    }
}

/// A text between guards.
fn guarded(text: &[u8]) -> Vec<u8> {
    [&[UNTOUCHED; GUARD][..], text, &[UNTOUCHED; GUARD]].concat()
}

/// The text in there.
fn inner(guarded: &mut [u8]) -> VolatileSlice<'_> {
    let end = guarded.len() - GUARD;
    VolatileSlice::from(&mut guarded[GUARD..end])
}

fn check(generator: &mut Generator, key: &GcmKey, packets: &mut [Packet]) {
    let mut sources: Vec<_> = packets.iter().map(|packet| guarded(&packet.plaintext[..packet.split])).collect();
    let mut outputs: Vec<_> = packets
        .iter()
        .map(|packet| {
            let mut output = packet.plaintext.clone();
            output[..packet.split].fill(0xa5);
            guarded(&output)
        })
        .collect();
    let mut jobs: Vec<_> = packets
        .iter()
        .zip(sources.iter_mut().zip(&mut outputs))
        .map(|(packet, (source, output))| {
            VolatileJob::new(packet.nonce, &packet.aad, inner(source), inner(output)).unwrap()
        })
        .collect();
    key.seal_volatile(&mut jobs);
    let tags: Vec<_> = jobs.iter().map(|job| *job.tag()).collect();
    for (index, packet) in packets.iter().enumerate() {
        let context = (key.backend(), index, packets.len(), packet.plaintext.len(), packet.split);
        assert!(outputs[index] == guarded(&packet.ciphertext), "ciphertext {context:?}");
        assert!(sources[index] == guarded(&packet.plaintext[..packet.split]), "payload {context:?}");
        assert_eq!(tags[index], packet.tag, "tag {context:?}");
    }

    for packet in &mut *packets {
        packet.forge(generator);
    }
    let mut sources: Vec<_> = packets.iter().map(|packet| guarded(&packet.ciphertext)).collect();
    for output in &mut outputs {
        let end = output.len() - GUARD;
        output[GUARD..end].fill(0xa5);
    }
    let mut jobs: Vec<_> = packets
        .iter()
        .zip(sources.iter_mut().zip(&mut outputs))
        .map(|(packet, (source, output))| {
            VolatileJob::new(packet.nonce, &packet.aad, inner(source), inner(output)).unwrap()
        })
        .collect();
    key.open_volatile(&mut jobs);
    let verify = |(job, packet): (&VolatileJob<'_>, &Packet)| job.verify(&packet.tag[..packet.tag_len]);
    let results: Vec<_> = jobs.iter().zip(&*packets).map(verify).collect();
    for (index, packet) in packets.iter().enumerate() {
        let len = packet.plaintext.len();
        let context = (key.backend(), index, packets.len(), len, packet.tag_len, packet.forgery);
        let (result, text) = match packet.forgery {
            Some(_) => (Err(TagMismatch), vec![0; len]),
            None => (Ok(()), packet.plaintext.clone()),
        };
        assert_eq!(results[index], result, "{context:?}");
        assert!(outputs[index] == guarded(&text), "plaintext {context:?}");
        assert!(sources[index] == guarded(&packet.ciphertext), "ciphertext {context:?}");
    }
}

/// Runs `check` for each key length and backend with the oracle and the key.
fn for_each_key(seed: u64, mut check: impl FnMut(&mut Generator, &GcmKey, &GcmKey)) {
    let mut generator = Generator::new(seed);
    for key_len in [16, 24, 32] {
        let key = generator.bytes(key_len);
        let oracle = expand(&key, Backend::Portable);
        for backend in available() {
            check(&mut generator, &oracle, &expand(&key, backend));
        }
    }
}

/// Lengths around those at which kernels do something else: all the short ones, and what is next to a whole vector.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=1100).filter(|len| *len < 140 || matches!(len % 32, 0 | 1 | 15 | 16 | 17 | 31))
}

#[test]
fn equal_lengths() {
    for_each_key(71, |generator, oracle, key| {
        for len in lengths().chain([1535, 1536, 1537, 2048]) {
            let count = 1 + generator.below(9);
            let mut packets: Vec<_> = (0..count).map(|_| Packet::new(generator, oracle, len)).collect();
            check(generator, key, &mut packets);
        }
    });
}

#[test]
fn mixed_lengths() {
    for_each_key(72, |generator, oracle, key| {
        for count in (0..=9).chain([64]) {
            for most in [34, 100, 300, 1100, 2500] {
                let mut packets: Vec<_> = (0..count)
                    .map(|_| {
                        let len = generator.below(most);
                        Packet::new(generator, oracle, len)
                    })
                    .collect();
                check(generator, key, &mut packets);
            }
        }
    });
}

/// Room for `data` next to an inaccessible page, with the data in it.
fn place<'p>(pages: &'p mut GuardedPages, at_end: bool, data: &[u8]) -> &'p mut [u8] {
    let room = if at_end { pages.end(data.len()) } else { pages.start(data.len()) };
    room.copy_from_slice(data);
    room
}

#[test]
fn guarded_pages() {
    let mut sources: Vec<_> = (0..4).map(|_| GuardedPages::new()).collect();
    let mut targets: Vec<_> = (0..4).map(|_| GuardedPages::new()).collect();
    for_each_key(73, |generator, oracle, key| {
        for (len, at_end) in lengths().flat_map(|len| [(len, true), (len, false)]) {
            let packets: Vec<_> = (0..1 + len % 4).map(|_| Packet::new(generator, oracle, len)).collect();
            let context = (key.backend(), len, at_end);
            let mut jobs: Vec<_> = packets
                .iter()
                .zip(sources.iter_mut().zip(&mut targets))
                .map(|(packet, (source, target))| {
                    let source = place(source, at_end, &packet.plaintext[..packet.split]);
                    let target = place(target, at_end, &packet.plaintext);
                    target[..packet.split].fill(0xa5);
                    VolatileJob::new(packet.nonce, &packet.aad, source.into(), target.into()).unwrap()
                })
                .collect();
            key.seal_volatile(&mut jobs);
            let tags: Vec<_> = jobs.iter().map(|job| *job.tag()).collect();
            for ((packet, target), tag) in packets.iter().zip(&mut targets).zip(&tags) {
                let output = if at_end { target.end(len) } else { target.start(len) };
                assert!(*output == packet.ciphertext, "{context:?}");
                assert_eq!(*tag, packet.tag, "{context:?}");
            }

            let mut jobs: Vec<_> = packets
                .iter()
                .zip(sources.iter_mut().zip(&mut targets))
                .map(|(packet, (source, target))| {
                    let source = place(source, at_end, &packet.ciphertext);
                    let target = if at_end { target.end(len) } else { target.start(len) };
                    VolatileJob::new(packet.nonce, &packet.aad, source.into(), target.into()).unwrap()
                })
                .collect();
            key.open_volatile(&mut jobs);
            assert!(jobs.iter().zip(&packets).all(|(job, packet)| job.verify(&packet.tag) == Ok(())), "{context:?}");
            for (packet, target) in packets.iter().zip(&mut targets) {
                let output = if at_end { target.end(len) } else { target.start(len) };
                assert!(*output == packet.plaintext, "{context:?}");
            }
        }
    });
}

#[test]
fn tags_of_other_lengths_are_refused() {
    for_each_key(74, |generator, oracle, key| {
        let packet = Packet::new(generator, oracle, 100);
        for tag_len in (0..=16).filter(|len| ![8, 12, 16].contains(len)) {
            let (mut source, mut output) = (packet.ciphertext.clone(), vec![0xa5; 100]);
            let (from, to) = (VolatileSlice::from(&mut source[..]), VolatileSlice::from(&mut output[..]));
            let job = VolatileJob::new(packet.nonce, &packet.aad, from, to);
            let mut jobs = [job.unwrap()];
            key.open_volatile(&mut jobs);
            assert_eq!(jobs[0].verify(&packet.tag[..tag_len]), Err(TagMismatch));
            assert_eq!(output, [0; 100]);
        }
    });
}

#[test]
fn a_ciphertext_that_is_not_as_long_as_the_output_is_refused() {
    for_each_key(76, |generator, oracle, key| {
        let packet = Packet::new(generator, oracle, 100);
        let (mut source, mut output) = (packet.ciphertext.clone(), vec![0xa5; 101]);
        let (from, to) = (VolatileSlice::from(&mut source[..]), VolatileSlice::from(&mut output[..]));
        let mut jobs = [VolatileJob::new(packet.nonce, &packet.aad, from, to).unwrap()];
        key.open_volatile(&mut jobs);
        let tag = *jobs[0].tag();
        assert_eq!(jobs[0].verify(&tag), Err(TagMismatch), "whatever its tag is");
        assert_eq!(output, [0; 101]);
    });
}

#[test]
fn texts_that_overlap_or_do_not_fit_are_refused() {
    let mut bytes = [UNTOUCHED; 10];
    let all = VolatileSlice::from(&mut bytes[..]);
    let ranges = || (0..=10).flat_map(|start| (start..=10).map(move |end| start..end));
    for (from, to) in ranges().flat_map(|from| ranges().map(move |to| (from.clone(), to))) {
        let source = all.subslice(from.start, from.len()).unwrap();
        let output = all.subslice(to.start, to.len()).unwrap();
        let job = VolatileJob::new([0; 12], &[], source, output).is_some();
        if from.clone().any(|at| to.contains(&at)) {
            assert!(!job, "{from:?} {to:?}");
        } else {
            // Nothing can be in the middle of something; whether it may is not said.
            let inside = from.is_empty() && to.contains(&from.start) || to.is_empty() && from.contains(&to.start);
            assert!(inside || job == (from.len() <= to.len()), "{from:?} {to:?}");
            assert!(!job || from.len() <= to.len(), "{from:?} {to:?}");
        }
    }
    assert_eq!(bytes, [UNTOUCHED; 10]);
}

/// Packets whose texts lie in `len` bytes, each apart from its own output: where they are, and where they go.
fn tangle(generator: &mut Generator, count: usize, len: usize, is_open: bool) -> Vec<[core::ops::Range<usize>; 2]> {
    // Often some of the same length, which a kernel may take together.
    let most = [40, 100, 230, 1100][generator.below(4)];
    let common = generator.below(most);
    (0..count)
        .map(|_| {
            let to = if generator.below(3) > 0 { common } else { generator.below(most) };
            let from = if is_open || generator.below(2) == 0 { to } else { generator.below(to + 1) };
            // What comes first in memory, and then the other one.
            let from_first = generator.below(2) == 0;
            let (one, two) = if from_first { (from, to) } else { (to, from) };
            let first = generator.below(len - one - two + 1);
            let second = first + one + generator.below(len - one - two - first + 1);
            let (first, second) = (first..first + one, second..second + two);
            if from_first { [first, second] } else { [second, first] }
        })
        .collect()
}

#[test]
fn packets_in_each_others_memory_leave_the_rest_alone() {
    let mut pages = GuardedPages::new();
    for_each_key(75, |generator, _, key| {
        for round in 0..300 {
            let is_open = round % 2 == 0;
            let arena = pages.bytes();
            // Both of the inaccessible pages are next to it.
            let len = arena.len().min(if round % 5 == 0 { usize::MAX } else { 2300 });
            let arena = if round % 3 == 0 { pages.end(len) } else { pages.start(len) };
            arena.copy_from_slice(&generator.bytes(len));
            let before = arena.to_vec();
            let count = 1 + generator.below(9);
            let places = tangle(generator, count, len, is_open);
            let (nonce, tag) = (generator.nonce(), generator.bytes(16));
            let memory = VolatileSlice::from(&mut *arena);
            let slices: Vec<_> = places
                .iter()
                .map(|places| places.clone().map(|range| memory.subslice(range.start, range.len()).unwrap()))
                .collect();
            if is_open {
                let jobs = slices.iter().map(|[from, to]| VolatileJob::new(nonce, &[7; 8], *from, *to));
                let mut jobs: Vec<_> = jobs.map(Option::unwrap).collect();
                key.open_volatile(&mut jobs);
                // All are forged, and wiping the last one is the last that is done.
                assert!(jobs.iter().all(|job| job.verify(&tag) == Err(TagMismatch)));
            } else {
                let jobs = slices.iter().map(|[from, to]| VolatileJob::new(nonce, &[7; 8], *from, *to));
                let mut jobs: Vec<_> = jobs.map(Option::unwrap).collect();
                key.seal_volatile(&mut jobs);
            }
            let written = |at: usize| places.iter().any(|[_, to]| to.contains(&at));
            let changed = (0..len).find(|at| arena[*at] != before[*at] && !written(*at));
            assert_eq!(changed, None, "{:?} {places:?}", key.backend());
            let last = places.last().map_or(0..0, |[_, to]| to.clone());
            assert!(!is_open || arena[last].iter().all(|byte| *byte == 0), "{:?} {places:?}", key.backend());
        }
    });
}

#[test]
fn wiping_takes_all_and_nothing_else() {
    for len in [0, 1, 8, 9, 1023, 1024, 1025, 2048, 3000] {
        let mut bytes = guarded(&vec![0xa5; len]);
        wipe(&inner(&mut bytes));
        assert!(bytes == guarded(&vec![0; len]), "{len}");
    }
}

/// Memory that two threads use.
struct Shared(*mut u8, usize);

// SAFETY: a pointer to bytes that live as long as the threads which have it; all of them go through `VolatileSlice`.
unsafe impl Sync for Shared {}

impl Shared {
    fn slice(&self) -> VolatileSlice<'_> {
        // SAFETY: the bytes outlive the threads, and nobody has a reference to them.
        unsafe { VolatileSlice::new(self.0, self.1) }
    }
}

/// Ends the other thread, after a failure, too.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Each byte of a payload goes into the ciphertext as it was at one time, and the tag is that of this ciphertext:
/// whoever changes the payload gets a packet that could have been made of another one, and never two with one nonce.
#[test]
fn a_payload_that_changes_is_read_once() {
    const MOST: usize = 1100;
    let mut payload = vec![0; MOST];
    let (shared, begun, done) = (&Shared(payload.as_mut_ptr(), MOST), &Barrier::new(2), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            while !done.load(Relaxed) {
                shared.slice().copy_from(&[0xff; MOST]);
                shared.slice().copy_from(&[0x00; MOST]);
            }
        });
        let _done = Done(done);
        begun.wait();
        for_each_key(76, |generator, oracle, key| {
            for len in (0..200).chain((200..=MOST).step_by(23)) {
                let (nonce, tail) = (generator.nonce(), generator.bytes(len % 19));
                let mut outputs = vec![[&vec![0xa5; len][..], &tail].concat(); 4];
                let payload = shared.slice().subslice(0, len).unwrap();
                let mut jobs: Vec<_> = outputs
                    .iter_mut()
                    .map(|output| VolatileJob::new(nonce, &[7; 8], payload, (&mut output[..]).into()).unwrap())
                    .collect();
                key.seal_volatile(&mut jobs);
                let tags: Vec<_> = jobs.iter().map(|job| *job.tag()).collect();
                for (output, tag) in outputs.iter_mut().zip(&tags) {
                    let context = (key.backend(), len);
                    assert_eq!(oracle.open_in_place(&nonce, &[7; 8], tag, output), Ok(()), "{context:?}");
                    assert!(output[..len].iter().all(|byte| [0x00, 0xff].contains(byte)), "{context:?}");
                    assert_eq!(output[len..], tail, "{context:?}");
                }
            }
        });
    });
}
