// Joins this tab to the browser's stream: through the shared worker, or alone where there is none.
import { Session, type News } from "./session";

export interface Connection {
  /** Begin anew, after a login. */
  again(): void;
}

export function connect(listener: (news: News) => void): Connection {
  if (typeof SharedWorker === "undefined") {
    const session = new Session();
    session.join(listener);
    return { again: () => void session.begin() };
  }
  const worker = new SharedWorker(new URL("./shared.worker.ts", import.meta.url), {
    type: "module",
    name: "cityhub",
  });
  worker.port.onmessage = (message: MessageEvent<News>) => listener(message.data);
  worker.port.start();
  addEventListener("pagehide", () => worker.port.postMessage("goodbye"));
  // A page that comes back from the browser's cache has said goodbye: it starts over.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  return { again: () => worker.port.postMessage("again") };
}
