/// Says which place a sealed value belongs to; it opens nowhere else.
///
/// Bind only what never changes during the life of the row. The row id must exist before the `INSERT`, so the
/// application makes it (a UUIDv7), not the database.
///
/// ```
/// # use keyward_envelope::Context;
/// let id = "018f5b7e-7b3a-7c3e-9c1d-2f6a1d0b9e44";
/// let place = Context::column("customers", "phone").row(id).tenant("acme");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    table: String,
    column: String,
    row: Option<String>,
    tenant: Option<String>,
    purpose: Option<String>,
}

/// Names a column and still lacks the row; only [`row`](Self::row) and [`unbound_row`](Self::unbound_row)
/// lead on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ColumnContext {
    table: String,
    column: String,
}

impl Context {
    /// Starts a context at a table and a column.
    pub fn column(table: impl Into<String>, column: impl Into<String>) -> ColumnContext {
        ColumnContext { table: table.into(), column: column.into() }
    }

    /// Binds the tenant as well. An empty tenant is not the same as none.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.into()), ..self }
    }

    /// Binds the purpose as well. An empty purpose is not the same as none.
    #[must_use]
    pub fn purpose(self, purpose: impl Into<String>) -> Self {
        Self { purpose: Some(purpose.into()), ..self }
    }

    /// CTX of the format: the associated data of suite `gcm-ctx`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let fields = [
            ("table", Some(&self.table)),
            ("column", Some(&self.column)),
            ("row", self.row.as_ref()),
            ("tenant", self.tenant.as_ref()),
            ("purpose", self.purpose.as_ref()),
        ];
        let mut ctx = Vec::with_capacity(160);
        ctx.extend_from_slice(b"keyward/ctx/1");
        for (name, value) in fields {
            if let Some(value) = value {
                append(&mut ctx, name);
                append(&mut ctx, value);
            }
        }
        ctx
    }
}

impl ColumnContext {
    /// Binds the value to one row, by an id that never changes.
    pub fn row(self, id: impl Into<String>) -> Context {
        self.with_row(Some(id.into()))
    }

    /// Leaves the row out: the value then opens in every row of the column.
    ///
    /// For a table with one row, or where no id exists yet; anyone who can write the table can swap such
    /// values.
    pub fn unbound_row(self) -> Context {
        self.with_row(None)
    }

    fn with_row(self, row: Option<String>) -> Context {
        Context { table: self.table, column: self.column, row, tenant: None, purpose: None }
    }
}

fn append(ctx: &mut Vec<u8>, text: &str) {
    // A name of 4 GiB does not exist; the saturated length keeps this total.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    ctx.extend_from_slice(&length.to_be_bytes());
    ctx.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_the_known_answer() {
        let context = Context::column("user_secrets", "totp_secret")
            .row("018f5b7e-7b3a-7c3e-9c1d-2f6a1d0b9e44")
            .encode();
        let expected = "6b6579776172642f6374782f31000000057461626c650000000c757365725f736563726574730000\
                        0006636f6c756d6e0000000b746f74705f73656372657400000003726f7700000024303138663562\
                        37652d376233612d376333652d396331642d326636613164306239653434";
        assert_eq!(crate::key::hex(&context), expected);
    }

    #[test]
    fn absent_and_empty_encode_differently() {
        let absent = Context::column("t", "c").unbound_row();
        let variants = [
            absent.clone(),
            Context::column("t", "c").row(""),
            absent.clone().tenant(""),
            absent.clone().purpose(""),
            absent.clone().tenant("").purpose(""),
            Context::column("", "c").unbound_row(),
        ];
        for (i, one) in variants.iter().enumerate() {
            for other in &variants[i + 1..] {
                assert_ne!(one.encode(), other.encode(), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_value_cannot_pretend_to_be_the_next_field() {
        let honest = Context::column("t", "c").row("r").tenant("x");
        let forged = Context::column("t", "c").row("r\0\0\0\u{6}tenant\0\0\0\u{1}x");
        assert_ne!(honest.encode(), forged.encode());
        assert_ne!(
            Context::column("ab", "c").unbound_row().encode(),
            Context::column("a", "bc").unbound_row().encode()
        );
    }
}
