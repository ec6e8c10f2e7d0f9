// One long request at a time tells all parts of the page what changed on the server.
import { clearProblem, get, problem } from "/shared/api.js";

const listeners = [];
export const onJobs = (listener) => listeners.push(listener);

export async function watch(status) {
  let seen = 0;
  let failing = false;
  for (;;) {
    try {
      const now = await get(`/api/jobs?seen=${seen}`);
      if (failing) clearProblem();
      failing = false;
      seen = now.version;
      for (const listener of listeners) await listener(now);
    } catch (error) {
      if (!failing) problem(error);
      failing = true;
      status("not connected");
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}
