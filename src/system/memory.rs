//! The allocator: a fixed region that is handed out from front to back, and the system's allocator beyond it.
//!
//! A cache hit makes a few hundred small allocations and exits. An allocator for general use spends more instructions
//! on them than the rest of the hit, and touches each new page twice. Here an allocation adds to a number. Memory is
//! reused only if the block that was allocated last is released first, which is how strings and vectors grow.
//!
//! A process that runs longer fills the region once, and from then on uses the system's allocator.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than twice what a hit of any hook allocates. Pages that are never touched cost nothing.
const SIZE: usize = 512 * 1024;

/// The global allocator of the program.
pub struct Arena {
    region: UnsafeCell<Region>,
    /// The offset of the first byte that is not allocated.
    used: AtomicUsize,
}

/// Zeros, so that the binary does not contain it.
#[repr(C, align(4096))]
struct Region([u8; SIZE]);

/// The largest alignment of the region.
const ALIGNMENT: usize = align_of::<Region>();

// SAFETY: `used` gives each byte of the region to one allocation at a time. A block that is reused was released with
// `Release` and is taken with `Acquire`.
unsafe impl Sync for Arena {}

impl Arena {
    pub const fn new() -> Arena {
        Arena { region: UnsafeCell::new(Region([0; SIZE])), used: AtomicUsize::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.region.get().cast()
    }

    /// Returns the offset of a block in the region, or `None` if it is the system's.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let offset = block.addr().wrapping_sub(self.start().addr());
        (offset < SIZE).then_some(offset)
    }

    fn allocate(&self, layout: Layout) -> Option<*mut u8> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let offset = used.next_multiple_of(layout.align());
            let end = offset.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            match self.used.compare_exchange_weak(used, end, Ordering::Acquire, Ordering::Relaxed) {
                // SAFETY: `offset` is at most SIZE, so the result is in the region or one past its end.
                Ok(_) => return Some(unsafe { self.start().add(offset) }),
                Err(now) => used = now,
            }
        }
    }

    /// Moves the end of the last block. Returns false if another block comes after it, or if the region is full.
    fn resize_last(&self, offset: usize, from: usize, to: usize) -> bool {
        let Some(end) = offset.checked_add(to).filter(|end| *end <= SIZE) else { return false };
        self.used.compare_exchange(offset + from, end, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

// SAFETY: a block from the region is aligned, in bounds and of no other allocation (see `Sync`). Any other block is
// the system allocator's, which gets it back.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.allocate(layout) {
            Some(block) => block,
            // SAFETY: the caller's layout, unchanged.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.allocate(layout) {
            Some(block) => {
                // The region starts as zeros, but this part may have been used before.
                // SAFETY: the block has this size.
                unsafe { ptr::write_bytes(block, 0, layout.size()) };
                block
            }
            // SAFETY: the caller's layout, unchanged.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(offset) => {
                // If it is not the last block, its memory stays unused.
                self.resize_last(offset, layout.size(), 0);
            }
            // SAFETY: the block is not in the region, so the system's allocator returned it, with this layout.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: as in `dealloc`; `size` is the caller's.
            return unsafe { System.realloc(block, layout, size) };
        };
        if self.resize_last(offset, layout.size(), size) || size <= layout.size() {
            return block;
        }
        // SAFETY: the caller guarantees that `size`, rounded up to the alignment, is at most `isize::MAX`.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks have at least the old size, which is the smaller one, and they do not overlap.
            unsafe {
                ptr::copy_nonoverlapping(block, new, layout.size());
                self.dealloc(block, layout);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    /// The arena is as large as the region, so tests leak one each on the heap and not on the stack.
    fn arena() -> &'static Arena {
        // SAFETY: `new` makes an `Arena` of zeros too.
        unsafe { Box::leak(Box::<Arena>::new_zeroed().assume_init()) }
    }

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let arena = arena();
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 1), (16, 16), (1, 1), (4096, 4096), (0, 1), (24, 8)] {
            // SAFETY: the test writes only within the block.
            let block = unsafe { arena.alloc(layout(size, align)) };
            let offset = arena.offset(block).expect("in the region");
            assert!(block.addr().is_multiple_of(align) && offset >= end, "{size} {align}: {offset} < {end}");
            // SAFETY: as above.
            unsafe { block.write_bytes(0xa5, size) };
            end = offset + size;
        }
    }

    #[test]
    fn only_the_last_block_is_reused_and_grows_in_place() {
        let arena = arena();
        // SAFETY: every block is used with the layout that it was allocated with.
        unsafe {
            let first = arena.alloc(layout(10, 1));
            let last = arena.alloc(layout(10, 1));
            assert_eq!(arena.realloc(last, layout(10, 1), 1000), last, "the last block grows in place");
            last.write_bytes(0xff, 1000);
            first.write_bytes(7, 10);
            let moved = arena.realloc(first, layout(10, 1), 20);
            assert_ne!(moved, first, "another block comes after it");
            assert_eq!(*moved.add(9), 7, "its content moves with it");
            arena.dealloc(moved, layout(20, 1));
            arena.dealloc(last, layout(1000, 1));
            let zeroed = arena.alloc_zeroed(layout(500, 1));
            assert_eq!(zeroed, last, "the memory of the last block is used again");
            assert!((0..500).all(|index| *zeroed.add(index) == 0), "and is zero");
            arena.dealloc(first, layout(10, 1));
            assert_ne!(arena.alloc(layout(10, 1)), first, "a block in the middle is not used again");
        }
    }

    #[test]
    fn the_system_serves_what_does_not_fit() {
        let arena = arena();
        // SAFETY: every block is used with the layout that it was allocated with, and released.
        unsafe {
            let (large, wide) = (layout(SIZE + 1, 1), layout(8, ALIGNMENT * 2));
            for system in [large, wide] {
                let block = arena.alloc(system);
                assert_eq!(arena.offset(block), None, "{system:?}");
                block.write_bytes(1, system.size());
                arena.dealloc(block, system);
            }
            let all = arena.alloc(layout(SIZE, 1));
            assert_eq!(arena.offset(all), Some(0), "the whole region is one block");
            let more = arena.realloc(arena.alloc(layout(4, 4)), layout(4, 4), 64);
            assert_eq!(arena.offset(more), None, "the region is full");
            arena.dealloc(more, layout(64, 4));
            let outgrown = arena.realloc(all, layout(SIZE, 1), SIZE + 1);
            assert_eq!(arena.offset(outgrown), None, "a block that outgrows the region moves out of it");
            arena.dealloc(outgrown, layout(SIZE + 1, 1));
            assert_eq!(arena.used.load(Ordering::Relaxed), 0, "and leaves it empty");
        }
    }

    #[test]
    fn threads_get_different_blocks() {
        let arena = arena();
        let work = |mark: u8| {
            for size in 1..200_usize {
                // SAFETY: the block is used with its layout, and not after it is released.
                unsafe {
                    let block = arena.alloc(layout(size, 8));
                    block.write_bytes(mark, size);
                    let block = arena.realloc(block, layout(size, 8), size + 8);
                    assert!((0..size).all(|index| *block.add(index) == mark), "another thread wrote here");
                    if size % 3 > 0 {
                        arena.dealloc(block, layout(size + 8, 8));
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for mark in 1..=4 {
                scope.spawn(move || work(mark));
            }
        });
    }
}
