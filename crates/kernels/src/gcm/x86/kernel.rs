//! The AES-GCM kernel for narrow vectors, written once for both widths.
//!
//! `gcm_kernel` is expanded in the modules `bits128` and `bits256`, which define
//! the type `Vector`, its operations and two constants: `LANES`, the blocks in a
//! vector, and `GROUP`, the vectors in a chunk of the main loop. (512-bit vectors
//! have a kernel of their own.) It is a macro because `target_feature` lists cannot be generic. Its
//! arguments are that list and the possible numbers of vectors in the last run.
//! `ghash_kernel` is its GHASH part.
//!
//! # Encryption
//!
//! When sealing, the ciphertext of one chunk is hashed while the next chunk
//! goes through the AES rounds. When opening, the ciphertext is hashed while
//! its own keystream is computed. A packet that fits in the last run has no
//! main loop: associated data, ciphertext and lengths are hashed with a single
//! reduction.

macro_rules! gcm_kernel {
    ($features:literal, $($vectors:literal)* ; $most_vectors:literal) => {
        ghash_kernel!($features);

        const _: () = assert!(LAST_RUN.div_ceil(WIDTH) == $most_vectors);

        /// Products of the first block of a short packet, with H^`exponent`,
        /// and of the block of lengths, with H.
        #[inline]
        #[target_feature(enable = $features)]
        fn edge_products(tables: &Tables, block: __m128i, exponent: usize, lengths: __m128i) -> Products {
            // SAFETY: the address is that of a table entry of 16 bytes.
            let power = unsafe { _mm_loadu_si128(tables.power(exponent).cast()) };
            // SAFETY: the address is that of a table entry of 16 bytes.
            let first_power = unsafe { _mm_loadu_si128(tables.power(1).cast()) };
            let mut sum = no_products();
            for (data, powers) in pair(block, lengths).into_iter().zip(pair(power, first_power)) {
                sum = add_products(sum, data, powers);
            }
            sum
        }

        /// Encrypts or decrypts a chunk. `hashed` is the chunk to hash
        /// meanwhile, if `HASH` is set: when sealing the previous ciphertext,
        /// which is then replaced by the new one; when opening, this chunk. Returns
        /// the next counters, the accumulator and the ciphertext to hash.
        ///
        /// # Safety
        ///
        /// `CHUNK` bytes must be readable at `source` and writable at `output`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn crypt_chunk<const KEYS: usize, const SEAL: bool, const HASH: bool>(
            tables: &Tables,
            mut counters: Vector,
            mut accumulator: Vector,
            mut hashed: [Vector; GROUP],
            source: *const u8,
            output: *mut u8,
        ) -> (Vector, Vector, [Vector; GROUP]) {
            let mut state = [zero(); GROUP];
            let first_key = round_key(tables, 0);
            for block in &mut state {
                *block = xor(swap_bytes(counters), first_key);
                counters = add_counters(counters, step());
            }
            if !SEAL {
                for (index, block) in hashed.iter_mut().enumerate() {
                    // SAFETY: within the chunk.
                    *block = swap_bytes(unsafe { load(source.add(index * WIDTH)) });
                }
            }
            let mut sum = no_products();
            for round in 1..KEYS - 1 {
                let key = round_key(tables, round);
                for block in &mut state {
                    *block = aes_round(*block, key);
                }
                if HASH && round <= GROUP {
                    sum = add_chunk_part(tables, sum, accumulator, &hashed, GROUP - round);
                }
            }
            if HASH {
                accumulator = reduce(sum);
            }
            let last_key = round_key(tables, KEYS - 1);
            for (index, block) in state.iter().enumerate() {
                // SAFETY: within the chunk.
                let text = unsafe { load(source.add(index * WIDTH)) };
                let result = aes_last_round(*block, xor(text, last_key));
                // SAFETY: within the chunk.
                unsafe { store(output.add(index * WIDTH), result) };
                if SEAL {
                    hashed[index] = swap_bytes(result);
                }
            }
            (counters, accumulator, hashed)
        }

        /// What precedes the last run.
        struct Before {
            /// If no chunks: a block that is still to be multiplied.
            block: __m128i,
            /// After chunks: what was hashed.
            accumulator: Vector,
            /// After chunks, when sealing: ciphertext that is still to be
            /// hashed, byte-reversed.
            chunk: [Vector; GROUP],
        }

        /// Encrypts or decrypts the last run, of `VECTORS` vectors, the last of
        /// which may be partial, and returns the tag. `LONG` tells whether
        /// there were chunks before.
        ///
        /// # Safety
        ///
        /// The span must be valid, of that length and at most `LAST_RUN`, and
        /// after chunks at least `LANES` blocks.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn last_run<
            const KEYS: usize,
            const SEAL: bool,
            const LONG: bool,
            const VECTORS: usize,
        >(
            tables: &Tables,
            first_counter: __m128i,
            mut counters: Vector,
            before: &Before,
            lengths: __m128i,
            span: Span,
        ) -> __m128i {
            let blocks = span.len.div_ceil(BLOCK);
            let mut state = [zero(); VECTORS];
            let mut text = [zero(); VECTORS];
            let first_key = round_key(tables, 0);
            let mut mask = xor(swap_bytes(splat(first_counter)), first_key);
            for block in &mut state {
                *block = xor(swap_bytes(counters), first_key);
                counters = add_counters(counters, step());
            }
            for (index, vector) in text.iter_mut().enumerate() {
                // SAFETY: as many vectors as the span has.
                *vector = unsafe { load_text(span.advance(index * WIDTH), index + 1 < VECTORS) };
            }

            let mut accumulator = zero();
            let mut sum = if LONG {
                accumulator = before.accumulator;
                if SEAL {
                    accumulator = hash_chunk(tables, accumulator, &before.chunk);
                }
                add_products(no_products(), from_block(lengths), power_run(tables, 1))
            } else {
                edge_products(tables, before.block, blocks + 2, lengths)
            };
            if !SEAL {
                for (index, data) in text.iter().enumerate() {
                    sum = add_run_part(tables, sum, accumulator, *data, blocks, index);
                }
            }
            for round in 1..KEYS - 1 {
                let key = round_key(tables, round);
                mask = aes_round(mask, key);
                for block in &mut state {
                    *block = aes_round(*block, key);
                }
            }
            let last_key = round_key(tables, KEYS - 1);
            mask = aes_last_round(mask, last_key);
            for index in 0..VECTORS {
                let result = aes_last_round(state[index], xor(text[index], last_key));
                let left = span.len - index * WIDTH;
                // SAFETY: within the span.
                let output = unsafe { span.output.add(index * WIDTH) };
                let mut data = result;
                if index + 1 < VECTORS {
                    // SAFETY: a whole vector of the span.
                    unsafe { store(output, result) };
                } else {
                    // SAFETY: `left` bytes of the span are at `output`.
                    unsafe { store_partial(output, left, result) };
                    data = keep_first(result, left);
                }
                if SEAL {
                    sum = add_run_part(tables, sum, accumulator, data, blocks, index);
                }
            }
            let hash = fold(reduce(sum));
            _mm_xor_si128(swap_block_bytes(hash), first_lane(mask))
        }

        /// Adds the products of vector `index` of the last run, which has
        /// `blocks` blocks.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_run_part(
            tables: &Tables,
            sum: Products,
            accumulator: Vector,
            data: Vector,
            blocks: usize,
            index: usize,
        ) -> Products {
            let mut data = swap_bytes(data);
            if index == 0 {
                data = xor(data, accumulator);
            }
            add_products(sum, data, power_run(tables, blocks + 1 - index * LANES))
        }

        /// Reads the vector that a span starts with: a whole one if `whole`,
        /// else what is left of the span, followed by zeros.
        ///
        /// # Safety
        ///
        /// The span must be valid and, if `whole`, have that many bytes.
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

        /// Encrypts (`SEAL`) or decrypts a packet with `KEYS` round keys and
        /// returns the tag over the associated data and the ciphertext.
        ///
        /// # Safety
        ///
        /// The span must be valid.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn crypt<const KEYS: usize, const SEAL: bool>(
            tables: &Tables,
            nonce: &[u8; NONCE_LEN],
            aad: &[u8],
            mut span: Span,
        ) -> [u8; TAG_LEN] {
            let lengths = length_block(aad.len(), span.len);
            let head = if aad.len() <= BLOCK {
                // SAFETY: the slice has this length.
                swap_block_bytes(unsafe { load_partial_block(aad.as_ptr(), aad.len()) })
            } else {
                hash_parts(tables, &[aad]).0
            };
            let first_counter = counter_one(nonce);
            let mut counters = add_counters(splat(first_counter), ascending());
            if span.len <= LAST_RUN {
                let before = Before {
                    block: head,
                    accumulator: zero(),
                    chunk: [zero(); GROUP],
                };
                // SAFETY: the span is valid, and short enough.
                return unsafe {
                    any_last_run::<KEYS, SEAL, false>(tables, first_counter, counters, &before, lengths, span)
                };
            }
            let head = add_products(no_products(), from_block(head), power_run(tables, 1));
            let mut accumulator = reduce(head);
            let mut chunk = [zero(); GROUP];
            if SEAL {
                // SAFETY: the span holds more than a chunk.
                unsafe {
                    span = span.join(CHUNK);
                    (counters, accumulator, chunk) = crypt_chunk::<KEYS, SEAL, false>(
                        tables, counters, accumulator, chunk, span.source, span.output,
                    );
                    span = span.advance(CHUNK);
                }
            }
            while span.len > LAST_RUN {
                // SAFETY: the span holds more than a chunk.
                unsafe {
                    span = span.join(CHUNK);
                    (counters, accumulator, chunk) = crypt_chunk::<KEYS, SEAL, true>(
                        tables, counters, accumulator, chunk, span.source, span.output,
                    );
                    span = span.advance(CHUNK);
                }
            }
            let before = Before {
                block: _mm_setzero_si128(),
                accumulator,
                chunk,
            };
            // SAFETY: the span is valid and short enough, and as it was longer
            // than `LAST_RUN` before the last chunk it has `LANES` blocks.
            unsafe {
                any_last_run::<KEYS, SEAL, true>(tables, first_counter, counters, &before, lengths, span)
            }
        }

        /// Encrypts (`SEAL`) or decrypts packets one by one.
        ///
        /// # Safety
        ///
        /// The spans of the packets must be valid.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn crypt_many<const KEYS: usize, const SEAL: bool>(tables: &Tables, jobs: &mut [impl Job]) {
            for job in jobs {
                let Input { nonce, aad, span } = job.input();
                // SAFETY: the caller's contract.
                let tag = unsafe { crypt::<KEYS, SEAL>(tables, nonce, aad, span) };
                job.finish(&tag);
            }
        }

        /// Calls [`last_run`] for the span's number of vectors.
        ///
        /// # Safety
        ///
        /// As for [`last_run`].
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn any_last_run<const KEYS: usize, const SEAL: bool, const LONG: bool>(
            tables: &Tables,
            first_counter: __m128i,
            counters: Vector,
            before: &Before,
            lengths: __m128i,
            span: Span,
        ) -> [u8; TAG_LEN] {
            // SAFETY: the number of vectors is that of the span; the rest is
            // the caller's contract.
            let tag = unsafe {
                match span.len.div_ceil(WIDTH) {
                    $($vectors => last_run::<KEYS, SEAL, LONG, $vectors>(
                        tables, first_counter, counters, before, lengths, span,
                    ),)*
                    _ => last_run::<KEYS, SEAL, LONG, $most_vectors>(
                        tables, first_counter, counters, before, lengths, span,
                    ),
                }
            };
            let mut bytes = [0; TAG_LEN];
            store_block(&mut bytes, tag);
            bytes
        }

        /// GMAC over the concatenation of `parts`.
        #[target_feature(enable = $features)]
        pub(super) fn mac<const KEYS: usize>(
            tables: &Tables,
            nonce: &[u8; NONCE_LEN],
            parts: &[&[u8]],
        ) -> [u8; TAG_LEN] {
            let (block, total) = hash_parts(tables, parts);
            let first_counter = counter_one(nonce);
            let before = Before {
                block,
                accumulator: zero(),
                chunk: [zero(); GROUP],
            };
            // SAFETY: an empty span is valid.
            unsafe {
                any_last_run::<KEYS, true, false>(
                    tables,
                    first_counter,
                    splat(first_counter),
                    &before,
                    length_block(total, 0),
                    Span::in_place(&mut []),
                )
            }
        }
    };
}
