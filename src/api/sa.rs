//! SAs: added, changed, deleted, read (document 8.11 to 8.15).

use std::{ptr, sync::Arc};

use gipsec_accelerator::{
    Error, Group, Key, Lane, Remark, SaReading,
    engine::{MAX_ENTRIES, Reading},
};

use crate::{
    answer::{Answer, Manner, answer, answered, heard},
    convert::{self, Options},
    errno,
    guard::guarded,
    handles::group_words,
    pointers::{NULL, not_null, required},
    process::registry,
    types::{
        ControlFlags, Handle, ResponseArgs, Sa, SaAddInArgs, SaAddOutArgs, SaDelInArgs, SaDelOutArgs, SaGetInArgs,
        SaGetOutArgs, SaHandle, SaModInArgs, SaModifyOutArgs, SaStats,
    },
    values::{SA_GET_EXACT, SA_GET_FIRST_N, SA_GET_INFORMATION, SA_GET_NEXT_N, SA_GET_STATISTICS},
};

/// Results that are an errno alone.
macro_rules! answer_with_result {
    ($($out:ty),*) => {$(
        impl Answer<()> for $out {
            fn empty() -> Self {
                Self::default()
            }

            unsafe fn write(&mut self, result: &Result<(), Error>) {
                self.result = result.err().map_or(0, errno::of);
            }
        }
    )*};
}

answer_with_result!(SaModifyOutArgs, SaDelOutArgs);

impl Answer<(Key, Option<Key>)> for SaAddOutArgs {
    fn empty() -> Self {
        Self::default()
    }

    unsafe fn write(&mut self, result: &Result<(Key, Option<Key>), Error>) {
        *self = match result {
            Ok((sa, group)) => Self {
                result: 0,
                handle: Handle { handle: SaHandle::new(*sa).ipsec_sa_handle, group_handle: group_words(*group) },
            },
            Err(error) => Self { result: errno::of(*error), handle: Handle::default() },
        };
    }
}

