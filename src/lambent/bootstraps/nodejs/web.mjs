/**
 * A web server of the package as the function: it is started with the environment, events of HTTP front doors are passed on
 * to its port as requests, and its responses are the results. Chosen by the function's variable LAMBENT_WEB_ADAPTER=port,
 * imported when it is set. The Python client does the same (`web.py`, `web_port.py`); what is said there holds here.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import http from "node:http";
import { connect } from "node:net";
import path from "node:path";
import { pipeline } from "node:stream/promises";

import { ERRORS } from "./errors.mjs";

const TEXTS = ["application/json", "application/javascript", "application/xml", "application/x-www-form-urlencoded"];
const HOP_BY_HOP = new Set(
  "connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length expect".split(" "),
);
const LOOK_MS = 10;
const END_MS = 100;

function command() {
  const own = process.env.LAMBENT_WEB_COMMAND;
  if (own) {
    return ["/bin/sh", "-c", own];
  }
  const name = process.env._HANDLER;
  const file = path.resolve(process.env.LAMBDA_TASK_ROOT ?? "/var/task", name);
  if (!existsSync(file) || !statSync(file).isFile()) {
    return ["/bin/sh", "-c", `exec ${name}`];
  }
  if (/\.[cm]?js$/.test(name)) {
    return [process.execPath, file];
  }
  try {
    accessSync(file, constants.X_OK);
    return [file];
  } catch {
    return ["/bin/sh", file];
  }
}

/** The handler, once the server is ready; throws when it ends before. */
export async function handler() {
  const mode = process.env.LAMBENT_WEB_ADAPTER;
  if (mode !== "port") {
    throw new ERRORS.InvalidWebAdapter(`LAMBENT_WEB_ADAPTER=${mode} is for Python; a Node.js function has port`);
  }
  const env = process.env;
  const port = Number(env.AWS_LWA_PORT || env.PORT || "8080");
  const argv = command();
  const server = spawn(argv[0], argv.slice(1), {
    env: { ...env, PORT: String(port) },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const ended = new Promise((resolve) => {
    server.on("error", (error) => resolve(error.message));
    server.on("exit", (status, signal) => resolve(`status ${status ?? signal}`));
  });
  let isOver;
  void ended.then((how) => {
    isOver = how;
  });
  while (!(await isReady(Number(env.AWS_LWA_READINESS_CHECK_PORT || port)))) {
    if (isOver !== undefined) {
      throw new ERRORS.WebServerExited(
        `The web server ended with ${isOver} before it answered on port ${port}: ${argv.join(" ")}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  void ended.then((how) => {
    process.stderr.write(`The web server ended with ${how}\n`);
    process.exit(1);
  });
  server.unref();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  if ((env.AWS_LWA_INVOKE_MODE ?? "").toLowerCase() === "response_stream") {
    return { call: streaming(agent, port, ended), streaming: true };
  }
  const call = async (event, context) => {
    const request = read(event, context);
    const { status, headers, response } = await passOn(agent, port, request, ended);
    return result(request, status, headers, await whole(response));
  };
  return { call, streaming: false };
}

/** Responses go out as they come, behind their metadata; answers to events of other kinds are results as ever. */
function streaming(agent, port, ended) {
  return async (event, stream, context) => {
    context.callbackWaitsForEmptyEventLoop = false; // the server's process and connection are always there
    const request = read(event, context);
    const { status, headers, response } = await passOn(agent, port, request, ended);
    if (request.kind === "plain") {
      stream.setContentType("application/json");
      stream.end(JSON.stringify(plain(status, await whole(response))));
      return;
    }
    stream.setContentType("application/vnd.awslambda.http-integration-response");
    const metadata = {
      statusCode: status,
      headers: joined(headers.filter(([name]) => name !== "set-cookie" && name !== "content-length")),
      cookies: headers.filter(([name]) => name === "set-cookie").map(([, value]) => value),
    };
    stream._onBeforeFirstWrite = (write) => {
      write(JSON.stringify(metadata));
      write(new Uint8Array(8));
    };
    stream.write("");
    await pipeline(response, stream);
  };
}

async function whole(response) {
  const parts = [];
  for await (const part of response) {
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function isReady(port) {
  const env = process.env;
  return new Promise((resolve) => {
    if ((env.AWS_LWA_READINESS_CHECK_PROTOCOL || "http").toLowerCase() === "tcp") {
      const socket = connect(port, "127.0.0.1");
      socket.on("connect", () => resolve(true));
      socket.on("error", () => resolve(false));
      socket.on("close", () => resolve(false));
      socket.on("connect", () => socket.destroy());
      return;
    }
    const asked = http.get({ host: "127.0.0.1", port, path: env.AWS_LWA_READINESS_CHECK_PATH || "/", agent: false });
    asked.on("response", (response) => {
      response.resume();
      resolve(response.statusCode < 500);
    });
    asked.on("error", () => resolve(false));
  });
}

/** Pass a request on; a connection that the server closed meanwhile is made anew, and its end is ours. */
async function passOn(agent, port, request, ended) {
  for (let isLast = false; ; isLast = true) {
    try {
      return await send(agent, port, request);
    } catch (error) {
      if (isLast || !error.isStale) {
        // Had it ended, this process would with it, before this is over.
        await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, END_MS))]);
        throw new ERRORS.WebServerFailed(`The web server did not answer: ${error.message}`);
      }
    }
  }
}

function send(agent, port, request) {
  return new Promise((resolve, reject) => {
    const headers = [];
    for (const [name, value] of request.headers) {
      if (!HOP_BY_HOP.has(name)) {
        headers.push(name, Buffer.from(value).toString("latin1"));
      }
    }
    if (!request.headers.some(([name]) => name === "host")) {
      headers.push("host", "localhost");
    }
    if (request.body.length > 0 || ["POST", "PUT", "PATCH"].includes(request.method)) {
      headers.push("content-length", String(request.body.length));
    }
    const target = request.path + (request.query ? `?${request.query}` : "");
    const asked = http.request(
      { host: "127.0.0.1", port, agent, method: request.method, path: target, headers, setHost: false },
      (response) => {
        const found = [];
        for (let at = 0; at < response.rawHeaders.length; at += 2) {
          const name = response.rawHeaders[at].toLowerCase();
          if (!HOP_BY_HOP.has(name)) {
            found.push([name, response.rawHeaders[at + 1]]);
          }
        }
        resolve({ status: response.statusCode, headers: found, response });
      },
    );
    asked.on("error", (error) => {
      error.isStale = asked.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      reject(error);
    });
    asked.end(request.body);
  });
}

const pairs = (map) => Object.entries(map ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]);
const pairsOfMany = (map) => Object.entries(map).flatMap(([name, values]) => values.map((value) => [name.toLowerCase(), value]));

/** The request that an event speaks of, or the one that stands for an event of another kind. */
function read(event, context) {
  const about = event?.requestContext;
  const isObject = typeof about === "object" && about !== null;
  let request;
  if (isObject && event.version === "2.0" && about.http) {
    const headers = pairs(event.headers).filter(([name]) => name !== "cookie" || !event.cookies?.length);
    if (event.cookies?.length) {
      headers.push(["cookie", event.cookies.join("; ")]);
    }
    request = { kind: "2.0", method: about.http.method, path: event.rawPath || "/", query: event.rawQueryString ?? "", headers };
  } else if (isObject && event.httpMethod !== undefined) {
    const many = event.multiValueHeaders;
    request = {
      kind: about.elb ? "balancer" : "1.0",
      isMulti: Boolean(many),
      method: event.httpMethod,
      path: event.path || "/",
      query: queryOf(event, Boolean(about.elb)),
      headers: many ? pairsOfMany(many) : pairs(event.headers),
    };
  } else {
    request = {
      kind: "plain",
      method: "POST",
      path: process.env.AWS_LWA_PASS_THROUGH_PATH || "/events",
      query: "",
      headers: [["content-type", "application/json"]],
      body: Buffer.from(JSON.stringify(event)),
    };
  }
  request.body ??= Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
  if (/%(?![0-9A-Fa-f]{2})|[^\x21-\x7e]/.test(request.path)) {
    request.path = encodeURI(request.path).replaceAll(/%25([0-9A-Fa-f]{2})/g, "%$1").replaceAll("?", "%3F").replaceAll("#", "%23");
  }
  const base = (process.env.AWS_LWA_REMOVE_BASE_PATH ?? "").replace(/\/+$/, "");
  if (base && (request.path === base || request.path.startsWith(`${base}/`))) {
    request.path = request.path.slice(base.length) || "/";
  }
  if (isObject) {
    request.headers.push(["x-amzn-request-context", JSON.stringify(about)]);
  }
  request.headers.push(["x-amzn-lambda-context", JSON.stringify(shown(context))]);
  return request;
}

function shown(context) {
  return {
    request_id: context.awsRequestId,
    deadline: Date.now() + context.getRemainingTimeInMillis(),
    invoked_function_arn: context.invokedFunctionArn,
    env_config: {
      function_name: context.functionName,
      memory: Number(context.memoryLimitInMB),
      version: context.functionVersion,
      log_stream: context.logStreamName,
      log_group: context.logGroupName,
    },
  };
}

function queryOf(event, isSent) {
  const found = event.multiValueQueryStringParameters
    ? Object.entries(event.multiValueQueryStringParameters).flatMap(([name, values]) => values.map((value) => [name, value]))
    : Object.entries(event.queryStringParameters ?? {});
  if (isSent) {
    return found.map((pair) => pair.join("=")).join("&");
  }
  return new URLSearchParams(found).toString();
}

/** What the handler returns for a response. */
function result(request, status, headers, body) {
  if (request.kind === "plain") {
    return plain(status, body);
  }
  const [text, isBase64Encoded] = textOf(headers, body);
  const answer = { statusCode: status, body: text, isBase64Encoded };
  if (request.kind === "2.0") {
    answer.cookies = headers.filter(([name]) => name === "set-cookie").map(([, value]) => value);
    answer.headers = joined(headers.filter(([name]) => name !== "set-cookie"));
    return answer;
  }
  if (request.kind === "balancer") {
    answer.statusDescription = `${status} ${http.STATUS_CODES[status] ?? "Unknown"}`;
  }
  if (request.isMulti || request.kind === "1.0") {
    answer.multiValueHeaders = {};
    for (const [name, value] of headers) {
      (answer.multiValueHeaders[name] ??= []).push(value);
    }
  } else {
    answer.headers = joined(headers);
  }
  return answer;
}

function joined(headers) {
  const found = {};
  for (const [name, value] of headers) {
    found[name] = name in found ? `${found[name]}, ${value}` : value;
  }
  return found;
}

function plain(status, body) {
  const text = body.toString();
  if (status >= 400) {
    throw new ERRORS.WebAdapterError(`the application answered ${status}: ${text.slice(0, 1000)}`);
  }
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return text;
  }
}

function textOf(headers, body) {
  const find = (wanted) => headers.find(([name]) => name === wanted)?.[1].toLowerCase() ?? "";
  const kind = find("content-type").split(";")[0].trim();
  const isText = !kind || kind.startsWith("text/") || TEXTS.includes(kind) || /\+(json|xml)$/.test(kind);
  if (isText && ["", "identity"].includes(find("content-encoding"))) {
    try {
      return [new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body), false];
    } catch {
      // not UTF-8, whatever its type says
    }
  }
  return [body.toString("base64"), true];
}
