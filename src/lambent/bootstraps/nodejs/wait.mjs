/** A runtime that waits for its function: whatever knows none is loaded and has run once, then one is assigned. */
import { MODERN } from "./errors.mjs";
import { load } from "./handler.mjs";

/** Run everything that an init phase and an invocation run, with a handler of our own, and leave no trace of it. */
export async function rehearse() {
  const { serve } = await import(MODERN ? "./modern.mjs" : "./classic.mjs");
  await import("./stream.mjs");
  for (const name of ["rehearsal.handler", "rehearsal-classic.handler"]) {
    const { call } = await load(import.meta.dirname ?? new URL(".", import.meta.url).pathname, name, import.meta.url);
    for (let round = 0; round < 3; round += 1) {
      await new Promise((resolve) => {
        const channel = { facts: {}, response: resolve, error: resolve, lastError: resolve, onevent: null };
        serve(channel, call);
        channel.onevent({ requestId: "rehearsal", arn: "", deadlineMs: 0, text: '{"a": [1, 2.5, "b", null]}' });
      });
    }
  }
  process.removeAllListeners("beforeExit");
  delete globalThis.awslambda;
}

/** Take over the environment and the working directory of an assignment. */
export function become(assigned) {
  for (const name of Object.keys(process.env)) {
    delete process.env[name];
  }
  Object.assign(process.env, assigned.env);
  process.chdir(assigned.cwd);
}
