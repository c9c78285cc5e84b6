// A streamed response as the AWS SDK for JavaScript v3 reads it. Arguments: the function's name. Prints what was parsed.

import { createRequire } from "node:module";

// The SDK lies beside the caller's working directory, not beside this file.
const require = createRequire(`${process.cwd()}/package.json`);
const { Lambda } = require("@aws-sdk/client-lambda");

const client = new Lambda({ maxAttempts: 1 });
const read = async (event) => {
  const answer = await client.invokeWithResponseStream({
    FunctionName: process.argv[2],
    Payload: JSON.stringify(event),
    LogType: "Tail",
  });
  const seen = { status: answer.StatusCode, version: answer.ExecutedVersion, chunks: [] };
  for await (const { PayloadChunk, InvokeComplete } of answer.EventStream) {
    if (PayloadChunk) {
      seen.chunks.push(Buffer.from(PayloadChunk.Payload).toString());
    } else {
      const { LogResult, ...complete } = InvokeComplete;
      seen.complete = { ...complete, tail: Buffer.from(LogResult, "base64").toString().includes("REPORT RequestId") };
    }
  }
  return seen;
};

const refused = await client
  .invokeWithResponseStream({ FunctionName: "no-such-function" })
  .catch((error) => ({ code: error.name, status: error.$metadata.httpStatusCode }));
console.log(JSON.stringify({ well: await read({ fails: false }), ill: await read({ fails: true }), refused }));
