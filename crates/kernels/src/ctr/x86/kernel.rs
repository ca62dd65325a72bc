//! The AES-CTR kernel, written once for every vector width.
//!
//! `ctr_kernel` is expanded in the modules `bits128`, `bits256` and `bits512`,
//! which define the type `Vector`, its operations and two constants: `WIDE`,
//! the blocks in a vector, and `GROUP`, the vectors that are worked on at a
//! time. It is a macro because `target_feature` lists cannot be generic. Its
//! arguments are that list and the numbers of vectors from 1 to `GROUP`.
//!
//! Counter blocks are kept with their bytes reversed, so that the counter is
//! the lowest 32-bit element of each lane and an addition leaves the others.

macro_rules! ctr_kernel {
    ($features:literal, $($vectors:literal)*) => {
        /// Bytes in a vector.
        const WIDTH: usize = WIDE * BLOCK;
        /// Bytes that are worked on at a time.
        const CHUNK: usize = GROUP * WIDTH;

        /// Encrypts or decrypts the first `VECTORS` vectors of the span, the last of which may be partial unless
        /// `WHOLE` is set, and moves the counters on.
        ///
        /// # Safety
        ///
        /// The span must be valid and reach into the last of these vectors. If `WHOLE` is set, it must have all of
        /// their bytes, and its source too.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn run<const KEYS: usize, const VECTORS: usize, const WHOLE: bool>(
            keys: &[Vector; KEYS],
            counters: &mut Vector,
            span: Span,
        ) {
            let mut state = [zero(); VECTORS];
            unrolled!(8: VECTORS, |index| {
                state[index] = xor(swap_bytes(*counters), keys[0]);
                *counters = add_counters(*counters, step());
            });
            for key in &keys[1..KEYS - 1] {
                unrolled!(8: VECTORS, |index| {
                    state[index] = aes_round(state[index], *key);
                });
            }
            unrolled!(8: VECTORS, |index| {
                let whole = WHOLE || index + 1 < VECTORS;
                let offset = index * WIDTH;
                let text = if WHOLE {
                    // SAFETY: the source has all of the vectors.
                    unsafe { load(span.source.add(offset)) }
                } else {
                    // SAFETY: the span reaches into the last vector.
                    unsafe { load_text(span.advance(offset), whole) }
                };
                let result = aes_last_round(state[index], xor(text, keys[KEYS - 1]));
                // SAFETY: within the span, whose last vector alone may be partial.
                unsafe {
                    let output = span.output.add(offset);
                    if whole { store(output, result) } else { store_partial(output, span.len - offset, result) }
                }
            });
        }

        /// Reads the vector that a span starts with: a whole one if `whole`,
        /// else what is left of the span, followed by zeros.
        ///
        /// # Safety
        ///
        /// The span must be valid and, if `whole`, have that many bytes; else
        /// at most that many.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load_text(span: Span, whole: bool) -> Vector {
            // SAFETY: each address has as many bytes as are read.
            unsafe {
                if whole && span.split >= WIDTH {
                    load(span.source)
                } else if span.split >= span.len {
                    load_partial(span.source, span.len)
                } else {
                    load_joined(span.source, span.split, span.output, span.len.min(WIDTH))
                }
            }
        }

        /// Encrypts or decrypts with `KEYS` round keys.
        ///
        /// # Safety
        ///
        /// The span must be valid.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn crypt<const KEYS: usize>(round_keys: &RoundKeys, counter: &[u8; BLOCK], mut span: Span) {
            let mut keys = [zero(); KEYS];
            for (key, bytes) in keys.iter_mut().zip(&round_keys.0) {
                *key = splat(load_block(bytes));
            }
            let mut counters = add_counters(splat(swap_block_bytes(load_block(counter))), ascending());
            while span.len > CHUNK {
                // SAFETY: the span holds more than a chunk.
                unsafe {
                    span = span.join(CHUNK);
                    run::<KEYS, GROUP, true>(&keys, &mut counters, span);
                    span = span.advance(CHUNK);
                }
            }
            match span.len.div_ceil(WIDTH) {
                $(
                    // SAFETY: the number of vectors is that of the span.
                    $vectors => unsafe { run::<KEYS, $vectors, false>(&keys, &mut counters, span) },
                )*
                none => debug_assert_eq!(none, 0),
            }
        }
    };
}
