//! What JavaScript calls: [`Source`] as functions of numbers, and the memory that both read.
//!
//! The only unsafe code of the crate. WebAssembly without threads has one thread, and no function here
//! calls JavaScript, so none runs while another does: the one source is never borrowed twice. What
//! JavaScript gets are addresses; it reads and writes them through views of the module's memory, and
//! makes these views anew after each call, since any call may grow the memory.

#![expect(unsafe_code, reason = "functions that are called from outside, and what they share")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

use crate::source::{Settings, Source};

#[cfg(target_arch = "wasm32")]
#[global_allocator]
// SAFETY: there is one thread.
static ALLOCATOR: lol_alloc::AssumeSingleThreaded<lol_alloc::FreeListAllocator> =
    unsafe { lol_alloc::AssumeSingleThreaded::new(lol_alloc::FreeListAllocator::new()) };

/// Formatting what has gone wrong would be most of the module.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// What is shared with JavaScript.
struct Shared {
    /// Lives as long as the instance does: JavaScript drops both together.
    source: Option<&'static mut Source>,
    /// What JavaScript writes for the next call.
    input: Vec<u8>,
    /// What the last call has written: address and length of the text in bytes, address and length of
    /// the table in numbers.
    output: [usize; 4],
}

struct OneThread(UnsafeCell<Shared>);

// SAFETY: there is one thread.
unsafe impl Sync for OneThread {}

static SHARED: OneThread =
    OneThread(UnsafeCell::new(Shared { source: None, input: Vec::new(), output: [0; 4] }));

fn shared() -> &'static mut Shared {
    // SAFETY: one thread, and each function below asks once and calls none of the others.
    unsafe { &mut *SHARED.0.get() }
}

/// Calls the source with the input. Before [`start`] there is none, and nothing happens.
fn call<T: Default>(call: impl FnOnce(&mut Source, &[u8]) -> T) -> T {
    let Shared { source, input, .. } = shared();
    source.as_mut().map_or_else(T::default, |source| call(source, input))
}

/// The address of so many bytes, for the input of the next call. What was in them is left there.
#[unsafe(no_mangle)]
extern "C" fn input(len: usize) -> *mut u8 {
    let Shared { input, .. } = shared();
    if input.len() < len {
        input.resize(len, 0);
    }
    input.as_mut_ptr()
}

/// The address of the four numbers that say where the output of the last call is.
#[unsafe(no_mangle)]
extern "C" fn output() -> *const usize {
    let Shared { source, output, .. } = shared();
    if let Some(source) = source {
        let (text, table) = (source.text(), source.table());
        *output = [text.as_ptr().addr(), text.len(), table.as_ptr().addr(), table.len()];
    }
    output.as_ptr()
}

/// Begins, once, with the last event ID (a negative length: there is none) and the terminator as the input.
#[unsafe(no_mangle)]
extern "C" fn start(
    seed: f64,
    flags: u32,
    max_retry: f64,
    idle_timeout: f64,
    connect_timeout: f64,
    id: i32,
    terminator: usize,
) {
    let Shared { source, input, .. } = shared();
    let id = usize::try_from(id).ok();
    let (start, rest) = input.split_at_checked(id.unwrap_or(0)).unwrap_or_default();
    let settings = Settings { seed, flags, max_retry, idle_timeout, connect_timeout };
    let terminator = rest.get(..terminator).unwrap_or_default();
    *source = Some(Box::leak(Box::new(Source::new(settings, id.map(|_| start), terminator))));
}

#[unsafe(no_mangle)]
extern "C" fn step(now: f64) -> u32 {
    call(|source, _| source.step(now))
}

#[unsafe(no_mangle)]
extern "C" fn until() -> f64 {
    call(|source, _| source.until())
}

/// The content type is the input; a negative length: there is none.
#[unsafe(no_mangle)]
extern "C" fn response(now: f64, status: u32, retry_after: f64, content_type: i32) {
    call(|source, input| {
        let content_type = usize::try_from(content_type).ok().and_then(|len| input.get(..len));
        source.response(now, status, retry_after, content_type);
    });
}

/// The chunk is the input.
#[unsafe(no_mangle)]
extern "C" fn push(now: f64, len: usize) {
    call(|source, input| source.push(now, input.get(..len).unwrap_or_default()));
}

#[unsafe(no_mangle)]
extern "C" fn end(now: f64) {
    call(|source, _| source.end(now));
}

#[unsafe(no_mangle)]
extern "C" fn error(now: f64) {
    call(|source, _| source.error(now));
}

#[unsafe(no_mangle)]
extern "C" fn unsent(now: f64) {
    call(|source, _| source.unsent(now));
}

#[unsafe(no_mangle)]
extern "C" fn reconnect(now: f64) {
    call(|source, _| source.reconnect(now));
}

#[unsafe(no_mangle)]
extern "C" fn close() {
    call(|source, _| source.close());
}

#[unsafe(no_mangle)]
extern "C" fn state() -> u32 {
    call(|source, _| source.state())
}

#[unsafe(no_mangle)]
extern "C" fn reason() -> u32 {
    call(|source, _| source.reason())
}

#[unsafe(no_mangle)]
extern "C" fn reconnection_time() -> f64 {
    call(|source, _| source.reconnection_time())
}