/// Adds an SA, or a bundle, which belongs to the group that `handle` names. Of a bundle (`num_sas` 2 to 4), outbound
/// processing applies the first entry first, and inbound processing undoes the last one first: IPComp only as entry 0, UDP
/// encapsulation only in the last one, no protocol and SPI twice, and no tunnels that run back to where one of them came
/// from. A packet that one entry refuses counts as processed by none. An IPComp entry takes its CPI from `ipcomp_info` (0:
/// the well-known one of the algorithm) and no SPI (0, or the CPI, which is what it has when it is read back).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_sa_add(
    handle: *mut Handle,
    r#in: *const SaAddInArgs,
    flags: ControlFlags,
    out: *mut SaAddOutArgs,
    resp: ResponseArgs,
) -> i32 {
    // SAFETY: the header's contract.
    unsafe { answered(out, || add(handle, r#in, |_| Ok(Options::default()), flags, out, resp)) }
}

/// Adds an SA with what an extension says of each entry.
///
/// # Safety
/// The header's contract.
pub(crate) unsafe fn add(
    handle: *mut Handle,
    input: *const SaAddInArgs,
    options: impl Fn(usize) -> Result<Options, Error>,
    flags: ControlFlags,
    out: *mut SaAddOutArgs,
    resp: ResponseArgs,
) -> Result<i32, Error> {
    // SAFETY: this function's contract.
    let (handle, input) = unsafe { (required(handle)?, input.as_ref().ok_or(NULL)?) };
    let direction = convert::direction(input.dir)?;
    let count = usize::from(input.num_sas);
    if !(1..=MAX_ENTRIES).contains(&count) {
        return Err(Error::Invalid("num_sas is not 1 to 4"));
    }
    not_null(input.sa_params)?;
    let mut entries = Vec::with_capacity(count);
    let mut remark = Remark::default();
    let mut any_order = false;
    for (at, remark) in remark.iter_mut().enumerate().take(count) {
        // SAFETY: not NULL, and then an array of `num_sas` by this function's contract.
        let sa = unsafe { input.sa_params.add(at).read_unaligned() };
        let options = options(at)?;
        // SAFETY: this function's contract.
        entries.push(unsafe { convert::entry(&sa, direction, &options) }?);
        *remark = sa.cmn_flags;
        any_order |= options.any_order;
    }
    let group = registry().group(handle.client()?, handle.group()?)?;
    let manner = Manner::new(flags, Some(resp))?;
    let out = heard(&manner, out)?;
    let owner = group.clone();
    // SAFETY: the same.
    unsafe {
        answer(&group, Lane::Control, &manner, out, move || {
            Ok((owner.add_sa(entries, remark, any_order)?, owner.key()))
        })
    }
}

/// The group that `handle` names, and the SA of that handle.
///
/// # Safety
/// The header's contract.
pub(crate) unsafe fn group_and_sa(handle: *const Handle, sa: *const SaHandle) -> Result<(Arc<Group>, Key), Error> {
    // SAFETY: this function's contract.
    let (handle, sa) = unsafe { (required(handle)?, required(sa)?) };
    Ok((registry().group(handle.client()?, handle.group()?)?, sa.sa()?))
}

/// Changes an SA: the address and port of one end, or its replay information.
///
/// Local is the source of an outbound SA and the destination of an inbound one; port 0 leaves the port. With
/// G_IPSEC_LA_SA_MODIFY_SEQ_NUM an outbound SA continues after the number, and an inbound one takes it as the highest
/// seen; which numbers before it were seen is what the bit map says when G_IPSEC_LA_SA_MODIFY_ANTI_REPLAY_WINDOW is set
/// too, and all of them otherwise. Of a bundle, the addresses and port of the outermost tunnel change, or the numbers of
/// the only entry that has some (-EINVAL when several have).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_sa_mod(
    handle: *mut Handle,
    r#in: *const SaModInArgs,
    flags: ControlFlags,
    out: *mut SaModifyOutArgs,
    resp: ResponseArgs,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract.
        let input = unsafe { r#in.as_ref() }.ok_or(NULL)?;
        let direction = convert::direction(input.dir)?;
        // SAFETY: the same.
        let (group, sa) = unsafe { group_and_sa(handle, input.handle) }?;
        let change = convert::change(input)?;
        let manner = Manner::new(flags, Some(resp))?;
        let owner = group.clone();
        // SAFETY: the same.
        unsafe { answer(&group, Lane::Sa(sa), &manner, out, move || owner.modify_sa(direction, sa, &change)) }
    };
    // SAFETY: the header's contract.
    unsafe { answered(out, body) }
}

/// Deletes an SA. Packets that are being processed with it are finished; its keys are zeroised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_sa_del(
    handle: *mut Handle,
    r#in: *const SaDelInArgs,
    flags: ControlFlags,
    out: *mut SaDelOutArgs,
    resp: ResponseArgs,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract.
        let input = unsafe { r#in.as_ref() }.ok_or(NULL)?;
        let direction = convert::direction(input.dir)?;
        // SAFETY: the same.
        let (group, sa) = unsafe { group_and_sa(handle, input.handle) }?;
        let manner = Manner::new(flags, Some(resp))?;
        let owner = group.clone();
        // SAFETY: the same.
        unsafe { answer(&group, Lane::Sa(sa), &manner, out, move || owner.delete_sa(direction, sa)) }
    };
    // SAFETY: the header's contract.
    unsafe { answered(out, body) }
}

/// An answer without outargs.
#[derive(Clone, Copy)]
struct Nothing;

impl Answer<()> for Nothing {
    fn empty() -> Self {
        Self
    }

    unsafe fn write(&mut self, _: &Result<(), Error>) {}
}

/// Deletes all SAs of the group that `handle` names; without a group, those that have none. A callback gets NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_sa_flush(handle: *mut Handle, flags: ControlFlags, resp: *mut ResponseArgs) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let (handle, resp) = unsafe { (required(handle)?, resp.as_ref()) };
        let group = registry().group(handle.client()?, handle.group()?)?;
        let manner = Manner::new(flags, resp.copied())?;
        let owner = group.clone();
        // SAFETY: the same; there is no `out`.
        unsafe { answer(&group, Lane::Control, &manner, ptr::null_mut::<Nothing>(), move || owner.flush()) }
    })
}

/// Entries that were read, and what of them the caller wants.
struct Readings {
    rows: Vec<(Reading, u32)>,
    /// The last SA that was read.
    last: Key,
    wanted: usize,
    information: bool,
    statistics: bool,
}

impl Readings {
    /// A row for each entry of one SA.
    fn of_entries(reading: SaReading) -> impl Iterator<Item = (Reading, u32)> {
        reading.entries.into_iter().zip(reading.remark)
    }
}

impl Answer<Readings> for SaGetOutArgs {
    fn empty() -> Self {
        Self { result: 0, sa_params: ptr::null_mut(), stats: ptr::null_mut(), handle: ptr::null_mut() }
    }

