//! Where an organization's records stand.
//!
//! **Model.** 4,096 hash slots over a power-of-two partition count. A partition is the low bits of
//! the slot, so doubling the count splits each partition in two and moves nothing between others.
//! **Law `clean_split`.** What stood in `p` of `P` stands in `p` or `p + P` of `2P`.

use xxhash_rust::xxh3::Xxh3;

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

    proptest! {
        #[test]
        fn law_clean_split(org: String, salt: Option<Vec<u8>>, bits in 0u32..12) {
            let count = 1 << bits;
            let before = partition(&org, salt.as_deref(), count);
            let after = partition(&org, salt.as_deref(), count * 2);
            prop_assert!(after == before || after == before + count);
        }
    }
}
