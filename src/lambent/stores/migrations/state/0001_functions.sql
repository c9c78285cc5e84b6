-- One row a function: its revision is the condition of every write, its document holds $LATEST.
CREATE TABLE functions (
    account  TEXT NOT NULL,
    region   TEXT NOT NULL,
    name     TEXT NOT NULL,
    revision INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (account, region, name)
) WITHOUT ROWID;

-- Published versions, one row each: an update of $LATEST never rewrites them.
CREATE TABLE function_versions (
    account  TEXT NOT NULL,
    region   TEXT NOT NULL,
    name     TEXT NOT NULL,
    number   INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (account, region, name, number),
    FOREIGN KEY (account, region, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;
