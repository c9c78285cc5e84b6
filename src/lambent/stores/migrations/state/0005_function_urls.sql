-- Ids of a function's URLs, apart by spaces, as the summary has them: a request for one finds its function without any
-- other being read.
ALTER TABLE functions ADD COLUMN urls TEXT;
UPDATE functions
SET urls = (
    SELECT group_concat(json_extract(url.value, '$.id'), ' ')
    FROM json_each(CAST(functions.document AS TEXT), '$.urls') AS url
);
