//! The AES-CBC kernels, written once for every vector width.
//!
//! `cbc_kernel` is expanded in the modules `bits128`, `bits256` and `bits512`,
//! which define the type `Vector`, its operations, two constants: `WIDE`, the
//! blocks in a vector, and `GROUP`, the vectors that are worked on at a time; and
//! the function `encrypt_lanes`, which for the narrow vectors is that of
//! `cbc_lanes`. These are macros because `target_feature` lists cannot be
//! generic. Their arguments are that list and, of `cbc_kernel`, the numbers of
//! vectors from 1 to `GROUP`.

macro_rules! cbc_kernel {
    ($features:literal, $($vectors:literal)*) => {
        /// Encrypts all jobs.
        #[target_feature(enable = $features)]
        pub(super) fn encrypt<const KEYS: usize>(round_keys: &RoundKeys, jobs: &mut [Job<'_>]) {
            const { assert!(GROUP * WIDE <= MAX_LANES) };
            let keys = splat_keys::<KEYS>(round_keys);
            let mut jobs = jobs.iter_mut().map(|job| (round_keys, job));
            let mut lanes = Lanes::new();
            loop {
                let (active, blocks) = lanes.refill(GROUP * WIDE, &mut jobs);
                if active == 0 {
                    return;
                }
                match active.div_ceil(WIDE) {
                    $($vectors => {
                        lanes.pad($vectors * WIDE);
                        // SAFETY: every lane has at least this many blocks
                        // left, inside the slices of its job. The jobs do not
                        // overlap, and those in the lanes are borrowed until
                        // this function returns. Padded lanes are copies.
                        unsafe { encrypt_lanes::<KEYS, $vectors>(&keys, &mut lanes, blocks) }
                    })*
                    _ => debug_assert!(false, "more lanes than the kernel has"),
                }
                lanes.advance(blocks);
            }
        }

        /// Encrypts all jobs, each with its own key.
        ///
        /// # Safety
        ///
        /// All keys must have `KEYS` round keys.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn encrypt_together<'j, 'a: 'j, const KEYS: usize>(
            mut jobs: impl Iterator<Item = (&'j RoundKeys, &'j mut Job<'a>)>,
        ) {
            let mut lanes = Lanes::new();
            loop {
                let (active, blocks) = lanes.refill(GROUP * WIDE, &mut jobs);
                if active == 0 {
                    return;
                }
                match active.div_ceil(WIDE) {
                    $($vectors => {
                        lanes.pad($vectors * WIDE);
                        // SAFETY: as in `encrypt`; the keys of lanes in use are
                        // borrowed as long as their jobs.
                        unsafe { encrypt_own_keys::<KEYS, $vectors>(&mut lanes, blocks) }
                    })*
                    _ => debug_assert!(false, "more lanes than the kernel has"),
                }
                lanes.advance(blocks);
            }
        }

        /// Encrypts `blocks` blocks in each of the first `VECTORS * WIDE` lanes,
        /// with the lane's own key.
        ///
        /// # Safety
        ///
        /// As for `encrypt_lanes`; and each of these lanes must have a key.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn encrypt_own_keys<const KEYS: usize, const VECTORS: usize>(lanes: &mut Lanes, blocks: usize) {
            let mut keys = [[zero(); VECTORS]; KEYS];
            for (round, keys) in keys.iter_mut().enumerate() {
                for (index, key) in keys.iter_mut().enumerate() {
                    // SAFETY: round key `round` of each lane's key.
                    *key = unsafe { gather(lanes.keys.as_ptr().add(index * WIDE), round * BLOCK) };
                }
            }
            let mut chain = [zero(); VECTORS];
            for (index, state) in chain.iter_mut().enumerate() {
                // SAFETY: `VECTORS * WIDE` is at most `MAX_LANES`.
                *state = unsafe { load(lanes.chains.as_ptr().add(index * WIDE).cast()) };
            }
            let (sources, outputs) = (&lanes.sources, &lanes.outputs);
            for block in 0..blocks {
                // All lanes are read before any is written: copies of a lane
                // would read their own output otherwise.
                for (index, state) in chain.iter_mut().enumerate() {
                    // SAFETY: below `blocks` blocks of each lane.
                    let text = unsafe { gather(sources.as_ptr().add(index * WIDE), block * BLOCK) };
                    *state = xor3(*state, text, keys[0][index]);
                }
                for keys in &keys[1..KEYS - 1] {
                    for (state, key) in chain.iter_mut().zip(keys) {
                        *state = encrypt_round(*state, *key);
                    }
                }
                for (index, state) in chain.iter_mut().enumerate() {
                    *state = encrypt_last_round(*state, keys[KEYS - 1][index]);
                    // SAFETY: below `blocks` blocks of each lane.
                    unsafe { scatter(outputs.as_ptr().add(index * WIDE), block * BLOCK, *state) };
                }
            }
            for (index, state) in chain.iter().enumerate() {
                // SAFETY: `VECTORS * WIDE` is at most `MAX_LANES`.
                unsafe { store(lanes.chains.as_mut_ptr().add(index * WIDE).cast(), *state) };
            }
        }

        /// Decrypts `VECTORS` vectors, of which the last has `last` blocks.
        /// `previous` ends with the block before them; returns the last vector.
        ///
        /// # Safety
        ///
        /// The blocks must be readable at `source` and writable at `output`.
        /// These are disjoint or the same.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn decrypt_run<const KEYS: usize, const VECTORS: usize>(
            keys: &[Vector; KEYS],
            mut previous: Vector,
            source: *const u8,
            output: *mut u8,
            last: usize,
        ) -> Vector {
            let mut text = [zero(); VECTORS];
            let mut state = [zero(); VECTORS];
            for (index, (text, state)) in text.iter_mut().zip(&mut state).enumerate() {
                let count = if index + 1 == VECTORS { last } else { WIDE };
                // SAFETY: within the run.
                *text = unsafe { load_blocks(source.add(index * WIDE * BLOCK), count) };
                *state = xor(*text, keys[0]);
            }
            for key in &keys[1..KEYS - 1] {
                for state in &mut state {
                    *state = decrypt_round(*state, *key);
                }
            }
            for (index, (text, state)) in text.iter().zip(&state).enumerate() {
                let count = if index + 1 == VECTORS { last } else { WIDE };
                let plain = xor(decrypt_last_round(*state, keys[KEYS - 1]), shift_in(previous, *text));
                previous = *text;
                // SAFETY: within the run.
                unsafe { store_blocks(output.add(index * WIDE * BLOCK), plain, count) };
            }
            previous
        }

        /// Decrypts `blocks` blocks.
        ///
        /// # Safety
        ///
        /// The blocks must be readable at `source` and writable at `output`.
        /// These are disjoint or the same.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn decrypt<const KEYS: usize>(
            round_keys: &RoundKeys,
            iv: &[u8; BLOCK],
            mut source: *const u8,
            mut output: *mut u8,
            mut blocks: usize,
        ) {
            let keys = splat_keys::<KEYS>(round_keys);
            let mut previous = splat(iv);
            while blocks >= GROUP * WIDE {
                // SAFETY: so many blocks are left; `source` and `output` stay
                // within the buffers or at their ends.
                unsafe {
                    previous = decrypt_run::<KEYS, GROUP>(&keys, previous, source, output, WIDE);
                    source = source.add(GROUP * WIDE * BLOCK);
                    output = output.add(GROUP * WIDE * BLOCK);
                }
                blocks -= GROUP * WIDE;
            }
            let vectors = blocks.div_ceil(WIDE);
            match vectors {
                $($vectors => {
                    let last = blocks - ($vectors - 1) * WIDE;
                    // SAFETY: exactly these blocks are left.
                    unsafe { decrypt_run::<KEYS, $vectors>(&keys, previous, source, output, last) };
                })*
                _ => debug_assert_eq!(vectors, 0),
            }
        }

        /// The round keys in every lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn splat_keys<const KEYS: usize>(round_keys: &RoundKeys) -> [Vector; KEYS] {
            let mut keys = [zero(); KEYS];
            for (key, bytes) in keys.iter_mut().zip(&round_keys.0) {
                *key = splat(bytes);
            }
            keys
        }
    };
}

