//! A worker's calls by place. A place used again has another generation, so an event or a beat that was meant for
//! the call before finds nobody.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

/// Where something is, as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) place: u32,
    pub(super) generation: u16,
}

/// Things by place.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u16,
    held: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Puts `thing` somewhere.
    pub(super) fn insert(&mut self, thing: T) -> Key {
        if let Some(place) = self.free.pop() {
            let found = &mut self.places[place as usize];
            found.held = Some(thing);
            return Key { place, generation: found.generation };
        }
        let place = u32::try_from(self.places.len()).expect("memory ends before four thousand million calls");
        self.places.push(Place { generation: 0, held: Some(thing) });
        Key { place, generation: 0 }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.place as usize)?;
        place.held.as_mut().filter(|_| place.generation == key.generation)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        let place = &mut self.places[key.place as usize];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.place);
        place.held.take()
    }

    /// The keys of all that is there.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        (0_u32..)
            .zip(&self.places)
            .filter(|(_, place)| place.held.is_some())
            .map(|(place, held)| Key { place, generation: held.generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_what_it_was_given_for_and_nothing_that_came_later() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        let second = slab.insert("second");

        assert_eq!(slab.remove(first), Some("first"));
        let third = slab.insert("third");

        assert_eq!(third.place, first.place);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(third), Some(&mut "third"));
        assert_eq!(slab.keys().collect::<Vec<_>>(), [third, second]);
    }
}
