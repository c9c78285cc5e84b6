/** Invocations from Node.js 24 on: a handler is called with event and context, and its promise is awaited. */
import { parseOptional, serialise } from "./channel.mjs";
import { ERRORS } from "./errors.mjs";
import { current, logError } from "./log.mjs";

/** Node's own exit status for a program that still awaits something when nothing can happen any more. */
export const UNSETTLED = 13;

/** The context object of one event. */
export function contextOf(event, facts) {
  const complain = (header) => (error) =>
    new ERRORS.PlatformError(`Failed to parse ${header} as JSON: ${error.message}`);
  return {
    clientContext: parseOptional(event.clientContext, complain("lambda-runtime-client-context")),
    identity: parseOptional(event.identity, complain("lambda-runtime-cognito-identity")),
    invokedFunctionArn: event.arn,
    awsRequestId: event.requestId,
    tenantId: event.tenantId,
    xRayTraceId: event.trace ?? "",
    getRemainingTimeInMillis: () => event.deadlineMs - Date.now(),
    functionName: facts.functionName,
    functionVersion: facts.functionVersion,
    memoryLimitInMB: facts.memoryLimitInMB,
    logGroupName: facts.logGroupName,
    logStreamName: facts.logStreamName,
  };
}

/** One turn of the event loop: what the handler has set in motion gets its chance before the answer. */
export const aTurn = () => new Promise((resolve) => setImmediate(resolve));

/** Report that the event loop has nothing left to do although the handler's promise is open; ends the process. */
export function reportUnsettled(channel) {
  if (current.state === "invoke") {
    const error = new ERRORS.NodeJsExit("Node.js exited with a Promise that was never settled");
    logError("Invoke Error", error);
    channel.lastError(current.requestId, error, () => process.exit(UNSETTLED));
  }
}

export function serve(channel, handler) {
  // Called as a member: stacks of the service's client show the handler under that name.
  const runtime = { handler };
  process.on("beforeExit", () => reportUnsettled(channel));
  channel.onevent = async (event) => {
    let body;
    try {
      const context = contextOf(event, channel.facts);
      const result = await runtime.handler(JSON.parse(event.text), context);
      await aTurn();
      body = serialise(result, ERRORS.JSONStringifyError);
    } catch (error) {
      await aTurn();
      logError("Invoke Error", error);
      channel.error(event.requestId, error);
      return;
    }
    channel.response(event.requestId, "application/json", body);
  };
}
