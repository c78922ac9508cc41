//! Where an organization's records stand.
//!
//! **Model.** 4,096 hash slots over a power-of-two partition count. A partition is the low bits of
//! the slot, so doubling the count splits each partition in two and moves nothing between others.
//! **Salt.** A hot organization is spread over `salt` slots: a message stands where its first
//! recipient says, so one recipient's messages stay in order ([`of_message`]). The first of those
//! slots is the organization's own.
//! **Law `clean_split`.** What stood in `p` of `P` stands in `p` or `p + P` of `2P`.
//! **Law `salted_among`.** A message stands in one of its organization's partitions
//! ([`of_organization`]), the same for every spelling of the recipient in upper and lower case.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Hash slots: the largest partition count there can be.
pub const SLOTS: u32 = 4_096;

/// The slot of an organization, 0 to 4,095. `salt` (the recipient) spreads a hot organization.
pub fn slot(org: &str, salt: Option<&[u8]>) -> u32 {
    let mut hash = Xxh3::new();
    hash.update(org.as_bytes());
    if let Some(salt) = salt {
        // No organization id holds a NUL, so ("ab", "c") and ("a", "bc") differ.
        hash.update(&[0]);
        hash.update(salt);
    }
    (hash.digest() & u64::from(SLOTS - 1)) as u32
}

/// The partition of an organization.
///
/// # Panics
/// Unless `partitions` is a power of two up to [`SLOTS`]: settings and the queue check it long before.
pub fn partition(org: &str, salt: Option<&[u8]>, partitions: u32) -> u32 {
    assert!(
        partitions.is_power_of_two() && partitions <= SLOTS,
        "{partitions} partitions: a power of two up to {SLOTS} expected"
    );
    slot(org, salt) & (partitions - 1)
}

/// The partition of a message whose organization is spread over `salt` slots (0 and 1: its own).
///
/// # Panics
/// As [`partition`].
pub fn of_message(org: &str, salt: u32, first_recipient: &str, partitions: u32) -> u32 {
    if salt <= 1 {
        return partition(org, None, partitions);
    }
    let recipient = first_recipient.to_ascii_lowercase();
    let index = xxh3_64(recipient.as_bytes()) % u64::from(salt);
    of_index(org, index as u32, partitions)
}

/// All partitions that an organization's messages may stand in, its own first.
///
/// # Panics
/// As [`partition`].
pub fn of_organization(org: &str, salt: u32, partitions: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for index in 0..salt.max(1) {
        let partition = of_index(org, index, partitions);
        if !found.contains(&partition) {
            found.push(partition);
        }
    }
    found
}

fn of_index(org: &str, index: u32, partitions: u32) -> u32 {
    let salt = index.to_be_bytes();
    partition(org, (index > 0).then_some(&salt[..]), partitions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written down once: another hash would send an organization's records to another partition
    /// than the one its older records stand in.
    #[test]
    fn law_partition_stable() {
        let slots = ["org_1", "org_2", "", "org_ümlaut"].map(|org| slot(org, None));
        // 1218: XXH3-64 of nothing is 0x2d06800538d394c2 (xxHash's own test vector).
        assert_eq!(slots, [1515, 1564, 1218, 4060]);
        assert_eq!(slot("org_1", Some(b"a@example.com")), 3267);
    }

    #[test]
    fn salt_and_organization_do_not_run_together() {
        assert_ne!(slot("ab", Some(b"c")), slot("a", Some(b"bc")));
    }

    const PLACES: [u32; 3] = [1_136, 1_136, 2_131];

    #[test]
    fn a_salted_message_stays_where_it_is() {
        let of = |recipient| of_message("org_1", 8, recipient, SLOTS);
        let places = ["a@example.com", "b@example.com", "c@example.com"].map(of);
        assert_eq!(
            places, PLACES,
            "another hash would break the order per recipient"
        );
        assert_eq!(of_message("org_1", 1, "a@example.com", SLOTS), 1515);
    }

    proptest! {
        #[test]
        fn law_salted_among(org: String, salt in 0u32..40, recipient in "[a-zA-Z]{1,8}@x", bits in 0u32..11) {
            let count = 1 << bits;
            let place = of_message(&org, salt, &recipient, count);
            let all = of_organization(&org, salt, count);
            prop_assert!(all.contains(&place));
            prop_assert_eq!(all[0], partition(&org, None, count));
            prop_assert_eq!(place, of_message(&org, salt, &recipient.to_uppercase(), count));
        }

        #[test]
        fn law_clean_split(org: String, salt: Option<Vec<u8>>, bits in 0u32..12) {
            let count = 1 << bits;
            let before = partition(&org, salt.as_deref(), count);
            let after = partition(&org, salt.as_deref(), count * 2);
            prop_assert!(after == before || after == before + count);
        }
    }
}
