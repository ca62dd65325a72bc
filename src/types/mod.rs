//! The C types of the g-API document, byte for byte (R10). Nothing here interprets them: a value that came from C is
//! held as the number it is (R11) and becomes a typed value in `convert`.
//!
//! Types marked `no-export` stand as text in `header/spec_types.h`, because they have bit-fields, anonymous unions or
//! two names for one enumerator; `tests/layout.rs` compares all of them with C.

mod handles;
mod management;
mod notifications;
mod packets;
mod sa;

pub use handles::*;
pub use management::*;
pub use notifications::*;
pub use packets::*;
pub use sa::*;
