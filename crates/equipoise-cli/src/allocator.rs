//! mimalloc, with the bytes in use counted: what a command took at most is then known on every system, mapped
//! files and device memory aside. glibc's allocator gives the pages of every decoded image back to the system and
//! asks for them anew, which costs a third of the time that images take to be made ready.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

use mimalloc::MiMalloc;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// See the module.
pub(crate) struct Counting;

/// Bytes in use at most since the last call of [`restart`].
pub(crate) fn most() -> usize {
    MOST.load(Ordering::Relaxed)
}

/// Counts from what is in use now; returns that.
pub(crate) fn restart() -> usize {
    let used = USED.load(Ordering::Relaxed);
    MOST.store(used, Ordering::Relaxed);
    used
}

fn add(bytes: usize) {
    let used = USED.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if used > MOST.load(Ordering::Relaxed) {
        MOST.fetch_max(used, Ordering::Relaxed);
    }
}

fn remove(bytes: usize) {
    USED.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call is mimalloc's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        remove(layout.size());
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_in_use_is_known() {
        let before = restart();
        let some = vec![1u8; 3 << 20];
        assert!(most() >= before + some.len());
        drop(some);
        assert!(most() >= before + (3 << 20));
    }
}
