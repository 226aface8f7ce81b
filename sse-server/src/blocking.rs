//! Which threads may wait for a disk.

use std::cell::Cell;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may: it has nothing to do that could not wait as well.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// From now on this thread may.
pub(crate) fn allow_blocking() {
    MAY_BLOCK.set(true);
}
