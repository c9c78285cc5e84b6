-- Events accepted and not yet settled. `id` grows with acceptance and is never used twice (AUTOINCREMENT), so that a
-- late settle can never hit a newer event. A lease is held in memory by the one server that owns the file: whatever is
-- found here at start is free again.
CREATE TABLE events (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    account         TEXT    NOT NULL,
    region          TEXT    NOT NULL,
    function        TEXT    NOT NULL,
    qualifier       TEXT,               -- as the caller wrote it; NULL: none
    request_id      TEXT    NOT NULL,
    trace           TEXT    NOT NULL,   -- X-Amzn-Trace-Id; the root stays the same on all attempts
    accepted_ms     INTEGER NOT NULL,   -- wall clock, ms since the epoch
    due_ms          INTEGER NOT NULL,   -- not before this moment of the wall clock
    attempt         INTEGER NOT NULL,   -- attempts that ended in a function error; throttled ones do not count
    deferrals       INTEGER NOT NULL,   -- throttles and system errors since the last function error
    reason          TEXT,               -- why the last attempt failed
    payload         BLOB    NOT NULL
) STRICT;
