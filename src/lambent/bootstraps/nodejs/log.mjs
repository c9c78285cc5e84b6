/** What is going on, and the console that writes it into every line. */
import { format } from "node:util";

import { asError, describe, MODERN } from "./errors.mjs";

const LEVELS = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };

const REQUEST_ID = Symbol.for("aws.lambda.runtime.requestId");
const TENANT_ID = Symbol.for("aws.lambda.runtime.tenantId");
const KEYS = {
  REQUEST_ID: Symbol.for("_AWS_LAMBDA_REQUEST_ID"),
  X_RAY_TRACE_ID: Symbol.for("_AWS_LAMBDA_X_RAY_TRACE_ID"),
  TENANT_ID: Symbol.for("_AWS_LAMBDA_TENANT_ID"),
};

/** The invocation in hand; one at a time. */
export const current = {
  /** init, idle or invoke */
  state: "init",
  requestId: undefined,
  tenantId: undefined,

  begin(requestId, trace, tenantId) {
    this.state = "invoke";
    this.requestId = requestId;
    this.tenantId = tenantId;
    if (MODERN) {
      invokeStore.values = { [KEYS.REQUEST_ID]: requestId, [KEYS.X_RAY_TRACE_ID]: trace, [KEYS.TENANT_ID]: tenantId };
    } else {
      globalThis[REQUEST_ID] = requestId;
      globalThis[TENANT_ID] = tenantId;
    }
  },
};

/** What SDKs look for as `awslambda.InvokeStore`, from Node.js 24 on. */
export const invokeStore = {
  values: undefined,
  getContext: () => invokeStore.values,
  hasContext: () => invokeStore.values !== undefined,
  get: (key) => invokeStore.values?.[key],
  set(key, value) {
    if (Object.values(KEYS).includes(key)) {
      throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    }
    invokeStore.values = { ...invokeStore.values, [key]: value };
  },
  run(context, call) {
    invokeStore.values = context;
    return call();
  },
  getRequestId: () => invokeStore.get(KEYS.REQUEST_ID) ?? "-",
  getXRayTraceId: () => invokeStore.get(KEYS.X_RAY_TRACE_ID),
  getTenantId: () => invokeStore.get(KEYS.TENANT_ID),
};

const requestId = () => current.requestId ?? (MODERN ? "-" : undefined);

let isJson = false; // known once the console is patched: a waiting runtime learns its environment late

function textLine(level, message, parameters) {
  // A template, not join(): before the first event the id is the word "undefined".
  return `${new Date().toISOString()}\t${requestId()}\t${level}\t${format(message, ...parameters)}`;
}

function members(error) {
  return {
    errorType: error.constructor?.name ?? "UnknownError",
    errorMessage: error.message,
    stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : (error.stack ?? []),
  };
}

function jsonLine(level, message, parameters) {
  const line = { timestamp: new Date().toISOString(), level, requestId: requestId() };
  if (current.tenantId) {
    line.tenantId = current.tenantId;
  }
  if (parameters.length === 0) {
    line.message = message;
    try {
      return JSON.stringify(line, (_, value) => (value instanceof Error ? { ...members(value), ...value } : value));
    } catch {
      line.message = format(message);
      return JSON.stringify(line);
    }
  }
  line.message = format(message, ...parameters);
  const error = parameters.find((parameter) => parameter instanceof Error);
  return JSON.stringify(error === undefined ? line : { ...line, ...members(error) });
}

/** Make `console` write the service's lines; a line break inside a message becomes a carriage return. */
export function patchConsole() {
  isJson = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
  const line = isJson ? jsonLine : textLine;
  const least = LEVELS[process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()] ?? LEVELS.TRACE;
  const writer = (level) =>
    LEVELS[level] < least
      ? () => {}
      : (message, ...parameters) => {
          // Standard output is a pipe, and pipes are written before write() returns.
          process.stdout.write(line(level, message, parameters).replaceAll("\n", "\r") + "\n");
        };
  for (const level of Object.keys(LEVELS)) {
    console[level.toLowerCase()] = writer(level);
  }
  console.log = console.info;
}

/** The line of an error that nobody in the function has caught; `label` says where it came from. */
export function logError(label, error) {
  if (isJson) {
    console.error(asError(error));
  } else {
    console.error(label, describe(asError(error)));
  }
}
