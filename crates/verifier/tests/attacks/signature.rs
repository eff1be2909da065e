//! E. Signature mathematics, where RSA is concerned.

use keyward_verifier::Reason;

use crate::minting::*;

fn with_signature(signature: &[u8]) -> String {
    format!("{}.{}", halves().0, b64(signature))
}

#[test]
fn attack_077_signature_numbers() {
    let (_, good) = halves();
    let mut one = vec![0; 256];
    one[255] = 1;
    let mut n_minus_1 = KEY.n.clone();
    n_minus_1[255] -= 1;
    let leading = [&[0], &good[..]].concat();
    let trailing = [&good[..], &[0]].concat();
    for bad in [
        &[0; 256][..],
        &one,
        &n_minus_1,
        &KEY.n,
        &[0xff; 256],
        &leading,
        &trailing,
        &good[1..],
        &good[..255],
        &[0],
    ] {
        assert_refused(&with_signature(bad), Reason::SignatureInvalid);
    }
    assert_accepted(&with_signature(&good));
}

#[test]
fn attack_077_signature_plus_modulus() {
    let (_, good) = halves();
    let mut sum = vec![0; 257];
    let mut carry = 0;
    for at in (0..256).rev() {
        let digit = u16::from(good[at]) + u16::from(KEY.n[at]) + carry;
        sum[at + 1] = digit as u8;
        carry = digit >> 8;
    }
    sum[0] = carry as u8;
    let sum = if carry == 0 { &sum[1..] } else { &sum[..] };
    assert_refused(&with_signature(sum), Reason::SignatureInvalid);
}

#[test]
fn attack_077_any_flipped_bit() {
    let (_, good) = halves();
    for bit in (0..2048).step_by(61) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_refused(&with_signature(&bad), Reason::SignatureInvalid);
    }
}

#[test]
fn attack_081_reordered_members_under_the_old_signature() {
    let token = valid();
    let parts: Vec<_> = token.split('.').collect();
    let spaced = claims().to_string().replacen('{', "{ ", 1);
    let bad = format!("{}.{}.{}", parts[0], b64(spaced.as_bytes()), parts[2]);
    assert_refused(&bad, Reason::SignatureInvalid);
}
