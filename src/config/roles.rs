//! Roles and their scopes, as they may be named.

use std::collections::{BTreeMap, BTreeSet};

use super::read::Reader;
use super::show::short;

/// The table `[roles]`: which scopes a role gives.
pub(super) fn roles(from: &mut Reader) -> BTreeMap<String, Vec<String>> {
    let roles = from.lists_below("roles");
    for (role, scopes) in &roles {
        let key = format!("roles.{role}");
        if !is_role_name(role) {
            from.refuse(
                &key,
                "name the role with at most 64 letters, digits, dots, colons, hyphens or underscores",
            );
        } else if let Some(scope) = scopes.iter().find(|scope| !scope_token(scope)) {
            let advice = "is not a scope; use visible ASCII characters without quotes and backslashes";
            from.refuse(&key, &format!("`{}` {advice}", short(scope)));
        }
    }
    let distinct: BTreeSet<&String> = roles.values().flatten().collect();
    if distinct.len() > MOST_SCOPES {
        from.refuse(
            "roles",
            &format!("write at most {MOST_SCOPES} different scopes; there are {}", distinct.len()),
        );
    }
    roles
}

/// Whether `role` can be a role name: 1 to 64 of `a-z A-Z 0-9 . _ : -`.
pub fn is_role_name(role: &str) -> bool {
    (1..=64).contains(&role.len())
        && role.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

/// What a token's scope can hold, so that none is ever left out of it in silence.
const MOST_SCOPES: usize = 64;

/// RFC 6749 §3.3, of a length that a token's scope can hold.
fn scope_token(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}
