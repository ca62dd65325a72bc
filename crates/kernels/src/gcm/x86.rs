//! The x86-64 backends: key storage and dispatch to the kernel instance for
//! the vector width and the key length.

pub(crate) mod block;
#[macro_use]
mod ghash;
#[macro_use]
mod kernel;
mod bits128;
mod bits256;
mod bits512;
mod tables;

use zeroize::{Zeroize, ZeroizeOnDrop};

use self::tables::Tables;
use super::job::{OpenJob, SealJob};
use super::volatile::VolatileJob;
use super::{NONCE_LEN, TAG_LEN};
use crate::aes_keys::KeyLength;

/// The vector registers that a kernel instance works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VectorWidth {
    Bits128,
    Bits256,
    Bits512,
}

impl VectorWidth {
    /// Whether this processor has the instructions of the kernel instance and
    /// those of key expansion. Must cover the `target_feature` lists of
    /// `block`, `bits128`, `bits256` and `bits512`.
    pub(super) fn is_supported(self) -> bool {
        let basic =
            is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("avx");
        let wide = basic
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq");
        match self {
            Self::Bits128 => basic,
            Self::Bits256 => wide,
            Self::Bits512 => {
                wide && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }
}

/// A key for one of the kernel instances.
///
/// A value exists only if the processor supports its width: this is what makes
/// the calls into the kernels sound.
pub(super) struct VectorKey {
    tables: Tables,
}

/// What a kernel works on: `len` bytes, of which the first `split` are read
/// from `source` and the others from `output`; all are written to `output`.
/// Nothing depends on what is in them but what is written and the tag: they may be
/// memory that others change.
///
/// Valid if `source` is readable for `split` bytes, `output` is readable and
/// writable for `len` bytes, `split <= len`, and the two ranges are either
/// disjoint or start at the same address.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) source: *const u8,
    pub(crate) split: usize,
    pub(crate) output: *mut u8,
    pub(crate) len: usize,
}

impl Span {
    /// The buffer is read and written in place.
    pub(crate) fn in_place(buffer: &mut [u8]) -> Self {
        let output = buffer.as_mut_ptr();
        Self { source: output, split: buffer.len(), output, len: buffer.len() }
    }

    /// `source` comes first, then what follows it in `output`.
    pub(crate) fn between(source: &[u8], output: &mut [u8]) -> Self {
        if source.is_empty() {
            return Self::in_place(output);
        }
        Self {
            source: source.as_ptr(),
            split: source.len().min(output.len()),
            output: output.as_mut_ptr(),
            len: output.len(),
        }
    }

    /// Memory that others may change.
    #[inline]
    fn volatile(VolatileJob { source, output, .. }: &VolatileJob<'_>) -> Self {
        let (len, end) = (output.len(), output.ptr_guard_mut().as_ptr());
        if source.is_empty() {
            return Self { source: end, split: len, output: end, len };
        }
        Self { source: source.ptr_guard().as_ptr(), split: source.len(), output: end, len }
    }

    /// A span of which the first `bytes` bytes can be read at the source. If they
    /// begin in the source and end in the output, they are completed there.
    ///
    /// # Safety
    ///
    /// The span must be valid and hold more than `bytes` bytes.
    #[inline]
    pub(crate) unsafe fn join(self, bytes: usize) -> Self {
        if self.split >= bytes {
            return self;
        }
        // SAFETY: the source has `split` bytes and the output more. They are
        // disjoint, because in place the source is the whole span.
        unsafe { self.source.copy_to_nonoverlapping(self.output, self.split) };
        Self { source: self.output, split: self.len, ..self }
    }

