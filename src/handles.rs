//! Handles as C holds them: the words of a key, a mark of what it is for, and zeros (R22).

use gipsec_accelerator::{Error, Key};

use crate::types::{Handle, SaHandle};

/// What a handle is for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Mark {
    Accelerator = 0x6770_6163,
    Group = 0x6770_6772,
    Sa = 0x6770_7361,
}

fn words(key: Key, mark: Mark) -> [u32; 8] {
    let [a, b, c, d, e, f, g, h] = key.generation.to_le_bytes();
    [mark as u32, key.slot, u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]), 0, 0, 0, 0]
}

fn key(words: &[u32; 8], mark: Mark) -> Option<Key> {
    let [found, slot, low, high, 0, 0, 0, 0] = *words else { return None };
    (found == mark as u32).then_some(Key { generation: u64::from(high) << 32 | u64::from(low), slot })
}

impl Handle {
    /// The handle of an application and, maybe, one of its groups.
    pub(crate) fn new(client: Key, group: Option<Key>) -> Self {
        Self { handle: words(client, Mark::Accelerator), group_handle: group_words(group) }
    }

    /// The application that the handle names.
    #[inline]
    pub(crate) fn client(&self) -> Result<Key, Error> {
        key(&self.handle, Mark::Accelerator).ok_or(Error::BadHandle("accelerator"))
    }

    /// The group that the handle names, if any.
    #[inline]
    pub(crate) fn group(&self) -> Result<Option<Key>, Error> {
        if self.group_handle == [0; 8] {
            return Ok(None);
        }
        key(&self.group_handle, Mark::Group).map(Some).ok_or(Error::BadHandle("group"))
    }
}

/// The words of a group handle; all zero for none.
pub(crate) fn group_words(group: Option<Key>) -> [u32; 8] {
    group.map_or([0; 8], |group| words(group, Mark::Group))
}

impl SaHandle {
    pub(crate) fn new(sa: Key) -> Self {
        Self { ipsec_sa_handle: words(sa, Mark::Sa) }
    }

    /// The SA that the handle names.
    #[inline]
    pub(crate) fn sa(&self) -> Result<Key, Error> {
        key(&self.ipsec_sa_handle, Mark::Sa).ok_or(Error::BadHandle("SA"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_leads_back_to_its_key_and_no_other_word_does() {
        let sa = Key { generation: 0x0123_4567_89ab_cdef, slot: 7 };
        let handle = SaHandle::new(sa);
        assert_eq!(handle.sa(), Ok(sa));
        for word in 0..8 {
            let mut forged = handle;
            forged.ipsec_sa_handle[word] ^= 1 << 9;
            assert_ne!(forged.sa(), Ok(sa));
        }
        let swapped = Handle { handle: handle.ipsec_sa_handle, group_handle: [0; 8] };
        assert!(swapped.client().is_err());
    }
}
