//! The whole catalogue against this crate's own verifier, under policies that differ in what may matter.

/// Builds a verifier for a target of the same settings, and runs every attack.
macro_rules! catalogue {
    ($module:ident: $($setting:ident($value:expr)),*) => {
        mod $module {
            use std::sync::LazyLock;
            use std::time::Duration;

            use keyward_verifier::testing::{Input, Target};
            use keyward_verifier::{AccessClaims, Algorithm, External, Refusal, Verified, Verifier};

            const ISSUER: &str = "https://id.example";
            const AUDIENCE: &str = "https://orders.example";
            const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

            static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
                let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).algorithms(&[Algorithm::Rs256]);
                builder.max_lifetime(LONGEST)$(.$setting($value))*.build().expect("a complete policy")
            });

            fn verify(input: &Input) -> Result<Verified<External, AccessClaims>, Refusal> {
                VERIFIER.verify(&input.token, &input.key_set(), input.now)
            }

            keyward_verifier::conformance!(
                Target::new(ISSUER, AUDIENCE).max_lifetime(LONGEST)$(.$setting($value))*,
                verify
            );
        }
    };
}

catalogue!(defaults: algorithms(&[Algorithm::Rs256]));
catalogue!(exact: leeway(Duration::ZERO));
catalogue!(every_algorithm: algorithms(&Algorithm::ALL), leeway(Duration::from_secs(120)));
catalogue!(ed25519_and_another_typ: algorithms(&[Algorithm::EdDsa]), typ("application/x+jwt"));
catalogue!(es256_for_an_hour: algorithms(&[Algorithm::Es256]), max_lifetime(Duration::from_secs(3600)));
