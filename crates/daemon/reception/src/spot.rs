//! Which listener of a configuration an open one is.

use std::net::SocketAddr;

use node::Settings;

/// Which listener of a configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    pub(crate) address: SocketAddr,
    /// Of several with this address: port 0 is any that is free.
    nth: usize,
}

impl Spot {
    /// The listeners of a configuration, in their order.
    pub(crate) fn all(listeners: &[SocketAddr]) -> Vec<Self> {
        let spot = |(place, address): (usize, &SocketAddr)| {
            let before = listeners.iter().take(place);
            Self {
                address: *address,
                nth: before.filter(|other| *other == address).count(),
            }
        };
        listeners.iter().enumerate().map(spot).collect()
    }

    /// Its place among the listeners of a configuration; `None`: it is not there.
    pub(crate) fn place(self, listeners: &[SocketAddr]) -> Option<usize> {
        let same = listeners.iter().enumerate();
        let mut same = same.filter(|(_, address)| **address == self.address);
        same.nth(self.nth).map(|(place, _)| place)
    }

    /// The listener here, and its place among all.
    pub(crate) fn listener(self, settings: &Settings) -> Option<(usize, &intake::Listener)> {
        let place = self.place(&settings.config.listeners)?;
        Some((place, settings.policy.listeners.get(place)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_wherever_it_stands() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let before = addresses(&["127.0.0.1:25", "127.0.0.1:0", "127.0.0.1:0"]);
        let after = addresses(&["127.0.0.1:0", "[::1]:25", "127.0.0.1:25"]);
        let places = |listeners: &[SocketAddr]| -> Vec<_> {
            let spots = Spot::all(&before).into_iter();
            spots.map(|spot| spot.place(listeners)).collect()
        };
        assert_eq!(places(&before), [Some(0), Some(1), Some(2)]);
        assert_eq!(places(&after), [Some(2), Some(0), None]);
    }
}
