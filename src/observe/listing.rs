//! A list while it is read, kept in pieces: one long row would be copied each time that it grows, and would be held as a
//! whole until the last of it is taken. With thousands of objects that is the most memory that the process ever has.

/// Objects in one piece.
const PIECE: usize = 256;

/// The objects of a list, in order.
#[derive(Debug)]
pub(super) struct Listing<K>(Vec<Vec<K>>);

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K> Listing<K> {
    pub(super) fn push(&mut self, object: K) {
        match self.0.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(object),
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(object);
                self.0.push(piece);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &K> {
        self.0.iter().flatten()
    }
}

impl<K> IntoIterator for Listing<K> {
    type Item = K;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<K>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_pushed_in_order() {
        let mut listing = Listing::default();
        (0..1000).for_each(|n| listing.push(n));
        assert_eq!((listing.len(), listing.0.len()), (1000, 4));
        assert!(listing.iter().copied().eq(0..1000));
        assert!(listing.into_iter().eq(0..1000));
    }
}
