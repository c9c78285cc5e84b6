/** The runtime's end of the socketpair: events in, answers out. */
import { Socket } from "node:net";

import { toDocument } from "./errors.mjs";
import { current } from "./log.mjs";

const INVOKE = 1;
const RESPONSE = 2;
const ERROR = 3;
const INIT_ERROR = 4;
const READY = 5;
const STREAM = 6;
const CHUNK = 7;
const END = 8;
const STREAM_ERROR = 9;
const LAST_ERROR = 10;
const ASSIGN = 11;
const WAITING = 12;

/** Chunks up to here, heads included, are copied into one buffer and written at once; what is larger is not copied. */
const COPY_BYTES = 65536;

/** Bytes of an INVOKE frame before its first string: length, type, deadline, six lengths. */
const EVENT_HEAD = 25;

export class Channel {
  #socket;
  #parts = [];
  #have = 0;
  #facts;
  #assigned;
  #assignment = new Promise((resolve) => {
    this.#assigned = resolve; // it may come before anybody waits for it
  });

  /** Called with each event: an object with `requestId`, `text` (JSON) and what the context is made of. */
  onevent = null;

  constructor(descriptor) {
    this.#socket = new Socket({ fd: descriptor, readable: true, writable: true });
    // Init must be able to end by itself when the module's code has nothing left to wait for.
    this.#socket.on("data", (chunk) => this.#receive(chunk));
    this.#socket.on("close", () => process.exit(0));
    this.#socket.on("error", () => process.exit(0));
    this.#socket.unref();
  }

  /** The fields of the context that are the same for every invocation. */
  get facts() {
    this.#facts ??= {
      functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
      functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
      memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    };
    return this.#facts;
  }

  /** What a runtime that was started without a function becomes: `{env, cwd}`. */
  assignment() {
    this.#socket.ref();
    this.#socket.write(Buffer.from([1, 0, 0, 0, WAITING]));
    return this.#assignment.then((assigned) => {
      this.#socket.unref();
      return assigned;
    });
  }

  #receive(chunk) {
    if (this.#have > 0) {
      this.#parts.push(chunk);
      this.#have += chunk.length;
      const first = this.#parts[0].length < 4 ? Buffer.concat(this.#parts) : this.#parts[0];
      if (this.#have < 4 || this.#have < first.readUInt32LE(0) + 4) {
        return;
      }
      chunk = Buffer.concat(this.#parts, this.#have);
      this.#parts = [];
      this.#have = 0;
    } else if (chunk.length < 4 || chunk.length < chunk.readUInt32LE(0) + 4) {
      this.#parts = [chunk];
      this.#have = chunk.length;
      return;
    }
    this.#event(chunk);
  }

  #event(frame) {
    if (frame[4] === ASSIGN) {
      this.#assigned(JSON.parse(frame.toString("utf8", 5)));
      return;
    }
    if (frame.length !== frame.readUInt32LE(0) + 4 || frame[4] !== INVOKE) {
      throw new Error("lambent: one event was expected on the channel");
    }
    let at = EVENT_HEAD;
    const texts = [];
    for (let place = 13; place < EVENT_HEAD; place += 2) {
      const length = frame.readUInt16LE(place);
      texts.push(length ? frame.toString("utf8", at, at + length) : undefined);
      at += length;
    }
    const [requestId, arn, trace, clientContext, identity, tenantId] = texts;
    current.begin(requestId, trace, tenantId);
    if (trace === undefined) {
      delete process.env._X_AMZN_TRACE_ID;
    } else {
      process.env._X_AMZN_TRACE_ID = trace;
    }
    // While the function runs only its own work keeps the event loop alive, so that its end can be seen.
    this.#socket.unref();
    const deadlineMs = Number(frame.readBigUInt64LE(5));
    this.onevent({ requestId, arn, trace, clientContext, identity, tenantId, deadlineMs, text: frame.toString("utf8", at) });
  }

  ready() {
    this.#socket.ref();
    this.#socket.write(Buffer.from([1, 0, 0, 0, READY]));
  }

  /** Answer with a body (text or bytes); the next event may follow. */
  response(requestId, contentType, body) {
    this.#answer(RESPONSE, [requestId, contentType], body);
  }

  /** Report a function error; the next event may follow. */
  error(requestId, error) {
    const document = toDocument(error);
    this.#answer(ERROR, [requestId, document.errorType ?? ""], JSON.stringify(document));
  }

  /** Report a function error that ends the process: no event may follow. `done` is called once it is written. */
  lastError(requestId, error, done) {
    const document = toDocument(error);
    this.#answer(LAST_ERROR, [requestId, document.errorType ?? ""], JSON.stringify(document), done);
  }

  /** Begin a streamed answer: chunks follow, then its end or an error, then `ready`. */
  stream(requestId, contentType) {
    this.#socket.write(frameOf(STREAM, [requestId, contentType], ""));
  }

  /** The next chunks of a streamed answer (bytes); `done` is called when the platform has room for more. */
  chunks(chunks, done) {
    let size = 0;
    for (const chunk of chunks) {
      size += 5 + chunk.length;
    }
    if (size <= COPY_BYTES) {
      const frames = Buffer.allocUnsafe(size);
      let at = 0;
      for (const chunk of chunks) {
        at = writeHead(frames, at, chunk);
        frames.set(chunk, at);
        at += chunk.length;
      }
      this.#socket.write(frames, done);
      return;
    }
    this.#socket.cork();
    chunks.forEach((chunk, number) => {
      const head = Buffer.allocUnsafe(5);
      writeHead(head, 0, chunk);
      this.#socket.write(head);
      this.#socket.write(chunk, number === chunks.length - 1 ? done : undefined);
    });
    this.#socket.uncork();
  }

  /** A streamed answer is complete. */
  endStream() {
    current.state = "idle";
    this.#socket.write(frameOf(END, [], ""));
  }

  /** A streamed answer breaks off with an error. */
  failStream(error) {
    current.state = "idle";
    const document = toDocument(error);
    this.#socket.write(frameOf(STREAM_ERROR, [document.errorType ?? ""], JSON.stringify(document)));
  }

  /** Report that init failed. */
  initError(error, done) {
    const document = toDocument(error);
    this.#answer(INIT_ERROR, [document.errorType ?? ""], JSON.stringify(document), done);
  }

  #answer(type, texts, body, done) {
    current.state = "idle";
    this.#socket.ref();
    this.#socket.write(frameOf(type, texts, body), done);
  }
}

