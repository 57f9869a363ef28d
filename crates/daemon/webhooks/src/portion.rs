//! How many events go into one request: fewer for a receiver that finds them too large.

/// Requests in a row that are taken before one with more is tried: each that is too large again costs a
/// request.
const TAKEN: u32 = 10;

/// What a receiver takes at once, as far as its answers have shown.
pub(super) struct Portion {
    most: usize,
    taken: u32,
}

impl Default for Portion {
    fn default() -> Self {
        Self {
            most: usize::MAX,
            taken: 0,
        }
    }
}

impl Portion {
    /// How many go into the next request, of so many that may.
    pub(super) fn of(&self, batch: usize) -> usize {
        batch.min(self.most)
    }

    /// So many were too large (413): from now on half of them; `false` when one alone is.
    pub(super) fn too_large(&mut self, events: usize) -> bool {
        self.taken = 0;
        if events < 2 {
            return false;
        }
        self.most = events.div_ceil(2);
        true
    }

    /// A request was taken: behind some in a row twice as many events are tried.
    pub(super) fn taken(&mut self) {
        self.taken += 1;
        if self.taken >= TAKEN {
            self.taken = 0;
            self.most = self.most.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_that_was_too_large_is_halved_down_to_one_event() {
        let mut portion = Portion::default();
        let mut sizes = vec![portion.of(100)];
        while portion.too_large(portion.of(100)) {
            sizes.push(portion.of(100));
        }
        assert_eq!(sizes, [100, 50, 25, 13, 7, 4, 2, 1]);
    }

    #[test]
    fn a_portion_grows_again_up_to_the_batch_behind_requests_that_were_taken() {
        let mut portion = Portion::default();
        assert!(portion.too_large(40));
        let mut sizes = Vec::new();
        for _ in 0..4 {
            sizes.push(portion.of(100));
            (0..TAKEN).for_each(|_| portion.taken());
        }
        assert_eq!(sizes, [20, 40, 80, 100]);
    }
}
