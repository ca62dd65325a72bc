//! Accelerator management (document 8.1 to 8.7): version, open, groups, close, lists.

use std::ffi::c_char;

use gipsec_accelerator::{Error, OpenMode, Selection};

use crate::{
    answer::{Answer, Manner, answer, answered, heard},
    guard::{explained, guarded},
    handles::group_words,
    pointers::{Lent, NULL, name, not_null, required, text},
    process::registry,
    types::{
        ActiveEntry, ActiveListGetInArgs, ActiveListGetOutArgs, AvailableEntry, AvailableListGetInArgs,
        AvailableListGetOutArgs, ControlFlags, CreateGroupInArgs, CreateGroupOutArgs, Handle, InstanceBrokenFn, Mode,
        OpenInArgs, OpenOutArgs, ResponseArgs,
    },
    values::{IDENTITY_SIZE, INSTANCE_EXCLUSIVE, INSTANCE_SHARED},
};

/// Writes the version of the API, "1.0", and a NUL; `version` has room for G_IPSEC_LA_MAX_VERSION_LENGTH bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_get_api_version(version: *mut c_char) -> i32 {
    guarded(|| {
        let version = not_null(version)?;
        let text = name::<4>("1.0");
        // SAFETY: the header's contract gives `version` more room than that.
        unsafe { version.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        Ok(0)
    })
}

/// Opens an accelerator, exclusively or shared with other applications, and writes the handle to the storage that
/// `out->handle` points at. -ENODEV: none fits; -EBUSY: those that fit are open in a mode that conflicts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_open(mode: Mode, r#in: *mut OpenInArgs, out: *mut OpenOutArgs) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let (input, out) = unsafe { (r#in.as_ref(), out.as_ref()) };
        let (Some(input), Some(out)) = (input, out) else {
            return Err(NULL);
        };
        let handle = not_null(out.handle)?;
        let mode = match mode {
            INSTANCE_EXCLUSIVE => OpenMode::Exclusive,
            INSTANCE_SHARED => OpenMode::Shared,
            _ => return Err(Error::Invalid("an unknown mode")),
        };
        // SAFETY: the header's contract: NULL, or NUL-terminated.
        let (accelerator, identity) =
            unsafe { (text(input.accl_name, usize::MAX)?, text(input.app_identity, IDENTITY_SIZE)?) };
        let selection =
            Selection { name: accelerator.as_deref(), vendor: input.pci_vendor_id, device: input.device_id };
        let (on_broken, argument) = (input.cb_fn, Lent(input.cb_arg));
        let client = registry().open(mode, selection, identity.as_deref().unwrap_or(""), |client| {
            let handle = Handle::new(client, None);
            Box::new(move || tell_broken(on_broken, handle, argument))
        });
        let client = client.map_err(explained)?;
        // SAFETY: not NULL, and valid by the header's contract.
        unsafe { handle.write_unaligned(Handle::new(client, None)) };
        Ok(0)
    })
}

fn tell_broken(on_broken: InstanceBrokenFn, mut handle: Handle, argument: Lent<std::ffi::c_void>) {
    if let Some(on_broken) = on_broken {
        // SAFETY: the application gave the function for this; the handle lives until it returns.
        unsafe { on_broken(&raw mut handle, argument.0) };
    }
}

impl Answer<[u32; 8]> for CreateGroupOutArgs {
    fn empty() -> Self {
        Self::default()
    }

    /// The group's handle, all zero when there is none.
    unsafe fn write(&mut self, result: &Result<[u32; 8], Error>) {
        self.g_ipsec_la_group_handle = result.unwrap_or_default();
    }
}

/// Makes a group within an open accelerator. The new group handle goes into the `group_handle` of a g_ipsec_la_handle;
/// SAs that are added with it are reachable with it alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_create_group(
    handle: *mut Handle,
    r#in: *mut CreateGroupInArgs,
    flags: ControlFlags,
    out: *mut CreateGroupOutArgs,
    resp: ResponseArgs,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract.
        let (handle, input) = unsafe { (required(handle)?, r#in.as_ref()) };
        let input = input.ok_or(NULL)?;
        // SAFETY: the same: NULL, or NUL-terminated.
        let identity = unsafe { text(input.group_identity, IDENTITY_SIZE) }?.unwrap_or_default();
        let client = handle.client()?;
        let group = registry().group(client, None)?;
        let manner = Manner::new(flags, Some(resp))?;
        let out = heard(&manner, out)?;
        let create = move || Ok(group_words(Some(registry().create_group(client, &identity)?)));
        // SAFETY: the same.
        unsafe { answer(&group, gipsec_accelerator::Lane::Control, &manner, out, create) }
    };
    // SAFETY: the header's contract.
    unsafe { answered(out, body) }
}

