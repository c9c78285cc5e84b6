/** Invocations up to Node.js 22: callbacks, the context's done/succeed/fail, promises, and the wait for an empty loop. */
import { parseOptional, serialise } from "./channel.mjs";
import { logError } from "./log.mjs";

/** What to do when the event loop is empty: what the current invocation left there. */
export const emptyLoop = { then: () => {} };

/** Add what every context has to `context`. */
export function fillContext(context, event, facts) {
  const complain = (name) => (error) => new Error(`Cannot parse ${name} as json: ${error.toString()}`);
  return Object.assign(context, facts, {
    clientContext: parseOptional(event.clientContext, complain("ClientContext")),
    identity: parseOptional(event.identity, complain("CognitoIdentity")),
    invokedFunctionArn: event.arn,
    awsRequestId: event.requestId,
    tenantId: event.tenantId,
    getRemainingTimeInMillis: () => event.deadlineMs - Date.now(),
  });
}

const isGiven = (error) => error !== undefined && error !== null;

/** The four ways to end one invocation; the first that is used counts, unless it throws. */
function endings(channel, requestId) {
  let finished = false;
  const once =
    (call) =>
    (...given) => {
      if (!finished) {
        call(...given);
        finished = true;
      }
    };
  let waits = true;
  let answered = false;
  const fail = (error) => {
    logError("Invoke Error", error);
    channel.error(requestId, error);
  };
  const complete = (result) => {
    if (answered) {
      console.error(
        "Invocation has already been reported as done. Cannot call complete more than once per invocation.",
      );
      return;
    }
    answered = true;
    channel.response(requestId, "application/json", serialise(result, Error));
  };
  const done = (error, result) => {
    emptyLoop.then = () => {};
    if (isGiven(error)) {
      fail(error);
    } else {
      complete(result);
    }
  };
  const callback = (error, result) => {
    emptyLoop.then = () => {};
    if (isGiven(error)) {
      fail(error);
    } else if (waits) {
      emptyLoop.then = () => setImmediate(() => complete(result));
    } else {
      complete(result);
    }
  };
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waits;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waits = value;
    },
    succeed: once((result) => done(null, result)),
    fail: once((error) => (isGiven(error) ? done(error, null) : done("handled"))),
    done: once(done),
  };
  const abandon = () => {
    answered = true;
    channel.response(requestId, "application/json", "null");
  };
  return { callback: once(callback), context, abandon };
}

export function serve(channel, handler) {
  // Called as a member: stacks of the service's client show the handler under that name.
  const runtime = { handler };
  process.on("beforeExit", () => emptyLoop.then());
  channel.onevent = (event) => {
    const { callback, context, abandon } = endings(channel, event.requestId);
    // Nobody has answered and nothing is left that could: the result is null.
    emptyLoop.then = () => {
      emptyLoop.then = () => {};
      abandon();
    };
    try {
      const filled = fillContext(context, event, channel.facts);
      const result = runtime.handler(JSON.parse(event.text), filled, callback);
      if (typeof result?.then === "function") {
        result.then(context.succeed, context.fail).catch(context.fail);
      }
    } catch (error) {
      callback(error);
    }
  };
}