/// Encryption in lanes, a block of each at a time. The arguments are the list of target features.
macro_rules! cbc_lanes {
    ($features:literal) => {
        /// Encrypts `blocks` blocks in each of the first `VECTORS * WIDE` lanes.
        ///
        /// # Safety
        ///
        /// In each of these lanes, that many blocks must be readable at the
        /// source and writable at the output; no two lanes may overlap unless
        /// they are the same; the output of a lane may overlap the source only
        /// if they are the same.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn encrypt_lanes<const KEYS: usize, const VECTORS: usize>(
            keys: &[Vector; KEYS],
            lanes: &mut Lanes,
            blocks: usize,
        ) {
            let mut chain = [zero(); VECTORS];
            for (index, state) in chain.iter_mut().enumerate() {
                // SAFETY: `VECTORS * WIDE` is at most `MAX_LANES`.
                *state = unsafe { load(lanes.chains.as_ptr().add(index * WIDE).cast()) };
            }
            let (sources, outputs) = (&lanes.sources, &lanes.outputs);
            for block in 0..blocks {
                // All lanes are read before any is written: copies of a lane
                // would read their own output otherwise.
                for (index, state) in chain.iter_mut().enumerate() {
                    // SAFETY: below `blocks` blocks of each lane.
                    let text = unsafe { gather(sources.as_ptr().add(index * WIDE), block * BLOCK) };
                    *state = xor3(*state, text, keys[0]);
                }
                for key in &keys[1..KEYS - 1] {
                    for state in &mut chain {
                        *state = encrypt_round(*state, *key);
                    }
                }
                for (index, state) in chain.iter_mut().enumerate() {
                    *state = encrypt_last_round(*state, keys[KEYS - 1]);
                    // SAFETY: below `blocks` blocks of each lane.
                    unsafe { scatter(outputs.as_ptr().add(index * WIDE), block * BLOCK, *state) };
                }
            }
            for (index, state) in chain.iter().enumerate() {
                // SAFETY: `VECTORS * WIDE` is at most `MAX_LANES`.
                unsafe { store(lanes.chains.as_mut_ptr().add(index * WIDE).cast(), *state) };
            }
        }
    };
}
