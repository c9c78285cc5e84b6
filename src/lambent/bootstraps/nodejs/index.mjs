/**
 * Lambent's Node.js runtime client: runs inside a sandbox, talks to the platform over one inherited socket.
 *
 * One source for Node.js 18 and later, without dependencies. The service changed its client with Node.js 24: up to 22
 * handlers may use callbacks and the answer waits for an empty event loop, from 24 on a handler is a function whose
 * promise is awaited, and nothing else. Both are here (`classic.mjs`, `modern.mjs`) and behave as the published client
 * `aws-lambda-ric` does (3.x and 4.x); what differs on purpose is listed, with the reason, in the differential tests.
 *
 * Streamed responses are collected and sent as one, with their content type and prelude.
 *
 * Frames, little-endian: u32 length of what follows, u8 type, payload (see ARCHITECTURE.md).
 */
import { Channel } from "./channel.mjs";
import { current, logError, patchConsole } from "./log.mjs";
import { ERRORS, MODERN } from "./errors.mjs";
import { load } from "./handler.mjs";

const UNHANDLED_REJECTION = 128;
const UNCAUGHT_EXCEPTION = 129;

const channel = new Channel(Number(process.env._LAMBENT_CHANNEL));
if (process.env._LAMBENT_WAITS !== undefined) {
  const { become, rehearse } = await import("./wait.mjs");
  await rehearse();
  become(await channel.assignment());
}
delete process.env._LAMBENT_CHANNEL;
patchConsole();

/** Post an error for whatever is going on, then end the process. */
function die(error, status) {
  if (current.state === "init") {
    channel.initError(error, () => process.exit(status));
  } else if (current.state === "invoke") {
    channel.lastError(current.requestId, error, () => process.exit(status));
  } else {
    process.exit(status);
  }
}

process.on("uncaughtException", (error) => {
  logError("Uncaught Exception", error);
  die(error, UNCAUGHT_EXCEPTION);
});
process.on("unhandledRejection", (reason, promise) => {
  const error = new ERRORS.UnhandledPromiseRejection(reason);
  error.reason = reason;
  error.promise = promise;
  logError("Unhandled Promise Rejection", error);
  die(error, UNHANDLED_REJECTION);
});

/** Load the handler and answer events, for ever. */
async function run() {
  let handler;
  try {
    if (process.env.LAMBENT_WEB_ADAPTER) {
      handler = await (await import("./web.mjs")).handler();
    } else {
      handler = await load(process.env.LAMBDA_TASK_ROOT ?? "/var/task", process.env._HANDLER, import.meta.url);
    }
  } catch (error) {
    logError(MODERN ? "Init Error" : "Uncaught Exception", error);
    channel.initError(error, () => process.exit(MODERN ? 1 : UNCAUGHT_EXCEPTION));
    return;
  }
  const { serve } = handler.streaming
    ? await import("./stream.mjs")
    : await (MODERN ? import("./modern.mjs") : import("./classic.mjs"));
  serve(channel, handler.call, handler.highWaterMark);
  current.state = "idle";
  channel.ready();
}

// Awaited, so that a module which never finishes loading ends the process with Node's own status for that.
await run();
