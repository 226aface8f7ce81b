//! What JavaScript calls: [`Source`] as functions of numbers, and the memory that both read.
//!
//! The only unsafe code of the crate. WebAssembly without threads has one thread, and no function
//! here calls JavaScript, so none runs while another does: the one source is never borrowed twice.
//! What JavaScript gets are addresses; it reads and writes them through views of the module's
//! memory, and makes new views after each call, since any call may grow the memory.

#![expect(unsafe_code, reason = "functions that are called from outside, and what they share")]

use core::cell::UnsafeCell;
use core::mem;

use crate::source::{Settings, Source};

/// Frees nothing: there are only the buffers of one source, and a buffer that has grown leaves less
/// behind than it has. The memory of a module cannot shrink anyway.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
// SAFETY: there is one thread.
static ALLOCATOR: lol_alloc::AssumeSingleThreaded<lol_alloc::LeakingAllocator> =
    unsafe { lol_alloc::AssumeSingleThreaded::new(lol_alloc::LeakingAllocator::new()) };

/// To format what has gone wrong would be most of the module.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// How many bytes JavaScript can pass in one call.
const INPUT: usize = 1 << 16;

/// What JavaScript and this module share.
struct Shared {
    /// Lives as long as the instance does: JavaScript drops both together.
    source: Option<Source>,
    /// Where the rows of the last chunk are.
    rows: *const u8,
    /// What JavaScript has written for the next call.
    input: [u8; INPUT],
}

struct OneThread(UnsafeCell<Shared>);

// SAFETY: there is one thread.
unsafe impl Sync for OneThread {}

static SHARED: OneThread =
    OneThread(UnsafeCell::new(Shared { source: None, rows: core::ptr::null(), input: [0; INPUT] }));

fn shared() -> &'static mut Shared {
    // SAFETY: one thread, and each function below asks once and calls none of the others.
    unsafe { &mut *SHARED.0.get() }
}

/// The source. Before [`start`] there is none, and asking for it traps.
fn source() -> &'static mut Source {
    shared().source.as_mut().expect("the source has been started")
}

/// The address of the input, where there is room for 64 KiB.
#[unsafe(no_mangle)]
extern "C" fn input() -> *const u8 {
    shared().input.as_ptr()
}

/// The address of the rows of the last chunk.
#[unsafe(no_mangle)]
extern "C" fn rows() -> *const u8 {
    shared().rows
}

/// Begins, with the last event ID as the input. Once more, if a request turns out to be one that is
/// made once.
#[unsafe(no_mangle)]
extern "C" fn start(
    seed: f64,
    flags: u32,
    max_retry: f64,
    idle_timeout: f64,
    first_event_timeout: f64,
    connect_timeout: f64,
    max_event_len: usize,
    max_line_len: usize,
    id: usize,
) {
    let Shared { source, input, .. } = shared();
    let id = input.get(..id).unwrap_or_default();
    let settings = Settings {
        seed,
        flags,
        max_retry,
        idle_timeout,
        first_event_timeout,
        connect_timeout,
        max_event_len,
        max_line_len,
    };
    // There was none before, or one at most; code to drop it would be too much.
    mem::forget(source.replace(Source::new(&settings, id)));
}

#[unsafe(no_mangle)]
extern "C" fn step(now: f64) -> u32 {
    source().step(now)
}

#[unsafe(no_mangle)]
extern "C" fn until() -> f64 {
    source().until()
}

/// The content type is the input.
#[unsafe(no_mangle)]
extern "C" fn head(now: f64, status: u32, retry_after: f64, content_type: usize) {
    let Shared { source: Some(source), input, .. } = shared() else { return };
    source.response(now, status, retry_after, input.get(..content_type).unwrap_or_default());
}

/// The chunk is the input. Returns how many bytes the rows have.
#[unsafe(no_mangle)]
extern "C" fn push(now: f64, len: usize) -> usize {
    let Shared { source: Some(source), input, rows } = shared() else { return 0 };
    let text = source.push(now, input.get(..len).unwrap_or_default());
    *rows = text.as_ptr();
    text.len()
}

#[unsafe(no_mangle)]
extern "C" fn tell(now: f64, happening: u32) {
    source().tell(now, happening);
}

#[unsafe(no_mangle)]
extern "C" fn state() -> u32 {
    source().state()
}

#[unsafe(no_mangle)]
extern "C" fn retry() -> f64 {
    source().reconnection_time()
}
