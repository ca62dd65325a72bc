//! The exported functions, a file for each part of the document. Each checks its pointers, says in a sentence what is to
//! be done, and turns the answer into C's. See the header's contract (`header/contract.txt`) for what holds of all.

pub mod buffers;
pub mod control;
pub mod extensions;
pub mod management;
pub mod packets;
pub mod sa;
