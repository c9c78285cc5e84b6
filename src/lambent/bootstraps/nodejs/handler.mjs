/** From the handler's name ("dir/file.export.nested") to the function to call. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { ERRORS, MODERN } from "./errors.mjs";
import { invokeStore } from "./log.mjs";

const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");
const PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response";
const PRELUDE_END = new Uint8Array(8);

const CALLBACK_HANDLER =
  "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to " +
  "modify this function to use a supported handler signature to use Node.js 24 or later. For more information see " +
  "https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.";

class HttpResponseStream {
  /** Put status, headers and cookies of an HTTP answer before the first bytes of a response stream. */
  static from(stream, prelude) {
    stream.setContentType(PRELUDE_TYPE);
    const text = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(text);
      write(PRELUDE_END);
    };
    return stream;
  }
}

function publishGlobal() {
  if (["1", "true"].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) {
    return;
  }
  globalThis.awslambda = {
    ...(MODERN ? { InvokeStore: invokeStore } : {}),
    streamifyResponse(handler, options) {
      handler[STREAMING] = "response";
      if (typeof options?.highWaterMark === "number") {
        handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark, 10);
      }
      return handler;
    },
    HttpResponseStream,
  };
}

/**
 * The handler of the package at `root`: `{call, streaming, highWaterMark}`. `self` is the URL that module errors name as
 * the one who asked.
 */
export async function load(root, name, self) {
  if (name.includes("..")) {
    throw new ERRORS.MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const last = path.basename(name);
  const directory = name.substring(0, name.indexOf(last));
  const parts = /^([^.]*)\.(.*)$/.exec(last);
  if (parts === null) {
    throw new ERRORS.MalformedHandlerName("Bad handler");
  }
  publishGlobal();
  const module = await importModule(root, directory, parts[1], createRequire(self));
  let call = pick(module, parts[2]);
  if (MODERN && !call && module !== null && typeof module === "object" && "default" in module) {
    call = pick(module.default, parts[2]);
  }
  if (!call) {
    throw new ERRORS.HandlerNotFound(`${name} is undefined or not exported`);
  }
  if (typeof call !== "function") {
    throw new ERRORS.HandlerNotFound(`${name} is not a function`);
  }
  const streaming = call[STREAMING];
  if (streaming && streaming !== "response") {
    throw new ERRORS.MalformedStreamingHandler("Only response streaming is supported.");
  }
  if (MODERN && !streaming && call.length >= 3) {
    throw new ERRORS.CallbackHandlerDeprecated(CALLBACK_HANDLER);
  }
  const mark = Number(call[HIGH_WATER_MARK]);
  return { call, streaming: Boolean(streaming), highWaterMark: mark > 0 ? mark : undefined };
}

function pick(module, nested) {
  return nested
    .split(".")
    .reduce((found, key) => (found && (!MODERN || typeof found === "object") ? found[key] : undefined), module);
}

async function importModule(root, directory, file, require) {
  try {
    const found = await (MODERN ? importFile : requireFile)(path.resolve(root, directory, file), require);
    if (found) {
      return found;
    }
    return require(require.resolve(file, { paths: [root, path.join(root, directory)] }));
  } catch (error) {
    if (error instanceof SyntaxError) {
      const told = new ERRORS.UserCodeSyntaxError(error);
      if (MODERN) {
        told.stack = error.stack;
      }
      throw told;
    }
    if (error?.code === "MODULE_NOT_FOUND" && (!MODERN || error instanceof Error)) {
      throw new ERRORS.ImportModuleError(error);
    }
    throw error;
  }
}

/** Node.js 24 and later: everything by import(). */
async function importFile(base) {
  for (const ending of ["", ".js", ".mjs", ".cjs"]) {
    if (existsSync(base + ending)) {
      return import(base + ending);
    }
  }
  return undefined;
}

/** Up to Node.js 22: require() first, import() for ES modules. */
async function requireFile(base, require) {
  const required = (ending) => (existsSync(base + ending) ? require(base + ending) : undefined);
  const imported = (ending) => (existsSync(base + ending) ? import(base + ending) : undefined);
  const found = required("");
  if (found) {
    return found;
  }
  const isModule = existsSync(base + ".js") && isInModulePackage(path.dirname(base));
  return (
    (isModule ? await imported(".js") : required(".js")) || (await imported(".mjs")) || required(".cjs") || undefined
  );
}

/** Whether the nearest package.json above says that .js files are ES modules. */
function isInModulePackage(directory) {
  if (directory.endsWith("/node_modules")) {
    return false;
  }
  const file = path.join(directory, "package.json");
  if (existsSync(file)) {
    try {
      const manifest = JSON.parse(readFileSync(file));
      if (manifest) {
        return manifest.type === "module";
      }
    } catch (error) {
      console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
      return false;
    }
  }
  return directory !== "/" && isInModulePackage(path.dirname(directory));
}
