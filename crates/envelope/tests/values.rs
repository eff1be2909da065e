//! What a user of the crate relies on: values open where they were sealed, unchanged, and nowhere else.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_envelope::{Context, DataKey, Keyring, OpenError, SealError, Sealed, Suite};
use proptest::prelude::*;

const MOST: usize = (1 << 20) - 28;

fn keyring_of(versions: &[u32], active: u32) -> Keyring {
    let keys = versions.iter().map(|&version| {
        let byte = u8::try_from(version % 251).unwrap();
        DataKey::from_bytes(version, Suite::GcmCtx, &[byte; 32])
    });
    Keyring::new("default", keys.collect(), active).ok().unwrap()
}

fn keyring() -> Keyring {
    keyring_of(&[1], 1)
}

fn place() -> Context {
    Context::column("customers", "phone").row("row-1").tenant("acme").purpose("call")
}

fn refusal(keyring: &Keyring, context: &Context, sealed: &Sealed) -> OpenError {
    keyring.unseal(context, sealed).err().unwrap()
}

/// The sealed text with its payload changed and encoded canonically again.
fn altered(sealed: &Sealed, change: impl FnOnce(&mut Vec<u8>)) -> Result<Sealed, OpenError> {
    let (prefix, body) = sealed.as_str().split_once(':').unwrap();
    let mut payload = URL_SAFE_NO_PAD.decode(body).unwrap();
    change(&mut payload);
    Sealed::parse(format!("{prefix}:{}", URL_SAFE_NO_PAD.encode(payload)))
}

#[test]
fn r2_35_a_value_survives_the_round_trip() {
    let values: [&[u8]; 5] = [b"", b"x", "Grüße, 世界 🌍".as_bytes(), &[0; 17], &vec![0xa5; MOST]];
    for value in values {
        let sealed = keyring().seal(&place(), value).unwrap();
        let stored = Sealed::parse(sealed.into_string()).unwrap();
        assert!(keyring().unseal(&place(), &stored).ok().unwrap().expose() == value, "{} bytes", value.len());
    }
}

#[test]
fn r2_36_the_same_plaintext_gives_different_ciphertexts() {
    let keyring = keyring();
    let texts: std::collections::BTreeSet<_> =
        (0..1_000).map(|_| keyring.seal(&place(), b"same").unwrap().into_string()).collect();
    assert_eq!(texts.len(), 1_000);
}

#[test]
fn r2_37_flipped_bit_is_refused() {
    let sealed = keyring().seal(&place(), b"sk_live_abc123def456").unwrap();
    let flipped = altered(&sealed, |payload| payload[14] ^= 1).unwrap();
    assert_eq!(refusal(&keyring(), &place(), &flipped), OpenError::Authentication);
}

#[test]
fn a_flip_of_any_single_bit_is_refused() {
    let sealed = keyring().seal(&place(), b"0123").unwrap();
    for bit in 0..(12 + 4 + 16) * 8 {
        let flipped = altered(&sealed, |payload| payload[bit / 8] ^= 1 << (bit % 8)).unwrap();
        assert_eq!(refusal(&keyring(), &place(), &flipped), OpenError::Authentication, "bit {bit}");
    }
}

#[test]
fn r2_38_truncated_value_is_refused() {
    let sealed = keyring().seal(&place(), b"sk_live_abc123def456").unwrap();
    let text = sealed.as_str();
    let outcome = Sealed::parse(&text[..text.len() - 10])
        .and_then(|shortened| keyring().unseal(&place(), &shortened).map(drop));
    assert!(matches!(outcome, Err(OpenError::Malformed | OpenError::Authentication)), "{outcome:?}");
    for cut in 1..=48 {
        let outcome = altered(&sealed, |payload| payload.truncate(payload.len() - cut))
            .and_then(|shortened| keyring().unseal(&place(), &shortened).map(drop));
        let expected = if cut <= 20 { OpenError::Authentication } else { OpenError::Malformed };
        assert_eq!(outcome, Err(expected), "{cut}");
    }
}

#[test]
fn r2_39_another_key_is_refused() {
    let sealed = keyring().seal(&place(), b"value").unwrap();
    let other =
        Keyring::new("default", vec![DataKey::generate(1, Suite::GcmCtx).ok().unwrap()], 1).ok().unwrap();
    assert_eq!(refusal(&other, &place(), &sealed), OpenError::Authentication);
}

#[test]
fn a_moved_value_fails_exactly_like_a_changed_one() {
    let sealed = keyring().seal(&place(), b"value").unwrap();
    let column = || Context::column("customers", "phone");
    let moved = [
        ("row", column().row("row-2").tenant("acme").purpose("call")),
        ("no row", column().unbound_row().tenant("acme").purpose("call")),
        ("column", Context::column("customers", "fax").row("row-1").tenant("acme").purpose("call")),
        ("table", Context::column("suppliers", "phone").row("row-1").tenant("acme").purpose("call")),
        ("tenant", place().tenant("other")),
        ("no tenant", column().row("row-1").purpose("call")),
        ("empty tenant", place().tenant("")),
        ("purpose", place().purpose("other")),
        ("no purpose", column().row("row-1").tenant("acme")),
        ("empty purpose", place().purpose("")),
        ("swapped", column().row("row-1").tenant("call").purpose("acme")),
    ];
    let changed = altered(&sealed, |payload| payload[20] ^= 0x80).unwrap();
    let expected = refusal(&keyring(), &place(), &changed);
    for (what, context) in moved {
        assert_eq!(refusal(&keyring(), &context, &sealed), expected, "{what}");
    }
    assert_eq!(keyring().unseal(&place(), &sealed).ok().unwrap().expose(), b"value");
}

