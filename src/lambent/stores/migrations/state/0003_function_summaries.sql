-- What a start has to know of a function, so that it need not read the document. The generation is NULL in
-- rows of earlier releases: the next start fills them in. Columns and document are written by one statement, always.
ALTER TABLE functions ADD COLUMN generation INTEGER;
ALTER TABLE functions ADD COLUMN code_bytes INTEGER;
ALTER TABLE functions ADD COLUMN is_restless INTEGER;
ALTER TABLE functions ADD COLUMN packages TEXT;
ALTER TABLE functions ADD COLUMN code_signing_arn TEXT;
