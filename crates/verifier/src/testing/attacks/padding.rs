//! The paddings of RSA signatures, right and wrong (RFC 8017 §9).

use aws_lc_rs::digest::{self, digest};

pub(super) const SHA1: &digest::Algorithm = &digest::SHA1_FOR_LEGACY_USE_ONLY;
pub(super) const SHA512: &digest::Algorithm = &digest::SHA512;

const LENGTH: usize = 256;
/// DigestInfo of SHA-256 up to the hash itself (RFC 8017 §9.2, note 1).
const PREFIX: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];

/// EMSA-PKCS1-v1_5 with SHA-256.
pub(super) fn pkcs1(message: &[u8]) -> Vec<u8> {
    framed(&[&PREFIX[..], sha256(message).as_ref()].concat())
}

/// Blocks that a lax parser takes for [`pkcs1`].
pub(super) fn lax_pkcs1(message: &[u8]) -> Vec<Vec<u8>> {
    let hash = sha256(message);
    let hash = hash.as_ref();
    let info = [&PREFIX[..], hash].concat();
    let right = framed(&info);
    let changed = |at: usize, to: u8| {
        let mut block = right.clone();
        block[at] = to;
        block
    };
    let separator = LENGTH - info.len() - 1;
    // Bleichenbacher 2006: eight bytes of padding, and after the hash whatever makes the number a cube.
    let mut garbage = [&[0, 1][..], &[0xff; 8], &[0], &info].concat();
    garbage.resize(LENGTH, 0x5a);
    let no_null = [&[0x30, 0x2f, 0x30, 0x0b][..], &PREFIX[4..15], &[4, 0x20], hash].concat();
    let long_null =
        [&[0x30, 0x35, 0x30, 0x11][..], &PREFIX[4..15], &[5, 4, 1, 2, 3, 4, 4, 0x20], hash].concat();
    let long_length = [&[0x30, 0x81, 0x31][..], &PREFIX[2..], hash].concat();
    let trailing = [&[0x30, 0x33][..], &PREFIX[2..], hash, &[5, 0]].concat();
    let sha1 = digest(SHA1, message);
    let old =
        [&[0x30, 0x21, 0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0, 4, 0x14][..], sha1.as_ref()].concat();
    let mut other_oid = info.clone();
    other_oid[14] = 2;
    vec![
        changed(0, 1),
        changed(1, 0),
        changed(1, 2),
        changed(2, 0xfe),
        changed(100, 0),
        changed(separator, 0xff),
        garbage,
        framed(&no_null),
        framed(&long_null),
        framed(&long_length),
        framed(&trailing),
        framed(&old),
        framed(&other_oid),
        framed(hash),
        framed(&[]),
    ]
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&[0, 1][..], &vec![0xff; LENGTH - 3 - body.len()], &[0], body].concat()
}

fn sha256(message: &[u8]) -> digest::Digest {
    digest(&digest::SHA256, message)
}

/// EMSA-PSS with parameters that can be wrong.
#[derive(Clone, Copy)]
pub(super) struct Pss {
    pub(super) hash: &'static digest::Algorithm,
    pub(super) mask: &'static digest::Algorithm,
    pub(super) salt: usize,
    pub(super) separator: u8,
    pub(super) trailer: u8,
}

impl Default for Pss {
    fn default() -> Self {
        Self { hash: &digest::SHA256, mask: &digest::SHA256, salt: 32, separator: 1, trailer: 0xbc }
    }
}

impl Pss {
    /// RFC 8017 §9.1.1 for a modulus of 2048 bits.
    pub(super) fn block(self, message: &[u8]) -> Vec<u8> {
        let salt = vec![0x5a; self.salt];
        let hash = digest(self.hash, message);
        let hash = digest(self.hash, &[&[0; 8], hash.as_ref(), &salt].concat());
        let hash = hash.as_ref();
        let zeros = LENGTH - 1 - hash.len() - salt.len() - 1;
        let mut block = [&vec![0; zeros][..], &[self.separator], &salt].concat();
        for (byte, mask) in block.iter_mut().zip(self.stream(hash)) {
            *byte ^= mask;
        }
        block[0] &= 0x7f;
        [&block[..], hash, &[self.trailer]].concat()
    }

    /// MGF1 (RFC 8017 B.2.1), longer than needed.
    fn stream(self, seed: &[u8]) -> impl Iterator<Item = u8> {
        (0..16_u32).flat_map(move |counter| {
            digest(self.mask, &[seed, &counter.to_be_bytes()].concat()).as_ref().to_vec()
        })
    }
}
