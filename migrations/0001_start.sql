-- One text for SQLite and PostgreSQL: times are BIGINT milliseconds, ids hyphenated UUIDs, lists separated by spaces,
-- truth 0 or 1. Where SQLite reads BLOB, PostgreSQL is given BYTEA.

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT,
    roles TEXT NOT NULL,
    enabled BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    session_epoch BIGINT NOT NULL,
    password TEXT,
    password_changed_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE identifiers (
    folded TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE
);
CREATE INDEX identifiers_by_account ON identifiers (account_id);

CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    audiences TEXT NOT NULL,
    scopes TEXT NOT NULL,
    access_lifetime BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    audience TEXT,
    scope TEXT NOT NULL,
    counter BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    auth_time BIGINT NOT NULL,
    amr TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    idle_expires_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    end_reason TEXT,
    source TEXT NOT NULL,
    device TEXT NOT NULL,
    outcome TEXT NOT NULL, -- what the last presented refresh token came to, told by the statement that judged it
    CHECK (idle_expires_at <= expires_at),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX sessions_by_account ON sessions (account_id, created_at);
CREATE INDEX sessions_by_client ON sessions (client_id);
CREATE INDEX sessions_by_idle_expiry ON sessions (idle_expires_at);
CREATE INDEX sessions_by_end ON sessions (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE key_ring (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    generation BIGINT NOT NULL
);
INSERT INTO key_ring (id, generation) VALUES (1, 0);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    alg TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('staged', 'active', 'retiring', 'retired', 'revoked')),
    public_jwk TEXT NOT NULL,
    private TEXT,
    max_lifetime BIGINT NOT NULL,
    staged_at BIGINT NOT NULL,
    activated_at BIGINT,
    retiring_at BIGINT,
    publish_until BIGINT,
    retired_at BIGINT,
    revoked_at BIGINT,
    CHECK (private IS NULL OR state IN ('staged', 'active'))
);
CREATE UNIQUE INDEX one_active_key ON signing_keys (alg) WHERE state = 'active';

-- Apart from the keys, so that counting never waits for a rotation.
CREATE TABLE signed_counts (
    kid TEXT PRIMARY KEY REFERENCES signing_keys (kid) ON DELETE CASCADE,
    tokens BIGINT NOT NULL,
    latest_exp BIGINT NOT NULL
);

-- The newest version ever given out, so that a version is never reused and adding one is a compare-and-swap.
CREATE TABLE secret_names (
    name TEXT PRIMARY KEY,
    newest BIGINT NOT NULL
);

CREATE TABLE secrets (
    name TEXT NOT NULL REFERENCES secret_names (name),
    version BIGINT NOT NULL CHECK (version BETWEEN 1 AND 255),
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE encryption_keys (
    version BIGINT PRIMARY KEY CHECK (version BETWEEN 1 AND 999999999),
    namespace TEXT NOT NULL,
    key BLOB NOT NULL,
    kek_id TEXT NOT NULL,
    suite BIGINT NOT NULL,
    kcv TEXT NOT NULL UNIQUE,
    active BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'retiring', 'retired', 'destroyed')),
    created_at BIGINT NOT NULL,
    activated_at BIGINT,
    retired_at BIGINT,
    destroy_after BIGINT,
    CHECK ((active = 1) = (state = 'active')),
    CHECK (active IN (0, 1))
);
CREATE UNIQUE INDEX one_active ON encryption_keys (namespace) WHERE active = 1;

CREATE TABLE limits (
    subject TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    delay_ms BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE INDEX limits_by_last_attempt ON limits (last_at);

-- No foreign keys: the trail outlives what it speaks of.
CREATE TABLE audit_events (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    account_id TEXT,
    session_id TEXT,
    source TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_events_by_time ON audit_events (at, id);