/** The head of a CHUNK frame; where the chunk itself begins. */
function writeHead(frames, at, chunk) {
  frames.writeUInt32LE(1 + chunk.length, at);
  frames[at + 4] = CHUNK;
  return at + 5;
}

/** A frame of some strings and a body, text or bytes. */
function frameOf(type, texts, body) {
  let size = 5;
  for (const text of texts) {
    size += 2 + Buffer.byteLength(text);
  }
  const isText = typeof body === "string";
  const bodySize = isText ? Buffer.byteLength(body) : body.length;
  const frame = Buffer.allocUnsafe(size + bodySize);
  frame.writeUInt32LE(frame.length - 4, 0);
  frame[4] = type;
  let at = 5;
  for (const text of texts) {
    const length = frame.write(text, at + 2);
    frame.writeUInt16LE(length, at);
    at += 2 + length;
  }
  if (isText) {
    frame.write(body, at);
  } else {
    frame.set(body, at);
  }
  return frame;
}

/** The JSON text of a result; `Unwritable` is the error for what JSON.stringify throws at. */
export function serialise(value, Unwritable) {
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch {
    throw new Unwritable("Unable to stringify response body");
  }
  if (text === undefined) {
    // A function or a symbol: what the published client's native half says to it.
    throw new TypeError("Wrong arguments");
  }
  return text;
}

/** The value of a JSON text that came with an event; `what` names it in the complaint. */
export function parseOptional(text, complain) {
  if (text === undefined) {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw complain(error);
  }
}
