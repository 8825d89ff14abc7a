//! Memory that can be read at its full speed: zeroed numbers on pages of 2 MB, where the system has them.
//!
//! Entry point: [`HugePages`]. Small pages cost a walk through the page tables, on a virtual machine through
//! two sets of them, every 4 KB: on the test machine plain reads of small pages reach 32 GB/s and of large
//! ones 56. Pages are taken from the system when they are first written, so that zeroed numbers which are
//! never touched cost nothing.

use std::alloc::{Layout, handle_alloc_error};
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::MmapMut;

/// Bytes of a large page of x86-64 and of most others.
const LARGE_PAGE: usize = 2 << 20;

/// A fixed number of numbers, zero at first. They begin with a page.
#[derive(Debug)]
pub struct HugePages<T> {
    map: MmapMut,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Pod> HugePages<T> {
    /// `len` zeros.
    ///
    /// Ends the process as a vector does when the system refuses so many.
    pub fn zeroed(len: usize) -> HugePages<T> {
        HugePages::try_zeroed(len)
            .unwrap_or_else(|_| handle_alloc_error(Layout::array::<T>(len).unwrap_or(Layout::new::<T>())))
    }

    /// `len` zeros, or what the system says against so many.
    pub fn try_zeroed(len: usize) -> io::Result<HugePages<T>> {
        let too_many = || io::Error::other("more bytes than addresses");
        let num_bytes = len.checked_mul(size_of::<T>()).ok_or_else(too_many)?;
        // Whole large pages, because the system aligns only those.
        let room = num_bytes.max(1).checked_next_multiple_of(LARGE_PAGE).ok_or_else(too_many)?;
        let room = if num_bytes < LARGE_PAGE / 2 { num_bytes.max(1) } else { room };
        let map = MmapMut::map_anon(room)?;
        #[cfg(target_os = "linux")]
        {
            // An end that would leave more than half of its page empty stays on small ones. A system without
            // large pages says no.
            let large = (num_bytes + LARGE_PAGE / 2) / LARGE_PAGE * LARGE_PAGE;
            if large > 0 {
                let _ = map.advise_range(memmap2::Advice::HugePage, 0, large.min(room));
            }
        }
        Ok(HugePages { map, len, numbers: PhantomData })
    }
}

impl<T: Pod> AsRef<[T]> for HugePages<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Pod> Deref for HugePages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.map[..self.len * size_of::<T>()])[..self.len]
    }
}

impl<T: Pod> DerefMut for HugePages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.map[..self.len * size_of::<T>()])
    }
}

#[cfg(test)]
mod tests {
    use super::HugePages;

    #[test]
    fn any_number_is_zero_and_can_be_written() {
        for len in [0, 1, 1000, 131_071, 131_072, 262_144, 700_001] {
            let mut pages = HugePages::<u64>::zeroed(len);
            assert_eq!(pages.len(), len);
            assert!(pages.iter().all(|&number| number == 0));
            pages.fill(u64::MAX);
            assert!(pages.iter().all(|&number| number == u64::MAX));
        }
    }

    #[test]
    fn more_than_there_are_addresses_is_an_error() {
        assert!(HugePages::<u64>::try_zeroed(usize::MAX).is_err());
        assert!(HugePages::<u8>::try_zeroed(usize::MAX).is_err());
    }
}