/// Deletes the group that `handle` names with all of its SAs. Returns when everything pending has been called back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_delete_group(handle: *mut Handle) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let handle = unsafe { required(handle) }?;
        let group = handle.group()?.ok_or(Error::NotFound("the handle names no group"))?;
        registry().delete_group(handle.client()?, group).map(|()| 0)
    })
}

/// Closes an open accelerator with all of its groups and SAs, whose keys are zeroised. Returns when everything pending
/// has been called back. Also for an accelerator that went away.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_close(handle: *mut Handle) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let handle = unsafe { required(handle) }?;
        registry().close(handle.client()?).map(|()| 0)
    })
}

/// Writes the part of a list that the caller has room for; how many entries that is.
///
/// # Safety
/// `entries` is NULL or valid for `max` entries.
unsafe fn write_list<T, E>(
    rows: &[T],
    start: u32,
    max: u32,
    entries: *mut E,
    describe: impl Fn(&T) -> E,
) -> Result<u32, Error> {
    if max > 0 {
        not_null(entries)?;
    }
    let mut written = 0;
    for (row, place) in rows.iter().skip(start as usize).zip(0..max) {
        // SAFETY: `place` is below `max`, and the pointer was checked.
        unsafe { entries.add(place as usize).write_unaligned(describe(row)) };
        written = place + 1;
    }
    Ok(written)
}

/// Lists the accelerators that an open in some mode would get now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_available_list_get(
    r#in: *const AvailableListGetInArgs,
    out: *mut AvailableListGetOutArgs,
) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let (input, out) = unsafe { (r#in.as_ref(), out.as_mut()) };
        let (Some(input), Some(out)) = (input, out) else {
            return Err(NULL);
        };
        let rows = registry().available();
        let describe = |row: &gipsec_accelerator::Available| AvailableEntry {
            name: name(&row.name),
            instance_id: row.instance_id,
        };
        // SAFETY: the same: room for `max_entries`.
        out.num_entries = unsafe { write_list(&rows, input.start, input.max_entries, out.entries, describe) }?;
        out.total = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        Ok(0)
    })
}

/// Lists what every group of every application does: a row for each, and one for the SAs that have no group.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_active_list_get(
    r#in: *const ActiveListGetInArgs,
    out: *mut ActiveListGetOutArgs,
) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let (input, out) = unsafe { (r#in.as_ref(), out.as_mut()) };
        let (Some(input), Some(out)) = (input, out) else {
            return Err(NULL);
        };
        let rows = registry().active();
        let describe = |row: &gipsec_accelerator::Active| ActiveEntry {
            name: name(&row.accelerator.name),
            instance_id: row.accelerator.instance_id,
            mode: match row.mode {
                OpenMode::Exclusive => INSTANCE_EXCLUSIVE,
                OpenMode::Shared => INSTANCE_SHARED,
            },
            app_identity: name(&row.application),
            group_identity: name(&row.group),
            bytes_in: row.activity.bytes_in,
            bytes_out: row.activity.bytes_out,
            packets_in: row.activity.packets_in,
            packets_out: row.activity.packets_out,
            sas_created: row.activity.created,
            sas_deleted: row.activity.deleted,
            sas_modified: row.activity.modified,
            active_sas: row.activity.active,
        };
        // SAFETY: the same: room for `max_entries`.
        out.num_entries = unsafe { write_list(&rows, input.start, input.max_entries, out.entries, describe) }?;
        out.total = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        Ok(0)
    })
}

/// Another name of g_ipsec_la_available_list_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_get_available_list(
    r#in: *const AvailableListGetInArgs,
    out: *mut AvailableListGetOutArgs,
) -> i32 {
    // SAFETY: the same contract.
    unsafe { g_ipsec_la_available_list_get(r#in, out) }
}

/// Another name of g_ipsec_la_active_list_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_get_active_list(
    r#in: *const ActiveListGetInArgs,
    out: *mut ActiveListGetOutArgs,
) -> i32 {
    // SAFETY: the same contract.
    unsafe { g_ipsec_la_active_list_get(r#in, out) }
}
