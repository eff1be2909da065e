//! The claims of an access token (RFC 9068), as issued and as read back.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{Present, Unknown, some};
use crate::limits::MAX_IDENTIFIER_BYTES;
use crate::scope::Scopes;

/// Above this, neighbouring whole seconds are the same `f64`.
const MAX_EXACT_SECONDS: f64 = 9_007_199_254_740_992.0;

/// The claims of an access token; equal claims are written as equal bytes.
///
/// Times are whole seconds since 1970. Fractions are read, and cut such that the token never lives longer.
/// `sub`, `jti`, `client_id` and `sid` are read only with 1–255 bytes and no control characters. Unknown claims are
/// ignored; repeated names and wrong types are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Payload")]
pub struct AccessClaims {
    /// The issuer's URL.
    pub iss: String,
    /// The account's id.
    pub sub: String,
    /// Whom the token is meant for.
    pub aud: Audience,
    /// The token is worthless from this second on.
    pub exp: u64,
    /// When the token was issued.
    pub iat: u64,
    /// The token is worthless before this second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The token's own id.
    pub jti: String,
    /// The client that the token was issued to.
    pub client_id: String,
    /// What the token allows; absent is nothing.
    pub scope: Scopes,
    /// The session that the token belongs to.
    pub sid: String,
    /// When the account last authenticated.
    pub auth_time: u64,
    /// How it did (RFC 8176); absent is unknown.
    pub amr: Vec<String>,
    /// The account's roles; absent is none.
    pub roles: Vec<String>,
}

impl AccessClaims {
    /// The `typ` header of an access token (RFC 9068 §2.1).
    pub const TYP: &'static str = "at+jwt";
}

/// The payload of a token as it is read: the claims and what must not be overlooked beside them.
#[derive(Deserialize)]
pub(crate) struct Payload {
    pub(crate) iss: String,
    #[serde(deserialize_with = "identifier")]
    sub: String,
    pub(crate) aud: Audience,
    #[serde(deserialize_with = "not_after")]
    pub(crate) exp: u64,
    #[serde(deserialize_with = "not_after")]
    pub(crate) iat: u64,
    #[serde(default, deserialize_with = "not_before")]
    pub(crate) nbf: Option<u64>,
    #[serde(deserialize_with = "identifier")]
    jti: String,
    #[serde(deserialize_with = "identifier")]
    client_id: String,
    #[serde(default)]
    scope: Scopes,
    #[serde(deserialize_with = "identifier")]
    sid: String,
    #[serde(deserialize_with = "not_after")]
    auth_time: u64,
    #[serde(default)]
    amr: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    pub(crate) cnf: Present,
    #[serde(flatten)]
    _others: Unknown,
}

impl From<Payload> for AccessClaims {
    fn from(read: Payload) -> Self {
        let Payload {
            iss, sub, aud, exp, iat, nbf, jti, client_id, scope, sid, auth_time, amr, roles, ..
        } = read;
        Self { iss, sub, aud, exp, iat, nbf, jti, client_id, scope, sid, auth_time, amr, roles }
    }
}

/// One or more audiences; one is written as a plain string (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub struct Audience(Vec<String>);

impl Audience {
    /// A single audience.
    pub fn one(name: impl Into<String>) -> Self {
        Self(vec![name.into()])
    }

    /// Whether this exact name is among the audiences.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|member| member == name)
    }

    /// The audiences in the order of the token.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let [only] = self.0.as_slice() {
            return to.serialize_str(only);
        }
        let mut list = to.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|name| list.serialize_element(name))?;
        list.end()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for Audience {
    type Error = &'static str;

    fn try_from(read: OneOrMany) -> Result<Self, Self::Error> {
        match read {
            OneOrMany::One(name) => Ok(Self::one(name)),
            OneOrMany::Many(names) if names.is_empty() => Err("an audience of nobody"),
            OneOrMany::Many(names) => Ok(Self(names)),
        }
    }
}

fn identifier<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if !(1..=MAX_IDENTIFIER_BYTES).contains(&text.len()) || text.contains(char::is_control) {
        return Err(D::Error::custom("empty, too long, or with control characters"));
    }
    Ok(text)
}

fn not_after<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_u64(Seconds(f64::floor))
}

fn not_before<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    struct Later(u64);
    impl<'de> Deserialize<'de> for Later {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_u64(Seconds(f64::ceil)).map(Self)
        }
    }
    Ok(some::<D, Later>(from)?.map(|Later(seconds)| seconds))
}

/// Reads a NumericDate (RFC 7519 §2), cutting fractions with the function inside.
struct Seconds(fn(f64) -> f64);

impl Visitor<'_> for Seconds {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<u64, E> {
        Ok(seconds)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<u64, E> {
        let whole = (self.0)(seconds);
        if (0.0..MAX_EXACT_SECONDS).contains(&whole) {
            Ok(whole as u64)
        } else {
            Err(E::custom("out of range"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        r#"{"iss":"https://i","sub":"s","aud":"a","exp":20,"iat":10,"nbf":10,"jti":"j","client_id":"c","#,
        r#""scope":"a b","sid":"d","auth_time":5,"amr":["pwd"],"roles":["admin"]}"#
    );

    fn read(text: &str) -> AccessClaims {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn claims_are_written_in_their_fixed_order() {
        assert_eq!(serde_json::to_string(&read(TEXT)).unwrap(), TEXT);
    }

    #[test]
    fn fractions_never_lengthen_a_life() {
        let claims = read(&TEXT.replace(":20,", ":20.9,").replace(r#""nbf":10"#, r#""nbf":10.1"#));
        assert_eq!((claims.exp, claims.nbf), (20, Some(11)));
    }

    #[test]
    fn several_audiences_are_kept_and_written_as_a_list() {
        let claims = read(&TEXT.replace(r#""aud":"a""#, r#""aud":["a","b"]"#));
        assert!(claims.aud.contains("b") && !claims.aud.contains(""));
        assert_eq!(serde_json::to_string(&claims.aud).unwrap(), r#"["a","b"]"#);
    }

    #[test]
    fn what_is_optional_may_be_absent_but_not_null() {
        let bare = r#"{"iss":"i","sub":"s","aud":"a","exp":2,"iat":1,"jti":"j","client_id":"c","sid":"d","auth_time":1"#;
        assert_eq!(read(&format!("{bare}}}")).nbf, None);
        for name in ["nbf", "scope", "amr", "roles"] {
            assert!(
                serde_json::from_str::<AccessClaims>(&format!(r#"{bare},"{name}":null}}"#)).is_err(),
                "{name}"
            );
        }
    }
}
