-- Small resources of every kind (layers, mappings, signing configurations, roles): one row each, its revision is the
-- condition of every write. The region is empty for what an account has once.
CREATE TABLE documents (
    kind     TEXT NOT NULL,
    account  TEXT NOT NULL,
    region   TEXT NOT NULL,
    name     TEXT NOT NULL,
    revision INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (kind, account, region, name)
) WITHOUT ROWID;
