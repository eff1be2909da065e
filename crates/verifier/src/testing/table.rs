//! The catalogue, a row for each attack: number, room and builder, the reason that refuses it, and where it is from.

use super::attacks::*;
use super::conformance::Attack;
use crate::refusal::Reason;

/// Hands the table to another macro, whose name and first arguments come before it.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! attack_table {
    ({$($then:tt)*} [$($argument:tt)*]) => {
        $($then)*! {
            $($argument)*
            // A. Algorithm and key choice.
            1 algorithm::attack_001_alg_none_without_signature, AlgNotAllowed, "RFC 8725 §2.1, §3.1";
            2 algorithm::attack_002_alg_none_in_other_case, AlgNotAllowed, "McLean 2015, \"Critical vulnerabilities in JSON Web Token libraries\"";
            3 algorithm::attack_003_alg_none_with_leftover_signature, AlgNotAllowed, "McLean 2015";
            4 algorithm::attack_004_empty_signature, SignatureInvalid, "CVE-2020-28042";
            5 algorithm::attack_005_alg_missing_or_of_wrong_type, HeaderInvalid, "RFC 7515 §4.1.1";
            6 algorithm::attack_006_public_pem_as_hmac_secret, AlgNotAllowed, "RFC 8725 §2.1; CVE-2015-9235, CVE-2016-5431, CVE-2016-10555";
            7 algorithm::attack_007_public_pem_variants_as_hmac_secret, AlgNotAllowed, "CVE-2026-34950; GHSA-mvf2-f6gm-w987, GHSA-ww5h-9m49-7xx4";
            8 algorithm::attack_008_public_jwk_as_hmac_secret, AlgNotAllowed, "CVE-2026-48526";
            9 algorithm::attack_009_public_key_in_other_forms_as_hmac_secret, AlgNotAllowed, "CVE-2022-29217, CVE-2024-33663, CVE-2017-11424";
            10 algorithm::attack_010_key_without_alg_takes_that_of_the_token, AlgNotAllowed, "CVE-2026-22817, CVE-2026-22818";
            11 algorithm::attack_011_rsa_key_used_in_another_scheme, KeyMismatch, "RFC 8725 §3.1; Wycheproof";
            12 algorithm::attack_012_es256_with_a_key_of_another_curve, KeyMismatch, "RFC 7518 §3.4";
            13 algorithm::attack_013_ec_point_as_hmac_secret, AlgNotAllowed, "Wycheproof";
            14 algorithm::attack_014_alg_from_an_unprotected_header, Malformed, "GHSA-jc38-x7x8-2xc8";
            15 algorithm::attack_015_unknown_alg, AlgNotAllowed, "RFC 8725 §3.1";
            16 algorithm::attack_016_eddsa_of_another_key, KeyMismatch, "RFC 9864";
            17 algorithm::attack_017_alg_look_alikes, AlgNotAllowed, "RFC 7515 §4.1.1";
            18 algorithm::attack_018_alg_of_the_key_differs_from_that_of_the_token, KeyMismatch, "RFC 7517 §4.4; Wycheproof";
            19 algorithm::attack_019_hs256_under_the_name_of_a_public_key, AlgNotAllowed, "RFC 8725 §2.1, §3.1";
            20 algorithm::attack_020_hmac_secret_empty_or_short, AlgNotAllowed, "RFC 7518 §3.2; Wycheproof";
            21 algorithm::attack_021_no_key_at_hand_accepts_the_unsigned, AlgNotAllowed, "GHSA-8wpc-h4q6-8fxv";
            // B. Keys, places and names of keys in the header.
            22 lookup::attack_022_embedded_key, SignatureInvalid, "CVE-2018-0114, CVE-2026-27962; Wycheproof";
            23 lookup::attack_023_embedded_symmetric_key, AlgNotAllowed, "Wycheproof";
            24 lookup::attack_024_address_of_a_key_set, SignatureInvalid, "RFC 7515 §4.1.2; RFC 8725 §2.9, §3.10";
            25 lookup::attack_025_address_towards_the_inside, SignatureInvalid, "RFC 8725 §2.9";
            26 lookup::attack_026_certificates_and_their_address, SignatureInvalid, "RFC 7515 §4.1.5, §4.1.6";
            27 lookup::attack_027_certificate_thumbprint_instead_of_a_name, KidMissing, "RFC 7515 §4.1.7, §4.1.8";
            28 lookup::attack_028_kid_as_a_path, KidUnknown, "RFC 8725 §3.10";
            29 lookup::attack_029_kid_as_an_injection, HeaderInvalid, "RFC 8725 §3.10; hahwul/jwt-hack#259";
            30 lookup::attack_030_kid_that_forges_log_lines_or_fills_them, HeaderInvalid, "RFC 8725 §3.10";
            31 lookup::attack_031_kid_of_wrong_type, HeaderInvalid, "RFC 7515 §4.1.4";
            32 lookup::attack_032_many_unknown_kids, KidUnknown, "coreos/go-oidc#482, benmcollins/libjwt#313";
            33 lookup::attack_033_unknown_kids_that_keep_good_tokens_waiting, KidUnknown, "auth0/jwks-rsa-java#173, MicahParks/jwkset#26";
            34 lookup::attack_034_kid_as_part_of_an_address, KidUnknown, "RFC 8725 §3.10";
            35 lookup::attack_035_known_kid_with_bad_signatures, SignatureInvalid, "coreos/go-oidc";
            36 lookup::attack_036_one_kid_at_two_issuers, KeyMismatch, "OWASP/CheatSheetSeries#2391";
            37 lookup::attack_037_no_kid, KidMissing, "RFC 7515 §6";
            // C. Encoding and structure.
            38 structure::attack_038_not_three_parts, Malformed, "RFC 7515 §7.1; Wycheproof";
            39 structure::attack_039_dot_flood, Malformed, "CVE-2025-30204, CVE-2025-27144";
            40 structure::attack_040_oversized_parts, TooLarge, "CVE-2025-61920";
            41 structure::attack_041_standard_base64_alphabet, Malformed, "RFC 7515 §2";
            42 structure::attack_042_padding, Malformed, "RFC 7515 §2; Wycheproof";
            43 structure::attack_043_foreign_characters_in_a_part, Malformed, "RFC 7515 §2; Wycheproof";
            44 structure::attack_044_unused_bits_in_the_last_character, Malformed, "RFC 4648 §3.5; Wycheproof";
            45 structure::attack_045_impossible_length, Malformed, "RFC 4648 §4";
            46 structure::attack_046_json_serialization, Malformed, "RFC 7519 §1; Wycheproof";
            47 structure::attack_047_text_that_is_compact_and_json, Malformed, "CVE-2022-39227";
            48 structure::attack_048_several_signatures_of_which_one_is_good, Malformed, "RFC 7515 §7.2.1; Wycheproof";
            49 structure::attack_049_not_an_object, ClaimsInvalid, "RFC 7519 §7.2; nearform/fast-jwt 86e83ef";
            50 structure::attack_050_more_than_one_document, ClaimsInvalid, "RFC 8259 §2";
            51 structure::attack_051_bad_unicode, ClaimsInvalid, "RFC 8725 §3.7; RFC 7519 §7.2";
            52 structure::attack_052_repeated_header_members, HeaderInvalid, "RFC 7515 §4";
            53 structure::attack_053_repeated_claims, ClaimsInvalid, "RFC 7519 §4; RFC 8725 §2.6";
            54 structure::attack_054_repeated_claims_in_escapes, ClaimsInvalid, "RFC 8259 §8.3";
            55 structure::attack_055_names_in_other_case, ClaimsInvalid, "RFC 7515 §4; Wycheproof";
            56 structure::attack_056_prototype_members_count_as_claims, ClaimsInvalid, "panva/jose";
            57 structure::attack_057_nesting, ClaimsInvalid, "CVE-2025-53864";
            58 structure::attack_058_width, TooLarge, "RFC 8259 §9";
            59 structure::attack_059_huge_number_in_an_unrelated_claim, ClaimsInvalid, "RFC 8259 §6";
            60 structure::attack_060_empty_or_detached_payload, ClaimsInvalid, "RFC 7519 §7.2; RFC 7515 appendix F";
            // D. Extensions, compression, encryption, nesting.
            61 extension::attack_061_unknown_crit, CritUnsupported, "RFC 7515 §4.1.11; CVE-2025-59420; GHSA-752w-5fwx-jx9f, GHSA-hm7r-c7qw-ghp6";
            62 extension::attack_062_odd_crit, CritUnsupported, "RFC 7515 §4.1.11";
            63 extension::attack_063_unencoded_payload, CritUnsupported, "RFC 7797; auth0/node-jsonwebtoken#1041";
            64 extension::attack_064_compressed_payload, ClaimsInvalid, "RFC 7516 §4.1.3; RFC 8725 §3.6";
            65 extension::attack_065_encrypted_and_compressed, Malformed, "CVE-2024-28176, CVE-2024-28180, CVE-2024-28122, CVE-2024-33664";
            66 extension::attack_066_a_billion_hashes, Malformed, "CVE-2023-52428, CVE-2023-50967";
            67 extension::attack_067_encrypted_to_the_public_key, Malformed, "GHSA-c8v6-786g-vjx6";
            68 extension::attack_068_encrypted_around_an_unsigned_token, Malformed, "CVE-2026-29000";
            69 extension::attack_069_nested_tokens, ClaimsInvalid, "RFC 7519 §5.2; RFC 8725 §3.3";
            70 extension::attack_070_members_and_parts_of_an_encrypted_token, Malformed, "RFC 7516 §9";
            71 extension::attack_071_decryption_as_an_oracle, Malformed, "CVE-2021-29443; Wycheproof";
            // E. Signature mathematics.
            72 signature::attack_072_ecdsa_of_zero_and_its_neighbours, SignatureInvalid, "CVE-2022-21449; Wycheproof";
            73 signature::attack_073_ecdsa_in_another_form, SignatureInvalid, "RFC 7518 §3.4; Wycheproof";
            74 signature::attack_074_ecdsa_twin_as_another_token, Expired, "hahwul/jwt-hack#259";
            75 signature::attack_075_ed25519_not_canonical_or_of_small_order, SignatureInvalid, "RFC 8032 §5.1.7; Wycheproof";
            76 signature::attack_076_pkcs1_padding_read_laxly, SignatureInvalid, "CVE-2006-4339, CVE-2014-1568; Wycheproof";
            77 signature::attack_077_rsa_signature_numbers, SignatureInvalid, "CVE-2017-11185; Wycheproof";
            78 signature::attack_078_pss_with_other_parameters, SignatureInvalid, "RFC 7518 §3.5; Wycheproof";
            79 signature::attack_079_tag_cut_short, SignatureInvalid, "RFC 7518 §3.2; Wycheproof";
            80 signature::attack_080_tag_found_byte_by_byte, AlgNotAllowed, "RFC 8725 §3.2";
            81 signature::attack_081_other_text_of_the_same_json, SignatureInvalid, "RFC 7515 §5.2; Wycheproof";
            82 signature::attack_082_checked_in_one_place_and_read_in_another, SignatureInvalid, "RFC 8725 §3.3";
            // F. Published keys and key sets.
            83 keys::attack_083_modulus_too_small, KeyMismatch, "RFC 7518 §3.3; Wycheproof";
            84 keys::attack_084_exponent_one, KeyMismatch, "Wycheproof";
            85 keys::attack_085_exponent_even_zero_or_huge, KeyMismatch, "NIST SP 800-89";
            86 keys::attack_086_modulus_too_large_even_or_padded, KeyMismatch, "RFC 7518 §6.3.1.1";
            87 keys::attack_087_modulus_of_a_faulty_generator, KeyMismatch, "CVE-2017-15361; Wycheproof";
            88 keys::attack_088_point_off_the_curve, KeyMismatch, "RFC 8725 §3.4; Wycheproof";
            89 keys::attack_089_private_members, KeyMismatch, "RFC 7517 §9.2; Wycheproof";
            90 keys::attack_090_symmetric_key_in_the_set, KeyMismatch, "Wycheproof";
            91 keys::attack_091_one_name_for_two_keys, KeyMismatch, "RFC 7517 §4.5; Wycheproof";
            92 keys::attack_092_key_for_another_use, KeyMismatch, "RFC 7517 §4.2; Wycheproof";
            93 keys::attack_093_key_operations_without_verifying, KeyMismatch, "RFC 7517 §4.3; Wycheproof";
            94 keys::attack_094_key_operations_that_contradict_or_repeat, KeyMismatch, "RFC 7517 §4.3";
            95 keys::attack_095_alg_of_another_kind_of_key, KeyMismatch, "RFC 7517 §4.4; Wycheproof";
            96 set::attack_096_one_strange_key_spoils_the_set, KeyMismatch, "RFC 7517 §5; Keats/jsonwebtoken#252, ory/kratos#3840, keycloak/keycloak#16064";
            97 set::attack_097_answer_that_is_no_key_set, KidUnknown, "istio/istio#58101, spring-projects/spring-security#13757";
            98 set::attack_098_huge_key_set, KidUnknown, "RFC 8259 §9";
            99 set::attack_099_key_set_that_moved_elsewhere, KidUnknown, "panva/jose";
            100 set::attack_100_key_set_in_the_clear, KidUnknown, "RFC 8725 §3.10";
            101 set::attack_101_old_copy_that_brings_a_removed_key_back, KidRevoked, "nearform/fast-jwt#5";
            102 set::attack_102_issuer_that_was_discovered_elsewhere, IssuerMismatch, "OpenID Connect Discovery §4.3";
            103 keys::attack_103_certificate_that_disagrees_with_its_key, SignatureInvalid, "RFC 7517 §4.7";
            // G. Claims.
            104 time::attack_104_exp_missing, ClaimsInvalid, "RFC 8725 §3.10; RFC 9068 §2.2";
            105 time::attack_105_exp_of_wrong_type, ClaimsInvalid, "CVE-2026-25537";
            106 time::attack_106_exp_that_is_no_second, ClaimsInvalid, "RFC 7519 §2";
            107 time::attack_107_fraction_that_lengthens_a_life, Expired, "RFC 7519 §2";
            108 time::attack_108_exp_in_milliseconds, LifetimeTooLong, "RFC 7519 §2";
            109 time::attack_109_the_second_of_exp_itself, Expired, "RFC 7519 §4.1.4";
            110 time::attack_110_leeway_counted_twice, Expired, "RFC 7519 §4.1.4";
            111 time::attack_111_sums_that_overflow, Expired, "RFC 7519 §4.1.4, §4.1.5";
            112 time::attack_112_nbf_in_the_future, NotYetValid, "RFC 7519 §4.1.5";
            113 time::attack_113_iat_in_the_future_or_missing, IssuedInFuture, "RFC 7519 §4.1.6";
            114 claims::attack_114_identities_of_wrong_type, ClaimsInvalid, "RFC 7519 §4.1";
            115 claims::attack_115_aud_missing, ClaimsInvalid, "RFC 9068 §4; Keats/jsonwebtoken#493";
            116 claims::attack_116_aud_of_nobody, ClaimsInvalid, "CVE-2020-26160";
            117 claims::attack_117_aud_that_only_resembles, AudMismatch, "RFC 7519 §4.1.3";
            118 claims::attack_118_iss_that_begins_or_contains_the_right_one, IssuerMismatch, "GHSA-75c5-xw7c-p5pm";
            119 claims::attack_119_iss_as_a_list, ClaimsInvalid, "CVE-2025-30144";
            120 claims::attack_120_iss_made_equal_by_normalising, IssuerMismatch, "RFC 7519 §4.1.1; RFC 9068 §4";
            121 claims::attack_121_token_of_one_issuer_and_key_of_another, KidUnknown, "RFC 8725 §3.8";
            122 claims::attack_122_other_kinds_of_token, TypMismatch, "RFC 8725 §2.8, §3.11, §3.12; RFC 9068 §4";
            123 claims::attack_123_typ_that_only_resembles, TypMismatch, "RFC 7515 §4.1.9; RFC 9068 §4";
            124 claims::attack_124_token_for_another_service, AudMismatch, "RFC 8725 §2.7, §3.9";
            125 claims::attack_125_scope_that_is_no_list_of_words, ClaimsInvalid, "RFC 6749 §3.3";
            126 claims::attack_126_roles_from_elsewhere, ClaimsInvalid, "RFC 9068 §2.2.3.1";
            127 claims::attack_127_identities_empty_long_or_with_control_characters, ClaimsInvalid, "RFC 7519 §4.1.2, §4.1.7";
            128 claims::attack_128_text_that_keeps_a_pattern_busy, AudMismatch, "CVE-2026-35041";
            129 claims::attack_129_bound_token_without_its_proof, CnfUnsupported, "RFC 9449 §7.2; RFC 8705 §3; RFC 7800";
            130 claims::attack_130_proof_of_possession_as_a_token, TypMismatch, "RFC 9449 §4.3";
            // H. Transport, caching, revocation, operation.
            131 operation::attack_131_two_tokens_at_once, Malformed, "RFC 6750 §2";
            132 operation::attack_132_remains_of_the_header_line, Malformed, "RFC 9110 §11.4; RFC 6750 §2.1; istio/istio#29024";
            133 operation::attack_133_token_remembered_by_a_part_of_it, SignatureInvalid, "CVE-2026-35030";
            134 operation::attack_134_token_remembered_by_its_claims, SignatureInvalid, "GHSA-rp9m-7r4c-75qg";
            135 operation::attack_135_token_remembered_past_its_end, Expired, "nearform/fast-jwt";
            136 operation::attack_136_token_remembered_past_its_key, KidRevoked, "nearform/fast-jwt#5";
            137 operation::attack_137_token_remembered_by_a_laxer_policy, AudMismatch, "RFC 8725 §3.9";
            138 operation::attack_138_flood_of_different_tokens, SignatureInvalid, "PostgREST/postgrest#4084";
            139 operation::attack_139_refusal_remembered_when_the_key_has_come, KidUnknown, "nearform/fast-jwt";
            140 operation::attack_140_failed_fetch_that_takes_the_keys_along, KidUnknown, "jpadilla/pyjwt#1162";
            141 operation::attack_141_failed_fetch_that_is_remembered, KidUnknown, "spring-projects/spring-security#13757, istio/istio#30261";
            142 operation::attack_142_worthless_token_that_asks_for_a_key, KidUnknown, "MicahParks/jwkset#26";
            143 operation::attack_143_failure_that_makes_good_tokens_bad, KidUnknown, "RFC 6750 §3.1";
            144 operation::attack_144_kid_that_ends_a_quotation_or_a_line, HeaderInvalid, "RFC 6750 §3";
            145 operation::attack_145_policy_that_was_emptied, IssuerMismatch, "RFC 9068 §4";
            146 operation::attack_146_several_tokens_in_turn, KidUnknown, "CVE-2025-64527";
            147 operation::attack_147_clock_that_jumps_back, NotYetValid, "RFC 7519 §4.1.5, §4.1.6";
            148 operation::attack_148_private_key_where_a_public_one_belongs, KeyMismatch, "RUSTSEC-2023-0071";
            149 operation::attack_149_algorithm_that_fails_at_first_use, SignatureInvalid, "RFC 8725 §3.2";
            150 operation::attack_150_claims_that_call_themselves_verified, SignatureInvalid, "RFC 8725 §3.3";
        }
    };
}

macro_rules! attacks {
    ($($number:literal $room:ident::$name:ident, $reason:ident, $source:literal;)*) => {
        /// The whole catalogue, in the order of its numbers.
        pub static ATTACKS: &[Attack] = &[$(Attack {
            number: $number,
            name: stringify!($name),
            source: $source,
            reason: Reason::$reason,
            build: $room::$name,
        }),*];
    };
}

attack_table! { {attacks} [] }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_has_150_rows_numbered_in_order_and_named_by_their_numbers() {
        assert_eq!(ATTACKS.len(), 150);
        for (attack, number) in ATTACKS.iter().zip(1..) {
            assert_eq!(attack.number, number);
            assert!(attack.name.starts_with(&format!("attack_{number:03}_")), "{}", attack.name);
            assert!(!attack.source.is_empty(), "{}", attack.name);
        }
    }
}
