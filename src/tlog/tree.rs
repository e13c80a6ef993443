//! The Merkle tree of RFC 6962 section 2.1 with SHA-256: roots, the frontier that is enough to append, inclusion and
//! consistency proofs. Works on leaf hashes; knows nothing of what the leaves are.
//!
//! Proofs are verified as RFC 9162 sections 2.1.3.2 and 2.1.4.2 describe.

use sha2::{Digest as _, Sha256};

use super::{Error, Fault};
use crate::model::Digest;

/// The hash of a leaf: `H(0x00 || bytes)`.
pub fn leaf(bytes: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
}

/// The hash of an inner node: `H(0x01 || left || right)`.
pub fn node(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the tree over these leaf hashes.
pub fn root(leaves: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The complete subtrees that a tree consists of: all that is needed to append to it and to tell its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Digest>,
}

impl Frontier {
    /// The frontier of a tree of `size` leaves, from the roots of its complete subtrees, the largest first.
    pub fn new(size: u64, hashes: Vec<Digest>) -> Result<Self, Error> {
        if hashes.len() as u64 != u64::from(size.count_ones()) {
            let (want, have) = (size.count_ones(), hashes.len());
            let detail = format!("a tree of {size} leaves has {want} complete subtrees, the frontier has {have}");
            return Err(Error::new(Fault::BadShape, detail));
        }
        Ok(Frontier { size, hashes })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// Appends a leaf hash. A tree of 2^64 - 1 leaves stays as it is.
    pub fn push(&mut self, leaf: Digest) {
        let Some(size) = self.size.checked_add(1) else { return };
        // Two subtrees of one size become one: as often as the old size ends in one bits.
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node(&left, &hash);
            }
        }
        self.hashes.push(hash);
        self.size = size;
    }

    /// The tree's root.
    pub fn root(&self) -> Digest {
        let subtrees = self.hashes.iter().rev().copied();
        subtrees.reduce(|right, left| node(&left, &right)).unwrap_or_else(|| Digest::of(b""))
    }
}

