/** The runtime's own errors, and what becomes of an error that is reported or logged. */
import { types } from "node:util";

/** From Node.js 24 on the service's client is another one, with other rules. */
export const MODERN = Number(process.versions.node.split(".")[0]) >= 24;

function define(name) {
  const category = `Runtime.${name}`;
  if (MODERN) {
    return class extends Error {
      constructor(message) {
        super(String(message));
        this.name = category;
      }
    };
  }
  const made = class extends Error {};
  // On the prototype: the name then stands in the first line of the stack, too.
  made.prototype.name = category;
  Object.defineProperty(made, "name", { value: name });
  return made;
}

/** Errors that the runtime states itself, by the last part of their category. */
export const ERRORS = Object.fromEntries(
  [
    "ImportModuleError",
    "HandlerNotFound",
    "MalformedHandlerName",
    "UserCodeSyntaxError",
    "MalformedStreamingHandler",
    "InvalidStreamingOperation",
    "UnhandledPromiseRejection",
    "JSONStringifyError",
    "PlatformError",
    "CallbackHandlerDeprecated",
    "NodeJsExit",
    "InvalidWebAdapter",
    "WebServerExited",
    "WebServerFailed",
    "WebAdapterError",
  ].map((name) => [name, define(name)]),
);

function isError(value) {
  if (MODERN) {
    return value instanceof Error;
  }
  if (types.isNativeError(value)) {
    return true;
  }
  return Boolean(value && ["name", "message", "stack"].every((key) => value[key] && typeof value[key] === "string"));
}

// DEL is the one ASCII character that the service's transport cannot carry.
const clean = (text) => text?.replaceAll("\x7f", "%7F");

/** The error document: errorType, errorMessage and trace, in that order. */
export function toDocument(error) {
  try {
    if (isError(error)) {
      return {
        errorType: clean(error.name),
        errorMessage: clean(error.message),
        trace: MODERN ? (clean(error.stack)?.split("\n") ?? []) : clean(error.stack).split("\n"),
      };
    }
    return { errorType: typeof error, errorMessage: MODERN ? String(error) : error.toString(), trace: [] };
  } catch {
    const document = {
      errorType: "handled",
      errorMessage:
        "callback called with Error argument, but there was a problem while retrieving one or more of its message, " +
        "name, and stack",
    };
    return MODERN ? { ...document, trace: [] } : document;
  }
}

/** Whatever was thrown, as an Error. */
export function asError(thrown) {
  return thrown instanceof Error ? thrown : new Error(MODERN ? String(thrown) : thrown);
}

/** The part of a log line that describes an error: a tab and JSON with all of its own members. */
export function describe(error) {
  try {
    return "\t" + JSON.stringify(error, (_, value) => withMembers(value));
  } catch {
    return "\t" + JSON.stringify(toDocument(error));
  }
}

function withMembers(value) {
  if (!(value instanceof Error)) {
    return value;
  }
  const members = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
  if (typeof value.stack === "string") {
    members.stack = value.stack.split("\n");
  }
  return members;
}
