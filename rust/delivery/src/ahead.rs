//! Messages composed ahead of the connections that will send them, in their order.
//!
//! **Problem.** Workers of the signing pool finish in any order; an organization's mail must start
//! in the order it was accepted (G3).
//! **Model.** A place is taken when a job goes to the pool and filled when it comes back; only the
//! front leaves. A job that comes to nothing leaves an empty place that is passed over.
//! **Law `leaves_in_order`.**

use std::collections::VecDeque;

#[derive(Debug)]
enum Place<T> {
    Awaited,
    Filled(T),
    Empty,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    places: VecDeque<Place<T>>,
    /// Number of the front place.
    front: u64,
    filled: usize,
    awaited: usize,
}

impl<T> Default for Ahead<T> {
    fn default() -> Self {
        // Far from zero, so what is put back in front has a number too.
        Self {
            places: VecDeque::new(),
            front: 1 << 32,
            filled: 0,
            awaited: 0,
        }
    }
}

impl<T> Ahead<T> {
    /// Takes the next place; its number comes back with the job.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.awaited += 1;
        self.places.push_back(Place::Awaited);
        self.front + self.places.len() as u64 - 1
    }

    /// The job of a place is done; `None`: nothing came of it.
    pub(crate) fn fill(&mut self, number: u64, item: Option<T>) {
        let index = number.checked_sub(self.front).map(|index| index as usize);
        let place = index.and_then(|index| self.places.get_mut(index));
        if let Some(place @ Place::Awaited) = place {
            self.awaited -= 1;
            match item {
                Some(item) => {
                    self.filled += 1;
                    *place = Place::Filled(item);
                }
                None => *place = Place::Empty,
            }
        }
        self.pass_over_empty();
    }

    /// Puts something back in front of everything.
    pub(crate) fn put_back(&mut self, item: T) {
        self.front -= 1;
        self.filled += 1;
        self.places.push_front(Place::Filled(item));
    }

    /// Takes a place in front of everything, for what left and is to be made anew.
    pub(crate) fn reserve_front(&mut self) -> u64 {
        self.front -= 1;
        self.awaited += 1;
        self.places.push_front(Place::Awaited);
        self.front
    }

    /// What may leave now.
    pub(crate) fn first(&self) -> Option<&T> {
        match self.places.front() {
            Some(Place::Filled(item)) => Some(item),
            _ => None,
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.first()?;
        let Some(Place::Filled(item)) = self.places.pop_front() else {
            return None;
        };
        self.front += 1;
        self.filled -= 1;
        self.pass_over_empty();
        Some(item)
    }

    /// Takes what this is true of; its places are passed over.
    pub(crate) fn take_where(&mut self, is_taken: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for place in &mut self.places {
            match std::mem::replace(place, Place::Empty) {
                Place::Filled(item) if is_taken(&item) => taken.push(item),
                other => *place = other,
            }
        }
        self.filled -= taken.len();
        self.pass_over_empty();
        taken
    }

    /// Places taken: composed and being composed.
    pub(crate) fn len(&self) -> usize {
        self.filled + self.awaited
    }

    /// How many could leave one after the other right now.
    pub(crate) fn leading(&self) -> usize {
        self.places
            .iter()
            .take_while(|place| !matches!(place, Place::Awaited))
            .count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| match place {
            Place::Filled(item) => Some(item),
            _ => None,
        })
    }

    fn pass_over_empty(&mut self) {
        while let Some(Place::Empty) = self.places.front() {
            self.places.pop_front();
            self.front += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Law `leaves_in_order`: whatever order jobs come back in, and whichever come to nothing.
        #[test]
        fn law_leaves_in_order(
            order in Just((0..30usize).collect::<Vec<_>>()).prop_shuffle(),
            fails in prop::collection::vec(any::<bool>(), 30),
            puts_back in prop::collection::vec(0..3u8, 60),
        ) {
            let mut ahead = Ahead::default();
            let numbers: Vec<u64> = (0..30).map(|_| ahead.reserve()).collect();
            let mut puts_back = puts_back.into_iter();
            let mut left = Vec::new();
            for n in order {
                ahead.fill(numbers[n], (!fails[n]).then_some(n));
                while let Some(item) = ahead.pop() {
                    match puts_back.next() {
                        Some(1) => ahead.put_back(item),
                        Some(2) => {
                            let number = ahead.reserve_front();
                            prop_assert!(ahead.pop().is_none(), "the front is awaited");
                            ahead.fill(number, Some(item));
                        }
                        _ => left.push(item),
                    }
                }
            }
            let expected: Vec<usize> = (0..30).filter(|n| !fails[*n]).collect();
            prop_assert_eq!(left, expected);
            prop_assert_eq!((ahead.len(), ahead.leading()), (0, 0));
        }
    }
}
