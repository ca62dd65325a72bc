//! Commands, one at a time.

use std::sync::Arc;

use zerocopy::FromBytes;

use super::{
    DriverError, Inner,
    layout::{CONTROL_BYTES, Layout},
};
use crate::{
    memory::Memory,
    message::{
        RequestStatus,
        control::{Command, ControlAnswer},
    },
    queue::{Piece, Queue},
    window::Window,
};

/// The control queue, with the places of a command and of its answer.
pub(super) struct ControlQueue {
    queue: Queue,
    window: Window,
    command: usize,
    answer: usize,
}

impl ControlQueue {
    pub(super) fn new(queue: Queue, layout: &Layout) -> Self {
        Self { queue, window: Window::default(), command: layout.command, answer: layout.answer }
    }

    /// Sends a command, and waits for the answer.
    pub(super) fn exchange(&mut self, device: &Inner, command: &Command, group: u32) -> Result<Vec<u8>, DriverError> {
        if device.is_lost() {
            return Err(DriverError::Gone);
        }
        let memory: &Arc<Memory> = device.transport.memory();
        let message = command.encode(group).map_err(|why| gipsec_engine::SaError::Invalid(why.0))?;
        let Some(len) = u32::try_from(message.len()).ok().filter(|_| message.len() <= CONTROL_BYTES) else {
            return Err(gipsec_engine::SaError::Invalid("the SA does not fit a message").into());
        };
        memory.write(self.command, &message);
        // What a device does not write is no answer.
        memory.store_relaxed(self.answer, u32::MAX);
        let room = u32::try_from(CONTROL_BYTES).unwrap_or(u32::MAX);
        let pieces = [
            Piece { offset: self.command, len, writable: false },
            Piece { offset: self.answer, len: room, writable: true },
        ];
        let added = self.queue.add(&pieces, None);
        device.publish(&mut self.queue);
        let answered =
            added.ok_or_else(|| device.lose()).and_then(|_| device.next(&mut self.queue, &mut self.window, &mut None));
        // It may hold keys.
        memory.wipe(self.command, message.len());
        answered?;
        self.read(memory)
    }

    fn read(&self, memory: &Memory) -> Result<Vec<u8>, DriverError> {
        let mut header = [0; size_of::<ControlAnswer>()];
        memory.read(self.answer, &mut header);
        let Ok((header, _)) = ControlAnswer::read_from_prefix(&header) else { return Err(DriverError::Gone) };
        let status = RequestStatus::from_code(header.status.get());
        if status != RequestStatus::Ok {
            return Err(DriverError::Refused(status));
        }
        let len = usize::try_from(header.length.get()).unwrap_or(usize::MAX);
        if len > CONTROL_BYTES - size_of::<ControlAnswer>() {
            return Err(DriverError::Refused(RequestStatus::Failed));
        }
        let mut answer = vec![0; len];
        memory.read(self.answer + size_of::<ControlAnswer>(), &mut answer);
        Ok(answer)
    }
}
