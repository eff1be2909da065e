//! E. Signature mathematics.

use super::algorithm::hs256;
use super::padding::{self, Pss};
use crate::algorithm::Algorithm;
use crate::json::{decode, encode};
use crate::refusal::{Reason, SkipReason};
use crate::testing::forge::{Forge, halves, named, parts, set, with_signature};
use crate::testing::key::TestKey;
use crate::testing::number::{difference, sum};

/// The order of P-256, big-endian (SP 800-186 §3.2.1.3).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of Ed25519's base point, big-endian (RFC 8032 §5.1).
const ED25519_ORDER: [u8; 32] = [
    0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0xde, 0xf9, 0xde, 0xa2, 0xf7, 0x9c, 0xd6, 0x58,
    0x12, 0x63, 0x1a, 0x5c, 0xf5, 0xd3, 0xed,
];

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// ECDSA-Sig-Value (RFC 3279 §2.2.3).
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zero = if number[0] & 0x80 == 0 { &[][..] } else { &[0] };
        let body = [zero, number].concat();
        [&[2, body.len() as u8], &body[..]].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8], &body[..]].concat()
}

pub(in crate::testing) fn attack_072_ecdsa_of_zero_and_its_neighbours(f: &mut Forge<'_>) {
    let good = f.signing(Algorithm::Es256).valid();
    let one = [&[0; 31][..], &[1]].concat();
    let less = difference(&P256_ORDER, &one);
    let edges = [&[0; 32][..], &one, &less, &P256_ORDER];
    for r in edges {
        for s in edges {
            f.refuse_in(Algorithm::Es256, with_signature(&good, &[r, s].concat()));
        }
    }
}

pub(in crate::testing) fn attack_073_ecdsa_in_another_form(f: &mut Forge<'_>) {
    let good = f.signing(Algorithm::Es256).valid();
    let (_, signature) = halves(&good);
    let (r, s) = signature.split_at(32);
    for bad in [
        &der(r, s)[..],
        &[&signature[..], &[0]].concat(),
        &[&[0], &signature[..]].concat(),
        &[&[0], r, &[0], s].concat(),
        &signature[..63],
        &signature[1..],
        &[&signature[..], &signature].concat(),
        &[s, r].concat(),
        &[sum(r, &P256_ORDER), sum(s, &P256_ORDER)].concat(),
        &[r, &difference(&[0xff; 32], s)].concat(),
        &[],
    ] {
        f.refuse_in(Algorithm::Es256, with_signature(&good, bad));
    }
}

pub(in crate::testing) fn attack_074_ecdsa_twin_as_another_token(f: &mut Forge<'_>) {
    // Whoever has (r, s) has (r, n − s), which is as good. So no bytes of a token may stand for its identity:
    // the twin of a token that expired, or whose key was revoked, is refused like the token itself.
    let issuer = f.signing(Algorithm::Es256);
    let good = issuer.valid();
    let (_, signature) = halves(&good);
    let (r, s) = signature.split_at(32);
    let twin = with_signature(&good, &[r, &difference(&P256_ORDER, s)].concat());
    let dead = f.now + 600 + f.target.leeway;
    for token in [&good, &twin] {
        f.present(token).of(Algorithm::Es256).at(dead).refused();
        f.present(token).of(Algorithm::Es256).revoked(&[issuer.key().kid()]).refused_for(Reason::KidRevoked);
    }
    let other = with_signature(&good, &[&difference(&P256_ORDER, r), s].concat());
    f.present(other).of(Algorithm::Es256).refused_for(Reason::SignatureInvalid);
}

pub(in crate::testing) fn attack_075_ed25519_not_canonical_or_of_small_order(f: &mut Forge<'_>) {
    let issuer = f.signing(Algorithm::EdDsa);
    let good = issuer.valid();
    let (_, signature) = halves(&good);
    let (r, s) = signature.split_at(32);
    let identity = [&[1][..], &[0; 31]].concat();
    let mut larger = reversed(&sum(&reversed(s), &ED25519_ORDER));
    larger.truncate(32);
    let mut top_bit = s.to_vec();
    top_bit[31] |= 0x80;
    for bad in [
        [r, &larger].concat(),
        [r, &top_bit].concat(),
        [&identity[..], &[0; 32]].concat(),
        [&[0; 32][..], s].concat(),
        [&identity[..], s].concat(),
        vec![0; 64],
        signature[..63].to_vec(),
        [&signature[..], &[0]].concat(),
    ] {
        f.refuse_in(Algorithm::EdDsa, with_signature(&good, &bad));
    }
    // Under a key of small order, this signature is good for any message.
    for x in [identity.clone(), vec![0; 32], [&[1][..], &[0; 30], &[0x80]].concat()] {
        let mut jwk = issuer.key().jwk();
        jwk["x"] = encode(&x).into();
        let keys = set(&[jwk, TestKey::stranger(Algorithm::EdDsa).jwk()]);
        let token = with_signature(&good, &[&identity[..], &[0; 32]].concat());
        let read = Ok(vec![(named(&issuer.key().kid()), SkipReason::PointRefused)]);
        f.present(token).of(Algorithm::EdDsa).served([keys]).read_as(read).refused_for(Reason::KeyMismatch);
    }
}

