//! How a control call is answered: at once, later through a callback, or not at all (R12, R25).

use std::{ffi::c_void, ptr, sync::Arc};

use gipsec_accelerator::{Class, Error, Group, Lane, Outcome, Work};

use crate::{
    guard::{caught, guarded},
    pointers::{Lent, not_null},
    types::{ControlFlags, ResponseArgs, ResponseFn},
    values::{CTRL_FLAG_ASYNC, CTRL_FLAG_NO_RESP_EXPECTED},
};

/// Whom to call back, and with what.
#[derive(Clone, Copy)]
pub(crate) struct Callback {
    function: ResponseFn,
    argument: Lent<c_void>,
    length: i32,
}

impl Callback {
    /// Calls back, if anybody waits.
    pub(crate) fn call(&self, outargs: *mut c_void) {
        if let Some(function) = self.function {
            // SAFETY: the caller gave the function for this; its argument is passed through unread.
            unsafe { function(self.argument.0, self.length, outargs) };
        }
    }
}

/// When, and how, a call is answered.
pub(crate) enum Manner {
    /// Before it returns.
    Now,
    /// Before it returns, and nobody looks at the answer.
    NowUnheard,
    /// Through a callback.
    Later(Callback),
}

impl Manner {
    /// Checks flags and callback. `response` NULL is a response without a callback.
    pub(crate) fn new(flags: ControlFlags, response: Option<ResponseArgs>) -> Result<Self, Error> {
        const NOBODY: Callback = Callback { function: None, argument: Lent(ptr::null_mut()), length: 0 };
        if flags & !(CTRL_FLAG_ASYNC | CTRL_FLAG_NO_RESP_EXPECTED) != 0 {
            return Err(Error::Invalid("an unknown control flag"));
        }
        match (flags & CTRL_FLAG_ASYNC != 0, flags & CTRL_FLAG_NO_RESP_EXPECTED != 0) {
            (false, false) => Ok(Self::Now),
            (false, true) => Ok(Self::NowUnheard),
            (true, true) => Ok(Self::Later(NOBODY)),
            (true, false) => match response {
                Some(ResponseArgs { cbfn: Some(function), cb_arg, cb_arg_len }) => {
                    Ok(Self::Later(Callback { function: Some(function), argument: Lent(cb_arg), length: cb_arg_len }))
                }
                _ => Err(Error::Invalid("an asynchronous call without a callback")),
            },
        }
    }

    /// Whether somebody looks at what the call writes before it returns.
    fn is_heard(&self) -> bool {
        matches!(self, Self::Now)
    }
}

/// What a call writes into its `out`.
pub(crate) trait Answer<T>: Sized {
    /// An `out` of the library's own, for callers that gave none.
    fn empty() -> Self;

    /// Writes the answer.
    ///
    /// # Safety
    /// Pointers inside `self` are the caller's, and valid.
    unsafe fn write(&mut self, result: &Result<T, Error>);
}

/// A call that is answered later.
struct Call<T, O, F> {
    compute: Option<F>,
    result: Result<T, Error>,
    out: Lent<O>,
    callback: Callback,
}

impl<T: Send, O: Answer<T>, F: FnOnce() -> Result<T, Error> + Send> Work for Call<T, O, F> {
    fn run(&mut self, outcome: Outcome) {
        if let (Some(compute), Outcome::Run) = (self.compute.take(), outcome) {
            self.result = caught(compute);
        }
    }

    fn deliver(self: Box<Self>) {
        let mut own = O::empty();
        let out = if self.out.0.is_null() { &raw mut own } else { self.out.0 };
        // SAFETY: `out` is our own, or lent by the caller until the callback, which comes next.
        unsafe { (*out).write(&self.result) };
        // A call without outargs has an empty type, and the callback gets NULL.
        self.callback.call(if size_of::<O>() == 0 { ptr::null_mut() } else { out.cast() });
    }
}

/// Answers a call with what `compute` finds out.
///
/// # Safety
/// `out` is NULL or valid for as long as the header says, and so are the pointers in it.
pub(crate) unsafe fn answer<T: Send + 'static, O: Answer<T> + 'static>(
    group: &Arc<Group>,
    lane: Lane,
    manner: &Manner,
    out: *mut O,
    compute: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<i32, Error> {
    if let Manner::Later(callback) = manner {
        let gone = Err(Error::NoDevice("the accelerator went away"));
        let call = Call { compute: Some(compute), result: gone, out: Lent(out), callback: *callback };
        // A call that waits for packets of its SA is as urgent as they are, and lifts none of them.
        let class = if lane == Lane::Control { Class::Expedited } else { Class::default() };
        return group.submit(lane, class, Box::new(call)).map(|()| 0).map_err(|(error, _)| error);
    }
    let result = caught(compute);
    if result.is_ok() && !out.is_null() {
        // SAFETY: not NULL, and then valid by this function's contract.
        unsafe { (*out).write(&result) };
    }
    result.map(|_| 0)
}

/// Runs the body of an exported function with an `out`, which says so, too, when the call is refused.
///
/// # Safety
/// `out` is NULL or valid.
pub(crate) unsafe fn answered<T, O: Answer<T>>(out: *mut O, body: impl FnOnce() -> Result<i32, Error>) -> i32 {
    guarded(|| {
        body().inspect_err(|error| {
            if !out.is_null() {
                // SAFETY: not NULL, and then valid by this function's contract.
                unsafe { (*out).write(&Err(*error)) };
            }
        })
    })
}

/// `out` of a call whose answer is in it: needed when somebody looks at it.
pub(crate) fn heard<O>(manner: &Manner, out: *mut O) -> Result<*mut O, Error> {
    if manner.is_heard() { not_null(out) } else { Ok(out) }
}
