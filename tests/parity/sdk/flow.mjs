// A function's life as the AWS SDK for JavaScript v3 drives it: create, wait, invoke, update, delete.
// Arguments: name, file of the first zip, file of the second. Prints one JSON document of what was seen.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The SDK lies beside the caller's working directory, not beside this file.
const require = createRequire(`${process.cwd()}/package.json`);
const {
  LambdaClient,
  CreateFunctionCommand,
  DeleteFunctionCommand,
  InvokeCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} = require("@aws-sdk/client-lambda");

const [name, first, second] = process.argv.slice(2);
const client = new LambdaClient({ maxAttempts: 1 });
const waiting = [{ client, maxWaitTime: 30, minDelay: 1 }, { FunctionName: name }];
const invoke = async (event) => {
  const answer = await client.send(
    new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(event), LogType: "Tail" }),
  );
  return { ...JSON.parse(Buffer.from(answer.Payload).toString()), tail: !!answer.LogResult, ran: answer.ExecutedVersion };
};

const seen = {};
const created = await client.send(
  new CreateFunctionCommand({
    FunctionName: name,
    Runtime: "python3.11",
    Handler: "app.handler",
    Role: "arn:aws:iam::000000000000:role/test",
    Code: { ZipFile: readFileSync(first) },
    Environment: { Variables: { COLOUR: "blue" } },
  }),
);
seen.created = created.State;
await waitUntilFunctionActiveV2(...waiting);
seen.first = await invoke({ n: 1 });
await client.send(new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile: readFileSync(second) }));
await waitUntilFunctionUpdatedV2(...waiting);
await client.send(
  new UpdateFunctionConfigurationCommand({ FunctionName: name, Environment: { Variables: { COLOUR: "red" } } }),
);
await waitUntilFunctionUpdatedV2(...waiting);
seen.second = await invoke({ n: 2 });
await client.send(new DeleteFunctionCommand({ FunctionName: name }));
try {
  await invoke({});
} catch (error) {
  seen.gone = { code: error.name, message: error.message, status: error.$metadata.httpStatusCode };
}
console.log(JSON.stringify(seen));
