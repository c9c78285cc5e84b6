// A function's life as the AWS SDK for JavaScript v3 drives it, from its layer to its deletion.
// Arguments: name, files of the first zip, the second and the layer's. Prints one JSON document of what the SDK parsed.
// PYTHON_RUNTIME in the environment names the runtime of its functions.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The SDK lies beside the caller's working directory, not beside this file.
const require = createRequire(`${process.cwd()}/package.json`);
const {
  Lambda,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
  waitUntilPublishedVersionActive,
} = require("@aws-sdk/client-lambda");

const [name, first, second, layerZip] = process.argv.slice(2);
const client = new Lambda({ maxAttempts: 1 });
const named = { FunctionName: name };
const patience = { client, maxWaitTime: 30, minDelay: 0.05, maxDelay: 0.1 };
const invoke = async (event, more = {}) => {
  const answer = await client.invoke({ ...named, Payload: JSON.stringify(event), LogType: "Tail", ...more });
  return { ...JSON.parse(Buffer.from(answer.Payload).toString()), tail: !!answer.LogResult, ran: answer.ExecutedVersion };
};
const refusal = async (call) => {
  try {
    await call();
  } catch (error) {
    return { code: error.name, message: error.message, status: error.$metadata.httpStatusCode };
  }
  throw new Error("a call that had to be refused was not");
};
const shown = (one) => ({
  arn: one.FunctionArn,
  version: one.Version,
  runtime: one.Runtime,
  memory: one.MemorySize,
  timeout: one.Timeout,
  ephemeral: one.EphemeralStorage.Size,
  architectures: one.Architectures,
  environment: one.Environment.Variables,
  layers: one.Layers.map((layer) => layer.Arn),
  log: one.LoggingConfig.ApplicationLogLevel,
  tracing: one.TracingConfig.Mode,
  snap: one.SnapStart.OptimizationStatus,
  size: one.CodeSize,
  state: one.State ?? null,
  update: one.LastUpdateStatus ?? null,
});

const seen = {};
const layer = await client.publishLayerVersion({
  LayerName: name,
  Content: { ZipFile: readFileSync(layerZip) },
  CompatibleRuntimes: ["python3.11"],
  Description: "words",
});
seen.layer = { arn: layer.LayerVersionArn, version: layer.Version, runtimes: layer.CompatibleRuntimes };
const wanted = {
  ...named,
  Runtime: process.env.PYTHON_RUNTIME,
  Handler: "app.handler",
  Role: "arn:aws:iam::000000000000:role/test",
  Code: { ZipFile: readFileSync(first) },
  Environment: { Variables: { COLOUR: "blue" } },
  Layers: [layer.LayerVersionArn],
  MemorySize: 256,
  EphemeralStorage: { Size: 1024 },
  LoggingConfig: { LogFormat: "JSON" },
  Tags: { team: "blue" },
};
seen.created = shown(await client.createFunction(wanted));
seen.taken = await refusal(() => client.createFunction(wanted));
await waitUntilFunctionActiveV2(patience, named);
seen.first = await invoke({ n: 1 });
seen.updated = shown(await client.updateFunctionCode({ ...named, ZipFile: readFileSync(second) }));
await waitUntilFunctionUpdatedV2(patience, named);
await client.updateFunctionConfiguration({ ...named, Environment: { Variables: { COLOUR: "red" } }, Timeout: 9 });
await waitUntilFunctionUpdatedV2(patience, named);
seen.second = await invoke({ n: 2 });
seen.read = shown((await client.getFunction(named)).Configuration);
seen.invalid = await refusal(() => client.updateFunctionConfiguration({ ...named, Timeout: 901 }));

seen.published = (await client.publishVersion({ ...named, Description: "one" })).Version;
await client.updateFunctionConfiguration({ ...named, Environment: { Variables: { COLOUR: "green" } } });
await waitUntilFunctionUpdatedV2(patience, named);
await client.publishVersion(named);
await waitUntilPublishedVersionActive(patience, { ...named, Qualifier: "2" });
seen.versions = (await client.listVersionsByFunction(named)).Versions.map((one) => one.Version);
const alias = await client.createAlias({
  ...named,
  Name: "live",
  FunctionVersion: "1",
  RoutingConfig: { AdditionalVersionWeights: { 2: 1.0 } },
});
seen.alias = { arn: alias.AliasArn, version: alias.FunctionVersion, weights: alias.RoutingConfig.AdditionalVersionWeights };
seen.weighted = await invoke({ n: 3 }, { Qualifier: "live" });
const moved = await client.updateAlias({
  ...named,
  Name: "live",
  RoutingConfig: { AdditionalVersionWeights: { 2: 0.25 } },
  RevisionId: alias.RevisionId,
});
seen.moved = moved.RoutingConfig.AdditionalVersionWeights;
const stale = { ...named, Name: "live", RevisionId: alias.RevisionId };
seen.stale = await refusal(() => client.updateAlias(stale));
const permission = await client.addPermission({
  ...named,
  Qualifier: "live",
  StatementId: "bucket",
  Action: "lambda:InvokeFunction",
  Principal: "s3.amazonaws.com",
  SourceArn: "arn:aws:s3:::bucket",
});
seen.statement = JSON.parse(permission.Statement);
seen.policy = JSON.parse((await client.getPolicy({ ...named, Qualifier: "live" })).Policy);
const arn = seen.created.arn;
await client.tagResource({ Resource: arn, Tags: { stage: "test", "with space": "é" } });
await client.untagResource({ Resource: arn, TagKeys: ["team", "unknown"] });
seen.tags = (await client.listTags({ Resource: arn })).Tags;

await client.deleteAlias({ ...named, Name: "live" });
await client.deleteFunction(named);
await client.deleteLayerVersion({ LayerName: name, VersionNumber: layer.Version });
seen.gone = await refusal(() => invoke({}));
console.log(JSON.stringify(seen));
