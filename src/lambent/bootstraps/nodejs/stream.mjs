/**
 * Handlers made by `awslambda.streamifyResponse`. What they write is collected and sent as one response when the stream
 * ends; the content type and a prelude stay what they are.
 */
import { Writable } from "node:stream";

import { fillContext } from "./classic.mjs";
import { ERRORS, MODERN } from "./errors.mjs";
import { current, logError } from "./log.mjs";
import { aTurn, contextOf } from "./modern.mjs";

const isBytes = (chunk) => typeof chunk === "string" || chunk instanceof Uint8Array;

/** What a streaming handler writes to. */
class ResponseStream extends Writable {
  #chunks = [];
  #contentType = "application/octet-stream";
  #isWritten = false;
  #send;

  /** Set by HttpResponseStream: called with a function that writes ahead of the first chunk. */
  _onBeforeFirstWrite = undefined;

  constructor(send, highWaterMark) {
    super({ highWaterMark });
    this.#send = send;
  }

  setContentType(contentType) {
    if (this.#isWritten) {
      throw new ERRORS.InvalidStreamingOperation("Cannot set content-type, too late.");
    }
    this.#contentType = contentType;
  }

  write(chunk, ...more) {
    if (!this.#isWritten) {
      this.#isWritten = true;
      this._onBeforeFirstWrite?.((ahead) => super.write(ahead));
    }
    return super.write(isBytes(chunk) ? chunk : JSON.stringify(chunk), ...more);
  }

  end(chunk, ...more) {
    // Node's own end() would hand a last chunk to the internals, past the prelude.
    if (chunk !== undefined && chunk !== null && typeof chunk !== "function") {
      this.write(chunk, ...more.filter((argument) => typeof argument === "string"));
      return super.end(...more.filter((argument) => typeof argument === "function"));
    }
    return super.end(chunk, ...more);
  }

  _write(chunk, _encoding, done) {
    this.#chunks.push(chunk);
    done();
  }

  _final(done) {
    this.#send(this.#contentType, Buffer.concat(this.#chunks));
    done();
  }
}

export function serve(channel, handler, highWaterMark) {
  const runtime = { handler };
  let onEmptyLoop = () => {};
  process.on("beforeExit", () => onEmptyLoop());
  channel.onevent = async (event) => {
    const stream = new ResponseStream((contentType, body) => {
      if (current.requestId === event.requestId && current.state === "invoke") {
        channel.response(event.requestId, contentType, body);
      }
    }, highWaterMark);
    const finished = new Promise((resolve, reject) => {
      stream.once("finish", resolve);
      stream.once("error", reject);
      onEmptyLoop = () => reject("Response stream is not finished.");
    });
    // Somebody may be waiting for it or not: the handler can fail first.
    finished.catch(() => {});
    try {
      const context = MODERN
        ? contextOf(event, channel.facts)
        : fillContext({ callbackWaitsForEmptyEventLoop: true }, event, channel.facts);
      const result = runtime.handler(JSON.parse(event.text), stream, context);
      if (typeof result?.then !== "function") {
        throw MODERN ? new Error(NOT_ASYNC) : NOT_ASYNC;
      }
      // An open promise with an empty loop will never settle, nor will the stream ever end.
      if ((await Promise.race([result, finished.then(() => result)])) !== undefined) {
        console.warn("Streaming handlers ignore return values.");
      }
      await finished;
    } catch (thrown) {
      const error = MODERN && typeof thrown === "string" ? new Error(thrown) : thrown;
      if (MODERN) {
        await aTurn();
      }
      logError("Invoke Error", error);
      if (current.requestId === event.requestId && current.state === "invoke") {
        channel.error(event.requestId, error);
      }
    }
  };
}

const NOT_ASYNC = "Streaming does not support non-async handlers.";