pub(in crate::testing) fn attack_076_pkcs1_padding_read_laxly(f: &mut Forge<'_>) {
    let issuer = f.signing(Algorithm::Rs256);
    let token = issuer.valid();
    let (signed, signature) = halves(&token);
    let block = padding::pkcs1(signed.as_bytes());
    // The right padding by the same way is the same signature: the others fail for what they are.
    assert_eq!(issuer.key().sign_block(&block), signature);
    for bad in padding::lax_pkcs1(signed.as_bytes()) {
        f.refuse_in(Algorithm::Rs256, with_signature(&token, &issuer.key().sign_block(&bad)));
    }
    let mut cubic = issuer.key().jwk();
    cubic["e"] = encode(&[3]).into();
    let keys = set(&[cubic, TestKey::stranger(Algorithm::Rs256).jwk()]);
    let read = Ok(vec![(named(&issuer.key().kid()), SkipReason::ExponentRefused)]);
    f.present(token).of(Algorithm::Rs256).served([keys]).read_as(read).refused_for(Reason::KeyMismatch);
}

pub(in crate::testing) fn attack_077_rsa_signature_numbers(f: &mut Forge<'_>) {
    let issuer = f.signing(Algorithm::Rs256);
    let token = issuer.valid();
    let (_, good) = halves(&token);
    let n = issuer.key().n();
    let one = [&[0; 255][..], &[1]].concat();
    for bad in [
        &[0; 256][..],
        &one,
        &difference(&n, &one),
        &n,
        &[0xff; 256],
        &sum(&good, &n),
        &difference(&n, &good),
        &[&[0], &good[..]].concat(),
        &[&good[..], &[0]].concat(),
        &good[1..],
        &good[..255],
        &[0],
    ] {
        f.refuse_in(Algorithm::Rs256, with_signature(&token, bad));
    }
    for bit in (0..2048).step_by(61) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        f.refuse_in(Algorithm::Rs256, with_signature(&token, &bad));
    }
}

pub(in crate::testing) fn attack_078_pss_with_other_parameters(f: &mut Forge<'_>) {
    let issuer = f.signing(Algorithm::Ps256);
    let token = issuer.valid();
    let (signed, _) = halves(&token);
    let right = Pss::default();
    let own = with_signature(&token, &issuer.key().sign_block(&right.block(signed.as_bytes())));
    f.present(own).of(Algorithm::Ps256).accepted();
    for bad in [
        Pss { salt: 0, ..right },
        Pss { salt: 20, ..right },
        Pss { salt: 31, ..right },
        Pss { salt: 33, ..right },
        Pss { salt: 64, ..right },
        Pss { mask: padding::SHA1, ..right },
        Pss { mask: padding::SHA512, ..right },
        Pss { hash: padding::SHA1, ..right },
        Pss { trailer: 0xcc, ..right },
        Pss { separator: 2, ..right },
    ] {
        let signature = issuer.key().sign_block(&bad.block(signed.as_bytes()));
        f.refuse_in(Algorithm::Ps256, with_signature(&token, &signature));
    }
}

pub(in crate::testing) fn attack_079_tag_cut_short(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let (_, signature) = halves(&good);
    for length in [0, 1, 16, 32, signature.len() - 1] {
        f.refuse(with_signature(&good, &signature[..length]));
    }
    let token = hs256(&f.mint, b"a secret of thirty-two bytes.....");
    let (_, tag) = halves(&token);
    f.refuse_for(Reason::AlgNotAllowed, with_signature(&token, &tag[..16]));
}

pub(in crate::testing) fn attack_080_tag_found_byte_by_byte(f: &mut Forge<'_>) {
    // No MAC is computed here, so no comparison can tell how much of one was right.
    let token = hs256(&f.mint, b"a secret of thirty-two bytes.....");
    let (_, tag) = halves(&token);
    for right in [0, 1, 16, 31, 32] {
        let guess: Vec<u8> =
            tag.iter().enumerate().map(|(at, byte)| if at < right { *byte } else { !byte }).collect();
        f.refuse(with_signature(&token, &guess));
    }
}

pub(in crate::testing) fn attack_081_other_text_of_the_same_json(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let [header, payload, signature] = parts(&good);
    let reread = |part: &str, from: &str, to: &str| {
        let text = String::from_utf8(decode(part).unwrap()).unwrap();
        encode(text.replacen(from, to, 1).as_bytes())
    };
    let spaced = reread(payload, "{", "{ ");
    let escaped = reread(payload, "\"exp\"", "\"\\u0065xp\"");
    for bad in [spaced, escaped] {
        f.refuse(format!("{header}.{bad}.{signature}"));
    }
    f.refuse(format!("{}.{payload}.{signature}", reread(header, "{", "{ ")));
}

pub(in crate::testing) fn attack_082_checked_in_one_place_and_read_in_another(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let [header, payload, signature] = parts(&good);
    let mut claims = f.mint.claims_json();
    claims["sub"] = "admin".into();
    let forged = encode(claims.to_string().as_bytes());
    f.refuse(format!("{header}.{forged}.{signature}"));
    for bad in [
        format!("{header}.{payload}.{signature}.{forged}"),
        format!("{header}.{forged}.{payload}.{signature}"),
        format!("{header}.{forged}.{signature},{good}"),
        format!("{good},{header}.{forged}.{signature}"),
    ] {
        f.refuse_for(Reason::Malformed, bad);
    }
}