#[test]
fn absent_and_empty_are_two_places() {
    let absent = Context::column("t", "c").unbound_row();
    let empty = [Context::column("t", "c").row(""), absent.clone().tenant(""), absent.clone().purpose("")];
    for context in empty {
        let sealed = keyring().seal(&context, b"value").unwrap();
        assert_eq!(refusal(&keyring(), &absent, &sealed), OpenError::Authentication, "{context:?}");
        let sealed = keyring().seal(&absent, b"value").unwrap();
        assert_eq!(refusal(&keyring(), &context, &sealed), OpenError::Authentication, "{context:?}");
    }
}

#[test]
fn the_version_selects_one_key_and_no_other_is_tried() {
    let keyring = keyring_of(&[1, 2, 3], 2);
    let sealed = keyring.seal(&place(), b"value").unwrap();
    assert_eq!((sealed.version(), keyring.active_version()), (2, 2));
    let body = sealed.as_str().strip_prefix("v2:").unwrap();
    for (version, expected) in [(1, OpenError::Authentication), (3, OpenError::Authentication)] {
        let relabelled = Sealed::parse(format!("v{version}:{body}")).unwrap();
        assert_eq!(refusal(&keyring, &place(), &relabelled), expected);
    }
    for version in [4, 22, 999_999_999] {
        let relabelled = Sealed::parse(format!("v{version}:{body}")).unwrap();
        assert_eq!(refusal(&keyring, &place(), &relabelled), OpenError::UnknownVersion(version));
    }
}

#[test]
fn values_of_an_older_key_open_and_want_a_reseal() {
    let before = keyring_of(&[1], 1).seal(&place(), b"value").unwrap();
    let keyring = keyring_of(&[2, 1], 2);
    assert!(keyring.needs_reseal(&before));
    let plaintext = keyring.unseal(&place(), &before).ok().unwrap();
    let after = keyring.seal(&place(), plaintext.expose()).unwrap();
    assert!(!keyring.needs_reseal(&after));
}

#[test]
fn a_retired_version_is_refused_as_retired() {
    let sealed = keyring_of(&[1], 1).seal(&place(), b"value").unwrap();
    let keyring = keyring_of(&[2], 2).with_retired([1]);
    assert_eq!(refusal(&keyring, &place(), &sealed), OpenError::Retired);
}

#[test]
fn a_plaintext_above_the_limit_is_not_sealed() {
    assert_eq!(keyring().seal(&place(), &vec![0; MOST + 1]), Err(SealError::TooLong));
}

#[test]
fn nothing_that_can_be_formatted_shows_a_secret() {
    let sealed = keyring().seal(&place(), b"sk_live_abc123def456").unwrap();
    let body = sealed.as_str().split_once(':').unwrap().1;
    let error = refusal(&keyring(), &Context::column("a", "b").unbound_row(), &sealed);
    let shown = format!("{sealed:?} {error:?} {error} {:?} {:?}", SealError::TooLong, SealError::Exhausted);
    assert!(!shown.contains("sk_live") && !shown.contains(body), "{shown}");
}

#[test]
fn a_key_ring_is_shared_between_threads() {
    let keyring = keyring();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let sealed = keyring.seal(&place(), b"value").unwrap();
                    assert_eq!(keyring.unseal(&place(), &sealed).ok().unwrap().expose(), b"value");
                }
            });
        }
    });
}

fn any_context() -> impl Strategy<Value = Context> {
    let option = proptest::option::of(".{0,6}");
    (".{0,8}", ".{0,8}", option.clone(), option.clone(), option).prop_map(
        |(table, column, row, tenant, purpose)| {
            let column = Context::column(table, column);
            let context = match row {
                Some(row) => column.row(row),
                None => column.unbound_row(),
            };
            let context = tenant.into_iter().fold(context, Context::tenant);
            purpose.into_iter().fold(context, Context::purpose)
        },
    )
}

proptest! {
    #[test]
    fn sealing_and_opening_is_the_identity(
        plaintext in proptest::collection::vec(any::<u8>(), 0..300),
        context in any_context(),
        version in 1_u32..=999_999_999,
    ) {
        let keyring = keyring_of(&[version], version);
        let sealed = keyring.seal(&context, &plaintext).unwrap();
        let parsed = Sealed::parse(sealed.as_str()).unwrap();
        prop_assert_eq!(&parsed, &sealed);
        prop_assert_eq!(parsed.version(), version);
        let opened = keyring.unseal(&context, &parsed).ok().unwrap();
        prop_assert_eq!(opened.expose(), &plaintext);
    }

    #[test]
    fn a_value_opens_only_in_its_own_context(one in any_context(), other in any_context()) {
        let sealed = keyring().seal(&one, b"value").unwrap();
        prop_assert_eq!(keyring().unseal(&other, &sealed).is_ok(), one == other);
    }

    #[test]
    fn parse_never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Sealed::parse(String::from_utf8_lossy(&bytes));
    }
}
