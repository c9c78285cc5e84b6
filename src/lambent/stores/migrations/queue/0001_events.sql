-- Events accepted and not yet settled. Leases are held in memory by the one server that owns the file: whatever is found
-- here at start is free again. No index beside the key: the server keeps the order of due times in memory, and an index
-- would be written three times in an event's life.
CREATE TABLE events (
    id              INTEGER PRIMARY KEY,
    account         TEXT    NOT NULL,
    region          TEXT    NOT NULL,
    function        TEXT    NOT NULL,
    qualifier       TEXT,               -- as the caller wrote it; NULL: none
    request_id      TEXT    NOT NULL,
    trace           TEXT    NOT NULL,   -- X-Amzn-Trace-Id; the root stays the same on all attempts
    accepted_ms     INTEGER NOT NULL,   -- wall clock, ms since the epoch
    due_ms          INTEGER NOT NULL,   -- not before this moment of the wall clock
    attempt         INTEGER NOT NULL,   -- attempts that ended in a function error
    deferrals       INTEGER NOT NULL,   -- throttles and system errors in a row
    reason          TEXT,               -- why the last attempt failed
    payload         BLOB    NOT NULL
) STRICT;
