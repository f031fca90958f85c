-- A credential for some upstream that we hold for a tenant. `sealed` is AES-256-GCM under a key that is not here.
CREATE TABLE credential (
    tenant text NOT NULL,
    name text NOT NULL,
    note text NOT NULL,
    created_ms integer NOT NULL,
    set_ms integer,                        -- when its value came; none came yet
    used_ms integer,                       -- when it was read last
    sealed blob,
    key_id text,                           -- which key it was sealed with
    PRIMARY KEY (tenant, name)
) STRICT;

-- A link by which the value of one credential may be brought, once.
CREATE TABLE intake (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    name text NOT NULL,
    hash blob NOT NULL,                    -- SHA-256 of the secret
    created_ms integer NOT NULL,
    expires_ms integer NOT NULL,           -- a later link of the same credential ends it early
    taken_ms integer,
    refusals integer NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX intake_credential ON intake (tenant, name);

-- Who did what with credentials. Rows are added and stay.
CREATE TABLE audit (
    n integer PRIMARY KEY AUTOINCREMENT,
    at_ms integer NOT NULL,
    tenant text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    source text,
    detail text
) STRICT;
CREATE INDEX audit_tenant ON audit (tenant, n);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
