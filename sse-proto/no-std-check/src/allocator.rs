//! The simplest allocator there is: it hands out a static array from front to back and takes
//! nothing back. The program is over long before the array is.
//!
//! The workspace forbids unsafe code; a global allocator cannot be written without. This crate is
//! outside that workspace, nothing depends on it, and the unsafe part is in this file and in the
//! functions of `main.rs` that the linker knows by name.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

const LEN: usize = 1 << 20;

struct Arena {
    memory: UnsafeCell<[u8; LEN]>,
    used: AtomicUsize,
}

// SAFETY: the memory is reached only through `alloc`, which gives every byte to one caller at most.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena { memory: UnsafeCell::new([0; LEN]), used: AtomicUsize::new(0) };

// SAFETY: `alloc` returns null, or the start of `size` bytes inside of the array, aligned as asked
// for; `used` only grows, past each range in the same step that hands it out, so no two overlap.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        let mut start = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let address = (base as usize).checked_add(used)?;
            let padding = address.checked_next_multiple_of(layout.align())? - address;
            start = used + padding;
            start.checked_add(layout.size()).filter(|end| *end <= LEN)
        });
        match taken {
            // SAFETY: `start` and `size` more bytes lie within the array, as was just checked.
            Ok(_) => unsafe { base.add(start) },
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