    /// What is left after the first `bytes` bytes.
    ///
    /// # Safety
    ///
    /// The span must be valid and `bytes` at most its length.
    #[inline]
    pub(crate) unsafe fn advance(self, bytes: usize) -> Self {
        Self {
            // The source may end before `bytes`; it is not read then.
            source: self.source.wrapping_add(bytes),
            split: self.split.saturating_sub(bytes),
            // SAFETY: `bytes` is within the output by contract.
            output: unsafe { self.output.add(bytes) },
            len: self.len - bytes,
        }
    }
}

/// What a kernel is to do with a packet.
struct Input<'a> {
    nonce: &'a [u8; NONCE_LEN],
    aad: &'a [u8],
    span: Span,
}

/// A packet among others.
trait Job {
    /// Bytes of text.
    fn len(&self) -> usize;

    /// The span is valid as long as the job is borrowed, and has that many bytes.
    fn input(&mut self) -> Input<'_>;

    /// Takes the tag.
    fn finish(&mut self, tag: &[u8; TAG_LEN]);
}

impl Job for SealJob<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.output.len()
    }

    #[inline]
    fn input(&mut self) -> Input<'_> {
        let span = Span::between(self.payload.unwrap_or_default(), self.output);
        Input { nonce: &self.nonce, aad: self.aad, span }
    }

    #[inline]
    fn finish(&mut self, tag: &[u8; TAG_LEN]) {
        self.tag = *tag;
    }
}

impl Job for OpenJob<'_> {
    #[inline]
    fn len(&self) -> usize {
        if self.is_consistent() { self.output.len() } else { 0 }
    }

    #[inline]
    fn input(&mut self) -> Input<'_> {
        let span = match self.ciphertext {
            _ if !self.is_consistent() => Span::in_place(&mut []),
            Some(ciphertext) => Span::between(ciphertext, self.output),
            None => Span::in_place(self.output),
        };
        Input { nonce: &self.nonce, aad: self.aad, span }
    }

    #[inline]
    fn finish(&mut self, tag: &[u8; TAG_LEN]) {
        self.conclude(tag);
    }
}

impl Job for VolatileJob<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.output.len()
    }

    #[inline]
    fn input(&mut self) -> Input<'_> {
        Input { nonce: self.nonce(), aad: self.aad(), span: Span::volatile(self) }
    }

    #[inline]
    fn finish(&mut self, tag: &[u8; TAG_LEN]) {
        self.tag = *tag;
    }
}

/// Calls a kernel function of the instance for the key's width and length.
macro_rules! dispatch {
    ($key:expr, $function:ident $(, $generic:literal)* => $arguments:tt) => {{
        use KeyLength::{Bits128, Bits192, Bits256};
        match ($key.tables.width(), $key.tables.length()) {
            (VectorWidth::Bits512, Bits128) => bits512::$function::<11 $(, $generic)*> $arguments,
            (VectorWidth::Bits512, Bits192) => bits512::$function::<13 $(, $generic)*> $arguments,
            (VectorWidth::Bits512, Bits256) => bits512::$function::<15 $(, $generic)*> $arguments,
            (VectorWidth::Bits256, Bits128) => bits256::$function::<11 $(, $generic)*> $arguments,
            (VectorWidth::Bits256, Bits192) => bits256::$function::<13 $(, $generic)*> $arguments,
            (VectorWidth::Bits256, Bits256) => bits256::$function::<15 $(, $generic)*> $arguments,
            (VectorWidth::Bits128, Bits128) => bits128::$function::<11 $(, $generic)*> $arguments,
            (VectorWidth::Bits128, Bits192) => bits128::$function::<13 $(, $generic)*> $arguments,
            (VectorWidth::Bits128, Bits256) => bits128::$function::<15 $(, $generic)*> $arguments,
        }
    }};
}

impl VectorKey {
    /// Expands a key of 16, 24 or 32 bytes; `None` for other lengths and if
    /// the processor does not support `width`.
    pub(super) fn new(key: &[u8], width: VectorWidth) -> Option<Self> {
        if !width.is_supported() {
            return None;
        }
        let length = KeyLength::of(key)?;
        // SAFETY: every supported width includes the features that key
        // expansion needs.
        let tables = unsafe { Tables::new(key, length, width) };
        Some(Self { tables })
    }