    unsafe fn write(&mut self, result: &Result<Readings, Error>) {
        self.result = result.as_ref().err().map_or(0, |error| errno::of(*error));
        let Ok(Readings { rows, last, wanted, information, statistics }) = result else { return };
        for index in 0..*wanted {
            let row = rows.get(index);
            if *information && !self.sa_params.is_null() {
                let sa: Sa = row.map_or(convert::EMPTY, |(reading, flags)| convert::c_sa(&reading.parameters, *flags));
                // SAFETY: the caller's array has `wanted` entries.
                unsafe { self.sa_params.add(index).write_unaligned(sa) };
            }
            if *statistics && !self.stats.is_null() {
                let stats =
                    row.map_or_else(SaStats::default, |(reading, _)| convert::c_statistics(&reading.statistics));
                // SAFETY: the same.
                unsafe { self.stats.add(index).write_unaligned(stats) };
            }
        }
        if !self.handle.is_null() {
            // SAFETY: not NULL, so it points at a pointer.
            let storage = unsafe { self.handle.read_unaligned() };
            if !storage.is_null() {
                // SAFETY: not NULL, so it points at the caller's storage for a handle.
                unsafe { storage.write_unaligned(SaHandle::new(*last)) };
            }
        }
    }
}

/// Reads SAs in the order in which they were added: information, statistics, or both. Keys are never given back.
/// A bundle is one row, of its entry 0; G_IPSEC_LA_SA_GET_EXACT reads an entry of it into each row. -ENOENT: there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_sa_get(
    handle: *mut Handle,
    r#in: *const SaGetInArgs,
    flags: ControlFlags,
    out: *mut SaGetOutArgs,
    resp: *mut ResponseArgs,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract.
        let (handle, input, resp) = unsafe { (required(handle)?, r#in.as_ref().ok_or(NULL)?, resp.as_ref()) };
        let direction = convert::direction(input.dir)?;
        if input.flags & !(SA_GET_INFORMATION | SA_GET_STATISTICS) != 0 {
            return Err(Error::Invalid("an unknown flag"));
        }
        if input.num_sas == 0 {
            return Err(Error::Invalid("no SA is asked for"));
        }
        let wanted = input.num_sas as usize;
        let sa = match input.operation {
            SA_GET_FIRST_N => None,
            // SAFETY: the same.
            SA_GET_NEXT_N | SA_GET_EXACT => Some(unsafe { required(input.handle) }?.sa()?),
            _ => return Err(Error::Invalid("an unknown operation")),
        };
        let exact = input.operation == SA_GET_EXACT;
        let group = registry().group(handle.client()?, handle.group()?)?;
        let manner = Manner::new(flags, resp.copied())?;
        let out = heard(&manner, out)?;
        let (information, statistics) = (input.flags != SA_GET_STATISTICS, input.flags != SA_GET_INFORMATION);
        let owner = group.clone();
        let read = move || {
            let mut readings = match sa {
                Some(sa) if exact => vec![owner.read_sa(direction, sa)?],
                _ => owner.read_sas(direction, sa, wanted)?,
            };
            let last = readings.last().ok_or(Error::NotFound("there is no such SA"))?.key;
            let entries = if exact { wanted } else { 1 };
            let rows = readings.drain(..).flat_map(|sa| Readings::of_entries(sa).take(entries)).collect();
            Ok(Readings { rows, last, wanted, information, statistics })
        };
        // SAFETY: the same; the arrays in `out` have `num_sas` entries.
        unsafe { answer(&group, sa.map_or(Lane::Control, Lane::Sa), &manner, out, read) }
    };
    // SAFETY: the header's contract.
    unsafe { answered(out, body) }
}

/// Another name of g_ipsec_la_sa_mod.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_sa_modify(
    handle: *mut Handle,
    r#in: *const SaModInArgs,
    flags: ControlFlags,
    out: *mut SaModifyOutArgs,
    resp: ResponseArgs,
) -> i32 {
    // SAFETY: the same contract.
    unsafe { g_ipsec_la_sa_mod(handle, r#in, flags, out, resp) }
}

/// Another name of g_ipsec_la_sa_del.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_sa_delete(
    handle: *mut Handle,
    r#in: *const SaDelInArgs,
    flags: ControlFlags,
    out: *mut SaDelOutArgs,
    resp: ResponseArgs,
) -> i32 {
    // SAFETY: the same contract.
    unsafe { g_ipsec_la_sa_del(handle, r#in, flags, out, resp) }
}