/// A proof that leaf number `index` is in the tree over `leaves`: sibling hashes, the lowest first.
pub fn inclusion(leaves: &[Digest], index: u64) -> Result<Vec<Digest>, Error> {
    let inside = usize::try_from(index).ok().filter(|index| *index < leaves.len());
    let mut index = inside.ok_or_else(|| outside(index, leaves.len() as u64))?;
    let (mut tree, mut proof) = (leaves, Vec::new());
    while let Some((left, right)) = split(tree) {
        let other;
        (tree, other) = if index < left.len() { (left, right) } else { (right, left) };
        index = index.checked_sub(left.len()).unwrap_or(index);
        proof.push(root(other));
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is leaf number `index` of the tree of `size` leaves with this root.
pub fn verify_inclusion(index: u64, size: u64, leaf: Digest, proof: &[Digest], root: &Digest) -> Result<(), Error> {
    if index >= size {
        return Err(outside(index, size));
    }
    let (mut position, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(unproven("has more hashes than the tree is high"));
        }
        if position & 1 == 1 || position == last {
            hash = node(sibling, &hash);
            // A right edge without a sibling at these levels: climb until there is one. (Not zero here: `last` is not.)
            let levels = position.trailing_zeros();
            (position, last) = (position >> levels, last >> levels);
        } else {
            hash = node(&hash, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    if last != 0 {
        return Err(unproven("has fewer hashes than the tree is high"));
    }
    (hash == *root).then_some(()).ok_or_else(|| unproven("does not lead to the root"))
}

/// A proof that the tree over the first `old` leaves is a beginning of the tree over all `leaves`.
pub fn consistency(leaves: &[Digest], old: u64) -> Result<Vec<Digest>, Error> {
    let inside = usize::try_from(old).ok().filter(|old| *old <= leaves.len());
    let mut old = inside.ok_or_else(|| outside(old, leaves.len() as u64))?;
    let (mut tree, mut proof) = (leaves, Vec::new());
    if old == 0 {
        return Ok(proof);
    }
    // RFC 6962 section 2.1.2; `whole`: the part left of here is the old tree itself, whose root the verifier has.
    let mut whole = true;
    while old < tree.len() {
        let Some((left, right)) = split(tree) else { break };
        if old <= left.len() {
            proof.push(root(right));
            tree = left;
        } else {
            proof.push(root(left));
            (tree, old, whole) = (right, old - left.len(), false);
        }
    }
    if !whole {
        proof.push(root(tree));
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the tree of `old` leaves with `old_root` is a beginning of the tree of `new` leaves with `new_root`.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Digest,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), Error> {
    if old > new {
        return Err(outside(old, new));
    }
    if old == 0 || old == new {
        let holds = proof.is_empty() && if old == 0 { *old_root == Digest::of(b"") } else { old_root == new_root };
        return holds.then_some(()).ok_or_else(|| unproven("should be empty, or the roots do not fit the sizes"));
    }
    // A power of two is one complete subtree, and its root is the first hash although no proof repeats it.
    let implied = old.is_power_of_two().then_some(old_root);
    let mut hashes = implied.into_iter().chain(proof);
    let levels = (old - 1).trailing_ones();
    let (mut position, mut last) = ((old - 1) >> levels, (new - 1) >> levels);
    let first = hashes.next().ok_or_else(|| unproven("is empty"))?;
    let (mut from, mut to) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(unproven("has more hashes than the tree is high"));
        }
        if position & 1 == 1 || position == last {
            (from, to) = (node(sibling, &from), node(sibling, &to));
            let levels = position.trailing_zeros();
            (position, last) = (position >> levels, last >> levels);
        } else {
            to = node(&to, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    if last != 0 {
        return Err(unproven("has fewer hashes than the tree is high"));
    }
    (from == *old_root && to == *new_root).then_some(()).ok_or_else(|| unproven("does not lead to both roots"))
}

/// The two halves of RFC 6962: the left has the largest power of two of leaves that leaves something to the right.
fn split(leaves: &[Digest]) -> Option<(&[Digest], &[Digest])> {
    let half = leaves.len().checked_next_power_of_two()? / 2;
    (half > 0).then(|| leaves.split_at_checked(half)).flatten()
}

fn outside(index: u64, size: u64) -> Error {
    Error::new(Fault::BadShape, format!("{index} is outside a tree of {size} leaves"))
}

fn unproven(what: &str) -> Error {
    Error::new(Fault::BadProof, format!("the proof {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::unhex;
    use proptest::prelude::*;

    /// The leaves, roots and proofs that Certificate Transparency implementations share, first published with Google's
    /// certificate-transparency (Apache-2.0); here after transparency-dev/merkle, proof/verify_test.go and testonly.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    const INCLUSION: [(u64, usize, &[&str]); 5] = [
        (0, 1, &[]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            &[
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    const CONSISTENCY: [(usize, usize, &[&str]); 5] = [
        (1, 1, &[]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
        (
            6,
            7,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ];

    fn digests(texts: &[&str]) -> Vec<Digest> {
        texts.iter().map(|text| Digest::parse(text).unwrap()).collect()
    }

    fn known_leaves() -> Vec<Digest> {
        LEAVES.iter().map(|text| leaf(&unhex(text).unwrap())).collect()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves = known_leaves();
        for (size, want) in ROOTS.iter().enumerate() {
            assert_eq!(root(&leaves[..size]).to_string(), *want, "{size}");
        }
    }

    #[test]
    fn inclusion_proofs_are_those_of_certificate_transparency() {
        let (leaves, roots) = (known_leaves(), digests(&ROOTS));
        for (index, size, want) in INCLUSION {
            let proof = inclusion(&leaves[..size], index).unwrap();
            assert_eq!(proof, digests(want), "{index} of {size}");
            verify_inclusion(index, size as u64, leaves[index as usize], &proof, &roots[size]).unwrap();
        }
    }

    #[test]
    fn consistency_proofs_are_those_of_certificate_transparency() {
        let (leaves, roots) = (known_leaves(), digests(&ROOTS));
        for (old, new, want) in CONSISTENCY {
            let proof = consistency(&leaves[..new], old as u64).unwrap();
            assert_eq!(proof, digests(want), "{old} to {new}");
            verify_consistency(old as u64, new as u64, &roots[old], &roots[new], &proof).unwrap();
        }
    }

    #[test]
    fn trivial_sizes_prove_nothing_they_should_not() {
        let (empty, some, other) = (Digest::of(b""), leaf(b"a"), leaf(b"b"));
        assert!(verify_inclusion(0, 0, some, &[], &empty).is_err());
        assert!(verify_inclusion(2, 1, some, &[], &some).is_err());
        assert!(verify_consistency(0, 0, &empty, &empty, &[]).is_ok());
        assert!(verify_consistency(0, 1, &empty, &some, &[]).is_ok());
        assert!(verify_consistency(0, 1, &other, &some, &[]).is_err());
        assert!(verify_consistency(0, 1, &empty, &some, &[some]).is_err());
        assert!(verify_consistency(1, 1, &some, &other, &[]).is_err());
        assert!(verify_consistency(1, 1, &some, &some, &[some]).is_err());
        assert!(verify_consistency(1, 2, &some, &other, &[]).is_err());
        assert!(verify_consistency(2, 1, &some, &some, &[]).is_err());
        assert!(inclusion(&[some], 1).is_err());
        assert!(consistency(&[some], 2).is_err());
    }

    #[test]
    fn a_frontier_has_as_many_hashes_as_its_size_has_ones() {
        let hash = leaf(b"");
        assert!(Frontier::new(0, vec![]).is_ok());
        assert!(Frontier::new(6, vec![hash; 2]).is_ok());
        assert_eq!(Frontier::new(6, vec![hash; 3]).unwrap_err().fault, Fault::BadShape);
        assert_eq!(Frontier::new(u64::MAX, vec![hash; 63]).unwrap_err().fault, Fault::BadShape);
        let mut full = Frontier::new(u64::MAX, vec![hash; 64]).unwrap();
        full.push(hash);
        assert_eq!(full.size(), u64::MAX);
    }

    /// The definition of RFC 6962, word for word.
    fn by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => *one,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node(&by_definition(&leaves[..k]), &by_definition(&leaves[k..]))
            }
        }
    }

    fn some_leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|number| leaf(&number.to_be_bytes())).collect()
    }

    #[test]
    fn the_frontier_agrees_with_the_definition_at_every_size() {
        let leaves = some_leaves(130);
        let mut frontier = Frontier::default();
        for size in 0..leaves.len() {
            assert_eq!(frontier.root(), by_definition(&leaves[..size]));
            assert_eq!(Frontier::new(size as u64, frontier.hashes().to_vec()), Ok(frontier.clone()));
            frontier.push(leaves[size]);
        }
    }

    proptest! {
        #[test]
        fn proofs_verify_and_changed_proofs_do_not(size in 1usize..80, pick: prop::sample::Index, at: prop::sample::Index, bit in 0u8..8) {
            let leaves = some_leaves(size);
            let (index, top) = (pick.index(size), root(&leaves));
            let proof = inclusion(&leaves, index as u64).unwrap();
            let verify = |index: u64, size: usize, proof: &[Digest]| {
                verify_inclusion(index, size as u64, leaves[pick.index(leaves.len())], proof, &top).is_ok()
            };
            prop_assert!(verify(index as u64, size, &proof));
            prop_assert!(!verify(index as u64 + 1, size, &proof));
            prop_assert!(!verify(index as u64, size, &[proof.clone(), vec![top]].concat()));
            if !proof.is_empty() {
                prop_assert!(!verify(index as u64, size, &proof[1..]));
                let mut changed = proof.clone();
                changed[at.index(proof.len())].0[0] ^= 1 << bit;
                prop_assert!(!verify(index as u64, size, &changed));
            }
        }

        #[test]
        fn histories_verify_and_changed_ones_do_not(new in 2usize..80, pick: prop::sample::Index, at: prop::sample::Index, bit in 0u8..8) {
            let leaves = some_leaves(new);
            let old = 1 + pick.index(new - 1);
            let (before, after) = (root(&leaves[..old]), root(&leaves));
            let proof = consistency(&leaves, old as u64).unwrap();
            let verify = |old: usize, before: &Digest, proof: &[Digest]| {
                verify_consistency(old as u64, new as u64, before, &after, proof).is_ok()
            };
            prop_assert!(verify(old, &before, &proof));
            prop_assert!(!verify(old, &leaf(b"other"), &proof));
            prop_assert!(!verify(old - 1, &before, &proof));
            prop_assert!(!verify(old, &before, &proof[1..]));
            prop_assert!(!verify(old, &before, &[proof.clone(), vec![after]].concat()));
            let mut changed = proof.clone();
            changed[at.index(proof.len())].0[0] ^= 1 << bit;
            prop_assert!(!verify(old, &before, &changed));
        }
    }
}
