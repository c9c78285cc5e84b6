-- The tenant an event was sent for; empty for functions without tenant isolation.
ALTER TABLE events ADD COLUMN tenant_id TEXT NOT NULL DEFAULT '';