    pub(super) fn width(&self) -> VectorWidth {
        self.tables.width()
    }

    #[inline]
    pub(super) fn for_long_packets(&self) -> core::ops::Range<usize> {
        self.tables.high_powers()
    }

    #[inline]
    pub(super) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], payload: &[u8], output: &mut [u8]) -> [u8; TAG_LEN] {
        let span = Span::between(payload, output);
        // SAFETY: the processor supports the width of an existing key. The span
        // is made of slices that live until the call returns.
        unsafe { dispatch!(self, crypt, true => (&self.tables, nonce, aad, span)) }
    }

    /// The slices must have the same length.
    #[inline]
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        output: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let span = Span::between(ciphertext, output);
        // SAFETY: as in `seal`.
        unsafe { dispatch!(self, crypt, false => (&self.tables, nonce, aad, span)) }
    }

    #[inline]
    pub(super) fn open_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        let span = Span::in_place(buffer);
        // SAFETY: as in `seal`.
        unsafe { dispatch!(self, crypt, false => (&self.tables, nonce, aad, span)) }
    }

    pub(super) fn seal_many(&self, jobs: &mut [SealJob<'_>]) {
        // SAFETY: the processor supports the width of an existing key. The spans
        // are made of slices that live until the call returns.
        unsafe { dispatch!(self, crypt_many, true => (&self.tables, jobs)) }
    }

    pub(super) fn open_many(&self, jobs: &mut [OpenJob<'_>]) {
        // SAFETY: as in `seal_many`.
        unsafe { dispatch!(self, crypt_many, false => (&self.tables, jobs)) }
    }

    pub(super) fn crypt_volatile<const SEAL: bool>(&self, jobs: &mut [VolatileJob<'_>]) {
        // SAFETY: the processor supports the width of an existing key. The spans
        // are made of memory that stays mapped until the call returns; what is
        // read and what is written of a packet are apart.
        unsafe {
            if SEAL {
                dispatch!(self, crypt_many, true => (&self.tables, jobs));
            } else {
                dispatch!(self, crypt_many, false => (&self.tables, jobs));
            }
        }
    }

    pub(super) fn mac(&self, nonce: &[u8; NONCE_LEN], parts: &[&[u8]]) -> [u8; TAG_LEN] {
        // SAFETY: the processor supports the width of an existing key.
        unsafe { dispatch!(self, mac => (&self.tables, nonce, parts)) }
    }
}

impl Drop for VectorKey {
    fn drop(&mut self) {
        self.tables.zeroize();
    }
}

impl ZeroizeOnDrop for VectorKey {}

#[cfg(test)]
mod tests {
    //! What cannot be seen from outside the crate.

    use core::mem::MaybeUninit;

    use super::{VectorKey, VectorWidth};

    #[test]
    fn dropped_keys_are_wiped() {
        for width in [VectorWidth::Bits128, VectorWidth::Bits256, VectorWidth::Bits512] {
            let Some(key) = VectorKey::new(&[0x42; 32], width) else {
                continue;
            };
            let mut slot = MaybeUninit::new(key);
            let start = slot.as_ptr().cast::<u8>();
            let used = (15 + super::tables::MAX_POWER) * 16;
            // Narrower vectors do not need the high powers.
            let unused = if width == VectorWidth::Bits512 {
                0..0
            } else {
                15..15 + super::tables::MAX_POWER - super::tables::NARROW_POWERS
            };
            // SAFETY: the tables begin with this many initialised bytes, which
            // stay allocated and initialised after the drop.
            let (before, after) = unsafe {
                let before = core::slice::from_raw_parts(start, used).to_vec();
                slot.assume_init_drop();
                (before, core::slice::from_raw_parts(start, used).to_vec())
            };
            let entries = before.as_chunks::<16>().0.iter().enumerate();
            assert!(entries.clone().all(|(index, entry)| unused.contains(&index) == (*entry == [0; 16])));
            assert!(after.iter().all(|&byte| byte == 0));
        }
    }
}
