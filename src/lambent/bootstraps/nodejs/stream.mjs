/**
 * Handlers made by `awslambda.streamifyResponse`: what they write goes out as they write it. Nothing is sent before the
 * first chunk, so that the content type can still be set, and a failure is still an ordinary error.
 */
import { Writable } from "node:stream";

import { fillContext } from "./classic.mjs";
import { ERRORS, MODERN } from "./errors.mjs";
import { current, logError } from "./log.mjs";
import { aTurn, contextOf } from "./modern.mjs";

const isBytes = (chunk) => typeof chunk === "string" || chunk instanceof Uint8Array;

/** What a streaming handler writes to. */
class ResponseStream extends Writable {
  #channel;
  #requestId;
  #contentType = "application/octet-stream";
  #isWritten = false;
  #isBegun = false;
  #isOver = false;
  #failure = undefined;
  #resolve;
  #over = new Promise((resolve) => {
    this.#resolve = resolve;
  });

  /** Set by HttpResponseStream: called with a function that writes ahead of the first chunk. */
  _onBeforeFirstWrite = undefined;

  constructor(channel, requestId, highWaterMark) {
    super({ highWaterMark });
    this.#channel = channel;
    this.#requestId = requestId;
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

  /** Whether nothing has been written: a failure is then the whole answer. */
  get isUntouched() {
    return !this.#isBegun && !this.#isOver && this.writableLength === 0;
  }

  /** End with an error, behind what was written before; after the end it is too late for one. */
  async fail(error) {
    this.#failure = { error };
    if (this.destroyed || this.errored) {
      this.#finish();
    } else if (!this.writableEnded) {
      super.end();
    }
    await this.#over;
  }

  _write(chunk, _encoding, done) {
    this.#send([chunk], done);
  }

  _writev(chunks, done) {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  _final(done) {
    this.#finish();
    done();
  }

  #send(chunks, done) {
    if (this.#isOver) {
      done(); // somebody still writes to an invocation that is over
      return;
    }
    this.#begin();
    this.#channel.chunks(chunks, done);
  }

  #begin() {
    if (!this.#isBegun) {
      this.#isBegun = true;
      this.#channel.stream(this.#requestId, this.#contentType);
    }
  }

  #finish() {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    this.#begin();
    if (this.#failure === undefined) {
      this.#channel.endStream();
    } else {
      this.#channel.failStream(this.#failure.error);
    }
    this.#resolve();
  }
}

// Handlers are called as members of these: stacks of the service's client show them under such names.
class Runtime {}
class StreamingInvokeProcessor {}

export function serve(channel, handler, highWaterMark) {
  const runtime = Object.assign(MODERN ? new StreamingInvokeProcessor() : new Runtime(), { handler });
  let onEmptyLoop = () => {};
  process.on("beforeExit", () => onEmptyLoop());

  /** Ask for the next event: up to Node.js 22 once nothing is left to do, unless the handler did not want to wait. */
  const next = (context) => {
    if (MODERN || !context.callbackWaitsForEmptyEventLoop) {
      channel.ready();
      return;
    }
    onEmptyLoop = () => {
      onEmptyLoop = () => {};
      setImmediate(() => channel.ready());
    };
  };

  channel.onevent = async (event) => {
    const stream = new ResponseStream(channel, event.requestId, highWaterMark);
    const finished = new Promise((resolve, reject) => {
      stream.once("finish", resolve);
      stream.once("error", reject);
      onEmptyLoop = () => reject(MODERN ? new Error(NOT_FINISHED) : NOT_FINISHED);
    });
    // Somebody may be waiting for it or not: the handler can fail first.
    finished.catch(() => {});
    let context = { callbackWaitsForEmptyEventLoop: true };
    try {
      context = MODERN ? contextOf(event, channel.facts) : fillContext(context, event, channel.facts);
      const result = runtime.handler(JSON.parse(event.text), stream, context);
      if (typeof result?.then !== "function") {
        throw MODERN ? new Error(NOT_ASYNC) : NOT_ASYNC;
      }
      // An open promise with an empty loop will never settle, nor will the stream ever end.
      if ((await Promise.race([result, finished.then(() => result)])) !== undefined) {
        console.warn("Streaming handlers ignore return values.");
      }
      await finished;
    } catch (error) {
      if (MODERN) {
        await aTurn();
      }
      logError("Invoke Error", error);
      if (stream.isUntouched) {
        channel.error(event.requestId, error); // which asks for the next event by itself
        stream.destroy();
        return;
      }
      await stream.fail(error);
    }
    next(context);
  };
}

const NOT_FINISHED = "Response stream is not finished.";
const NOT_ASYNC = "Streaming does not support non-async handlers.";
