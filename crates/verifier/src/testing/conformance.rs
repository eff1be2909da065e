use std::fmt;

use super::forge::{Forge, Step};
use super::table::ATTACKS;
use super::target::Target;
use crate::jwk::KeyId;
use crate::keyset::KeySet;
use crate::refusal::{Reason, Refusal};

/// One row of the catalogue.
pub struct Attack {
    /// Its number, from 1.
    pub number: u16,
    /// Its name, which begins with the number.
    pub name: &'static str,
    /// Where it was described, or what it violates.
    pub source: &'static str,
    /// What it is refused for, where its variants have no reasons of their own.
    pub reason: Reason,
    pub(super) build: fn(&mut Forge<'_>),
}

impl Attack {
    /// Presents every variant, each followed by a token that nobody has touched.
    ///
    /// # Errors
    /// The first answer that is not the expected one. The reason is only looked at where one is given.
    pub fn withstood<V: Into<Verdict>>(
        &self,
        target: &Target,
        verify: impl Fn(&Input) -> V,
    ) -> Result<(), Defect> {
        let mut forge = Forge::new(target, self.reason);
        (self.build)(&mut forge);
        let defect = |step: &Step, text: &str| Defect {
            attack: self.name,
            origin: self.source,
            text: format!("{text}, of {:.300}, with {:.300?}", step.input.token, step.input.served),
        };
        let steps = forge.finish();
        assert!(steps.iter().any(|step| step.expected.is_err()), "{} refuses nothing", self.name);
        for step in &steps {
            if let Some(reading) = &step.reading {
                let last = step.input.served.last().map(String::as_str).unwrap_or_default();
                let read = KeySet::parse(last.as_bytes()).map(|set| set.skipped().to_vec());
                if read != *reading {
                    return Err(defect(
                        step,
                        &format!("the key set was read as {read:?}, not as {reading:?}"),
                    ));
                }
            }
            let twin = step.expected.err().map(|_| &step.twin);
            for (input, expected) in
                [(&step.input, step.expected)].into_iter().chain(twin.map(|t| (t, Ok(()))))
            {
                let verdict = verify(input).into();
                if !verdict.is(expected) {
                    let which = if std::ptr::eq(input, &step.twin) { "twin " } else { "" };
                    return Err(defect(step, &format!("{which}expected {expected:?}, found {verdict:?}")));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a verifier is given: a token, a time, and what it has heard from the issuer until then.
#[derive(Clone, Debug)]
pub struct Input {
    /// The token as it came in.
    pub token: String,
    /// Seconds since 1970.
    pub now: u64,
    /// What the issuer's key endpoint answered, oldest first; a verifier keeps to the last answer that is a key set.
    pub served: Vec<String>,
    /// The names of keys that the verifier was told are revoked.
    pub revoked: Vec<KeyId>,
}

impl Input {
    /// The keys that a verifier holds after all that: the last good answer, with a tombstone for each revoked key.
    pub fn key_set(&self) -> KeySet {
        let good = self.served.iter().rev().find_map(|answer| KeySet::parse(answer.as_bytes()).ok());
        good.unwrap().with_revoked(self.revoked.iter().cloned())
    }
}

/// What a verifier made of an [`Input`]: made from a `bool`, or from a `Result` with or without a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is good.
    Accepted,
    /// It is not, for this reason if the verifier gives one.
    Refused(Option<Reason>),
}

impl Verdict {
    fn is(self, expected: Result<(), Reason>) -> bool {
        match (self, expected) {
            (Self::Accepted, Ok(())) | (Self::Refused(None), Err(_)) => true,
            (Self::Refused(Some(found)), Err(reason)) => found == reason,
            _ => false,
        }
    }
}

impl From<bool> for Verdict {
    fn from(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused(None) }
    }
}

impl<T> From<Result<T, Refusal>> for Verdict {
    fn from(result: Result<T, Refusal>) -> Self {
        result.map_err(|refusal| refusal.reason).into()
    }
}

impl<T> From<Result<T, Reason>> for Verdict {
    fn from(result: Result<T, Reason>) -> Self {
        result.map_or_else(|reason| Self::Refused(Some(reason)), |_| Self::Accepted)
    }
}

impl<T> From<Result<T, ()>> for Verdict {
    fn from(result: Result<T, ()>) -> Self {
        result.is_ok().into()
    }
}

/// A verifier gave another answer than the catalogue demands.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{attack} ({origin}): {text}")]
pub struct Defect {
    attack: &'static str,
    origin: &'static str,
    text: String,
}

#[doc(hidden)]
#[track_caller]
pub fn assert_withstood<V: Into<Verdict>>(name: &str, target: &Target, verify: impl Fn(&Input) -> V) {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).unwrap();
    if let Err(defect) = attack.withstood(target, verify) {
        panic!("{defect}");
    }
}

/// Makes a test of every attack of the catalogue, run against a verifier as it is configured.
///
/// It takes the [`Target`](crate::testing::Target) that the verifier was configured as, and a function that takes an
/// [`Input`](crate::testing::Input) and returns what the verifier made of it: a `bool`, a `Result` with a
/// [`Refusal`](crate::Refusal) or [`Reason`](crate::Reason), or one with `()`. It stands alone in a module of tests.
/// The verifier must take keys and time from the input: the attacks are signed with the published
/// [`TestKey`](crate::testing::TestKey)s, bring key sets along, and move the clock.
///
/// ```
/// mod conformance {
///     use std::sync::LazyLock;
///
///     use keyward_verifier::testing::{Input, Target};
///     use keyward_verifier::{AccessClaims, External, Refusal, Verified, Verifier};
///
///     // As the service builds it, from its own configuration.
///     static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
///         let builder = Verifier::builder().issuer("https://id.example").audience("https://orders.example");
///         builder.rs256().build().expect("a complete policy")
///     });
///
///     fn verify(input: &Input) -> Result<Verified<External, AccessClaims>, Refusal> {
///         VERIFIER.verify(&input.token, &input.key_set(), input.now)
///     }
///
///     keyward_verifier::conformance!(Target::new("https://id.example", "https://orders.example"), verify);
/// #    pub fn all() {
/// #        let target = Target::new("https://id.example", "https://orders.example");
/// #        for attack in keyward_verifier::testing::ATTACKS {
/// #            attack.withstood(&target, verify).expect("withstood");
/// #        }
/// #    }
/// }
/// # conformance::all();
/// ```
///
/// `cargo test conformance::` then shows 150 tests, `attack_001_alg_none_without_signature` and so on.
#[macro_export]
macro_rules! conformance {
    ($target:expr, $verify:expr $(,)?) => {
        $crate::attack_table! { {$crate::attack_tests} [[$target] [$verify]] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! attack_tests {
    ([$target:expr] [$verify:expr]
     $($number:literal $room:ident::$name:ident, $reason:ident, $source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::testing::assert_withstood(stringify!($name), &$target, $verify);
            }
        )*
    };
}
