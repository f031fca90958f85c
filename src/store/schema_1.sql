-- A call as it was last. `json` is the whole CallRecord; the other columns are what is searched by.
CREATE TABLE call (
    id blob NOT NULL UNIQUE,               -- 16 bytes of the ULID: order of creation
    tenant text NOT NULL,
    provider text NOT NULL,
    status text NOT NULL,
    started_ms integer NOT NULL,
    ended_ms integer,
    idempotency_key text,
    fingerprint text,
    json text NOT NULL
) STRICT;
CREATE INDEX call_tenant ON call (tenant, id);
CREATE INDEX call_provider ON call (tenant, provider, id);
CREATE INDEX call_open ON call (tenant, status, id) WHERE status <> 'ended';
CREATE INDEX call_ended ON call (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE INDEX call_idempotency ON call (started_ms) WHERE idempotency_key IS NOT NULL;

-- `n` is the order of commits: what a reader resumes by.
CREATE TABLE event (
    n integer PRIMARY KEY AUTOINCREMENT,
    call blob NOT NULL,
    seq integer NOT NULL,
    tenant text NOT NULL,
    provider text NOT NULL,
    kind text NOT NULL,
    occurred_ms integer NOT NULL,
    is_last integer NOT NULL,
    body blob NOT NULL,
    UNIQUE (call, seq)
) STRICT;
CREATE INDEX event_tenant ON event (tenant, n);

CREATE TABLE milestone (
    n integer PRIMARY KEY,
    call blob NOT NULL,
    at_ms integer NOT NULL,
    since_start_ms integer NOT NULL,
    layer text NOT NULL,
    what text NOT NULL,
    detail text
) STRICT;
CREATE INDEX milestone_call ON milestone (call, n);

-- One row an event with a receiver.
CREATE TABLE delivery (
    event integer PRIMARY KEY,             -- event.n
    receiver integer NOT NULL,             -- stands for tenant and url
    tenant text NOT NULL,
    url text NOT NULL,
    state integer NOT NULL,                -- 0 pending, 1 delivered, 2 given up
    replays integer NOT NULL DEFAULT 0,    -- tells a late answer to an earlier queueing apart
    attempts integer NOT NULL,             -- since it was queued or replayed
    due_ms integer NOT NULL,               -- 0: in turn with the others of its call; else: parked until then
    next_ms integer,                       -- when the next attempt is due, for those who ask
    since_ms integer NOT NULL,             -- when the 24 hours began
    tried_ms integer,                      -- when the last attempt ended
    outcome text                           -- how
) STRICT;
CREATE INDEX delivery_waiting ON delivery (receiver, due_ms, event) WHERE state = 0;
CREATE INDEX delivery_state ON delivery (tenant, state, event);

CREATE TABLE token (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    name text NOT NULL,
    scopes text NOT NULL,                  -- separated by spaces
    hash blob NOT NULL,                    -- SHA-256 of the secret
    created_ms integer NOT NULL,
    revoked_ms integer
) STRICT;
