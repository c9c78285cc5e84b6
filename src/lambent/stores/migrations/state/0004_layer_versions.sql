-- Layer versions, one row each: a publication never rewrites those before it. What is left of a layer's own row is the
-- number below which all are used. Rows of earlier releases held all versions of a layer in one document.
INSERT INTO documents
SELECT 'layer-version', account, region, name || ':' || json_extract(version.value, '$.number'), 1,
       CAST(version.value AS BLOB)
FROM documents, json_each(CAST(document AS TEXT), '$.versions') AS version
WHERE kind = 'layer';

UPDATE documents
SET revision = revision + 1,
    document = CAST(json_object('next_number', json_extract(CAST(document AS TEXT), '$.next_number')) AS BLOB)
WHERE kind = 'layer';
