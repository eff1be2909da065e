//! What the claims of a token must say, whatever it was signed with.

use crate::claims::Payload;
use crate::refusal::Reason;

/// Whose tokens are accepted, for whom, and how long; durations in whole seconds.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) typ: String,
    pub(crate) leeway: u64,
    pub(crate) max_lifetime: u64,
}

impl Policy {
    /// RFC 7519 §4.1 and RFC 9068 §4, at `now`.
    pub(crate) fn accept(&self, payload: &Payload, now: u64) -> Result<(), Reason> {
        let latest = now.saturating_add(self.leeway);
        let lifetime = payload.exp.checked_sub(payload.iat).ok_or(Reason::ClaimsInvalid)?;
        if payload.iss != self.issuer {
            Err(Reason::IssuerMismatch)
        } else if !payload.aud.contains(&self.audience) {
            Err(Reason::AudMismatch)
        } else if payload.cnf.0 {
            Err(Reason::CnfUnsupported)
        } else if now >= payload.exp.saturating_add(self.leeway) {
            Err(Reason::Expired)
        } else if payload.nbf.is_some_and(|nbf| nbf > latest) {
            Err(Reason::NotYetValid)
        } else if payload.iat > latest {
            Err(Reason::IssuedInFuture)
        } else if lifetime > self.max_lifetime {
            Err(Reason::LifetimeTooLong)
        } else {
            Ok(())
        }
    }
}
